/**
 * One PTY or piped process on an agent.
 *
 *     starting ──launched──▶ live ⇄ detached (link lost)
 *         │ failed            │ │      │
 *         ▼                   │ └──────┴─ process ended ─▶ exited | killed
 *        lost ◀── agent gone, or it no longer knows us
 *
 * Owns the process's identity, its size and how it ended. A link that is lost does not end a session [N1];
 * only its agent's word does, or the agent's own end [N2]. Bytes never come here. At most one open question
 * [H1].
 */
import { assign, type SnapshotFrom, setup } from 'xstate';
import type { SessionType } from '../agent-link.ts';
import { rfc3339 } from '../clock.ts';
import type { FailureInfo } from '../failure.ts';
import type { AgentId, HitlId, SessionId, TaskId } from '../ids.ts';
import type { RecordingRemovedView, SessionView } from '../views.ts';
import { houseActions, promisePort, type Told } from './port.ts';

// ── Types ───────────────────────────────────────────────────────────────────

export interface SessionInput {
  readonly id: SessionId;
  readonly agent: AgentId;
  readonly task: TaskId | null;
  readonly name: string;
  readonly type: SessionType;
  readonly command: string;
  readonly args: readonly string[];
  readonly workingDir: string;
  /** Plain values only: what is secret is added at the launch and is never here. */
  readonly env: Readonly<Record<string, string>>;
  readonly cols: number;
  readonly rows: number;
  /** Seconds, 0 is none. */
  readonly timeoutSeconds: number;
  readonly stdin: 'open' | 'closed';
  readonly createdAt: number;
}

export interface SessionContext extends SessionInput {
  readonly hitl: HitlId | null;
  readonly exitCode: number | null;
  readonly reason: string | null;
  readonly endedAt: number | null;
  /** All it ever said, once it has ended. */
  readonly outputBytes: number;
  /** Who asked it to end, and how. */
  readonly ending: { readonly by: string; readonly graceMs: number } | null;
}

/** The process ended, by its agent's word. */
export interface SessionExited extends Told {
  readonly type: 'session.exited';
  readonly exitCode: number;
  readonly error: string;
  readonly outputBytes: number;
}

export type SessionEvent =
  | SessionExited
  | (Told & { readonly type: 'link.lost' })
  | (Told & { readonly type: 'link.up' })
  | (Told & { readonly type: 'session.missing'; readonly reason: string; readonly outputBytes?: number })
  /** The alert that what it says is not being recorded just now; what is missing will be a gap. */
  | (Told & { readonly type: 'recording.failed'; readonly reason: string })
  | (Told & { readonly type: 'resized'; readonly cols: number; readonly rows: number })
  | (Told & { readonly type: 'question.opened'; readonly hitl: HitlId })
  | (Told & { readonly type: 'question.closed'; readonly hitl: HitlId })
  /** Ask it to end: SIGTERM, `graceMs`, SIGKILL. */
  | (Told & { readonly type: 'end'; readonly graceMs: number; readonly reason: string })
  | (Told & { readonly type: 'adopted' });

export const sessionPorts = {
  /** Starts the process, or finds that it runs. Throws Failure('agent-gone' | 'runtime-failed'). */
  launch: promisePort<void, SessionInput>('launch'),
  /** SIGTERM, the grace, SIGKILL; resolves when that is sent. */
  end: promisePort<void, { session: SessionId; agent: AgentId; graceMs: number }>('end'),
};

// ── Machine ─────────────────────────────────────────────────────────────────

const inputOf = (c: SessionContext): SessionInput => {
  const { hitl: _h, exitCode: _e, reason: _r, endedAt: _at, outputBytes: _b, ending: _g, ...input } = c;
  return input;
};

const atOf = (event: { readonly type: string }): number => (event as Told).at;

