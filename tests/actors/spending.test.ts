/** Sums of what models cost: bounded, and the same after every fold. */
import { describe, expect, test } from 'bun:test';
import { machines } from '../../src/actors/machines.ts';
import { type Days, type ModelUsed, spendOn } from '../../src/actors/spending.ts';
import { recall, remember } from '../../src/actors/step.ts';
import type { TaskContext } from '../../src/actors/task-ports.ts';
import { addByModel, exceeded, noTokens, nothingSpent, type Spent, type Use } from '../../src/spending.ts';
import type { TaskView } from '../../src/views.ts';
import { place, staged, taskInput } from './inputs.ts';
import { done, type Step, told, walk } from './walk.ts';

const use = (model: string, input = 1): Use => ({ model, tokens: { ...noTokens, input }, costUsd: 0.5 });
const fact = (at: number, model = 'm'): ModelUsed => ({ type: 'model.used', at, use: use(model) });
const used = (at: number, model?: string): Step => ({ ...fact(at, model) });
const { machine, view } = machines.task;

describe('[V5] a task', () => {
  test('sums what was used and tells its agent, in any state, and is what its log says', () => {
    const events = [
      { type: 'alarm.rang', at: 200 },
      used(210),
      done('stage', staged, 300),
      done('acquire', place, 400),
      used(410),
      used(420, 'n'),
    ] as Step[];
    const { living, acts, ignored } = walk(
      machine,
      { ...taskInput, budget: { tokens: 10, usd: null } },
      events,
    );
    expect(ignored).toEqual([]);
    expect((living.snapshot.context as TaskContext).spending?.models['m']?.requests).toBe(2);
    // Before it had a place there was no agent to tell.
    expect(told(acts, 'agent:local')).toMatchObject([{ type: 'model.used' }, { type: 'model.used' }]);
    const seen = view(living.snapshot) as TaskView;
    expect(seen.usage).toMatchObject({ requests: 3, input_tokens: 3, cost_usd: 1.5 });
    expect(seen.budget).toEqual({ tokens: 10, usd: null, tokens_left: 7, usd_left: null });
    const kept = JSON.parse(JSON.stringify(remember(living)));
    expect(remember(recall(machine, kept, living.seq))).toEqual(remember(living));
  });

  test('of before there was a gateway has used nothing and has no budget', () => {
    const seen = view(walk(machine, taskInput, []).living.snapshot) as TaskView;
    expect([seen.usage, seen.budget]).toEqual([null, null]);
  });
});

test('[V5] models and days are bounded, and nothing is lost of the sums of models', () => {
  let models: Record<string, Spent> = {};
  for (let i = 0; i < 100; i++) models = addByModel(models, use(i === 0 ? '__proto__' : `m${i}`), 32);
  expect(Object.keys(models)).toHaveLength(33);
  expect(models['other']?.requests).toBe(68);
  expect(Object.values(models).reduce((sum, { requests }) => sum + requests, 0)).toBe(100);
  let days: Days = {};
  for (let day = 0; day < 100; day++) days = spendOn(days, fact(day * 86_400_000));
  expect(Object.keys(days)).toHaveLength(40);
  expect(Object.keys(days).at(-1)).toBe('1970-04-10');
});

test('[V7] a budget is used up by tokens or by dollars, whichever comes first', () => {
  const spent = { ...nothingSpent, input: 5, cacheRead: 5, costUsd: 2 };
  expect(exceeded({ tokens: 10, usd: null }, spent)).toBe('tokens');
  expect(exceeded({ tokens: 11, usd: 2 }, spent)).toBe('usd');
  expect(exceeded({ tokens: 11, usd: 2.01 }, spent)).toBeNull();
  expect(exceeded(null, spent)).toBeNull();
});
