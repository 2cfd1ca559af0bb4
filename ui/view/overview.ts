/** The first view: who is there, how they do, and every live terminal at once. */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { agentsByName, isLive, isOver, openQuestions, sessionsInOrder } from '../state/readings.ts';
import { house, useCell } from '../state/store.ts';
import { AgentCard } from './agent-card.ts';
import { show } from './dialog.ts';
import { h } from './h.ts';
import { Button, Empty, loading, Snippet } from './marks.ts';
import { Page } from './page.ts';
import { go, setQuery, to, useRoute } from './route.ts';
import { TerminalView } from './terminal.ts';

export function OverviewPage(): VNode {
  const known = useCell(house);
  const agents = agentsByName(known);
  return h(
    Page,
    {
      title: 'Overview',
      testId: 'page-overview',
      sub: known.isLoaded ? h(Counts, {}) : null,
      actions: [
        h(Button, {
          label: 'New terminal',
          icon: 'terminal',
          onClick: () => show('session'),
          needs: 'operator',
          isDisabled: agents.length === 0,
          testId: 'new-terminal',
        }),
        h(Button, {
          label: 'New task',
          icon: 'plus',
          tone: 'primary',
          onClick: () => go(to('tasks', 'new')),
          needs: 'operator',
          testId: 'new-task',
        }),
      ],
    },
    known.isLoaded ? null : loading('agents'),
    known.isLoaded && agents.length === 0 ? h(FirstStep, {}) : null,
    agents.length > 0
      ? h('section', { class: 'block', 'aria-label': 'Agents' }, [
          h(
            'div',
            { class: 'cards' },
            agents.map((agent) => h(AgentCard, { key: agent.id, agent })),
          ),
        ])
      : null,
    known.isLoaded && agents.length > 0 ? h(Terminals, {}) : null,
  );
}

function Counts(): VNode {
  const known = useCell(house);
  const agents = [...known.agents.values()];
  const active = [...known.tasks.values()].filter((task) => !isOver(task)).length;
  const parts: readonly (readonly [number, string, string])[] = [
    [
      agents.filter((agent) => agent.state === 'ready' || agent.state === 'busy').length,
      `of ${agents.length} agents ready`,
      to('instances'),
    ],
    [[...known.sessions.values()].filter(isLive).length, 'live sessions', to()],
    [active, 'active tasks', to('tasks')],
    [openQuestions(known).length, 'open questions', to('questions')],
  ];
  return h(
    'p',
    { class: 'counts' },
    parts.map(([count, words, href]) =>
      h('a', { key: words, href }, [h('strong', null, String(count)), ` ${words}`]),
    ),
  );
}

function FirstStep(): VNode {
  return h(
    Empty,
    { title: 'No agent yet. Make an instance; its agent reports in by itself.', testId: 'overview-empty' },
    [
      h(Button, {
        label: 'Create instance',
        icon: 'plus',
        tone: 'primary',
        needs: 'operator',
        onClick: () => show('instance'),
      }),
      h('p', null, 'or from a shell:'),
      h(Snippet, {
        name: 'the request',
        text: `curl -X POST ${location.origin}/api/v1/instances -H 'content-type: application/json' -d '{"name":"agent-1"}'`,
      }),
    ],
  );
}

const sizes = { s: 'Small', m: 'Medium', l: 'Large' } as const;
type Size = keyof typeof sizes;

function isSize(value: string | null): value is Size {
  return value !== null && value in sizes;
}

function Terminals(): VNode {
  const known = useCell(house);
  const { query } = useRoute();
  const remembered = localStorage.getItem('agentic.grid');
  const [size, setSize] = useState<Size>(isSize(remembered) ? remembered : 'm');
  const agent = query.get('agent') ?? '';
  const live = sessionsInOrder(known, agent === '' ? undefined : agent).filter((session) => isLive(session));
  const choose = (next: Size) => {
    localStorage.setItem('agentic.grid', next);
    setSize(next);
  };
  return h('section', { class: 'block', 'aria-labelledby': 'terminals' }, [
    h('header', { class: 'block-head' }, [
      h('h2', { id: 'terminals' }, 'Live terminals'),
      h('span', { class: 'muted' }, String(live.length)),
      h('span', { class: 'push' }),
      h(
        'select',
        { value: agent, onChange: onAgent, 'aria-label': 'Terminals of', 'data-testid': 'grid-agent' },
        [
          h('option', { key: '', value: '' }, 'All agents'),
          ...agentsByName(known).map((one) => h('option', { key: one.id, value: one.id }, one.id)),
        ],
      ),
      h(
        'div',
        { class: 'segmented', role: 'group', 'aria-label': 'Size of the terminals' },
        (Object.keys(sizes) as Size[]).map((one) =>
          h(
            'button',
            {
              key: one,
              type: 'button',
              'aria-pressed': one === size,
              onClick: () => choose(one),
              title: sizes[one],
              'aria-label': sizes[one],
            },
            one.toUpperCase(),
          ),
        ),
      ),
    ]),
    live.length === 0
      ? h(
          Empty,
          { title: 'No terminal is open.' },
          h(Button, {
            label: 'New terminal',
            icon: 'terminal',
            needs: 'operator',
            onClick: () => show('session'),
          }),
        )
      : h(
          'div',
          { class: `grid size-${size}`, 'data-testid': 'terminal-grid-all' },
          live.map((session) => h(TerminalView, { key: session.session_id, session, isTile: true })),
        ),
  ]);
}

function onAgent(event: Event): void {
  if (event.currentTarget instanceof HTMLSelectElement) setQuery('agent', event.currentTarget.value);
}
