/** An agent at a glance: what it is, how it does, what it works on. */
import type { VNode } from 'preact';
import type { AgentView } from '../../src/views.ts';
import { hostWords, isLive } from '../state/readings.ts';
import { house, now, useCell } from '../state/store.ts';
import { bytes, duration, percent, plural } from '../words.ts';
import { show } from './dialog.ts';
import { h } from './h.ts';
import { Icon } from './icons.ts';
import { Ago, Button, Meter, RuntimeTag, State } from './marks.ts';
import { to } from './route.ts';

export function AgentCard({ agent }: { agent: AgentView }): VNode {
  const { sessions, tasks } = useCell(house);
  const mine = [...sessions.values()].filter((session) => session.agent_id === agent.id && isLive(session));
  const task = agent.task_id ? tasks.get(agent.task_id) : undefined;
  const asks = mine.some((session) => session.hitl_id !== null);
  return h(
    'article',
    {
      class: `card agent${asks ? ' asks' : ''}`,
      'data-testid': 'agent-card',
      'data-agent': agent.id,
      'data-state': agent.state,
    },
    h('header', { class: 'card-head' }, [
      h('a', { href: to('agents', agent.id), class: 'strong' }, agent.id),
      h(State, { state: agent.state, title: agent.setup_status }),
      agent.runtime ? h(RuntimeTag, { runtime: agent.runtime }) : null,
      h('span', { class: 'push' }),
      h(Button, {
        label: '',
        icon: 'terminal',
        tone: 'quiet',
        name: `New terminal on ${agent.id}`,
        onClick: () => show('session', agent.id),
        needs: 'operator',
        isDisabled: agent.state !== 'ready' && agent.state !== 'busy',
      }),
    ]),
    h('p', { class: 'muted ellipsis host' }, hostWords(agent)),
    h(Metrics, { agent }),
    h('footer', { class: 'card-foot' }, [
      h('span', { class: 'nowrap' }, plural(mine.length, 'session')),
      task
        ? h('a', { href: to('tasks', task.id), class: 'ellipsis' }, [
            h(Icon, { name: 'tasks', size: 14 }),
            task.name,
          ])
        : null,
      h('span', { class: 'push muted nowrap' }, [
        agent.last_heartbeat === null ? 'not seen yet' : 'seen ',
        h(Ago, { at: agent.last_heartbeat }),
      ]),
    ]),
  );
}

export function Metrics({ agent }: { agent: AgentView }): VNode {
  const { metrics } = agent;
  if (!metrics) return h('p', { class: 'muted metrics-none' }, 'No measurements yet.');
  const memory = `${bytes(metrics.memory_used_bytes)} / ${bytes(metrics.memory_total_bytes)}`;
  const disk = `${bytes(metrics.disk_used_bytes)} / ${bytes(metrics.disk_total_bytes)}`;
  return h('div', { class: 'meters' }, [
    h(Meter, {
      label: 'CPU',
      part: Math.min(100, metrics.cpu_percent),
      text: `${metrics.cpu_percent.toFixed(0)}%`,
    }),
    h(Meter, {
      label: 'Memory',
      part: percent(metrics.memory_used_bytes, metrics.memory_total_bytes),
      text: memory,
    }),
    h(Meter, { label: 'Disk', part: percent(metrics.disk_used_bytes, metrics.disk_total_bytes), text: disk }),
  ]);
}

export function LoadWords({ agent }: { agent: AgentView }): VNode | null {
  const nowMs = useCell(now);
  const { metrics, connected_at } = agent;
  if (!metrics) return null;
  const parts = [
    metrics.load_avg.length > 0 ? `load ${metrics.load_avg.map((load) => load.toFixed(2)).join(' ')}` : '',
    metrics.uptime_seconds > 0 ? `host up ${duration(metrics.uptime_seconds * 1000)}` : '',
    connected_at === null ? '' : `connected ${duration(nowMs - connected_at)}`,
  ];
  return h('span', { class: 'muted' }, parts.filter((part) => part !== '').join(' · '));
}
