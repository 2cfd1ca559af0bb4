/** The page around every view: where to go, who is there, what is asked, and whether what you see is live. */
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { dismiss } from '../state/notes.ts';
import { agentsByName, openQuestions } from '../state/readings.ts';
import { connection, house, notes, now, signedOut, useCell } from '../state/store.ts';
import { duration } from '../words.ts';
import { AgentPage } from './agents.ts';
import { ConfirmDialog, show, useOpenDialog } from './dialog.ts';
import { EventsPage } from './events.ts';
import { h } from './h.ts';
import { Icon, type IconName } from './icons.ts';
import { InstancesPage, NewInstanceDialog } from './instances.ts';
import { Button, Dot, Empty, toneOf } from './marks.ts';
import { Announcer } from './notify.ts';
import { OverviewPage } from './overview.ts';
import { Page } from './page.ts';
import { HelpDialog, Palette } from './palette.ts';
import { Inbox, QuestionBanner, QuestionsPage } from './questions.ts';
import { type Route, to, useRoute } from './route.ts';
import { NewSessionDialog, SessionPage } from './sessions.ts';
import { SignedOutDialog, SignOut } from './signed.ts';
import { TaskPage } from './task.ts';
import { NewTaskPage } from './task-form.ts';
import { TasksPage } from './tasks.ts';
import { theme, toggleTheme } from './theme.ts';

export function Shell(): VNode {
  const route = useRoute();
  const main = useRef<HTMLElement>(null);
  const place = route.path.join('/');
  useEffect(() => {
    // A new view is read from its top, also by those who hear it; a card that wants the focus has taken it
    // already.
    const element = main.current;
    if (element && !element.contains(document.activeElement)) element.focus({ preventScroll: true });
    element?.scrollTo(0, 0);
  }, [place]);
  const showsInbox = route.path[0] !== 'questions';
  return h('div', { class: `shell${showsInbox ? '' : ' without-inbox'}` }, [
    h('a', { class: 'skip', href: '#main', onClick: skip }, 'Skip to the content'),
    h(Sidebar, { route }),
    h('div', { class: 'middle' }, [
      h(TopBar, {}),
      h(ConnectionBanner, {}),
      showsInbox ? h(QuestionBanner, {}) : null,
      h('main', { ref: main, id: 'main', tabIndex: -1, key: place }, view(route)),
    ]),
    showsInbox ? h(Inbox, { path: route.path }) : null,
    h(BottomBar, { route }),
    h(Notes, {}),
    h(Announcer, {}),
    h(OpenDialog, {}),
  ]);
}

