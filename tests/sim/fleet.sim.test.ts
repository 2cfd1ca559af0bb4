/**
 * Thousands of schedules through the simulated world (game.ts), with every invariant (invariants.ts) looked
 * at after every step; and proof that it would notice if a rule of durability were broken (sabotage.ts).
 *
 * `bun run sim --seed N` plays one and prints its steps.
 */
import { describe, expect, test } from 'bun:test';
import { memoryJournal } from '../../src/journal/memory.ts';
import { play } from './game.ts';
import { sabotages } from './sabotage.ts';

/** Seeds that once failed, each with a word on what it was. */
const pinned: readonly number[] = [];
const SCHEDULES = 2_000;
/** So many are enough to notice any of the sabotages. */
const SABOTAGED = 200;

test('[S12] whatever the order, what was promised is there and every actor is what its log folds to', async () => {
  const ends = new Map<string, number>();
  for (const seed of [...pinned, ...Array.from({ length: SCHEDULES }, (_, i) => i + 1)]) {
    for (const end of await play(seed)) ends.set(end, (ends.get(end) ?? 0) + 1);
  }
  // The world must be rich enough for the checks to mean something.
  for (const end of ['task live', 'task ended', 'session live', 'session ended', 'hitl live', 'hitl ended']) {
    expect(ends.get(end) ?? 0).toBeGreaterThan(100);
  }
}, 60_000);

describe('[S15] the simulation notices when', () => {
  for (const [rule, sabotage] of Object.entries(sabotages)) {
    test(rule, async () => {
      for (let seed = 1; seed <= SABOTAGED; seed++) {
        const caught = await play(seed, sabotage(memoryJournal())).then(
          () => null,
          (thrown: Error) => thrown.message,
        );
        if (caught === null) continue;
        expect(caught).toMatch(/^(\[[SH]\d+\]|fatal)/);
        return;
      }
      throw new Error(`nothing was noticed in ${SABOTAGED} schedules`);
    }, 20_000);
  }
});
