/**
 * A journal in memory, for tests and simulation.
 *
 * Keeps JSON text, so what would not survive a disk does not survive here. It can be slow, be away, and
 * crash: `crash` gives the journal that a restarted server would find, with every acknowledged batch in
 * it and, as the caller chooses, with or without the batches that were still on their way, or some of them.
 */
import { Failure } from '../failure.ts';
import type { ActorRecord, Batch, FeedEntry, Journal, JournalReader, RecordQuery } from '../journal.ts';
import { Numbers } from './numbers.ts';

const ROWS_MAX = 1_000;

export interface MemoryKnobs {
  /** Why it cannot be reached; null: it can. */
  away: string | null;
  /** Each append waits for this before anything of it is in. */
  beforeWrite: (() => Promise<void>) | null;
  /** Each append waits for this once it is in and before it is acknowledged. */
  beforeAck: (() => Promise<void>) | null;
}

export interface MemoryJournal extends Journal {
  readonly knobs: MemoryKnobs;
  /** Ends this journal as a kill would; what waits is never acknowledged. */
  crash(unacknowledged: Fate): MemoryJournal;
}

/** What becomes of the batches that a kill finds on their way: all are in, the oldest of them, or none. */
export type Fate = 'kept' | 'first' | 'lost';

/** A batch as text, made when it is given: what happens to its objects afterwards changes nothing. */
interface Packed {
  readonly number: number | undefined;
  readonly entries: readonly { readonly actor: string; readonly seq: number; readonly text: string }[];
  readonly records: readonly { readonly actor: string; readonly text: string }[];
}

interface Held {
  /** JSON of a JournalEntry, by cursor from 1. */
  readonly entries: string[];
  /** JSON of an ActorRecord by actor, in order of birth. */
  readonly records: Map<string, string>;
  /** Cursors by actor and, below it, by seq. */
  readonly past: Map<string, Map<number, number>>;
  /** Their order of birth, also of those that were put away. */
  readonly births: Map<string, number>;
  readonly numbers: { births: number };
  /** JSON of an ActorRecord by actor, in the order in which they were put away. */
  readonly archive: Map<string, string>;
}

export function memoryJournal(): MemoryJournal {
  return journalOver({
    entries: [],
    records: new Map(),
    past: new Map(),
    births: new Map(),
    numbers: { births: 0 },
    archive: new Map(),
  });
}

function journalOver(held: Held): MemoryJournal {
  const knobs: MemoryKnobs = { away: null, beforeWrite: null, beforeAck: null };
  const onTheWay = new Set<Packed>();
  const ended = Promise.withResolvers<never>();
  ended.promise.catch(() => {});
  const acknowledged = copyOf(held);
  const numbers = new Numbers();
  let over: string | null = null;
  let turn: Promise<unknown> = Promise.resolve();

  const check = (call: string): void => {
    const why = over ?? knobs.away;
    if (why !== null) throw new Failure('journal-away', `${call}: ${why}`);
  };

  const append = async (batch: Packed): Promise<number> => {
    await knobs.beforeWrite?.();
    check('append');
    numbers.check(batch);
    put(held, batch);
    numbers.wrote(batch);
    const cursor = held.entries.length;
    await knobs.beforeAck?.();
    // What is in cannot be refused any more: whoever appends it again would find it there.
    if (over !== null) check('append');
    put(acknowledged, batch);
    return cursor;
  };

  const end = (why: string): void => {
    over ??= why;
    ended.reject(new Failure('journal-away', `append: ${over}`));
  };

  return {
    knobs,
    async append(batch) {
      check('append');
      const packed = pack(batch);
      onTheWay.add(packed);
      // One after the other, as one connection would.
      const mine = turn.then(() => append(packed)).finally(() => onTheWay.delete(packed));
      turn = mine.catch(() => {});
      return Promise.race([mine, ended.promise]);
    },
    async archive(actors) {
      check('archive');
      const away = actors.filter((actor) => putAway(held, actor));
      for (const actor of away) putAway(acknowledged, actor);
      return away.length;
    },
    ...readsOf(held, check),
    trouble: () => (knobs.away === null ? null : new Failure('journal-away', knobs.away)),
    async close() {
      await turn;
      end('the journal is closed');
    },
    crash(unacknowledged) {
      end('the server was killed');
      const left = copyOf(acknowledged);
      const all = [...onTheWay];
      keep(left, all.slice(0, { kept: all.length, first: 1, lost: 0 }[unacknowledged]));
      return journalOver(left);
    },
  };
}

