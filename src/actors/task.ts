/**
 * One piece of work with a manifest, to its end.
 *
 *     pending ─▶ staging ─▶ provisioning ─▶ ready ─▶ running (working ⇄ waiting) ─▶ completing ─▶ winding-up
 *        ▲                                              cancel, deadline, hang, session ended ▲        │
 *        └───────────────── another attempt, after its backoff ◀───────────────────────────────────────┤
 *                                            completed | failed | failed-preserved | cancelled ◀───────┘
 *
 * Owns the attempt, its session, its outcome and when it must be over. Whatever was made is released in
 * `winding-up`, however the task ends [L1]; cancel works in every state [L2]; the first verdict stands [L3].
 * Knows nothing of git, tools or files.
 */
import { assign, setup } from 'xstate';
import { type FailureInfo, failures } from '../failure.ts';
import type { HitlId } from '../ids.ts';
import type { Budget } from '../spending.ts';
import { houseActions, type Told } from './port.ts';
import { type ModelUsed, spend, toAgent } from './spending.ts';
import {
  type Collected,
  noTally,
  type OfTask,
  type Place,
  type Run,
  type Staged,
  type TaskContext,
  type TaskEvent,
  type TaskInput,
  taskPorts,
  type Verdict,
} from './task-ports.ts';

// ── Machine ─────────────────────────────────────────────────────────────────

const atOf = (event: { readonly type: string }): number => (event as Told).at;
const ofTask = ({ id, attempt, manifest }: TaskContext): OfTask => ({ task: id, attempt, manifest });
const asFailure = (p: { error: unknown }) => p.error as FailureInfo;

const mayRetry = (c: TaskContext): boolean =>
  c.verdict === 'failed' && c.attempt <= c.retries && (c.failure === null || failures[c.failure.code].retry);

const timedOut = (c: TaskContext): FailureInfo => ({
  code: 'timed-out',
  message: `the task ran longer than its timeout of ${Math.round(c.timeoutMs / 1000)} s; raise lifecycle.timeout`,
});

const hung = (message: string): FailureInfo => ({ code: 'timed-out', message });

