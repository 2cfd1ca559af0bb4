/**
 * The journal's file, synchronous and in text: what runs inside the journal's thread.
 *
 * WAL with synchronous=FULL: when `append` returns, the batch has been through fsync. One transaction per
 * batch. The files are looked at before each write: a journal that was moved away or deleted would take every
 * write and keep none (sqlite-place.ts). Whenever it rests, and when it is opened, the write-ahead log is
 * brought into the file, so that little hangs on the log.
 */
import { Database, type SQLQueryBindings, type Statement } from 'bun:sqlite';
import { closeSync, existsSync, openSync, statSync } from 'node:fs';
import { Failure } from '../failure.ts';
import type { RecordQuery } from '../journal.ts';
import { type Archive, archiveIn, archiveReads } from './sqlite-archive.ts';
import { checkpoint, placeOf } from './sqlite-place.ts';
import type { EntryRow, FeedRow, LiveRow, RecordRow } from './sqlite-rows.ts';
import { checkIntegrity, checkReadable, migrate } from './sqlite-schema.ts';

/** Above this the check after a crash would hold up the start; `PRAGMA quick_check` does it by hand. */
const CHECKED_BYTES_MAX = 1024 ** 3;
/** The write-ahead log is cut back to this after a checkpoint. */
const WAL_BYTES_MAX = 64 * 1024 ** 2;
/** How long a write waits for someone who writes to the file by hand. */
const BUSY_MS = 2_000;

export interface StoreReads {
  /** Live actors whose `id` is above `after`, oldest first. */
  live(after: number, limit: number): LiveRow[];
  record(actor: string): RecordRow | null;
  records(query: RecordQuery): RecordRow[];
  history(actor: string, from: number, limit: number): FeedRow[];
  feed(after: number, limit: number): FeedRow[];
  cursor(): number;
  expired(before: number, limit: number): string[];
  close(): void;
}

export interface Store extends StoreReads {
  append(entries: readonly EntryRow[], records: readonly RecordRow[]): number;
  archive(actors: readonly string[]): number;
  /** Nothing was written for a while: what is in the write-ahead log goes into the file. */
  rest(): void;
  /** It must be closed and opened afresh before the next call. */
  isSpent(): boolean;
}

/** For looking only, beside the server that writes: nothing is locked, tuned or migrated. */
export function openForReading(path: string): StoreReads {
  const db = new Database(path, { readonly: true });
  try {
    db.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
    checkReadable(db, path);
    return readsOf(db);
  } catch (thrown) {
    db.close();
    throw thrown;
  }
}

/** The caller holds the lock on `path` (sqlite-lock.ts). */
export function openStore(path: string, now: number): Store {
  // A clean end removes the write-ahead log; one that is still there means that the last server was killed.
  const killed = existsSync(`${path}-wal`);
  // Made private before SQLite makes it; the files beside it take its mode.
  closeSync(openSync(path, 'a', 0o600));
  const db = new Database(path, { create: true, readwrite: true });
  try {
    tune(db);
    if (killed && statSync(path).size <= CHECKED_BYTES_MAX) checkIntegrity(db, path);
    migrate(db, path, now);
    checkpoint(db);
    return storeOver(db, path);
  } catch (thrown) {
    db.close();
    throw thrown;
  }
}

function tune(db: Database): void {
  db.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
  db.run('PRAGMA journal_mode = WAL');
  db.run('PRAGMA synchronous = FULL');
  db.run(`PRAGMA journal_size_limit = ${WAL_BYTES_MAX}`);
  db.run('PRAGMA cache_size = -65536');
}

function storeOver(db: Database, path: string): Store {
  const archive = archiveIn(db);
  const place = placeOf(db, path);
  const append = appendTo(db, archive);
  const putAway = db.transaction((actors: readonly string[]) => archive.put(actors));
  const reads = readsOf(db);
  return {
    ...reads,
    append(entries, records) {
      place.check();
      return append.immediate(entries, records) ?? reads.cursor();
    },
    archive(actors) {
      place.check();
      return putAway.immediate(actors);
    },
    rest: () => checkpoint(db),
    isSpent: place.isSpent,
  };
}

