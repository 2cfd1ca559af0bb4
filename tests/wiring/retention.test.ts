/** Actors that ended long ago leave the lists and are still found, whole. */
import { afterEach, expect, test } from 'bun:test';
import type { ChildSpec, Told } from '../../src/actors/port.ts';
import { silentLog } from '../../src/log.ts';
import { archiveExpired, retention } from '../../src/wiring/retention.ts';
import { hitlInput } from '../actors/inputs.ts';
import { type World, world } from '../actors/world.ts';

const DAY_MS = 86_400_000;
const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

const hitl = (id: string): ChildSpec => ({
  id: `hitl:${id}`,
  kind: 'hitl',
  input: { ...hitlInput, id, expiresAt: null },
  restart: 'on-failure',
  graceMs: 1_000,
  parent: null,
});

async function born(w: World, id: string): Promise<void> {
  await w.fleet.start(hitl(id), w.clock.now());
}

const end = (w: World, id: string) =>
  w.fleet.send(`hitl:${id}`, { type: 'withdraw', at: w.clock.now() } as Told);
const lives = async (w: World, archived: boolean) =>
  (await w.journal.records({ archived, limit: 1_000 })).map(({ actor }) => actor);

test('[S19] what has rested long enough after its end is archived, what lives never is', async () => {
  const w = world();
  for (const id of ['old', 'alive', 'young']) await born(w, id);
  await end(w, 'old');
  w.clock.increment(2 * DAY_MS);
  await end(w, 'young');
  const { journal, clock } = w;
  stops.push(retention({ journal, clock, log: silentLog, afterMs: DAY_MS }));
  clock.increment(60_000);
  await w.settle();
  expect(await lives(w, true)).toEqual(['hitl:old']);
  expect(await lives(w, false)).toEqual(['hitl:young', 'hitl:alive']);
  clock.increment(DAY_MS);
  await w.settle();
  expect(await lives(w, true)).toEqual(['hitl:young', 'hitl:old']);
  expect(await lives(w, false)).toEqual(['hitl:alive']);
});

test('[S19] many are archived a few at a time, and those that live again meanwhile are left', async () => {
  const w = world();
  for (let i = 0; i < 70; i++) {
    await born(w, `h${i}`);
    await end(w, `h${i}`);
  }
  w.clock.increment(DAY_MS);
  const { clock } = w;
  const sizes: number[] = [];
  const journal = {
    ...w.journal,
    archive: (actors: readonly string[]) => {
      sizes.push(actors.length);
      return w.journal.archive(actors);
    },
  };
  await born(w, 'h3');
  const ticking = setInterval(() => clock.increment(20), 1);
  const archived = await archiveExpired(
    { journal, clock, log: silentLog, afterMs: 1 },
    new AbortController().signal,
  );
  clearInterval(ticking);
  expect(archived).toBe(69);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(20);
  expect(await lives(w, false)).toEqual(['hitl:h3']);
});

test('[S17] an actor that ended longer ago than memory reaches is recalled, also from the archive', async () => {
  const w = world();
  for (const id of ['kept', 'put-away']) {
    await born(w, id);
    await end(w, id);
  }
  await w.journal.archive(['hitl:put-away']);
  const next = await w.crash('lost');
  expect(next.fleet.view('hitl:put-away')).toBeNull();
  await next.fleet.remind(['hitl:put-away', 'hitl:nobody']);
  expect(next.fleet.view('hitl:put-away')).toMatchObject({ state: 'withdrawn' });
  expect(next.fleet.view('hitl:nobody')).toBeNull();
  // Its name may be used again, and its log goes on.
  await next.fleet.start(hitl('put-away'), next.clock.now());
  const seqs = (await next.journal.history('hitl:put-away', 1, 10)).map(({ seq }) => seq);
  expect(seqs).toEqual([1, 2, 3]);
});

test('while the journal is away nothing is archived, and the next round does it', async () => {
  const w = world();
  await born(w, 'old');
  await end(w, 'old');
  w.clock.increment(DAY_MS);
  w.journal.knobs.away = 'unplugged';
  const { journal, clock } = w;
  stops.push(retention({ journal, clock, log: silentLog, afterMs: 1 }));
  clock.increment(60_000);
  await w.settle();
  w.journal.knobs.away = null;
  expect(await lives(w, true)).toEqual([]);
  clock.increment(3_600_000);
  await w.settle();
  expect(await lives(w, true)).toEqual(['hitl:old']);
});
