import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { Failure } from '../../src/failure.ts';
import type { ActorRecord, Journal, JournalEntry } from '../../src/journal.ts';

export interface OpenJournal {
  readonly journal: Journal;
  /** Ends this one and opens what it left. */
  reopen(): Promise<Journal>;
}

export const entry = (actor: string, seq: number, more: object = {}): JournalEntry => ({
  actor,
  kind: 'task',
  seq,
  at: 1_000 + seq,
  event: { type: seq === 1 ? 'born' : 'went.on', ...more },
});

export const record = (actor: string, seq: number, more: Partial<ActorRecord> = {}): ActorRecord => ({
  actor,
  kind: 'task',
  version: 1,
  seq,
  live: true,
  spec: { parent: 'fleet' },
  snapshot: { value: `at ${seq}` },
  ...more,
});

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no failure',
    (thrown) => (thrown instanceof Failure ? thrown.code : `not a Failure: ${thrown}`),
  );

/** What every Journal must do. Each implementation's test file calls this once. */
export function journalContract(name: string, open: () => Promise<OpenJournal>): void {
  describe(`${name} keeps the Journal contract`, () => {
    let opened: OpenJournal;
    let journal: Journal;
    beforeEach(async () => {
      opened = await open();
      journal = opened.journal;
    });
    afterEach(() => journal.close());
    const give = () => journal;
    writing(give);
    reading(give);
    archiving(give, async () => {
      journal = await opened.reopen();
    });

    test('[J6] what was acknowledged is there after a reopening, and cursors go on above', async () => {
      const before = await journal.append({
        entries: [entry('a', 1), entry('b', 1)],
        records: [record('a', 1)],
      });
      journal = await opened.reopen();
      expect(await journal.cursor()).toBe(before);
      expect(await journal.record('a')).toEqual(record('a', 1));
      expect(await journal.append({ entries: [entry('a', 2)], records: [] })).toBeGreaterThan(before);
      expect((await journal.history('a', 1, 10)).map((e) => e.seq)).toEqual([1, 2]);
    });

    test('[J7] a closed journal says so, twice if asked twice', async () => {
      await journal.close();
      await journal.close();
      expect(await codeOf(journal.append({ entries: [entry('a', 1)], records: [] }))).toBe('journal-away');
      expect(await codeOf(journal.cursor())).toBe('journal-away');
    });
  });
}

