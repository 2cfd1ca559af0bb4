/**
 * The agent client inside an instance, seen through its link.
 *
 *     awaited ──link.up──▶ provisioning ──ready──▶ ready ⇄ busy (reserved by a task)
 *                                                   │ heartbeat.missed ⇄ seen
 *     disconnected ◀── link.lost ── any of these    ▼
 *          └── link.up ──▶ …                      stale           removed ──▶ gone
 *
 * Owns what the agent said of itself and who has reserved it. One task at a time [P1]. Heartbeats and metrics
 * are telemetry and never come here; what they mean does.
 */
import { assign, type SnapshotFrom, setup } from 'xstate';
import type { SystemFacts } from '../agent-link.ts';
import type { AgentId, SessionId, TaskId } from '../ids.ts';
import type { RuntimeKind } from '../runtime.ts';
import type { AgentView } from '../views.ts';
import { houseActions, type Told } from './port.ts';
import { type Days, type ModelUsed, spendOn } from './spending.ts';

// ── Types ───────────────────────────────────────────────────────────────────

export interface AgentInput {
  readonly id: AgentId;
  readonly instanceId: string;
  /** Null for an agent that connected without an instance of ours. */
  readonly runtime: RuntimeKind | null;
  readonly loadout: string | null;
  readonly profile: string | null;
  readonly createdAt: number;
}

export interface AgentFacts {
  readonly instanceId: string;
  readonly hostname: string;
  readonly ipAddress: string;
  readonly profile: string | null;
  readonly loadout: string | null;
  readonly system: SystemFacts | null;
  readonly frameworks: readonly { readonly name: string; readonly providers: readonly string[] }[];
  readonly features: readonly string[];
}

export interface AgentContext extends AgentInput {
  readonly facts: AgentFacts | null;
  readonly setup: string | null;
  readonly isSetUp: boolean;
  readonly task: TaskId | null;
  readonly connectedAt: number | null;
  readonly reason: string | null;
  /** What models cost that were used from it. Absent until one was. */
  readonly days?: Days;
}

export interface SettledSessions {
  /** It runs them and nobody here knew them: they are ours now. */
  readonly adopted: readonly SessionId[];
  /** It runs them and they are over here, or are not wanted: it was told to end them. */
  readonly ended: readonly SessionId[];
  /** It does not run them any more, and has not said how they ended. */
  readonly lost: readonly SessionId[];
}

export type AgentEvent =
  | (Told & { readonly type: 'link.up'; readonly facts: AgentFacts; readonly isSetUp: boolean })
  | (Told & { readonly type: 'link.lost'; readonly reason: string })
  /** The set-up inside the instance went on; `isSetUp` when it is through. */
  | (Told & { readonly type: 'setup.moved'; readonly setup: string; readonly isSetUp: boolean })
  | (Told & { readonly type: 'heartbeat.missed' })
  | (Told & { readonly type: 'heartbeat.seen' })
  | (Told & { readonly type: 'reserve'; readonly task: TaskId })
  | (Told & { readonly type: 'release'; readonly task: TaskId })
  /** What became of sessions that only one side knew when it came back. Told only when there were any. */
  | (Told & { readonly type: 'sessions.settled' } & SettledSessions)
  | ModelUsed
  | (Told & { readonly type: 'instance.stopped' })
  | (Told & { readonly type: 'remove' });

// ── Machine ─────────────────────────────────────────────────────────────────

