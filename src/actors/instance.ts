/**
 * The place an agent lives in: VM, container or host process.
 *
 *     provisioning ──▶ stopped ⇄ starting ⇄ running ──▶ stopping ──▶ stopped
 *          │ failed      │          ▲ │ exited too often
 *          ▼             │  backoff └─┴──▶ crash-looping ──reset──▶ stopped
 *        failed          └── destroy, from anywhere ──▶ destroying ──▶ destroyed
 *
 * Owns the runtime's handle, so that a restarted server finds what runs [I1]. Restarts what dies by itself,
 * at most `crashesMax` times inside the window [I2] and never once it was revoked, then raises an alert and
 * waits for an operator; storage is never destroyed by policy [I3]. Knows nothing of processes.
 */
import { assign, setup } from 'xstate';
import type { FailureInfo } from '../failure.ts';
import type { TaskId } from '../ids.ts';
import type { Handle, InstanceSpec } from '../runtime.ts';
import type { AlarmInput, AlarmRang } from './alarm.ts';
import { type ChildSpec, callbackPort, houseActions, promisePort, type Told } from './port.ts';
import { judge } from './restarts.ts';

// ── Types ───────────────────────────────────────────────────────────────────

export interface InstanceInput {
  readonly spec: InstanceSpec;
  /** Start it once it is made. */
  readonly start: boolean;
  readonly task: TaskId | null;
  readonly createdAt: number;
  readonly graceMs: number;
  readonly crashes: {
    readonly max: number;
    readonly withinMs: number;
    readonly backoffMs: readonly number[];
  };
}

export interface InstanceContext extends InstanceInput {
  readonly handle: Handle | null;
  /** What is to be true once the present transition is over. */
  readonly wanted: 'running' | 'stopped' | 'made-anew';
  readonly crashTimes: readonly number[];
  readonly restartsTotal: number;
  readonly notBefore: number | null;
  readonly failure: FailureInfo | null;
  readonly reason: string | null;
  readonly changedAt: number;
  /** Whoever destroyed it asked that its storage goes too. */
  readonly removesStorage?: true;
}

/** What `watch` sends when the instance stopped running by itself. */
export interface RuntimeExited extends Told {
  readonly type: 'runtime.exited';
  readonly reason: string;
  /** Its identity was revoked: a start, which gives it a new one, is an operator's to want. */
  readonly isRevoked?: true;
}

interface Filled {
  readonly usedBytes: number;
  readonly limitBytes: number;
}

export type InstanceEvent =
  | (Told & { readonly type: 'start' })
  | (Told & { readonly type: 'stop'; readonly graceMs?: number })
  | (Told & { readonly type: 'restart'; readonly graceMs?: number })
  | (Told & { readonly type: 'reprovision' })
  | (Told & { readonly type: 'reset' })
  | (Told & { readonly type: 'destroy'; readonly removesStorage?: boolean })
  /** What the server is told to bear has changed since it was made. */
  | (Told & { readonly type: 'limits.changed'; readonly crashes: InstanceInput['crashes'] })
  /** The alert that it waits for an operator; told by the machine itself, so that it is in the log. */
  | (Told & { readonly type: 'crashes.exceeded'; readonly crashes: number; readonly reason: string | null })
  /** The alert that its storage is nearly used up, and that it is not any more. */
  | (Told & { readonly type: 'storage.high' | 'storage.relieved' } & Filled)
  | RuntimeExited
  | AlarmRang;

export const instancePorts = {
  alarm: callbackPort<AlarmRang, AlarmInput>('alarm'),
  create: promisePort<Handle, { spec: InstanceSpec; anew: boolean }>('create'),
  start: promisePort<Handle, { handle: Handle }>('start'),
  /** Looks first whether it runs, so that a restart of the server finds it or learns that it is gone. */
  watch: callbackPort<RuntimeExited, { handle: Handle }>('watch'),
  /** Ends the sessions inside, then the instance. */
  stop: promisePort<void, { handle: Handle; graceMs: number }>('stop'),
  destroy: promisePort<void, { handle: Handle | null; spec: InstanceSpec; removesStorage: boolean }>(
    'destroy',
  ),
};

// ── Machine ─────────────────────────────────────────────────────────────────

const atOf = (event: { readonly type: string }): number => (event as Told).at;

const agentSpec = (c: InstanceContext): ChildSpec => ({
  id: `agent:${c.spec.name}`,
  kind: 'agent',
  input: {
    id: c.spec.name,
    instanceId: c.spec.instanceId,
    runtime: c.spec.runtime,
    loadout: c.spec.loadout ?? null,
    profile: c.spec.profile ?? null,
    createdAt: c.createdAt,
  },
  restart: 'always',
  graceMs: c.graceMs,
  parent: `instance:${c.spec.name}`,
});

const verdictAt = (c: InstanceContext, at: number) =>
  judge({ restart: 'always', ...c.crashes }, { history: c.crashTimes, exit: 'failed', at });

