/**
 * Batches that are durable and not in the tables yet: a batch is one row of text, and is acknowledged with
 * that.
 *
 *   add ──▶ one row of `tail`, fsync ──▶ acknowledged
 *             └── later, many batches together ──▶ `entry` and `actor`, and the rows of `tail` go
 *
 * Row by row, a batch of n transitions dirties up to 3n pages, in both tables and their indices; as text it
 * fills the pages that it needs. Later is when enough have gathered, when nothing was written for a while, or
 * when somebody reads; then an actor's record is put once for all its transitions. What is only in the tail
 * survives a kill there, and is taken up when the file is opened.
 */
import type { Database } from 'bun:sqlite';
import { Failure } from '../failure.ts';
import { type EntryRow, type FeedRow, type RecordRow, rowsIn } from './sqlite-rows.ts';

/** Entries that gather before they go into the tables while more come. */
const GATHERED = 4_096;
/** Beyond this many nothing more is taken before they are in the tables. */
const GATHERED_MAX = 65_536;
/** Entries and records that go into the tables in one transaction while more come. */
const PART = 512;
/** Actors whose newest entry is known without asking. */
const KNOWN_MAX = 200_000;

/** What goes into the tables together. */
export interface Backlog {
  readonly entries: FeedRow[];
  /** The newest of each actor, in the order in which they first came. */
  readonly records: Map<string, RecordRow>;
  /** The last row of `tail` that is in it. */
  last: number;
}

export interface Tail {
  /** Inside a transaction of the caller's: the cursor of its last entry, null when it has none. */
  add(text: string): number | null;
  /** The batch that was added last is durable, or not. */
  added(isDurable: boolean): void;
  /**
   * Before `add`, outside its transaction: where the tables took nothing, or too much waits for them, they
   * must take it first. Throws what SQLite does.
   */
  makeRoom(): void;
  /** A part of what is due; does nothing while little has gathered. */
  settleSome(): void;
  /** All of it. Throws what SQLite does. */
  settle(): void;
  isSettled(): boolean;
  /** The newest cursor, of whatever is durable. */
  cursor(): number;
}

export interface TailTables {
  /** The newest entry of an actor in the tables and the archive, 0 when there is none. */
  seqOf(actor: string): number;
  cursor(): number;
}

const isThere = (actor: string, seq: number): Failure =>
  new Failure('wrong-state', `append to ${actor}: entry ${seq} is already there`);

/** Reads what an earlier server left in the tail of `db`. */
export function tailOf(db: Database, tables: TailTables): Tail {
  const addRow = db.query<null, [number, number, string]>(
    'INSERT INTO main.tail (id, after, text) VALUES (?, ?, ?)',
  );
  const settlement = settlementIn(db);
  const known = new Map<string, number>();
  let gathering: Backlog = tailIn(db);
  let settling: Settling | null = null;
  /** The last part did not get into the tables. */
  let isTroubled = false;
  let lastRow = gathering.last;
  let cursor = gathering.entries.at(-1)?.cursor ?? tables.cursor();
  for (const { actor, seq } of gathering.entries) known.set(actor, seq);
  /** What was added and is not known to be durable. */
  let doubtful: { readonly rows: ReturnType<typeof rowsIn>; readonly seqs: Map<string, number> } | null =
    null;

  const part = (most: number): void => {
    isTroubled = true;
    if (!settling) {
      settling = { backlog: gathering, order: [...gathering.entries].sort(byActor), at: 0 };
      gathering = { entries: [], records: new Map(), last: lastRow };
    }
    if (settlement(settling, most)) settling = null;
    isTroubled = false;
  };
  const size = () => gathering.entries.length + gathering.records.size;
  const entries = () => gathering.entries.length + (settling?.order.length ?? 0);

  const self: Tail = {
    add(text) {
      if (known.size > KNOWN_MAX && self.isSettled()) known.clear();
      const rows = rowsIn(text);
      const seqs = new Map<string, number>();
      for (const { actor, seq } of rows.entries) {
        const newest = seqs.get(actor) ?? known.get(actor) ?? tables.seqOf(actor);
        if (seq <= newest) throw isThere(actor, seq);
        seqs.set(actor, seq);
      }
      addRow.run(lastRow + 1, cursor, text);
      doubtful = { rows, seqs };
      return rows.entries.length > 0 ? cursor + rows.entries.length : null;
    },
    added(isDurable) {
      if (doubtful && isDurable) {
        gather(gathering, doubtful.rows, cursor);
        gathering.last = ++lastRow;
        cursor += doubtful.rows.entries.length;
        for (const [actor, seq] of doubtful.seqs) known.set(actor, seq);
      }
      doubtful = null;
    },
    makeRoom() {
      if (isTroubled || entries() >= GATHERED_MAX) self.settle();
    },
    settleSome() {
      if (settling || gathering.entries.length >= GATHERED) part(PART);
    },
    settle() {
      while (settling || size() > 0) part(Number.POSITIVE_INFINITY);
    },
    isSettled: () => settling === null && size() === 0,
    cursor: () => cursor,
  };
  return self;
}

