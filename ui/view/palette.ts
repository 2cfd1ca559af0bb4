/** Go anywhere and do anything by a few letters: the palette; and the list of keys. */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { useMay } from '../state/caller.ts';
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

/** A place to go, with the words it is found by. */
function visit({ hash, ...shown }: Omit<Entry, 'id' | 'run'> & { readonly hash: string }): Entry {
  return { ...shown, id: hash, run: () => go(hash) };
}

const places: readonly Entry[] = [
  visit({ icon: 'overview', words: 'Overview', side: 'go', hash: to() }),
  visit({ icon: 'question', words: 'Questions', side: 'go', hash: to('questions') }),
  visit({ icon: 'tasks', words: 'Tasks', side: 'go', hash: to('tasks') }),
  visit({ icon: 'instances', words: 'Instances', side: 'go', hash: to('instances') }),
  visit({ icon: 'events', words: 'Events', side: 'go', hash: to('events') }),
  { id: 'theme', icon: 'moon', words: 'Switch between light and dark', side: 'do', run: toggleTheme },
  { id: 'keys', icon: 'keyboard', words: 'Keyboard shortcuts', side: 'do', run: () => show('help') },
];

const changes: readonly Entry[] = [
  visit({ icon: 'plus', words: 'New task', side: 'do', hash: to('tasks', 'new') }),
  { id: 'new-terminal', icon: 'terminal', words: 'New terminal', side: 'do', run: () => show('session') },
  {
    id: 'new-instance',
    icon: 'instances',
    words: 'Create instance',
    side: 'do',
    run: () => show('instance'),
  },
];

function entriesOf(known: House, mayChange: boolean): Entry[] {
  const questions = openQuestions(known).map((one) => {
    const hash = to('questions', one.hitl_id);
    return visit({ icon: 'question', words: one.prompt, side: one.agent_id, hash });
  });
  const agents = agentsByName(known).map((one) => {
    return visit({
      icon: 'instances',
      words: one.id,
      side: `agent · ${one.state}`,
      hash: to('agents', one.id),
    });
  });
  const live = [...known.sessions.values()].filter(isLive).map((one) => {
    const words = `${one.session_name} on ${one.agent_id}`;
    return visit({ icon: 'terminal', words, side: one.command, hash: to('sessions', one.session_id) });
  });
  const tasks = tasksMatching(known, { group: 'all', words: '' }).map((one) => {
    const side = `task · ${stateWord(one.state)}`;
    return visit({ icon: 'tasks', words: one.name, side, hash: to('tasks', one.id) });
  });
  return [...questions, ...places, ...(mayChange ? changes : []), ...agents, ...live, ...tasks];
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
  const found = matching(entriesOf(known, useMay('operator')), text);
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
