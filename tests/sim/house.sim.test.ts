/** Schedules through the house game (house-game.ts), and that the same seed is always the same schedule. */
import { expect, test } from 'bun:test';
import { games, lines } from './games.ts';
import { playHouse } from './house-game.ts';
import { loose } from './sabotage-journal.ts';

/** Seeds that once failed, each with a word on what it was. */
const pinned: readonly number[] = [
  10, // A task ended while its agent was away, and the agent stayed reserved for it.
  108, // A launch reached an agent before its welcome, ran, and was never said to run.
];
const SCHEDULES = 80;

test('[S16] the whole house keeps its promises at every step, and all comes to its end when all is well', async () => {
  const ends = new Map<string, number>();
  for (const seed of new Set([...pinned, ...Array.from({ length: SCHEDULES }, (_, i) => i + 1)])) {
    for (const end of await playHouse(seed)) ends.set(end, (ends.get(end) ?? 0) + 1);
  }
  // The world must be rich enough for the checks to mean something.
  const rich = [
    'task COMPLETED',
    'task COMPLETED, tried again',
    'task FAILED',
    'task CANCELLED',
    'session exited',
    'session killed',
    'session lost',
    'hitl answered',
    'hitl undeliverable',
    'hitl expired',
    'hitl withdrawn',
    'instance running',
    'instance destroyed',
  ];
  expect(rich.filter((end) => (ends.get(end) ?? 0) < 3)).toEqual([]);
}, 240_000);

test('[J29] a journal that refuses one batch and is given the next ones loses nothing and mixes nothing up', async () => {
  const ends: string[] = [];
  for (let seed = 1; seed <= 15; seed++)
    ends.push(...(await playHouse(seed, { breaks: { journal: loose } })));
  expect(ends.filter((end) => end === 'task COMPLETED').length).toBeGreaterThan(3);
}, 60_000);

for (const game of ['fleet', 'house'] as const) {
  test(`a seed of the ${game} game is the same schedule, line by line, every time`, async () => {
    const told = async (): Promise<string[]> => {
      const all: string[] = [];
      await games[game](7, { trace: lines((line) => all.push(line)) });
      return all;
    };
    const once = await told();
    expect(once.length).toBeGreaterThan(50);
    expect(await told()).toEqual(once);
  }, 240_000);
}
