/**
 * A question that a session has put to a human.
 *
 *            answer              delivered
 *     open ──────────▶ answering ─────────▶ answered
 *      │ │ │               └── failed ────▶ undeliverable
 *      │ │ └── supersede ────────────────▶ superseded
 *      │ └──── alarm.rang ───────────────▶ expired
 *      └────── withdraw, session.ended ──▶ withdrawn
 *
 * Owns one prompt, its deadline and at most one answer. The first answer wins [H2]. Delivery is keyed by our
 * id, because a restart in `answering` runs it again and the agent drops what it has typed [H3]. The text of
 * a secret is never here: it waits in memory, and is lost with the server [H7].
 */
import { assign, type SnapshotFrom, setup } from 'xstate';
import { type FailureInfo, failures } from '../failure.ts';
import type { AgentId, HitlId, SessionId, TaskId } from '../ids.ts';
import type { QuestionKind, QuestionOption } from '../terminal.ts';
import type { HitlView } from '../views.ts';
import type { AlarmInput, AlarmRang } from './alarm.ts';
import { callbackPort, houseActions, promisePort, type Told } from './port.ts';

// ── Types ───────────────────────────────────────────────────────────────────

export interface HitlInput {
  readonly id: HitlId;
  readonly agent: AgentId;
  readonly session: SessionId;
  readonly task: TaskId | null;
  readonly source: 'screen' | 'api' | 'tool';
  readonly kind: QuestionKind;
  readonly prompt: string;
  readonly context: string;
  readonly options: readonly QuestionOption[];
  /** What must be typed after free text, usually `\r`. */
  readonly submit: string;
  readonly confidence: number;
  /** Tells this question from the next one on the same screen; empty for one asked by API. */
  readonly fingerprint: string;
  readonly askedAt: number;
  /** Null: never expires. */
  readonly expiresAt: number | null;
  /** The house itself asks, and takes the answer; nothing is typed. Absent: the session asks. */
  readonly about?: 'budget';
}

/** Exactly one of `text` and `option`, except for a secret, which has neither. */
export interface Answer {
  readonly text: string | null;
  readonly option: string | null;
  readonly by: string;
  readonly at: number;
}

export interface HitlContext extends HitlInput {
  readonly answer: Answer | null;
  readonly failure: FailureInfo | null;
  readonly endedAt: number | null;
}

export type HitlEvent =
  | (Told & { readonly type: 'answer'; readonly answer: Answer })
  | (Told & { readonly type: 'withdraw' })
  | (Told & { readonly type: 'supersede' })
  /** `wentOn`: its program ended by itself, with an exit code, so it waits for nothing any more. */
  | (Told & { readonly type: 'session.ended'; readonly wentOn?: boolean })
  | AlarmRang;

/** What `deliver` needs. `key` makes it typed at most once. */
export interface Delivery {
  readonly key: HitlId;
  readonly session: SessionId;
  readonly question: HitlInput;
  readonly answer: Answer;
}

export const hitlPorts = {
  alarm: callbackPort<AlarmRang, AlarmInput>('alarm'),
  /** Types the answer and looks whether it took. Throws Failure('undeliverable' | 'agent-gone'). */
  deliver: promisePort<void, Delivery>('deliver'),
};

// ── Machine ─────────────────────────────────────────────────────────────────

export const hitlMachine = setup({
  types: {
    input: {} as HitlInput,
    context: {} as HitlContext,
    events: {} as HitlEvent,
  },
  actors: hitlPorts,
  actions: {
    ...houseActions,
    keepAnswer: assign((_, p: { answer: Answer }) => ({ answer: p.answer })),
    keepFailure: assign((_, p: { error: unknown }) => ({ failure: p.error as FailureInfo })),
    keepEnd: assign((_, p: { at: number }) => ({ endedAt: p.at })),
  },
}).createMachine({
  id: 'hitl',
  context: ({ input }) => ({ ...input, answer: null, failure: null, endedAt: null }),
  initial: 'open',
  entry: [
    {
      type: 'tell',
      params: ({ context: c }) => ({
        to: `session:${c.session}`,
        event: { type: 'question.opened', at: c.askedAt, hitl: c.id } as Told,
      }),
    },
    {
      type: 'tell',
      params: ({ context: c }) => ({
        to: c.task && `task:${c.task}`,
        event: { type: 'question.opened', at: c.askedAt, hitl: c.id } as Told,
      }),
    },
  ],
  states: {
    open: {
      invoke: { id: 'alarm', src: 'alarm', input: ({ context }) => ({ at: context.expiresAt }) },
      on: {
        answer: {
          target: 'answering',
          actions: { type: 'keepAnswer', params: ({ event }) => ({ answer: event.answer }) },
        },
        withdraw: 'withdrawn',
        'session.ended': 'withdrawn',
        supersede: 'superseded',
        'alarm.rang': 'expired',
      },
    },
    answering: {
      invoke: {
        id: 'deliver',
        src: 'deliver',
        input: ({ context }) => ({
          key: context.id,
          session: context.session,
          question: questionOf(context),
          answer: context.answer as Answer,
        }),
        onDone: 'answered',
        onError: {
          target: 'undeliverable',
          actions: { type: 'keepFailure', params: ({ event }) => ({ error: event.error }) },
        },
      },
      on: {
        'session.ended': [
          // A program may be quicker with its answer than we are with its screen.
          { guard: ({ event }) => event.wentOn === true, target: 'answered' },
          {
            target: 'undeliverable',
            actions: { type: 'keepFailure', params: { error: endedBefore() } },
          },
        ],
      },
    },
    answered: { type: 'final' },
    undeliverable: { type: 'final' },
    expired: { type: 'final' },
    withdrawn: { type: 'final' },
    superseded: { type: 'final' },
  },
  exit: [
    { type: 'keepEnd', params: ({ event }) => ({ at: atOf(event) }) },
    {
      type: 'tell',
      params: ({ context: c, event }) => ({
        to: `session:${c.session}`,
        event: { type: 'question.closed', at: atOf(event), hitl: c.id } as Told,
      }),
    },
    {
      type: 'tell',
      params: ({ context: c, event }) => ({
        to: c.task && `task:${c.task}`,
        event: { type: 'question.closed', at: atOf(event), hitl: c.id } as Told,
      }),
    },
  ],
});

/** Every event has its time, also those that a port's outcome makes. */
const atOf = (event: { readonly type: string }): number => (event as Told).at;

function endedBefore(): FailureInfo {
  return { code: 'undeliverable', message: `${failures.undeliverable.title}: the session ended first` };
}

function questionOf({ answer: _a, failure: _f, endedAt: _e, ...question }: HitlContext): HitlInput {
  return question;
}

// ── View ────────────────────────────────────────────────────────────────────

/** What the rest of the program may see. */
export function hitlView({ value, context: c }: SnapshotFrom<typeof hitlMachine>): HitlView {
  const { answer } = c;
  return {
    hitl_id: c.id,
    agent_id: c.agent,
    session_id: c.session,
    task_id: c.task,
    state: value as HitlView['state'],
    kind: c.kind,
    source: c.source,
    prompt: c.prompt,
    context: c.context,
    options: c.options.map(({ id, label }) => ({ id, label })),
    confidence: c.confidence,
    created_at_ms: c.askedAt,
    expires_at_ms: c.expiresAt,
    ended_at_ms: c.endedAt,
    answer: answer && { option: answer.option, text: answer.text, by: answer.by, at_ms: answer.at },
    failure: c.failure,
  };
}