export const sessionMachine = setup({
  types: {
    input: {} as SessionInput & { readonly adopted?: boolean },
    context: {} as SessionContext,
    events: {} as SessionEvent,
  },
  actors: sessionPorts,
  guards: {
    adopted: ({ context }) => (context as { adopted?: boolean }).adopted === true,
    wasAskedToEnd: ({ context }) => context.ending !== null,
  },
  actions: {
    ...houseActions,
    keepExit: assign(
      (_, p: { exitCode: number | null; reason: string | null; at: number; said?: number }) => ({
        exitCode: p.exitCode,
        reason: p.reason,
        endedAt: p.at,
        outputBytes: p.said ?? 0,
      }),
    ),
    keepSize: assign((_, p: { cols: number; rows: number }) => p),
    keepEnding: assign((_, p: { by: string; graceMs: number; reason: string }) => ({
      ending: { by: p.by, graceMs: p.graceMs },
      reason: p.reason,
    })),
    keepQuestion: assign((_, p: { hitl: HitlId | null }) => ({ hitl: p.hitl })),
    dropQuestion: assign(({ context }, p: { hitl: HitlId }) => ({
      hitl: context.hitl === p.hitl ? null : context.hitl,
    })),
  },
}).createMachine({
  id: 'session',
  context: ({ input }) => ({
    ...input,
    hitl: null,
    exitCode: null,
    reason: null,
    endedAt: null,
    outputBytes: 0,
    ending: null,
  }),
  initial: 'starting',
  on: {
    'question.opened': { actions: { type: 'keepQuestion', params: ({ event }) => ({ hitl: event.hitl }) } },
    'question.closed': { actions: { type: 'dropQuestion', params: ({ event }) => ({ hitl: event.hitl }) } },
    'recording.failed': {},
    resized: { actions: { type: 'keepSize', params: ({ event: { cols, rows } }) => ({ cols, rows }) } },
    'session.exited': [
      {
        guard: 'wasAskedToEnd',
        target: '.killed',
        actions: {
          type: 'keepExit',
          params: ({ context, event }) => ({
            exitCode: event.exitCode,
            reason: context.reason,
            at: event.at,
            said: event.outputBytes,
          }),
        },
      },
      {
        target: '.exited',
        actions: {
          type: 'keepExit',
          params: ({ event }) => ({
            exitCode: event.exitCode,
            reason: event.error || null,
            at: event.at,
            said: event.outputBytes,
          }),
        },
      },
    ],
    'session.missing': {
      target: '.lost',
      actions: {
        type: 'keepExit',
        params: ({ event }) => ({
          exitCode: null,
          reason: event.reason,
          at: event.at,
          said: event.outputBytes ?? 0,
        }),
      },
    },
  },
  states: {
    starting: {
      // A session that its agent reported to us runs already.
      always: { guard: 'adopted', target: 'live' },
      invoke: {
        id: 'launch',
        src: 'launch',
        input: ({ context }) => inputOf(context),
        onDone: [{ guard: 'wasAskedToEnd', target: 'live.ending' }, { target: 'live' }],
        onError: {
          target: 'lost',
          actions: {
            type: 'keepExit',
            params: ({ event }) => ({
              exitCode: null,
              reason: (event.error as FailureInfo).message,
              at: atOf(event),
            }),
          },
        },
      },
      on: {
        end: {
          actions: {
            type: 'keepEnding',
            params: ({ event }) => ({
              by: event.by ?? 'house',
              graceMs: event.graceMs,
              reason: event.reason,
            }),
          },
        },
      },
    },
    live: {
      initial: 'running',
      on: { 'link.lost': 'detached' },
      states: {
        running: {
          on: {
            end: {
              target: 'ending',
              actions: {
                type: 'keepEnding',
                params: ({ event }) => ({
                  by: event.by ?? 'house',
                  graceMs: event.graceMs,
                  reason: event.reason,
                }),
              },
            },
          },
        },
        ending: {
          invoke: {
            id: 'end',
            src: 'end',
            input: ({ context: c }) => ({ session: c.id, agent: c.agent, graceMs: c.ending?.graceMs ?? 0 }),
            // Sent is not ended: the agent's word ends the session. An agent that is gone comes back to this.
            onError: {},
          },
        },
      },
    },
    detached: {
      on: {
        'link.up': [{ guard: 'wasAskedToEnd', target: 'live.ending' }, { target: 'live' }],
        end: {
          actions: {
            type: 'keepEnding',
            params: ({ event }) => ({
              by: event.by ?? 'house',
              graceMs: event.graceMs,
              reason: event.reason,
            }),
          },
        },
      },
    },
    exited: { type: 'final' },
    killed: { type: 'final' },
    lost: { type: 'final' },
  },
  exit: [
    {
      type: 'tell',
      params: ({ context: c, event }) => ({
        to: c.hitl && `hitl:${c.hitl}`,
        event: {
          type: 'session.ended',
          at: atOf(event),
          wentOn: c.exitCode !== null && c.ending === null,
        } as Told,
      }),
    },
    {
      type: 'tell',
      params: ({ context: c, event }) => ({
        to: c.task && `task:${c.task}`,
        event: {
          type: 'session.ended',
          at: atOf(event),
          session: c.id,
          exitCode: c.exitCode,
          reason: c.reason,
        } as Told,
      }),
    },
  ],
});

// ── View ────────────────────────────────────────────────────────────────────

/** What the data plane knows of a session, beside the actor. */
export interface SessionFacts {
  readonly outputBytes: number;
  readonly removed: RecordingRemovedView | null;
  readonly controller: string | null;
  readonly observers: readonly string[];
}

const ended: ReadonlySet<string> = new Set(['exited', 'killed', 'lost']);

export function sessionView({ value, context: c }: SnapshotFrom<typeof sessionMachine>): SessionView {
  const state = (typeof value === 'string' ? value : 'live') as SessionView['state'];
  return {
    session_id: c.id,
    agent_id: c.agent,
    session_name: c.name,
    session_type: c.type,
    state,
    reason: c.reason,
    command: c.command,
    args: [...c.args],
    working_dir: c.workingDir,
    cols: c.cols,
    rows: c.rows,
    created_at: rfc3339(c.createdAt),
    ended_at: ended.has(state) && c.endedAt !== null ? rfc3339(c.endedAt) : null,
    exit_code: c.exitCode,
    task_id: c.task,
    hitl_id: c.hitl,
    output_bytes: c.outputBytes,
    has_screen: c.type !== 'headless',
    recording_removed: null,
    controller: null,
    observers: [],
    screen_url: `/api/v1/sessions/${c.id}/screen`,
    attach_url: `/ws/sessions/${c.id}/attach`,
    orchestrate_url: `/ws/sessions/${c.id}/orchestrate`,
  };
}

/** Adds what only the data plane knows. */
export const withFacts = (view: SessionView, facts: SessionFacts): SessionView => ({
  ...view,
  output_bytes: facts.outputBytes,
  recording_removed: facts.removed,
  controller: facts.controller,
  observers: [...facts.observers],
});