export const taskMachine = setup({
  types: {
    input: {} as TaskInput,
    context: {} as TaskContext,
    events: {} as TaskEvent,
  },
  actors: taskPorts,
  guards: {
    isFatal: (_, p: { fatal: boolean }) => p.fatal,
    isCancelled: ({ context }) => context.verdict === 'cancelled',
    isCompleted: ({ context }) => context.verdict === 'completed',
    mayRetry: ({ context }) => mayRetry(context),
    keepsInstance: ({ context }) => context.preserve && (context.place?.made ?? false),
    hasRun: ({ context }) => context.run !== null,
  },
  actions: {
    ...houseActions,
    keepTime: assign(({ context }, p: { at: number | undefined }) => ({
      changedAt: p.at ?? context.createdAt,
    })),
    keepStart: assign(({ context }, p: { at: number }) => ({ startedAt: context.startedAt ?? p.at })),
    keepDeadline: assign(({ context }, p: { at: number }) => ({ deadlineAt: p.at + context.timeoutMs })),
    keepStaged: assign((_, p: { staged: Staged }) => p),
    keepPlace: assign((_, p: { place: Place }) => p),
    keepRun: assign((_, p: { run: Run }) => p),
    keepQuestion: assign((_, p: { hitl: HitlId | null }) => p),
    keepExit: assign((_, p: { exitCode: number | null }) => p),
    /** The first verdict stands: a task that was cancelled does not fail afterwards. */
    judge: assign(({ context }, p: { verdict: Verdict; failure: FailureInfo | null }) =>
      context.verdict === null ? { verdict: p.verdict, failure: p.failure } : {},
    ),
    keepCollected: assign(({ context }, p: { collected: Collected }) => ({
      exitCode: p.collected.exitCode,
      summary: p.collected.summary,
      tally: p.collected.tally,
      verdict: context.verdict ?? (p.collected.failure ? ('failed' as const) : ('completed' as const)),
      failure: context.failure ?? p.collected.failure,
    })),
    nextAttempt: assign(({ context }, p: { at: number }) => ({
      notBefore: p.at + context.backoffMs * 2 ** (context.attempt - 1),
      attempt: context.attempt + 1,
      staged: null,
      place: null,
      run: null,
      hitl: null,
      verdict: null,
      failure: null,
      exitCode: null,
      deadlineAt: null,
    })),
    keepUse: assign(({ context }, p: { used: ModelUsed }) => ({
      spending: spend(context.spending, p.used.use),
    })),
    keepBudget: assign((_, p: { budget: Budget }) => p),
    keepEnd: assign((_, p: { at: number }) => ({ endedAt: p.at, changedAt: p.at, hitl: null })),
  },
}).createMachine({
  id: 'task',
  context: ({ input }) => ({
    ...input,
    attempt: 1,
    notBefore: input.createdAt,
    startedAt: null,
    changedAt: input.createdAt,
    endedAt: null,
    deadlineAt: null,
    staged: null,
    place: null,
    run: null,
    hitl: null,
    verdict: null,
    failure: null,
    exitCode: null,
    summary: null,
    tally: noTally,
  }),
  initial: 'pending',
  // Money goes on being counted, and granted, wherever the task stands.
  on: {
    'model.used': {
      actions: [
        { type: 'keepUse', params: ({ event }) => ({ used: event }) },
        { type: 'tell', params: ({ context: c, event }) => toAgent(c.place?.agent, event, c.id) },
      ],
    },
    'budget.exceeded': {},
    'budget.changed': {
      actions: { type: 'keepBudget', params: ({ event }) => ({ budget: event.budget }) },
    },
  },
  states: {
    pending: {
      entry: { type: 'keepTime', params: ({ event }) => ({ at: atOf(event) }) },
      invoke: { id: 'alarm', src: 'alarm', input: ({ context }) => ({ at: context.notBefore }) },
      on: {
        'alarm.rang': {
          target: 'staging',
          actions: { type: 'keepStart', params: ({ event }) => ({ at: event.at }) },
        },
        cancel: {
          target: 'winding-up',
          actions: { type: 'judge', params: ({ event }) => cancelled(event.reason) },
        },
      },
    },
    staging: {
      entry: { type: 'keepTime', params: ({ event }) => ({ at: atOf(event) }) },
      invoke: {
        id: 'stage',
        src: 'stage',
        input: ({ context }) => ofTask(context),
        onDone: {
          target: 'provisioning',
          actions: { type: 'keepStaged', params: ({ event }) => ({ staged: event.output }) },
        },
        onError: {
          target: 'winding-up',
          actions: {
            type: 'judge',
            params: ({ event }) => ({ verdict: 'failed', failure: asFailure(event) }),
          },
        },
      },
      on: {
        cancel: {
          target: 'winding-up',
          actions: { type: 'judge', params: ({ event }) => cancelled(event.reason) },
        },
      },
    },
    provisioning: {
      entry: { type: 'keepTime', params: ({ event }) => ({ at: atOf(event) }) },
      invoke: {
        id: 'acquire',
        src: 'acquire',
        input: ({ context }) => ofTask(context),
        onDone: {
          target: 'ready',
          actions: { type: 'keepPlace', params: ({ event }) => ({ place: event.output }) },
        },
        onError: {
          target: 'winding-up',
          actions: {
            type: 'judge',
            params: ({ event }) => ({ verdict: 'failed', failure: asFailure(event) }),
          },
        },
      },
      on: {
        cancel: {
          target: 'winding-up',
          actions: { type: 'judge', params: ({ event }) => cancelled(event.reason) },
        },
      },
    },
    ready: {
      entry: { type: 'keepTime', params: ({ event }) => ({ at: atOf(event) }) },
      invoke: {
        id: 'prepare',
        src: 'prepare',
        input: ({ context: c }) => ({ ...ofTask(c), staged: c.staged as Staged, place: c.place as Place }),
        onDone: {
          target: 'running',
          actions: [
            { type: 'keepRun', params: ({ event }) => ({ run: event.output }) },
            { type: 'keepDeadline', params: ({ event }) => ({ at: atOf(event) }) },
          ],
        },
        onError: {
          target: 'winding-up',
          actions: {
            type: 'judge',
            params: ({ event }) => ({ verdict: 'failed', failure: asFailure(event) }),
          },
        },
      },
      on: {
        cancel: {
          target: 'winding-up',
          actions: { type: 'judge', params: ({ event }) => cancelled(event.reason) },
        },
      },
    },
    running: {
      entry: [
        { type: 'keepTime', params: ({ event }) => ({ at: atOf(event) }) },
        {
          type: 'spawn',
          params: ({ context: c, event }) => ({
            at: atOf(event),
            spec: {
              id: `session:${c.run?.session.id}`,
              kind: 'session' as const,
              input: c.run?.session,
              restart: 'on-failure' as const,
              graceMs: 5_000,
              parent: `agent:${c.place?.agent}`,
            },
          }),
        },
      ],
      initial: 'working',
      invoke: [
        { id: 'deadline', src: 'alarm', input: ({ context }) => ({ at: context.deadlineAt }) },
        { id: 'follow', src: 'follow', input: ({ context: c }) => ({ ...ofTask(c), run: c.run as Run }) },
      ],
      states: { working: {}, waiting: {} },
      on: {
        'session.ended': {
          target: 'completing',
          actions: { type: 'keepExit', params: ({ event }) => ({ exitCode: event.exitCode }) },
        },
        'child.failed': 'completing',
        'question.opened': {
          target: '.waiting',
          actions: { type: 'keepQuestion', params: ({ event }) => ({ hitl: event.hitl }) },
        },
        'question.closed': { target: '.working', actions: { type: 'keepQuestion', params: { hitl: null } } },
        'alarm.rang': {
          target: 'completing',
          actions: {
            type: 'judge',
            params: ({ context }) => ({ verdict: 'failed', failure: timedOut(context) }),
          },
        },
        'task.hung': [
          {
            guard: { type: 'isFatal', params: ({ event }) => ({ fatal: event.fatal }) },
            target: 'completing',
            actions: {
              type: 'judge',
              params: ({ event }) => ({ verdict: 'failed', failure: hung(event.message) }),
            },
          },
          // A hang that is only to be told stands in the log, and the task goes on.
          { actions: { type: 'keepTime', params: ({ context }) => ({ at: context.changedAt }) } },
        ],
        cancel: {
          target: 'completing',
          actions: { type: 'judge', params: ({ event }) => cancelled(event.reason) },
        },
      },
    },
    completing: {
      entry: { type: 'keepTime', params: ({ event }) => ({ at: atOf(event) }) },
      invoke: {
        id: 'collect',
        src: 'collect',
        input: ({ context: c }) => ({
          ...ofTask(c),
          staged: c.staged as Staged,
          run: c.run as Run,
          exitCode: c.exitCode,
          failure: c.failure,
        }),
        onDone: {
          target: 'winding-up',
          actions: { type: 'keepCollected', params: ({ event }) => ({ collected: event.output }) },
        },
        onError: {
          target: 'winding-up',
          actions: {
            type: 'judge',
            params: ({ event }) => ({ verdict: 'failed', failure: asFailure(event) }),
          },
        },
      },
      on: {
        // Too late to stop anything, yet the caller's word stands.
        cancel: { actions: { type: 'judge', params: ({ event }) => cancelled(event.reason) } },
      },
    },
    'winding-up': {
      invoke: {
        id: 'windUp',
        src: 'windUp',
        input: ({ context: c }) => ({
          ...ofTask(c),
          place: c.place,
          run: c.run,
          keep: c.preserve && c.verdict === 'failed' && !mayRetry(c),
        }),
        onDone: 'judged',
        // What could not be released is in the log; the task's verdict does not depend on it.
        onError: 'judged',
      },
    },
    judged: {
      always: [
        { guard: 'isCompleted', target: 'completed' },
        { guard: 'isCancelled', target: 'cancelled' },
        {
          guard: 'mayRetry',
          target: 'pending',
          actions: { type: 'nextAttempt', params: ({ event }) => ({ at: atOf(event) }) },
        },
        { guard: 'keepsInstance', target: 'failed-preserved' },
        { target: 'failed' },
      ],
    },
    completed: { type: 'final' },
    failed: { type: 'final' },
    'failed-preserved': { type: 'final' },
    cancelled: { type: 'final' },
  },
  exit: { type: 'keepEnd', params: ({ event }) => ({ at: atOf(event) }) },
});

function cancelled(reason: string): { verdict: Verdict; failure: FailureInfo } {
  return { verdict: 'cancelled', failure: { code: 'cancelled', message: reason } };
}