export const agentMachine = setup({
  types: {
    input: {} as AgentInput,
    context: {} as AgentContext,
    events: {} as AgentEvent,
  },
  guards: {
    isSetUp: (_, p: { isSetUp: boolean }) => p.isSetUp,
    isNotSetUp: (_, p: { isSetUp: boolean }) => !p.isSetUp,
    isReserved: ({ context }) => context.task !== null,
    isFree: ({ context }) => context.task === null,
    isItsTask: ({ context }, p: { task: TaskId }) => context.task === p.task,
  },
  actions: {
    ...houseActions,
    keepFacts: assign((_, p: { facts: AgentFacts; isSetUp: boolean; at: number }) => ({
      facts: p.facts,
      isSetUp: p.isSetUp,
      connectedAt: p.at,
      reason: null,
    })),
    keepSetup: assign((_, p: { setup: string; isSetUp: boolean }) => p),
    keepReason: assign((_, p: { reason: string }) => p),
    keepTask: assign((_, p: { task: TaskId | null }) => p),
    keepUse: assign(({ context }, p: { used: ModelUsed }) => ({ days: spendOn(context.days, p.used) })),
  },
}).createMachine({
  id: 'agent',
  context: ({ input }) => ({
    ...input,
    facts: null,
    setup: null,
    isSetUp: false,
    task: null,
    connectedAt: null,
    reason: null,
  }),
  initial: 'awaited',
  on: {
    'link.up': [
      {
        guard: { type: 'isSetUp', params: ({ event }) => ({ isSetUp: event.isSetUp }) },
        target: '.ready',
        actions: {
          type: 'keepFacts',
          params: ({ event }) => ({ facts: event.facts, isSetUp: event.isSetUp, at: event.at }),
        },
      },
      {
        target: '.provisioning',
        actions: {
          type: 'keepFacts',
          params: ({ event }) => ({ facts: event.facts, isSetUp: event.isSetUp, at: event.at }),
        },
      },
    ],
    'link.lost': {
      target: '.disconnected',
      actions: { type: 'keepReason', params: ({ event }) => ({ reason: event.reason }) },
    },
    'sessions.settled': {},
    'model.used': { actions: { type: 'keepUse', params: ({ event }) => ({ used: event }) } },
    'instance.stopped': '.awaited',
    remove: '.gone',
    release: {
      guard: { type: 'isItsTask', params: ({ event }) => ({ task: event.task }) },
      actions: { type: 'keepTask', params: { task: null } },
    },
  },
  states: {
    awaited: {},
    provisioning: {
      on: {
        'setup.moved': [
          {
            guard: { type: 'isSetUp', params: ({ event }) => ({ isSetUp: event.isSetUp }) },
            target: 'ready',
            actions: { type: 'keepSetup', params: ({ event: { setup, isSetUp } }) => ({ setup, isSetUp }) },
          },
          { actions: { type: 'keepSetup', params: ({ event: { setup, isSetUp } }) => ({ setup, isSetUp }) } },
        ],
      },
    },
    ready: {
      always: { guard: 'isReserved', target: 'busy' },
      on: {
        reserve: {
          guard: 'isFree',
          target: 'busy',
          actions: { type: 'keepTask', params: ({ event }) => ({ task: event.task }) },
        },
        'heartbeat.missed': 'stale',
        'setup.moved': {
          guard: { type: 'isNotSetUp', params: ({ event }) => ({ isSetUp: event.isSetUp }) },
          target: 'provisioning',
          actions: { type: 'keepSetup', params: ({ event: { setup, isSetUp } }) => ({ setup, isSetUp }) },
        },
      },
    },
    busy: {
      on: {
        release: {
          guard: { type: 'isItsTask', params: ({ event }) => ({ task: event.task }) },
          target: 'ready',
          actions: { type: 'keepTask', params: { task: null } },
        },
        'heartbeat.missed': 'stale',
      },
    },
    stale: { on: { 'heartbeat.seen': 'ready' } },
    disconnected: {},
    gone: { type: 'final' },
  },
});

// ── View ────────────────────────────────────────────────────────────────────

const words: Readonly<Record<AgentView['state'], string>> = {
  awaited: 'Starting',
  provisioning: 'Provisioning',
  ready: 'Ready',
  busy: 'Busy',
  stale: 'Stale',
  disconnected: 'Disconnected',
  gone: 'ShuttingDown',
};

export function agentView({ value, context: c }: SnapshotFrom<typeof agentMachine>): AgentView {
  const state = value as AgentView['state'];
  const { facts } = c;
  return {
    id: c.id,
    instance_id: facts?.instanceId || c.instanceId,
    hostname: facts?.hostname ?? '',
    ip_address: facts?.ipAddress ?? '',
    profile: facts?.profile ?? c.profile,
    loadout: facts?.loadout ?? c.loadout,
    status: words[state],
    state,
    setup_status: c.setup,
    setup_progress_json: null,
    connected_at: c.connectedAt,
    last_heartbeat: null,
    metrics: null,
    system_info: facts?.system
      ? {
          os: facts.system.os,
          kernel: facts.system.kernel,
          cpu_cores: facts.system.cpuCores,
          memory_bytes: facts.system.memoryBytes,
          disk_bytes: facts.system.diskBytes,
        }
      : null,
    aiwg_frameworks: (facts?.frameworks ?? []).map(({ name, providers }) => ({
      name,
      providers: [...providers],
    })),
    runtime: c.runtime,
    task_id: c.task,
    sessions: 0,
    proof: null,
  };
}
