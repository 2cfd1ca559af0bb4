/** One agent: its host, its measurements, its instance and everything it runs. */
import type { VNode } from 'preact';
import type { AgentView, InstanceView } from '../../src/views.ts';
import { hostWords } from '../state/readings.ts';
import { house, useCell } from '../state/store.ts';
import { proofWords } from '../state/walls.ts';
import { bytes, shortId } from '../words.ts';
import { LoadWords, Metrics } from './agent-card.ts';
import { show } from './dialog.ts';
import { Files } from './files.ts';
import { h } from './h.ts';
import { InstanceActions } from './instances.ts';
import { Ago, Button, Copy, Empty, Fact, loading, RuntimeTag, State } from './marks.ts';
import { Back, Page } from './page.ts';
import { to, useRoute } from './route.ts';
import { SessionRows } from './sessions.ts';
import { AgentSpending } from './spending.ts';
import { Walls } from './walls.ts';

export function AgentPage(): VNode {
  const known = useCell(house);
  const { path } = useRoute();
  const id = path[1] ?? '';
  const agent = known.agents.get(id);
  const instance = known.instances.get(id);
  if (!agent && !instance) {
    const nothing = h(
      Empty,
      { title: `There is no agent ${id}.` },
      h('a', { href: to('instances') }, 'See the instances'),
    );
    return h(Page, { title: id, testId: 'page-agent' }, known.isLoaded ? nothing : loading('the agent'));
  }
  const isReady = agent?.state === 'ready' || agent?.state === 'busy';
  return h(
    Page,
    {
      title: id,
      heading: [h(Back, { href: to(), label: 'Agents' }), id],
      sub: h('p', { class: 'counts' }, [
        agent ? h(State, { state: agent.state }) : null,
        agent ? h('span', null, hostWords(agent)) : null,
      ]),
      actions: [
        instance ? h(InstanceActions, { instance }) : null,
        h(Button, {
          label: 'New terminal',
          icon: 'terminal',
          tone: 'primary',
          isDisabled: !isReady,
          onClick: () => show('session', id),
          needs: 'operator',
          testId: 'new-terminal',
        }),
      ],
      testId: 'page-agent',
    },
    h('div', { class: 'cards two' }, [
      agent ? h(Host, { agent }) : null,
      instance ? h(Place, { instance }) : null,
      instance ? h(Walls, { instance }) : null,
      h(AgentSpending, { key: id, agent: id }),
    ]),
    h('section', { class: 'block', 'aria-labelledby': 'sessions' }, [
      h('h2', { id: 'sessions' }, 'Sessions'),
      h(SessionRows, { agent: id }),
    ]),
    instance ? h(Files, { key: instance.instance_id, instance: id }) : null,
  );
}

function Host({ agent }: { agent: AgentView }): VNode {
  const facts = agent.system_info;
  return h('article', { class: 'card' }, [
    h('header', { class: 'card-head' }, [h('strong', null, 'Agent'), h(LoadWords, { agent })]),
    h(Metrics, { agent }),
    h('dl', { class: 'facts' }, [
      facts ? h(Fact, { name: 'System' }, `${facts.os}, ${facts.kernel}`) : null,
      facts
        ? h(
            Fact,
            { name: 'Size' },
            `${facts.cpu_cores} cores, ${bytes(facts.memory_bytes)} memory, ${bytes(facts.disk_bytes)} disk`,
          )
        : null,
      h(
        Fact,
        { name: 'Heartbeat' },
        agent.last_heartbeat === null ? 'none yet' : h(Ago, { at: agent.last_heartbeat }),
      ),
      h(Proved, { agent }),
      agent.setup_status ? h(Fact, { name: 'Set-up' }, agent.setup_status) : null,
    ]),
  ]);
}

function Proved({ agent: { proof } }: { agent: AgentView }): VNode {
  return h(Fact, { name: 'Proved by' }, [
    h('span', { 'data-testid': 'proof' }, proofWords(proof)),
    proof?.serial ? h('code', { class: 'muted', title: 'its serial number' }, shortId(proof.serial)) : null,
    proof?.serial ? h(Copy, { text: proof.serial, name: 'the serial number' }) : null,
    proof?.not_after
      ? h('span', { class: 'muted' }, `until ${new Date(proof.not_after).toLocaleString()}`)
      : null,
  ]);
}

function Place({ instance }: { instance: InstanceView }): VNode {
  const { tasks } = useCell(house);
  const labels = Object.entries(instance.labels);
  return h('article', { class: 'card' }, [
    h('header', { class: 'card-head' }, [
      h('strong', null, 'Instance'),
      h(State, { state: instance.state }),
      h(RuntimeTag, { runtime: instance.runtime }),
    ]),
    instance.failure ? h('p', { class: 'bad' }, instance.failure.message) : null,
    instance.reason ? h('p', { class: 'muted' }, instance.reason) : null,
    h('dl', { class: 'facts' }, [
      h(Fact, { name: 'Id' }, [
        h('code', { class: 'ellipsis' }, instance.instance_id),
        h(Copy, { text: instance.instance_id, name: 'the id' }),
      ]),
      h(Fact, { name: 'Created' }, h(Ago, { at: instance.created_at })),
      h(Fact, { name: 'Works in' }, h('code', null, instance.working_dir ?? 'its own directory')),
      h(Fact, { name: 'Restarts' }, `${instance.restarts_total}, ${instance.crashes} recent crashes`),
      instance.loadout ? h(Fact, { name: 'Loadout' }, instance.loadout) : null,
      instance.task_id
        ? h(
            Fact,
            { name: 'Made for' },
            h('a', { href: to('tasks', instance.task_id) }, tasks.get(instance.task_id)?.name ?? 'a task'),
          )
        : null,
      labels.length > 0
        ? h(
            Fact,
            { name: 'Labels' },
            labels.map(([key, value]) => h('span', { key, class: 'tag' }, `${key}=${value}`)),
          )
        : null,
    ]),
  ]);
}
