/**
 * The journal's file, synchronous and in text: what runs inside the journal's thread.
 *
 * WAL with synchronous=FULL: when `append` returns, the batch has been through fsync. One transaction per
 * batch, and one row (sqlite-tail.ts); whoever reads has it brought into the tables first. The files are
 * looked at before each write: a journal that was moved away or deleted would take every write and keep none
 * (sqlite-place.ts). Whenever it rests, and when it is opened, the write-ahead log is brought into the file,
 * so that little hangs on the log.
 */
import { Database, type SQLQueryBindings } from 'bun:sqlite';
import { closeSync, existsSync, openSync, statSync } from 'node:fs';
import type { RecordQuery } from '../journal.ts';
import { archiveIn, archiveReads } from './sqlite-archive.ts';
import { overlayOn } from './sqlite-overlay.ts';
import { checkpoint, placeOf } from './sqlite-place.ts';
import type { FeedRow, LiveRow, RecordRow } from './sqlite-rows.ts';
import { checkIntegrity, checkReadable, migrate } from './sqlite-schema.ts';
import { tailOf } from './sqlite-tail.ts';

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
  /** One batch (`textOf`); the cursor of its last entry, or of the last one there is. */
  append(text: string): number;
  /** Between appends: a part of what must go from the tail into the tables. */
  settleSome(): void;
  /** All of it. */
  settle(): void;
  /** A clean end: everything is in the tables, if it can be. `close` throws the connection away as it is. */
  end(): void;
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
    return seeing(readsOf(db), overlayOn(db).refresh);
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
    const store = storeOver(db, path);
    checkpoint(db);
    return store;
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
  const reads = readsOf(db);
  const newest = db.query<{ seq: number | null }, [string]>(
    'SELECT max(seq) AS seq FROM main.entry WHERE actor = ?',
  );
  const seqOf = (actor: string) => Math.max(newest.get(actor)?.seq ?? 0, archive.seqOf(actor));
  const tail = tailOf(db, { seqOf, cursor: reads.cursor });
  const add = db.transaction((text: string) => tail.add(text));
  const putAway = db.transaction((actors: readonly string[]) => archive.put(actors));
  const overlay = overlayOn(db);
  const settleIfPossible = () => {
    if (!tail.isSettled()) {
      // Whoever holds the file by hand makes no reader wait.
      db.run('PRAGMA busy_timeout = 0');
      try {
        tail.settle();
      } catch {
        // What cannot go into the tables is shown beside them; the next append says what is wrong.
      } finally {
        db.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
      }
    }
    overlay.refresh();
  };
  settleIfPossible();
  return {
    ...seeing(reads, settleIfPossible),
    end() {
      try {
        // A log that is not ours any more is found here as well, and nothing is written behind its back.
        place.check();
        tail.settle();
      } catch {
        // What is in the tail stays there, for whoever opens the file next.
      } finally {
        reads.close();
      }
    },
    cursor: tail.cursor,
    append(text) {
      place.check();
      tail.makeRoom();
      let isDurable = false;
      try {
        const cursor = add.immediate(text);
        isDurable = true;
        return cursor ?? tail.cursor();
      } finally {
        tail.added(isDurable);
      }
    },
    settleSome: tail.settleSome,
    archive(actors) {
      place.check();
      tail.settle();
      overlay.refresh();
      return putAway.immediate(actors);
    },
    settle: tail.settle,
    rest() {
      tail.settle();
      checkpoint(db);
    },
    isSpent: place.isSpent,
  };
}

/** The same reads, each after `look`. */
function seeing(reads: StoreReads, look: () => void): StoreReads {
  const after =
    <Asked extends unknown[], Found>(read: (...asked: Asked) => Found) =>
    (...asked: Asked): Found => {
      look();
      return read(...asked);
    };
  return {
    live: after(reads.live),
    record: after(reads.record),
    records: after(reads.records),
    history: after(reads.history),
    feed: after(reads.feed),
    cursor: after(reads.cursor),
    expired: after(reads.expired),
    close: reads.close,
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
  const newest = all<{ cursor: number }>(
    `SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'entry'), 0),
       coalesce((SELECT max(cursor) FROM entry), 0)) AS cursor`,
  );
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