export const instanceMachine = setup({
  types: {
    input: {} as InstanceInput,
    context: {} as InstanceContext,
    events: {} as InstanceEvent,
  },
  actors: instancePorts,
  guards: {
    wantsRunning: ({ context }) => context.wanted === 'running',
    wantsAnew: ({ context }) => context.wanted === 'made-anew',
    mayRestart: ({ context }, p: { at: number; isRevoked?: boolean | undefined }) =>
      p.isRevoked !== true && verdictAt(context, p.at).do === 'restart',
  },
  actions: {
    ...houseActions,
    keepHandle: assign((_, p: { handle: Handle }) => ({ handle: p.handle, failure: null, reason: null })),
    keepFailure: assign((_, p: { error: unknown }) => {
      const failure = p.error as FailureInfo;
      return { failure, reason: failure.message };
    }),
    keepReason: assign((_, p: { reason: string | null }) => p),
    want: assign((_, p: { wanted: InstanceContext['wanted']; graceMs?: number | undefined }) =>
      p.graceMs === undefined ? { wanted: p.wanted } : { wanted: p.wanted, graceMs: p.graceMs },
    ),
    countCrash: assign(({ context }, p: { at: number }) => {
      const verdict = verdictAt(context, p.at);
      if (verdict.do !== 'restart') return {};
      return {
        crashTimes: verdict.history,
        restartsTotal: context.restartsTotal + 1,
        notBefore: p.at + verdict.afterMs,
      };
    }),
    forgive: assign({ crashTimes: [], notBefore: null, failure: null, reason: null }),
    keepLimits: assign((_, p: { crashes: InstanceInput['crashes'] }) => p),
    keepWish: assign((_, p: { removesStorage?: boolean }) =>
      p.removesStorage ? { removesStorage: true as const } : {},
    ),
    keepTime: assign((_, p: { at: number }) => ({ changedAt: p.at })),
  },
}).createMachine({
  id: 'instance',
  context: ({ input }) => ({
    ...input,
    handle: null,
    wanted: input.start ? 'running' : 'stopped',
    crashTimes: [],
    restartsTotal: 0,
    notBefore: null,
    failure: null,
    reason: null,
    changedAt: input.createdAt,
  }),
  entry: { type: 'spawn', params: ({ context }) => ({ spec: agentSpec(context), at: context.createdAt }) },
  exit: {
    type: 'tell',
    params: ({ context, event }) => ({
      to: `agent:${context.spec.name}`,
      event: { type: 'remove', at: atOf(event) } as Told,
    }),
  },
  initial: 'provisioning',
  on: {
    destroy: { target: '.destroying', actions: { type: 'keepWish', params: ({ event }) => event } },
    'storage.high': {},
    'storage.relieved': {},
    'limits.changed': {
      actions: { type: 'keepLimits', params: ({ event }) => ({ crashes: event.crashes }) },
    },
  },
  states: {
    provisioning: {
      entry: { type: 'keepTime', params: ({ context, event }) => ({ at: atOf(event) ?? context.createdAt }) },
      invoke: {
        id: 'create',
        src: 'create',
        input: ({ context }) => ({ spec: context.spec, anew: context.wanted === 'made-anew' }),
        onDone: {
          target: 'stopped',
          actions: [
            { type: 'keepHandle', params: ({ event }) => ({ handle: event.output }) },
            {
              type: 'want',
              params: ({ context }) => ({ wanted: context.wanted === 'stopped' ? 'stopped' : 'running' }),
            },
          ],
        },
        onError: {
          target: 'failed',
          actions: { type: 'keepFailure', params: ({ event }) => ({ error: event.error }) },
        },
      },
      on: { stop: { actions: { type: 'want', params: { wanted: 'stopped' } } } },
    },
    stopped: {
      entry: { type: 'keepTime', params: ({ event }) => ({ at: atOf(event) }) },
      always: [
        { guard: 'wantsAnew', target: 'provisioning' },
        { guard: 'wantsRunning', target: 'starting' },
      ],
      on: {
        start: { target: 'starting', actions: { type: 'want', params: { wanted: 'running' } } },
        restart: { target: 'starting', actions: { type: 'want', params: { wanted: 'running' } } },
        reprovision: { target: 'provisioning', actions: { type: 'want', params: { wanted: 'made-anew' } } },
      },
    },
    starting: {
      entry: { type: 'keepTime', params: ({ event }) => ({ at: atOf(event) }) },
      initial: 'waiting',
      states: {
        waiting: {
          invoke: { id: 'alarm', src: 'alarm', input: ({ context }) => ({ at: context.notBefore ?? 0 }) },
          on: { 'alarm.rang': 'launching' },
        },
        launching: {
          invoke: {
            id: 'start',
            src: 'start',
            input: ({ context }) => ({ handle: context.handle as Handle }),
            onDone: {
              target: '#instance.running',
              actions: { type: 'keepHandle', params: ({ event }) => ({ handle: event.output }) },
            },
            onError: [
              {
                guard: { type: 'mayRestart', params: ({ event }) => ({ at: atOf(event) }) },
                target: 'waiting',
                actions: [
                  { type: 'countCrash', params: ({ event }) => ({ at: atOf(event) }) },
                  { type: 'keepFailure', params: ({ event }) => ({ error: event.error }) },
                ],
              },
              {
                target: '#instance.crash-looping',
                actions: { type: 'keepFailure', params: ({ event }) => ({ error: event.error }) },
              },
            ],
          },
        },
      },
      on: {
        stop: {
          target: 'stopping',
          actions: { type: 'want', params: ({ event }) => ({ wanted: 'stopped', graceMs: event.graceMs }) },
        },
        // What it is started from may be gone for good.
        reprovision: { target: 'stopping', actions: { type: 'want', params: { wanted: 'made-anew' } } },
      },
    },
    running: {
      entry: { type: 'keepTime', params: ({ event }) => ({ at: atOf(event) }) },
      invoke: { id: 'watch', src: 'watch', input: ({ context }) => ({ handle: context.handle as Handle }) },
      on: {
        stop: {
          target: 'stopping',
          actions: { type: 'want', params: ({ event }) => ({ wanted: 'stopped', graceMs: event.graceMs }) },
        },
        restart: {
          target: 'stopping',
          actions: { type: 'want', params: ({ event }) => ({ wanted: 'running', graceMs: event.graceMs }) },
        },
        reprovision: {
          target: 'stopping',
          actions: { type: 'want', params: { wanted: 'made-anew' } },
        },
        'runtime.exited': [
          {
            guard: { type: 'mayRestart', params: ({ event }) => event },
            target: 'starting',
            actions: [
              { type: 'countCrash', params: ({ event }) => ({ at: event.at }) },
              { type: 'keepReason', params: ({ event }) => ({ reason: event.reason }) },
            ],
          },
          {
            target: 'crash-looping',
            actions: { type: 'keepReason', params: ({ event }) => ({ reason: event.reason }) },
          },
        ],
      },
    },
    stopping: {
      entry: { type: 'keepTime', params: ({ event }) => ({ at: atOf(event) }) },
      invoke: {
        id: 'stop',
        src: 'stop',
        input: ({ context }) => ({ handle: context.handle as Handle, graceMs: context.graceMs }),
        onDone: {
          target: 'stopped',
          actions: {
            type: 'tell',
            params: ({ context, event }) => ({
              to: `agent:${context.spec.name}`,
              event: { type: 'instance.stopped', at: atOf(event) } as Told,
            }),
          },
        },
        onError: {
          target: 'failed',
          actions: { type: 'keepFailure', params: ({ event }) => ({ error: event.error }) },
        },
      },
      on: {
        start: { actions: { type: 'want', params: { wanted: 'running' } } },
      },
    },
    failed: {
      entry: { type: 'keepTime', params: ({ event }) => ({ at: atOf(event) }) },
      on: {
        reset: {
          target: 'provisioning',
          actions: ['forgive', { type: 'want', params: { wanted: 'stopped' } }],
        },
        start: {
          target: 'provisioning',
          actions: ['forgive', { type: 'want', params: { wanted: 'running' } }],
        },
        reprovision: {
          target: 'provisioning',
          actions: ['forgive', { type: 'want', params: { wanted: 'made-anew' } }],
        },
      },
    },
    'crash-looping': {
      entry: [
        { type: 'keepTime', params: ({ event }) => ({ at: atOf(event) }) },
        {
          type: 'tell',
          params: ({ context: c, event }) => ({
            to: `instance:${c.spec.name}`,
            event: {
              type: 'crashes.exceeded',
              at: atOf(event),
              crashes: c.crashTimes.length + 1,
              reason: c.reason,
            } as Told,
          }),
        },
      ],
      on: {
        'crashes.exceeded': {},
        reset: { target: 'stopped', actions: ['forgive', { type: 'want', params: { wanted: 'stopped' } }] },
        reprovision: {
          target: 'provisioning',
          actions: ['forgive', { type: 'want', params: { wanted: 'made-anew' } }],
        },
      },
    },
    destroying: {
      entry: { type: 'keepTime', params: ({ event }) => ({ at: atOf(event) }) },
      invoke: {
        id: 'destroy',
        src: 'destroy',
        input: ({ context: { handle, spec, removesStorage = false } }) => ({ handle, spec, removesStorage }),
        onDone: 'destroyed',
        onError: {
          target: 'failed',
          actions: { type: 'keepFailure', params: ({ event }) => ({ error: event.error }) },
        },
      },
      on: { destroy: {} },
    },
    destroyed: { type: 'final', entry: { type: 'keepTime', params: ({ event }) => ({ at: atOf(event) }) } },
  },
});