interface Settling {
  readonly backlog: Backlog;
  /** Its entries as their index wants them: of one actor after those of another. */
  readonly order: readonly FeedRow[];
  /** So many entries, and then records, are in the tables. */
  at: number;
}

const byActor = (a: FeedRow, b: FeedRow): number =>
  a.actor < b.actor ? -1 : a.actor > b.actor ? 1 : a.seq - b.seq;

/** Puts some of it into the tables; true when that was the last of it. */
function settlementIn(db: Database) {
  // A kill between two parts leaves the rows of the tail: some entries come again.
  const addEntry = db.query<null, [number, string, string, number, number, string]>(
    `INSERT INTO main.entry (cursor, actor, kind, seq, at, event) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (cursor) DO NOTHING`,
  );
  const putRecord = db.query<null, [string, string, number, number, number, string, string, number]>(
    `INSERT INTO main.actor (actor, kind, version, seq, live, spec, snapshot, ended_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (actor) DO UPDATE SET kind = excluded.kind, version = excluded.version, seq = excluded.seq,
       live = excluded.live, spec = excluded.spec, snapshot = excluded.snapshot, ended_at = excluded.ended_at`,
  );
  const timeOf = db.query<{ at: number }, [string, number]>(
    'SELECT at FROM main.entry WHERE actor = ? AND seq = ?',
  );
  const forget = db.query<null, [number]>('DELETE FROM main.tail WHERE id <= ?');
  const put = db.transaction(({ backlog, order, at }: Settling, until: number): boolean => {
    for (const e of order.slice(at, until)) addEntry.run(e.cursor, e.actor, e.kind, e.seq, e.at, e.event);
    const records = [...backlog.records.values()];
    const first = Math.max(0, at - order.length);
    for (const r of records.slice(first, Math.max(0, until - order.length))) {
      const endedAt = r.live ? 0 : (timeOf.get(r.actor, r.seq)?.at ?? 0);
      putRecord.run(r.actor, r.kind, r.version, r.seq, r.live, r.spec, r.snapshot, endedAt);
    }
    const isAll = until >= order.length + records.length;
    if (isAll) forget.run(backlog.last);
    return isAll;
  });
  return (settling: Settling, most: number): boolean => {
    const until = settling.at + most;
    // The rows of the tail are durable already: nothing is lost if these are not.
    db.run('PRAGMA synchronous = NORMAL');
    try {
      const isAll = put.immediate(settling, until);
      settling.at = until;
      return isAll;
    } finally {
      db.run('PRAGMA synchronous = FULL');
    }
  };
}

function gather(
  into: Backlog,
  { entries, records }: { readonly entries: readonly EntryRow[]; readonly records: readonly RecordRow[] },
  after: number,
): void {
  entries.forEach((entry, i) => {
    into.entries.push({ ...entry, cursor: after + i + 1 });
  });
  for (const record of records) into.records.set(record.actor, record);
}

/** What lies in the tail of a file. */
export function tailIn(db: Database): Backlog {
  const found: Backlog = { entries: [], records: new Map(), last: 0 };
  const rows = db.query<{ id: number; after: number; text: string }, []>(
    'SELECT id, after, text FROM main.tail ORDER BY id',
  );
  for (const { id, after, text } of rows.all()) {
    gather(found, rowsIn(text), after);
    found.last = id;
  }
  return found;
}
