/**
 * Thousands of schedules through the simulated world (game.ts), with every invariant (invariants.ts) looked
 * at after every step; and proof that it would notice if a rule of durability were broken (sabotage.ts).
 *
 * `bun run sim --seed N` plays one and prints its steps.
 */
import { expect, test } from 'bun:test';
import { play } from './game.ts';

/** Seeds that once failed, each with a word on what it was. */
const pinned: readonly number[] = [];
const SCHEDULES = 2_000;

test('[S12] whatever the order, what was promised is there and every actor is what its log folds to', async () => {
  const ends = new Map<string, number>();
  for (const seed of new Set([...pinned, ...Array.from({ length: SCHEDULES }, (_, i) => i + 1)])) {
    for (const end of await play(seed)) ends.set(end, (ends.get(end) ?? 0) + 1);
  }
  // The world must be rich enough for the checks to mean something.
  for (const end of ['task live', 'task ended', 'session live', 'session ended', 'hitl live', 'hitl ended']) {
    expect(ends.get(end) ?? 0).toBeGreaterThan(100);
  }
}, 240_000);
