/** What a task and an agent keep of what models cost them. Both are pure sums; see ../spending.ts. */
import { rfc3339 } from '../clock.ts';
import type { HitlId, TaskId } from '../ids.ts';
import {
  addByModel,
  asSpent,
  type Budget,
  nothingSpent,
  plus,
  type Spent,
  tokensOf,
  type Use,
} from '../spending.ts';
import type { BudgetView, UsageView } from '../views-usage.ts';
import type { Told } from './port.ts';

const MODELS_MAX = 32;
const DAYS_MAX = 40;

export interface Spending {
  readonly total: Spent;
  readonly models: Readonly<Record<string, Spent>>;
}

/** By day in UTC, and there by model; the oldest days are forgotten. */
export type Days = Readonly<Record<string, Readonly<Record<string, Spent>>>>;

/** A model was used. For a task the agent is told in the same batch. */
export interface ModelUsed extends Told {
  readonly type: 'model.used';
  readonly use: Use;
}

/** A request was held back, because what was left is nothing. */
export interface BudgetExceeded extends Told {
  readonly type: 'budget.exceeded';
  readonly budget: Budget;
  readonly spent: Spent;
}

export interface BudgetChanged extends Told {
  readonly type: 'budget.changed';
  readonly budget: Budget;
  /** The question that was answered. */
  readonly hitl: HitlId | null;
}

export const spend = (before: Spending | undefined, use: Use): Spending => ({
  total: plus(before?.total ?? nothingSpent, asSpent(use)),
  models: addByModel(before?.models ?? {}, use, MODELS_MAX),
});

export function spendOn(before: Days | undefined, { use, at }: ModelUsed): Days {
  const day = rfc3339(at).slice(0, 10);
  const days = { ...before, [day]: addByModel(before?.[day] ?? {}, use, MODELS_MAX) };
  const kept = Object.keys(days).sort().slice(-DAYS_MAX);
  return Object.fromEntries(kept.map((one) => [one, days[one] ?? {}]));
}

/** Tells the agent that a task works on what it used there. */
export const toAgent = (agent: string | undefined, { use, at }: ModelUsed, task: TaskId) => ({
  to: agent === undefined ? null : `agent:${agent}`,
  event: { type: 'model.used', at, use, task } as Told,
});

// ── View ────────────────────────────────────────────────────────────────────

export function spentView(s: Spent): UsageView {
  return {
    requests: s.requests,
    input_tokens: s.input,
    output_tokens: s.output,
    cache_read_tokens: s.cacheRead,
    cache_write_tokens: s.cacheWrite + s.cacheWriteLong,
    total_tokens: tokensOf(s),
    cost_usd: s.requests > 0 && s.unpriced === s.requests ? null : rounded(s.costUsd),
    unpriced_requests: s.unpriced,
  };
}

/** Sums of many small numbers end in noise. */
const rounded = (usd: number): number => Math.round(usd * 1e9) / 1e9;

export function budgetView(budget: Budget | null | undefined, spent: Spent): BudgetView | null {
  if (!budget || (budget.tokens === null && budget.usd === null)) return null;
  return {
    tokens: budget.tokens,
    usd: budget.usd,
    tokens_left: budget.tokens === null ? null : Math.max(0, budget.tokens - tokensOf(spent)),
    usd_left: budget.usd === null ? null : rounded(Math.max(0, budget.usd - spent.costUsd)),
  };
}