function writing(journal: () => Journal): void {
  test('[J1] an empty journal has no actor, no entry and cursor 0', async () => {
    expect(await journal().cursor()).toBe(0);
    expect(await journal().live()).toEqual([]);
    expect(await journal().record('a')).toBeNull();
    expect(await journal().feed(0, 10)).toEqual([]);
  });

  test('[J2] a batch reads back as it was written, unicode and nesting included', async () => {
    const deep = { text: 'naïve ☃ \u0000 "quoted"', list: [1, { two: null }], flag: false };
    await journal().append({
      entries: [entry('a', 1, deep)],
      records: [record('a', 1, { snapshot: deep, spec: null })],
    });
    expect(await journal().history('a', 1, 10)).toEqual([{ ...entry('a', 1, deep), cursor: 1 }]);
    expect(await journal().record('a')).toEqual(record('a', 1, { snapshot: deep, spec: null }));
  });

  test('[J3] an entry that exists is refused with wrong-state, and nothing of its batch is in', async () => {
    await journal().append({ entries: [entry('a', 1)], records: [record('a', 1)] });
    const batch = { entries: [entry('b', 1), entry('a', 1)], records: [record('b', 1), record('a', 9)] };
    expect(await codeOf(journal().append(batch))).toBe('wrong-state');
    expect(await journal().history('b', 1, 10)).toEqual([]);
    expect(await journal().record('b')).toBeNull();
    expect((await journal().record('a'))?.seq).toBe(1);
    expect(await journal().append({ entries: [entry('a', 2)], records: [record('a', 2)] })).toBeGreaterThan(
      0,
    );
  });

  test('[J3] the same entry twice in one batch is refused', async () => {
    expect(await codeOf(journal().append({ entries: [entry('a', 1), entry('a', 1)], records: [] }))).toBe(
      'wrong-state',
    );
    expect(await journal().cursor()).toBe(0);
  });

  test('[J3] of two writers of the same entry exactly one wins', async () => {
    const codes = await Promise.all(
      ['first', 'second'].map((by) =>
        codeOf(journal().append({ entries: [entry('a', 1, { by })], records: [] })),
      ),
    );
    expect(codes.toSorted()).toEqual(['no failure', 'wrong-state']);
    expect(await journal().history('a', 1, 10)).toHaveLength(1);
  });

  test('[J29] a numbered batch is in after the one before it, or not at all', async () => {
    const batch = (number: number, seq: number) => ({
      number,
      entries: [entry('a', seq)],
      records: [record('a', seq)],
    });
    await journal().append(batch(1, 1));
    // The second is refused for what is in it; the two behind it wait for it, on their way or not.
    const refused = { ...batch(2, 1), records: [] };
    const [second, third] = [journal().append(refused), journal().append(batch(3, 3))];
    expect(await codeOf(second)).toBe('wrong-state');
    expect(await codeOf(third)).toBe('journal-away');
    expect(await codeOf(journal().append(batch(3, 3)))).toBe('journal-away');
    const cursors = await Promise.all([2, 3, 4].map((n) => journal().append(batch(n, n))));
    expect(cursors).toEqual(cursors.toSorted((a, b) => a - b));
    expect((await journal().history('a', 1, 10)).map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
    expect((await journal().record('a'))?.seq).toBe(4);
  });

  test('[J4] append returns the cursor of its last entry, and the feed shows all in order', async () => {
    const first = await journal().append({ entries: [entry('a', 1), entry('b', 1)], records: [] });
    const second = await journal().append({ entries: [entry('a', 2)], records: [] });
    expect(second).toBeGreaterThan(first);
    expect(await journal().cursor()).toBe(second);
    const feed = await journal().feed(0, 10);
    expect(feed.map((e) => `${e.actor}${e.seq}`)).toEqual(['a1', 'b1', 'a2']);
    expect(feed[1]?.cursor).toBe(first);
    expect(feed[2]?.cursor).toBe(second);
    expect((await journal().feed(first, 10)).map((e) => `${e.actor}${e.seq}`)).toEqual(['a2']);
    expect(await journal().feed(0, 2)).toHaveLength(2);
    expect(await journal().feed(second, 10)).toEqual([]);
  });

  test('[J4] a batch of records alone changes the records and not the cursor', async () => {
    const cursor = await journal().append({ entries: [entry('a', 1)], records: [record('a', 1)] });
    expect(await journal().append({ entries: [], records: [record('a', 1, { live: false })] })).toBe(cursor);
    expect((await journal().record('a'))?.live).toBe(false);
  });
}

function reading(journal: () => Journal): void {
  test('[J5] live actors come oldest first, and those that ended do not come', async () => {
    for (const actor of ['c', 'a', 'b'])
      await journal().append({ entries: [entry(actor, 1)], records: [record(actor, 1)] });
    await journal().append({ entries: [entry('a', 2)], records: [record('a', 2, { live: false })] });
    await journal().append({ entries: [entry('c', 2)], records: [record('c', 2)] });
    expect((await journal().live()).map((r) => `${r.actor}${r.seq}`)).toEqual(['c2', 'b1']);
  });

  test('[J5] live gives all of many', async () => {
    const many = Array.from({ length: 4_500 }, (_, i) => record(`task:${String(i).padStart(5, '0')}`, 1));
    await journal().append({ entries: [], records: many });
    const live = await journal().live();
    expect(live).toHaveLength(4_500);
    expect(live.at(-1)?.actor).toBe('task:04499');
  });

  test('[J8] records come newest first, by kind and life, page after page', async () => {
    for (let i = 1; i <= 5; i += 1) {
      const kind = i % 2 ? 'task' : 'hitl';
      await journal().append({ entries: [], records: [record(`x${i}`, 1, { kind, live: i !== 3 })] });
    }
    const names = async (query: Parameters<Journal['records']>[0]) =>
      (await journal().records(query)).map((r) => r.actor);
    expect(await names({ limit: 10 })).toEqual(['x5', 'x4', 'x3', 'x2', 'x1']);
    expect(await names({ limit: 2 })).toEqual(['x5', 'x4']);
    expect(await names({ limit: 2, before: 'x4' })).toEqual(['x3', 'x2']);
    expect(await names({ limit: 10, kind: 'task' })).toEqual(['x5', 'x3', 'x1']);
    expect(await names({ limit: 10, kind: 'task', live: true, before: 'x5' })).toEqual(['x1']);
    expect(await names({ limit: 10, live: false })).toEqual(['x3']);
    expect(await names({ limit: 10, before: 'nobody' })).toEqual([]);
  });

  test('[J9] history starts where it is asked to and gives at most 1,000 entries a call', async () => {
    const entries = Array.from({ length: 1_100 }, (_, i) => entry('a', i + 1));
    await journal().append({ entries, records: [] });
    await journal().append({ entries: [entry('ab', 1)], records: [] });
    expect((await journal().history('a', 1_098, 10)).map((e) => e.seq)).toEqual([1_098, 1_099, 1_100]);
    expect(await journal().history('a', 1, 5_000)).toHaveLength(1_000);
    expect(await journal().feed(0, 5_000)).toHaveLength(1_000);
    expect(await journal().history('a', 1, 3)).toHaveLength(3);
  });
}

/** One that ended, with so many entries; the last of them is from `1_000 + entries`. */
async function ended(journal: Journal, actor: string, entries = 2): Promise<void> {
  const all = Array.from({ length: entries }, (_, i) => entry(actor, i + 1, { text: `naïve ${i}` }));
  await journal.append({ entries: all, records: [record(actor, entries, { live: false })] });
}

function archiving(journal: () => Journal, reopen: () => Promise<void>): void {
  const names = async (query: Partial<Parameters<Journal['records']>[0]>) =>
    (await journal().records({ limit: 1_000, ...query })).map((r) => r.actor);

  test('[J22] what ended before a time is found, the oldest first', async () => {
    await ended(journal(), 'long', 9);
    await ended(journal(), 'short', 3);
    await journal().append({ entries: [entry('alive', 1)], records: [record('alive', 1)] });
    expect(await journal().expired(1_003, 10)).toEqual([]);
    expect(await journal().expired(1_009, 10)).toEqual(['short']);
    expect(await journal().expired(2_000, 10)).toEqual(['short', 'long']);
    expect(await journal().expired(2_000, 1)).toEqual(['short']);
    await journal().append({ entries: [entry('short', 4)], records: [record('short', 4, { live: true })] });
    expect(await journal().expired(2_000, 10)).toEqual(['long']);
  });

  test('[J22] records alone that ended are as old as their newest entry', async () => {
    await journal().append({ entries: [entry('a', 1), entry('a', 2)], records: [] });
    await journal().append({ entries: [], records: [record('a', 2, { live: false })] });
    expect(await journal().expired(1_002, 10)).toEqual([]);
    expect(await journal().expired(1_003, 10)).toEqual(['a']);
  });

  test('[J23] who is put away is read as before, and is listed only where the archive is asked for', async () => {
    for (const actor of ['a', 'b', 'c']) await ended(journal(), actor);
    const before = await journal().history('b', 1, 10);
    expect(await journal().archive(['b', 'a'])).toBe(2);
    await reopen();
    expect(await journal().history('b', 1, 10)).toEqual(before);
    expect(await journal().history('b', 2, 10)).toEqual(before.slice(1));
    expect(await journal().history('b', 1, 1)).toEqual(before.slice(0, 1));
    expect(await journal().record('b')).toEqual(record('b', 2, { live: false, archived: true }));
    expect(await names({})).toEqual(['c']);
    expect(await names({ live: false })).toEqual(['c']);
    expect(await names({ archived: true })).toEqual(['a', 'b']);
    expect(await names({ archived: true, before: 'a' })).toEqual(['b']);
    expect(await names({ archived: true, before: 'c' })).toEqual([]);
    expect(await names({ archived: true, kind: 'hitl' })).toEqual([]);
    expect(await names({ archived: true, live: true })).toEqual([]);
    expect(await journal().expired(2_000, 10)).toEqual(['c']);
    expect((await journal().live()).length).toBe(0);
    expect((await journal().feed(0, 10)).filter(({ actor }) => actor === 'c')).toHaveLength(2);
  });

  test('[J23] a page goes on after an actor that was put away meanwhile', async () => {
    for (const actor of ['a', 'b', 'c', 'd']) await ended(journal(), actor);
    expect(await names({ limit: 2 })).toEqual(['d', 'c']);
    await journal().archive(['c', 'a']);
    expect(await names({ limit: 2, before: 'c' })).toEqual(['b']);
  });

  test('[J24] who lives, is archived already or never was is passed over', async () => {
    await journal().append({ entries: [entry('a', 1)], records: [record('a', 1)] });
    await ended(journal(), 'b');
    expect(await journal().archive(['a', 'b', 'nobody'])).toBe(1);
    expect(await journal().archive(['a', 'b', 'b'])).toBe(0);
    expect(await names({})).toEqual(['a']);
    expect(await journal().record('a')).toEqual(record('a', 1));
  });

  test('[J25] a name that is used again goes on after what is archived of it, and may be archived again', async () => {
    await ended(journal(), 'a', 3);
    const cursor = await journal().cursor();
    await journal().archive(['a']);
    for (const seq of [1, 3])
      expect(await codeOf(journal().append({ entries: [entry('a', seq)], records: [] }))).toBe('wrong-state');
    await journal().append({ entries: [entry('a', 4)], records: [record('a', 4)] });
    expect((await journal().history('a', 2, 10)).map((e) => e.seq)).toEqual([2, 3, 4]);
    expect((await journal().history('a', 1, 2)).map((e) => e.seq)).toEqual([1, 2]);
    expect(await journal().record('a')).toEqual(record('a', 4));
    expect(await names({ archived: true })).toEqual([]);
    expect(await names({ live: true })).toEqual(['a']);
    await journal().append({ entries: [entry('a', 5)], records: [record('a', 5, { live: false })] });
    expect(await journal().archive(['a'])).toBe(1);
    await reopen();
    expect((await journal().history('a', 1, 10)).map((e) => e.seq)).toEqual([1, 2, 3, 4, 5]);
    expect(await journal().record('a')).toEqual(record('a', 5, { live: false, archived: true }));
    expect(await journal().cursor()).toBe(cursor + 2);
  });
}