function readsOf(db: Database): StoreReads {
  const all = <Row>(sql: string) => {
    // Kept by the connection, and let go of when that is closed.
    const statement = db.query<Row, SQLQueryBindings[]>(sql);
    return (...values: SQLQueryBindings[]): Row[] => statement.all(...values);
  };
  const columns = 'actor, kind, version, seq, live, spec, snapshot';
  const live = all<LiveRow>(`SELECT id, ${columns} FROM actor WHERE live = 1 AND id > ? ORDER BY id LIMIT ?`);
  const record = all<RecordRow>(`SELECT ${columns} FROM actor WHERE actor = ?`);
  const entryColumns = 'cursor, actor, kind, seq, at, event';
  const history = all<FeedRow>(
    `SELECT ${entryColumns} FROM entry WHERE actor = ? AND seq >= ? ORDER BY seq LIMIT ?`,
  );
  const feed = all<FeedRow>(`SELECT ${entryColumns} FROM entry WHERE cursor > ? ORDER BY cursor LIMIT ?`);
  const newest = all<{ cursor: number }>("SELECT seq AS cursor FROM sqlite_sequence WHERE name = 'entry'");
  const cursor = () => newest()[0]?.cursor ?? 0;
  const archive = archiveReads(db);
  return {
    live,
    record: (actor) => record(actor)[0] ?? archive.record(actor),
    records: (query) => (query.archived ? archive.records(query) : queryRecords(db, columns, query)),
    history(actor, from, limit) {
      const found = history(actor, from, limit);
      // Where the log begins later than it was asked for, its beginning is in the archive, or all of it.
      if (found[0]?.seq === from) return found;
      return [...archive.history(actor, from), ...found].slice(0, limit);
    },
    feed,
    cursor,
    expired: archive.expired,
    close: () => db.close(true),
  };
}

/** The cursor of the last entry, null when the batch has none. */
function appendTo(db: Database, archive: Archive) {
  const addEntry = db.query('INSERT INTO entry (actor, kind, seq, at, event) VALUES (?, ?, ?, ?, ?)');
  const putRecord = db.query(
    `INSERT INTO actor (actor, kind, version, seq, live, spec, snapshot, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (actor) DO UPDATE SET kind = excluded.kind, version = excluded.version, seq = excluded.seq,
       live = excluded.live, spec = excluded.spec, snapshot = excluded.snapshot, ended_at = excluded.ended_at`,
  );
  const timeOf = db.query<{ at: number }, [string, number]>(
    'SELECT at FROM entry WHERE actor = ? AND seq = ?',
  );
  return db.transaction((entries: readonly EntryRow[], records: readonly RecordRow[]) => {
    let last: number | null = null;
    for (const e of entries) {
      if (archive.seqOf(e.actor) >= e.seq) throw isThere(e);
      last = addOne(addEntry, e);
    }
    for (const r of records) {
      const endedAt = r.live ? 0 : (timeOf.get(r.actor, r.seq)?.at ?? 0);
      putRecord.run(r.actor, r.kind, r.version, r.seq, r.live, r.spec, r.snapshot, endedAt);
    }
    return last;
  });
}

const isThere = ({ actor, seq }: EntryRow, cause?: unknown): Failure =>
  new Failure('wrong-state', `append to ${actor}: entry ${seq} is already there`, { cause });

function addOne(statement: Statement, e: EntryRow): number {
  try {
    return Number(statement.run(e.actor, e.kind, e.seq, e.at, e.event).lastInsertRowid);
  } catch (thrown) {
    if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'SQLITE_CONSTRAINT_UNIQUE'))
      throw thrown;
    throw isThere(e, thrown);
  }
}

function queryRecords(db: Database, columns: string, query: RecordQuery): RecordRow[] {
  const where: string[] = [];
  const values: SQLQueryBindings[] = [];
  if (query.kind !== undefined) where.push('kind = ?') && values.push(query.kind);
  if (query.live !== undefined) where.push('live = ?') && values.push(query.live ? 1 : 0);
  if (query.before !== undefined) {
    // It may have been put away since.
    const births = '(SELECT id FROM actor WHERE actor = ?), (SELECT birth FROM archive WHERE actor = ?)';
    where.push(`id < coalesce(${births})`);
    values.push(query.before, query.before);
  }
  values.push(query.limit);
  const condition = where.length > 0 ? `WHERE ${where.join(' AND ')}` : '';
  // `query` keeps the compiled statement; there are eight shapes at most.
  return db
    .query<RecordRow, SQLQueryBindings[]>(
      `SELECT ${columns} FROM actor ${condition} ORDER BY id DESC LIMIT ?`,
    )
    .all(...values);
}
