/** Folding lives back, and finding what does not fit. */
import { expect, test } from 'bun:test';
import { type Logic, migrated } from '../../src/actors/kinds.ts';
import { machines } from '../../src/actors/machines.ts';
import type { Told } from '../../src/actors/port.ts';
import { differences, stateAt, verify } from '../../src/actors/replay.ts';
import type { Remembered } from '../../src/actors/step.ts';
import { Failure } from '../../src/failure.ts';
import type { ActorRecord } from '../../src/journal.ts';
import { hitlInput } from './inputs.ts';
import { world } from './world.ts';

async function life() {
  const w = world();
  const id = 'hitl:h1';
  const shape = { restart: 'on-failure', graceMs: 1_000, parent: 'session:s1' } as const;
  await w.fleet.start({ id, kind: 'hitl', input: hitlInput, ...shape }, 100);
  const answer = { text: null, option: '1', by: 'ada', at: 200 };
  await w.fleet.send(id, { type: 'answer', at: 200, answer } as Told);
  const record = (await w.journal.record(id)) as ActorRecord;
  return { record, entries: await w.journal.history(id, 1, 100) };
}

test('[S13] a stored state that is not what its entries say is found, and named by path', async () => {
  const { record, entries } = await life();
  expect(verify(machines.hitl, record, entries)).toEqual([]);
  const snapshot = record.snapshot as Remembered;
  const spoilt = { ...record, live: false, snapshot: { ...snapshot, value: 'open' } };
  expect(verify(machines.hitl, spoilt, entries)).toEqual([
    { path: 'value', from: 'open', to: 'answering' },
    { path: 'live', from: false, to: true },
  ]);
  const context = { ...(snapshot.context as object), prompt: 'another' };
  const other = { ...record, snapshot: { ...snapshot, context } };
  expect(verify(machines.hitl, other, entries)).toEqual([
    { path: 'context.prompt', from: 'another', to: hitlInput.prompt },
  ]);
});

test('[S13] an entry that is missing is found', async () => {
  const { record, entries } = await life();
  expect(verify(machines.hitl, record, entries.slice(0, 1))).toMatchObject([{ path: 'entry 2' }]);
  expect(verify(machines.hitl, record, entries.slice(1))).toMatchObject([{ path: 'entry 1' }]);
  const later = entries.slice(1).map((entry) => ({ ...entry, seq: 3 }));
  // What came after the record was read is of no account.
  expect(verify(machines.hitl, record, [...entries, ...later])).toEqual([]);
});

test('a name that was used again is folded from its last birth', async () => {
  const { entries } = await life();
  const again = entries.map((entry) => ({ ...entry, seq: entry.seq + 2 }));
  expect(stateAt(machines.hitl, [...entries, ...again.slice(0, 1)])).toMatchObject({ seq: 3, value: 'open' });
});

test('differences are told by path, lists as wholes', () => {
  expect(
    differences({ a: { b: 1, 'c.d': 2 }, l: [1] }, { a: { b: 1, 'c.d': 3 }, l: [1, 2], n: null }),
  ).toEqual([
    { path: 'a["c.d"]', from: 2, to: 3 },
    { path: 'l', from: [1], to: [1, 2] },
  ]);
});

test('[S14] a snapshot of an older version is taken on step by step, and one of a newer is refused', () => {
  const note = (word: string) => (kept: Remembered) => ({
    ...kept,
    context: { said: [...((kept.context as { said?: string[] }).said ?? []), word] },
  });
  const logic: Logic = { ...machines.hitl, migrations: [note('one'), note('two')], version: 3 };
  const record = (version: number) =>
    ({
      actor: 'hitl:h1',
      kind: 'hitl',
      version,
      seq: 1,
      snapshot: { value: 'open', context: {}, ports: {} },
    }) as ActorRecord;
  expect(migrated(logic, record(1)).context).toEqual({ said: ['one', 'two'] });
  expect(migrated(logic, record(2)).context).toEqual({ said: ['two'] });
  expect(migrated(logic, record(3)).context).toEqual({});
  expect(() => migrated(logic, record(4))).toThrow(Failure);
  expect(() => migrated(logic, record(4))).toThrow('knows 3');
});