/** The hash is the route, so the link may not change it. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById('main')?.focus();
}

function view({ path }: Route): VNode {
  switch (path[0]) {
    case undefined:
      return h(OverviewPage, {});
    case 'questions':
      return h(QuestionsPage, {});
    case 'tasks':
      return path[1] === undefined
        ? h(TasksPage, {})
        : path[1] === 'new'
          ? h(NewTaskPage, {})
          : h(TaskPage, {});
    case 'instances':
      return h(InstancesPage, {});
    case 'agents':
      return h(AgentPage, {});
    case 'sessions':
      return h(SessionPage, {});
    case 'events':
      return h(EventsPage, {});
    default:
      return h(
        Page,
        { title: 'Nothing here', testId: 'page-none' },
        h(Empty, { title: 'There is no such page.' }, h('a', { href: to() }, 'Go to the overview')),
      );
  }
}

interface Place {
  readonly path: string | undefined;
  readonly words: string;
  readonly icon: IconName;
  readonly keys: string;
}

const places: readonly Place[] = [
  { path: undefined, words: 'Overview', icon: 'overview', keys: 'g o' },
  { path: 'questions', words: 'Questions', icon: 'question', keys: 'g q' },
  { path: 'tasks', words: 'Tasks', icon: 'tasks', keys: 'g t' },
  { path: 'instances', words: 'Instances', icon: 'instances', keys: 'g i' },
  { path: 'events', words: 'Events', icon: 'events', keys: 'g e' },
];

function NavLink({ place, route }: { place: Place; route: Route }): VNode {
  const asked = openQuestions(useCell(house)).length;
  const isHere = route.path[0] === place.path;
  const badge = place.path === 'questions' && asked > 0;
  return h(
    'a',
    {
      class: 'nav',
      href: place.path ? to(place.path) : to(),
      'aria-current': isHere ? 'page' : undefined,
      'aria-keyshortcuts': place.keys,
      title: `${place.words} (${place.keys})`,
      'data-testid': `nav-${place.path ?? 'overview'}`,
    },
    h(Icon, { name: place.icon, size: 18 }),
    h('span', null, place.words),
    badge
      ? h(
          'span',
          { class: 'badge', 'data-testid': 'question-badge', 'aria-label': `${asked} open` },
          String(asked),
        )
      : null,
  );
}

function Sidebar({ route }: { route: Route }): VNode {
  const known = useCell(house);
  const asking = new Set(openQuestions(known).map((question) => question.agent_id));
  return h('nav', { class: 'sidebar', 'aria-label': 'Main' }, [
    h('a', { class: 'brand', href: to(), 'aria-label': 'Agentic Sandbox' }, [
      h(Mark, {}),
      h('span', null, 'Agentic Sandbox'),
    ]),
    h(
      'button',
      {
        type: 'button',
        class: 'find',
        onClick: () => show('palette'),
        'aria-keyshortcuts': 'Control+K',
        'data-testid': 'open-palette',
      },
      [h(Icon, { name: 'search' }), h('span', null, 'Go to…'), h('kbd', null, 'Ctrl K')],
    ),
    h(
      'div',
      { class: 'navs' },
      places.map((place) => h(NavLink, { key: place.words, place, route })),
    ),
    h('div', { class: 'side-agents' }, [
      h('h2', { class: 'side-title' }, [
        'Agents',
        h(Button, {
          label: '',
          icon: 'plus',
          tone: 'quiet',
          name: 'Create instance',
          onClick: () => show('instance'),
          needs: 'operator',
        }),
      ]),
      h(
        'ul',
        null,
        agentsByName(known).map((agent) =>
          h(
            'li',
            { key: agent.id },
            h(
              'a',
              {
                class: 'nav small',
                href: to('agents', agent.id),
                'aria-current': route.path[0] === 'agents' && route.path[1] === agent.id ? 'page' : undefined,
              },
              [
                h(Dot, {
                  tone: asking.has(agent.id) ? 'ask' : toneOf(agent.state),
                  label: asking.has(agent.id) ? 'asks a question' : agent.state,
                }),
                h('span', { class: 'ellipsis' }, agent.id),
              ],
            ),
          ),
        ),
      ),
    ]),
    h('div', { class: 'side-foot' }, [h(ConnectionState, {}), h(Tools, {})]),
  ]);
}

function Mark(): VNode {
  return h('svg', { class: 'mark', width: 22, height: 22, viewBox: '0 0 32 32', 'aria-hidden': 'true' }, [
    h('rect', { width: 32, height: 32, rx: 8 }),
    h('path', { d: 'M9 10.5l5.5 5.5L9 21.5' }),
    h('path', { class: 'caret', d: 'M17 21h6' }),
  ]);
}

function Tools(): VNode {
  const current = useCell(theme);
  return h('div', { class: 'tools' }, [
    h(Button, {
      label: '',
      icon: current === 'dark' ? 'sun' : 'moon',
      tone: 'quiet',
      name: current === 'dark' ? 'Light colours' : 'Dark colours',
      onClick: toggleTheme,
      testId: 'theme',
    }),
    h(Button, {
      label: '',
      icon: 'keyboard',
      tone: 'quiet',
      name: 'Keyboard shortcuts',
      onClick: () => show('help'),
    }),
    h(
      'a',
      {
        class: 'button quiet icon-only',
        href: '/docs',
        title: 'API reference',
        'aria-label': 'API reference',
      },
      h(Icon, { name: 'book' }),
    ),
    h(SignOut, {}),
  ]);
}

const linkWords = {
  connecting: 'Connecting',
  live: 'Live',
  lost: 'Disconnected',
  refused: 'Refused',
} as const;

function ConnectionState(): VNode {
  const { link } = useCell(connection);
  const tone = link === 'live' ? 'good' : link === 'connecting' ? 'busy' : 'bad';
  return h(
    'span',
    { class: `state tone-${tone}`, role: 'status', 'data-testid': 'connection', 'data-state': link },
    [h('span', { class: 'dot', 'aria-hidden': 'true' }), linkWords[link]],
  );
}

function ConnectionBanner(): VNode | null {
  const { link, problem, since } = useCell(connection);
  const nowMs = useCell(now);
  if (link === 'live' || link === 'connecting' || problem?.status === 401) return null;
  const words =
    link === 'refused'
      ? 'The server refuses the feed.'
      : `Not connected for ${duration(nowMs - since)}; trying again. What you see may be old.`;
  return h('p', { class: 'banner bad', role: 'alert', 'data-testid': 'connection-banner' }, [
    h(Icon, { name: 'alert' }),
    h('span', null, [words, problem?.detail ? ` ${problem.detail}` : '']),
  ]);
}

/** What the column holds elsewhere, in one line. */
function TopBar(): VNode {
  return h('header', { class: 'top' }, [
    h('a', { class: 'brand', href: to(), 'aria-label': 'Agentic Sandbox' }, h(Mark, {})),
    h(ConnectionState, {}),
    h('span', { class: 'push' }),
    h(Button, {
      label: '',
      icon: 'search',
      tone: 'quiet',
      name: 'Go to or do',
      onClick: () => show('palette'),
    }),
    h(Tools, {}),
  ]);
}

/** On a phone the way around is under the thumb. */
function BottomBar({ route }: { route: Route }): VNode {
  return h(
    'nav',
    { class: 'bottom', 'aria-label': 'Main, for small screens' },
    places.map((place) => h(NavLink, { key: place.words, place, route })),
  );
}

function Notes(): VNode {
  const shown = useCell(notes);
  return h(
    'div',
    { class: 'notes', role: 'region', 'aria-label': 'Notes', 'aria-live': 'polite' },
    shown.map((note) =>
      h('div', { key: note.id, class: `note ${note.tone}`, 'data-testid': 'note' }, [
        h(Icon, { name: note.tone === 'good' ? 'check' : 'alert' }),
        h('div', { class: 'grow' }, [
          h('strong', null, note.title),
          note.detail ? h('p', null, note.detail) : null,
          note.remedy ? h('p', { class: 'muted' }, note.remedy) : null,
        ]),
        h(Button, {
          label: '',
          icon: 'close',
          tone: 'quiet',
          name: 'Dismiss',
          onClick: () => dismiss(note.id),
        }),
      ]),
    ),
  );
}

function OpenDialog(): VNode | null {
  const isOut = useCell(signedOut);
  const dialog = useOpenDialog();
  if (isOut) return h(SignedOutDialog, {});
  switch (dialog?.name) {
    case 'palette':
      return h(Palette, {});
    case 'help':
      return h(HelpDialog, {});
    case 'instance':
      return h(NewInstanceDialog, {});
    case 'session':
      return h(NewSessionDialog, { agent: dialog.agent });
    case 'confirm':
      return h(ConfirmDialog, { confirm: dialog.confirm });
    default:
      return null;
  }
}
