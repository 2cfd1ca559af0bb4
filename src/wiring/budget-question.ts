/**
 * The question that a used-up budget puts to a human, and what an answer comes to. Each option holds the
 * budget that it grants, worked out when the question was asked, so that granting it twice is granting it
 * once.
 */
import type { Delivery, HitlInput } from '../actors/hitl.ts';
import type { Told } from '../actors/port.ts';
import type { TaskContext } from '../actors/task-ports.ts';
import { Failure } from '../failure.ts';
import { type HitlId, newId } from '../ids.ts';
import { type Budget, nothingSpent, type Spender, tokensOf } from '../spending.ts';
import type { House } from './house.ts';

const RAISE = 1.5;

/** In whole tokens, or whole cents. */
const amounts = {
  tokens: {
    raised: (from: number) => Math.ceil(from * RAISE),
    said: (n: number) => `${n.toLocaleString('en-US')} tokens`,
  },
  usd: {
    raised: (from: number) => Math.ceil(from * RAISE * 100) / 100,
    said: (n: number) => `$${n.toFixed(2)}`,
  },
};

type Over = keyof typeof amounts;

const STOP = 'stop';

export function usedUp(task: TaskContext, over: Over): string {
  const spent = task.spending?.total ?? nothingSpent;
  const { said } = amounts[over];
  const used = over === 'tokens' ? tokensOf(spent) : spent.costUsd;
  return `task ${task.id} ("${task.name}") has used ${said(used)} of its budget of ${said(task.budget?.[over] ?? 0)}`;
}

interface Asking {
  readonly task: TaskContext;
  readonly spender: Spender;
  readonly over: Over;
}

export function budgetQuestion(house: House, { task, spender, over }: Asking): HitlInput {
  const spent = task.spending?.total ?? nothingSpent;
  const budget: Budget = task.budget ?? { tokens: null, usd: null };
  const used = over === 'tokens' ? tokensOf(spent) : spent.costUsd;
  const { raised, said } = amounts[over];
  const half = raised(Math.max(budget[over] ?? 0, used));
  const twice = raised(half);
  const grant = (amount: number) => JSON.stringify({ ...budget, [over]: amount });
  const { hitlExpiresMs } = house.config;
  const askedAt = house.clock.now();
  return {
    id: newId<HitlId>(),
    agent: spender.agent,
    session: spender.session,
    task: task.id,
    source: 'api',
    kind: 'choice',
    prompt: `Raise the budget? ${usedUp(task, over).replace(/^task/, 'Task')}.`,
    context: `Until it is raised, requests to models are refused. Or answer with an amount, as in "${said(twice)}".`,
    options: [
      { id: 'raise', label: `Raise it by half, to ${said(half)}`, keys: grant(half) },
      { id: 'raise-more', label: `Raise it to ${said(twice)}`, keys: grant(twice) },
      { id: STOP, label: 'Stop the task', keys: STOP },
    ],
    submit: '',
    confidence: 1,
    fingerprint: over,
    askedAt,
    expiresAt: hitlExpiresMs === null ? null : askedAt + hitlExpiresMs,
    about: 'budget',
  };
}

interface Given {
  readonly text?: string | null | undefined;
  readonly option?: string | null | undefined;
}

/** What an answer grants; null: the task is to stop. Throws Failure('undeliverable') for what it is not. */
export function granted(question: HitlInput, { text, option }: Given): Budget | null {
  const keys = question.options.find(({ id }) => id === option)?.keys;
  if (keys === STOP) return null;
  if (keys !== undefined) return JSON.parse(keys) as Budget;
  const amount = Number((text ?? '').replace(/[$,_\s]|tokens?|usd/gi, '') || Number.NaN);
  const over = question.fingerprint as Over;
  const before = JSON.parse(question.options[0]?.keys ?? '{}') as Budget;
  if (!(amount > 0 && amount <= 1e15)) {
    const known = question.options.map(({ id, label }) => `${id} (${label})`).join(', ');
    throw new Failure('undeliverable', `that is no amount; give the new budget, or choose one of ${known}`);
  }
  return { ...before, [over]: over === 'tokens' ? Math.ceil(amount) : amount };
}

/** The effect of an answer: durable with it, or after it. */
export function grant({ fleet, clock }: House, { key, question, answer }: Delivery): void {
  const budget = granted(question, answer);
  const at = clock.now();
  const about = { at, by: answer.by };
  const task = `task:${question.task}`;
  if (budget === null) {
    const reason = `its budget was used up, and ${answer.by} chose to stop it`;
    fleet.note(task, { ...about, type: 'cancel', reason } as Told);
  } else {
    fleet.note(task, { ...about, type: 'budget.changed', budget, hitl: key } as Told);
  }
}
