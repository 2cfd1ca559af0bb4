/** What is durable and not in the tables yet. */
import { Database } from 'bun:sqlite';
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { textOf } from '../../src/journal/sqlite-rows.ts';
import { openForReading, openStore, type StoreReads } from '../../src/journal/sqlite-store.ts';
import { entry, record } from '../contracts/journal.ts';

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tail-'));
  path = join(dir, 'journal.db');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const batch = (actor: string, seq: number, more = {}) =>
  textOf({ entries: [entry(actor, seq)], records: [record(actor, seq, more)] });

/** As another program sees the file. */
const count = (table: string): number => {
  const db = new Database(path, { readonly: true });
  try {
    return db.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${table}`).get()?.n ?? 0;
  } finally {
    db.close();
  }
};

const all = (store: StoreReads) => ({
  feed: store.feed(0, 1_000),
  live: store.live(0, 1_000),
  ended: store.records({ live: false, limit: 1_000 }).map(({ actor }) => actor),
  newest: store.records({ limit: 1 }).map(({ actor }) => actor),
  history: store.history('b', 2, 10).map(({ seq }) => seq),
  record: store.record('b'),
  expired: store.expired(1_000_000, 10),
  cursor: store.cursor(),
});

/** Three lives, partly in the tables: `a` ended, `b` goes on in the tail, `c` was born there. */
function written(): ReturnType<typeof openStore> {
  const store = openStore(path, 0);
  store.append(batch('b', 1));
  store.append(batch('a', 1));
  store.settle();
  store.append(batch('c', 1));
  store.append(batch('a', 2, { live: false }));
  store.append(batch('b', 2));
  return store;
}

test('[J30] whoever reads beside the server sees what is only in the tail, and what is settled meanwhile once', () => {
  const store = written();
  expect(count('entry')).toBe(2);
  const reader = openForReading(path);
  const beside = all(reader);
  expect(beside.feed.map(({ actor, seq }) => `${actor}${seq}`)).toEqual(['b1', 'a1', 'c1', 'a2', 'b2']);
  expect(beside.live.map(({ actor, seq }) => `${actor}${seq}`)).toEqual(['b2', 'c1']);
  expect(beside).toMatchObject({ ended: ['a'], newest: ['c'], history: [2], expired: ['a'], cursor: 5 });
  expect(count('entry')).toBe(2);
  // Asking settles it for the server itself, and the answer is the same.
  expect(all(store)).toEqual(beside);
  expect(count('entry')).toBe(5);
  expect(count('tail')).toBe(0);
  expect(all(reader)).toEqual(beside);
  reader.close();
  store.close();
});

test('[J30] while it goes into the tables part by part, everything is read once', () => {
  const store = openStore(path, 0);
  for (let seq = 1; seq <= 20; seq++) {
    const actors = Array.from({ length: 250 }, (_, i) => `a${i}`);
    const entries = actors.map((actor) => entry(actor, seq));
    store.append(textOf({ entries, records: actors.map((actor) => record(actor, seq)) }));
  }
  const expected = Array.from({ length: 1_000 }, (_, i) => i + 1);
  let parts = 0;
  while (count('tail') > 0) {
    store.settleSome();
    parts += 1;
    const reader = openForReading(path);
    expect(reader.feed(0, 1_000).map(({ cursor }) => cursor)).toEqual(expected);
    expect(reader.cursor()).toBe(5_000);
    expect(reader.live(0, 1_000).map(({ actor }) => actor)).toEqual(
      Array.from({ length: 250 }, (_, i) => `a${i}`),
    );
    reader.close();
  }
  expect(parts).toBeGreaterThan(5);
  expect(count('entry')).toBe(5_000);
  store.close();
});

test('[J30] what a killed server left in the tail, half of it in the tables, is taken up', () => {
  const store = openStore(path, 0);
  for (let part = 0; part < 10; part++) {
    const entries = Array.from({ length: 420 }, (_, i) => entry('a', part * 420 + i + 1));
    store.append(textOf({ entries, records: [record('a', part * 420 + 420)] }));
  }
  store.settleSome();
  expect(count('entry')).toBeGreaterThan(0);
  expect(count('tail')).toBe(10);
  // Nobody closes it.
  const next = openStore(path, 0);
  expect(count('entry')).toBe(4_200);
  expect(count('tail')).toBe(0);
  expect(next.record('a')?.seq).toBe(4_200);
  expect(next.append(batch('a', 4_201))).toBe(4_201);
  expect(() => next.append(batch('a', 4_201))).toThrow('entry 4201 is already there');
  next.close();
});

test('[J30] tables that take nothing hide nothing that is in the tail', () => {
  const store = written();
  const db = new Database(path);
  db.run("CREATE TRIGGER full BEFORE INSERT ON entry BEGIN SELECT RAISE(ABORT, 'no room'); END");
  const seen = all(store);
  expect(seen.feed).toHaveLength(5);
  expect(seen.live.map(({ actor }) => actor)).toEqual(['b', 'c']);
  // Whoever writes next is told, and nothing of that is in.
  expect(() => store.append(batch('c', 2))).toThrow('no room');
  expect(store.record('c')?.seq).toBe(1);
  expect(count('entry')).toBe(2);
  db.run('DROP TRIGGER full');
  db.close();
  expect(store.append(batch('c', 2))).toBe(6);
  expect(store.feed(0, 10)).toHaveLength(6);
  expect(count('entry')).toBe(6);
  store.close();
});
