/** Go anywhere and do anything by a few letters: the palette; and the list of keys. */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { House } from '../state/house.ts';
import { agentsByName, isLive, openQuestions, tasksMatching } from '../state/readings.ts';
import { house, useCell } from '../state/store.ts';
import { typed } from './action.ts';
import { closeDialog, Dialog, show } from './dialog.ts';
import { h } from './h.ts';
import { Icon, type IconName } from './icons.ts';
import { shortcuts } from './keys.ts';
import { stateWord } from './marks.ts';
import { go, to } from './route.ts';
import { toggleTheme } from './theme.ts';

export interface Entry {
  readonly id: string;
  readonly icon: IconName;
  readonly words: string;
  readonly side: string;
  readonly run: () => void;
}

function entriesOf(known: House): Entry[] {
  const visit = (icon: IconName, words: string, side: string, hash: string): Entry => ({
    id: hash,
    icon,
    words,
    side,
    run: () => go(hash),
  });
  const live = [...known.sessions.values()].filter(isLive);
  return [
    ...openQuestions(known).map((one) =>
      visit('question', one.prompt, one.agent_id, to('questions', one.hitl_id)),
    ),
    visit('overview', 'Overview', 'go', to()),
    visit('question', 'Questions', 'go', to('questions')),
    visit('tasks', 'Tasks', 'go', to('tasks')),
    visit('instances', 'Instances', 'go', to('instances')),
    visit('events', 'Events', 'go', to('events')),
    visit('plus', 'New task', 'do', to('tasks', 'new')),
    { id: 'new-terminal', icon: 'terminal', words: 'New terminal', side: 'do', run: () => show('session') },
    {
      id: 'new-instance',
      icon: 'instances',
      words: 'Create instance',
      side: 'do',
      run: () => show('instance'),
    },
    { id: 'theme', icon: 'moon', words: 'Switch between light and dark', side: 'do', run: toggleTheme },
    { id: 'keys', icon: 'keyboard', words: 'Keyboard shortcuts', side: 'do', run: () => show('help') },
    ...agentsByName(known).map((one) =>
      visit('instances', one.id, `agent · ${one.state}`, to('agents', one.id)),
    ),
    ...live.map((one) =>
      visit(
        'terminal',
        `${one.session_name} on ${one.agent_id}`,
        one.command,
        to('sessions', one.session_id),
      ),
    ),
    ...tasksMatching(known, { group: 'all', words: '' }).map((one) =>
      visit('tasks', one.name, `task · ${stateWord(one.state)}`, to('tasks', one.id)),
    ),
  ];
}

/** Every word typed must occur; what starts with the first comes first. */
export function matching(entries: readonly Entry[], text: string): Entry[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const first = words[0] ?? '';
  return entries
    .filter((entry) => words.every((word) => `${entry.words} ${entry.side}`.toLowerCase().includes(word)))
    .sort(
      (a, b) =>
        Number(b.words.toLowerCase().startsWith(first)) - Number(a.words.toLowerCase().startsWith(first)),
    )
    .slice(0, 12);
}

export function Palette(): VNode {
  const known = useCell(house);
  const [text, setText] = useState('');
  const [place, setPlace] = useState(0);
  const found = matching(entriesOf(known), text);
  const at = Math.min(place, Math.max(0, found.length - 1));
  const choose = (entry: Entry | undefined) => {
    closeDialog();
    entry?.run();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step !== 0) setPlace((at + step + found.length) % Math.max(1, found.length));
    else if (event.key === 'Enter') choose(found[at]);
    else return;
    event.preventDefault();
  };
  const onInput = (event: Event) => {
    setText(typed(event));
    setPlace(0);
  };
  return h(
    Dialog,
    { title: 'Go to or do', onClose: closeDialog, isBare: true, testId: 'palette' },
    h('div', { class: 'palette', onKeyDown }, [
      h('div', { class: 'palette-field' }, [
        h(Icon, { name: 'search' }),
        h('input', {
          value: text,
          onInput,
          placeholder: 'Go to or do…',
          autofocus: true,
          role: 'combobox',
          'aria-expanded': true,
          'aria-controls': 'palette-list',
          'aria-activedescendant': `entry-${at}`,
          'aria-label': 'Go to or do',
          spellcheck: false,
          'data-testid': 'palette-input',
        }),
      ]),
      h(
        'ul',
        { id: 'palette-list', role: 'listbox', 'aria-label': 'Matches' },
        found.map((entry, index) =>
          h(
            'li',
            {
              key: entry.id,
              id: `entry-${index}`,
              role: 'option',
              'aria-selected': index === at,
              onClick: () => choose(entry),
              onMouseMove: () => setPlace(index),
            },
            [
              h(Icon, { name: entry.icon }),
              h('span', { class: 'ellipsis grow' }, entry.words),
              h('span', { class: 'muted ellipsis' }, entry.side),
            ],
          ),
        ),
      ),
      found.length === 0 ? h('p', { class: 'muted palette-none' }, 'Nothing matches.') : null,
    ]),
  );
}

export function HelpDialog(): VNode {
  const all = [
    { keys: 'Ctrl K', words: 'Go to or do anything' },
    ...shortcuts,
    { keys: 'Ctrl Enter', words: 'Submit the task you write' },
    { keys: 'Shift Esc', words: 'Leave a terminal you control' },
  ];
  return h(
    Dialog,
    { title: 'Keyboard', onClose: closeDialog, testId: 'help' },
    h(
      'dl',
      { class: 'keys' },
      all.map(({ keys, words }) =>
        h('div', { key: keys }, [
          h(
            'dt',
            null,
            keys.split(' ').map((key) => h('kbd', { key }, key)),
          ),
          h('dd', null, words),
        ]),
      ),
    ),
  );
}