function readsOf(held: Held, check: (call: string) => void): Omit<JournalReader, 'close'> {
  const records = (): ActorRecord[] => [...held.records.values()].map((text) => JSON.parse(text));
  // Of a name that is used again only its present life is listed.
  const archived = (): ActorRecord[] =>
    [...held.archive].flatMap(([actor, text]) => (held.records.has(actor) ? [] : [JSON.parse(text)]));
  const changedAt = ({ actor, seq }: ActorRecord): number => {
    const cursor = held.past.get(actor)?.get(seq) ?? 0;
    return JSON.parse(held.entries[cursor - 1] ?? '{"at":0}').at;
  };
  return {
    async live() {
      check('live');
      return records().filter((record) => record.live);
    },
    async record(actor) {
      check('record');
      const text = held.records.get(actor) ?? held.archive.get(actor);
      return text === undefined ? null : JSON.parse(text);
    },
    async records(query) {
      check('records');
      if (query.archived) return chosen(archived().reverse(), query);
      const { before, ...rest } = query;
      const below = before === undefined ? Number.POSITIVE_INFINITY : (held.births.get(before) ?? 0);
      const older = records().filter(({ actor }) => (held.births.get(actor) ?? 0) < below);
      return chosen(older.reverse(), rest);
    },
    async history(actor, from, limit) {
      check('history');
      const own = [...(held.past.get(actor) ?? [])].filter(([seq]) => seq >= from).sort(([a], [b]) => a - b);
      return own.slice(0, bounded(limit)).map(([, cursor]) => told(held, cursor));
    },
    async feed(after, limit) {
      check('feed');
      const found: FeedEntry[] = [];
      for (let at = Math.max(0, after); at < held.entries.length && found.length < bounded(limit); at++) {
        const entry = told(held, at + 1);
        if ((archivedSeq(held, entry.actor) ?? 0) < entry.seq) found.push(entry);
      }
      return found;
    },
    async expired(before, limit) {
      check('expired');
      const ended = records().filter((record) => !record.live && changedAt(record) < before);
      const oldest = ended.sort((a, b) => changedAt(a) - changedAt(b));
      return oldest.slice(0, bounded(limit)).map(({ actor }) => actor);
    },
    async cursor() {
      check('cursor');
      return held.entries.length;
    },
  };
}

const bounded = (limit: number): number => Math.max(0, Math.min(limit, ROWS_MAX));

const copyOf = (held: Held): Held => ({
  entries: [...held.entries],
  records: new Map(held.records),
  past: new Map([...held.past].map(([actor, own]) => [actor, new Map(own)])),
  births: new Map(held.births),
  numbers: { ...held.numbers },
  archive: new Map(held.archive),
});

/** The newest entry of an actor that lies in the archive. */
function archivedSeq({ archive }: Held, actor: string): number | null {
  const text = archive.get(actor);
  return text === undefined ? null : (JSON.parse(text) as ActorRecord).seq;
}

/** False when there is nothing to put away. */
function putAway({ records, archive }: Held, actor: string): boolean {
  const text = records.get(actor);
  if (text === undefined) return false;
  const record = JSON.parse(text) as ActorRecord;
  if (record.live) return false;
  records.delete(actor);
  archive.delete(actor); // So that it is the newest there.
  archive.set(actor, JSON.stringify({ ...record, archived: true }));
  return true;
}

const pack = ({ number, entries, records }: Batch): Packed => ({
  number,
  entries: entries.map((entry) => ({ actor: entry.actor, seq: entry.seq, text: JSON.stringify(entry) })),
  records: records.map((record) => ({ actor: record.actor, text: JSON.stringify(record) })),
});

const told = ({ entries }: Held, cursor: number): FeedEntry => ({
  ...JSON.parse(entries[cursor - 1] ?? 'null'),
  cursor,
});

/** All or nothing: looks at every entry before it takes the first. */
function put(held: Held, batch: Packed): void {
  const inBatch = new Set<string>();
  for (const { actor, seq } of batch.entries) {
    const key = `${actor}\n${seq}`;
    if (held.past.get(actor)?.has(seq) || inBatch.has(key)) {
      throw new Failure('wrong-state', `append to ${actor}: entry ${seq} is already there`);
    }
    inBatch.add(key);
  }
  for (const entry of batch.entries) {
    const own = held.past.get(entry.actor) ?? new Map<number, number>();
    const cursor = held.entries.push(entry.text);
    held.past.set(entry.actor, own.set(entry.seq, cursor));
  }
  for (const { actor, text } of batch.records) {
    if (!held.records.has(actor)) held.births.set(actor, ++held.numbers.births);
    held.records.set(actor, text);
  }
}

function keep(left: Held, batches: Iterable<Packed>): void {
  for (const batch of batches) {
    try {
      put(left, batch);
    } catch {
      // It would have been refused before the kill as well.
    }
  }
}

function chosen(newestFirst: readonly ActorRecord[], query: RecordQuery): ActorRecord[] {
  const start = query.before === undefined ? 0 : newestFirst.findIndex((r) => r.actor === query.before) + 1;
  // An actor that nobody knows has nothing after it.
  if (query.before !== undefined && start === 0) return [];
  return newestFirst
    .slice(start)
    .filter((r) => query.kind === undefined || r.kind === query.kind)
    .filter((r) => query.live === undefined || r.live === query.live)
    .slice(0, bounded(query.limit));
}
