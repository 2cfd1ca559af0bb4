/** The feed of everything that happens, newest first, live; each entry opens to what it carried. */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { EventView } from '../../src/views.ts';
import { actorId, actorKind } from '../state/house.ts';
import { eventsMatching } from '../state/readings.ts';
import { house, useCell } from '../state/store.ts';
import { clockTime, shortId } from '../words.ts';
import { typed } from './action.ts';
import { h } from './h.ts';
import { Button, Empty, loading, Snippet, State } from './marks.ts';
import { Page } from './page.ts';
import { setQuery, to, useRoute } from './route.ts';

const kinds = ['task', 'hitl', 'session', 'agent', 'instance'] as const;
const kindWords: Readonly<Record<string, string>> = {
  task: 'Tasks',
  hitl: 'Questions',
  session: 'Sessions',
  agent: 'Agents',
  instance: 'Instances',
};
const pages: Readonly<Record<string, string>> = {
  task: 'tasks',
  hitl: 'questions',
  session: 'sessions',
  agent: 'agents',
  instance: 'agents',
};

export function EventsPage(): VNode {
  const known = useCell(house);
  const { query } = useRoute();
  const [held, setHeld] = useState<readonly EventView[] | null>(null);
  const chosen = new Set((query.get('kind') ?? '').split(',').filter((kind) => kind !== ''));
  const words = query.get('q') ?? '';
  const events = eventsMatching(held ?? known.events, { kinds: chosen, words });
  const toggle = (kind: string) => {
    const next = new Set(chosen);
    if (!next.delete(kind)) next.add(kind);
    setQuery('kind', [...next].join(','));
  };
  const newer = held ? (known.events.at(-1)?.id ?? 0) - (held.at(-1)?.id ?? 0) : 0;
  return h(
    Page,
    {
      title: 'Events',
      testId: 'page-events',
      actions: h(Button, {
        label: held ? `Resume${newer > 0 ? ' (new)' : ''}` : 'Pause',
        icon: held ? 'play' : 'stop',
        onClick: () => setHeld(held ? null : known.events),
        testId: 'events-pause',
      }),
    },
    h('div', { class: 'filters' }, [
      h(
        'div',
        { class: 'chips', role: 'group', 'aria-label': 'Which events' },
        kinds.map((kind) =>
          h(
            'button',
            {
              key: kind,
              type: 'button',
              class: 'chip',
              'aria-pressed': chosen.has(kind),
              onClick: () => toggle(kind),
              'data-testid': `events-${kind}`,
            },
            kindWords[kind],
          ),
        ),
      ),
      h('input', {
        type: 'search',
        class: 'search',
        value: words,
        placeholder: 'Filter',
        'aria-label': 'Filter events by words',
        'data-filter': '',
        onInput: (event: Event) => setQuery('q', typed(event)),
      }),
    ]),
    known.isLoaded ? null : loading('events'),
    known.isLoaded && known.events.length === 0
      ? h(
          Empty,
          { title: 'Nothing has happened yet.' },
          h(Snippet, { name: 'the request', text: `curl -N ${location.origin}/api/v1/events?follow=true` }),
        )
      : null,
    known.events.length > 0 && events.length === 0 ? h(Empty, { title: 'No event matches.' }) : null,
    h(
      'ul',
      { class: 'rows events', 'data-testid': 'event-rows' },
      events.slice(0, 300).map((event) => h(Row, { key: event.id, event })),
    ),
  );
}

function Row({ event }: { event: EventView }): VNode {
  const [isOpen, setOpen] = useState(false);
  const kind = actorKind(event.actor);
  const id = actorId(event.actor);
  const view = (event.data ?? {}) as { state?: unknown; name?: unknown; prompt?: unknown; reason?: unknown };
  const words = [view.prompt ?? view.name, view.reason]
    .filter((part) => typeof part === 'string')
    .join(' · ');
  const page = pages[kind];
  return h('li', { class: 'event', 'data-testid': 'event-row', 'data-type': event.event_type }, [
    h('div', { class: 'row' }, [
      h(
        'time',
        { class: 'muted nowrap numbers', dateTime: event.timestamp, title: event.timestamp },
        clockTime(event.timestamp),
      ),
      h(
        'button',
        {
          type: 'button',
          class: 'link event-type',
          'aria-expanded': isOpen,
          onClick: () => setOpen(!isOpen),
        },
        event.event_type,
      ),
      typeof view.state === 'string' ? h(State, { state: view.state }) : null,
      page
        ? h('a', { class: 'nowrap', href: to(page, id) }, shortId(id))
        : h('span', { class: 'muted nowrap' }, event.actor),
      h('span', { class: 'ellipsis muted grow' }, words),
      h('span', { class: 'muted nowrap numbers' }, `#${event.id}`),
    ]),
    isOpen ? h(Snippet, { name: 'what it carried', text: JSON.stringify(event.data, null, 2) }) : null,
  ]);
}
