/**
 * What models cost: what was used of them, what may be, and the port by which whoever forwards requests to a
 * model asks the house for leave and tells it what was used.
 */
import type { AgentId, SessionId, TaskId } from './ids.ts';

/** Tokens as the provider counts them; no token is in two fields. */
export interface Tokens {
  /** Read by the model afresh. */
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  /** Written to a cache that lasts minutes. */
  readonly cacheWrite: number;
  /** Written to a cache that lasts an hour. */
  readonly cacheWriteLong: number;
}

/** What one answered request used. */
export interface Use {
  readonly model: string;
  readonly tokens: Tokens;
  /** US dollars; null: the model has no price here. */
  readonly costUsd: number | null;
}

/** A sum of uses. */
export interface Spent extends Tokens {
  readonly requests: number;
  /** Of the requests whose price is known. */
  readonly costUsd: number;
  /** Requests of models without a price. */
  readonly unpriced: number;
}

/** Null: no limit. */
export interface Budget {
  readonly tokens: number | null;
  readonly usd: number | null;
}

/** Whoever a virtual key was given to. `task` null: a person's session. */
export interface Spender {
  readonly session: SessionId;
  readonly agent: AgentId;
  readonly task: TaskId | null;
}

/** What is about to be asked of a model. */
export interface Wish {
  readonly model: string;
  readonly hasPrice: boolean;
}

/** What the house says to whoever forwards. */
export interface Treasury {
  /**
   * Null: go on. Otherwise why not, for the tool to tell. May take as long as a human is given to raise a
   * budget. Throws Failure('busy') while nothing can be said yet.
   */
  admit(spender: Spender, wish: Wish, signal: AbortSignal): Promise<string | null>;
  /** Durable when it resolves. */
  spent(spender: Spender, use: Use): Promise<void>;
}

export const noTokens: Tokens = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, cacheWriteLong: 0 };
export const nothingSpent: Spent = { ...noTokens, requests: 0, costUsd: 0, unpriced: 0 };

export const tokensOf = (t: Tokens): number =>
  t.input + t.output + t.cacheRead + t.cacheWrite + t.cacheWriteLong;

export const plus = (a: Spent, b: Spent): Spent => ({
  input: a.input + b.input,
  output: a.output + b.output,
  cacheRead: a.cacheRead + b.cacheRead,
  cacheWrite: a.cacheWrite + b.cacheWrite,
  cacheWriteLong: a.cacheWriteLong + b.cacheWriteLong,
  requests: a.requests + b.requests,
  costUsd: a.costUsd + b.costUsd,
  unpriced: a.unpriced + b.unpriced,
});

export const asSpent = ({ tokens, costUsd }: Use): Spent => ({
  ...tokens,
  requests: 1,
  costUsd: costUsd ?? 0,
  unpriced: costUsd === null ? 1 : 0,
});

/** What of a budget is used up; null: nothing. */
export function exceeded(budget: Budget | null, spent: Spent): 'tokens' | 'usd' | null {
  if (budget?.tokens != null && tokensOf(spent) >= budget.tokens) return 'tokens';
  return budget?.usd != null && spent.costUsd >= budget.usd ? 'usd' : null;
}

/** By model, so that nobody can make up names without end: what is beyond is counted as `other`. */
export function addByModel(
  to: Readonly<Record<string, Spent>>,
  { model, ...use }: Use,
  max: number,
): Record<string, Spent> {
  const isKnown = Object.hasOwn(to, model) || Object.keys(to).length < max;
  const name = isKnown ? model : 'other';
  const before = Object.hasOwn(to, name) ? (to[name] as Spent) : nothingSpent;
  return Object.fromEntries([...Object.entries(to), [name, plus(before, asSpent({ model, ...use }))]]);
}
