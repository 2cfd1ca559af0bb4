/**
 * Keeps a second server off the same journal, or the same data directory, and says who is on it.
 *
 * The lock is a write lock on a small SQLite file beside it, held for life in an open
 * transaction. The kernel lets go of it when its process dies, however it dies, children do not inherit it,
 * and others can still read the file to learn who holds it. The journal itself stays readable to anyone.
 */
import { Database } from 'bun:sqlite';
import { Failure } from '../failure.ts';

interface Holder {
  readonly pid: number;
  readonly since: string;
}

export interface Lock {
  release(): void;
}

const isBusy = (thrown: unknown): boolean =>
  thrown instanceof Error && 'code' in thrown && String(thrown.code).startsWith('SQLITE_BUSY');

export interface Wanted {
  /** What is refused when another has it. */
  readonly what: string;
  /** When we began, for whoever is refused. */
  readonly since: string;
}

/** The file is `<of>.lock`. Throws Failure('wrong-state') that names the holder. */
export function takeLock(of: string, { what, since }: Wanted): Lock {
  const path = `${of}.lock`;
  const db = new Database(path, { create: true, readwrite: true });
  try {
    db.run('PRAGMA busy_timeout = 0');
    db.run('BEGIN IMMEDIATE');
    db.run(
      'CREATE TABLE IF NOT EXISTS holder (one INTEGER PRIMARY KEY CHECK (one = 1), pid INTEGER, since TEXT)',
    );
    db.run('INSERT OR REPLACE INTO holder (one, pid, since) VALUES (1, ?, ?)', [process.pid, since]);
    db.run('COMMIT');
    // Between these two another server can come first; then this one is refused like any second one.
    db.run('BEGIN IMMEDIATE');
    return { release: () => db.close() };
  } catch (thrown) {
    const refusal = isBusy(thrown) ? refusalOf(db, what) : thrown;
    db.close();
    throw refusal;
  }
}

function refusalOf(db: Database, what: string): Failure {
  const holder = whoHolds(db);
  const who = holder ? `process ${holder.pid} has it since ${holder.since}` : 'another process has it';
  return new Failure(
    'wrong-state',
    `${what}: ${who}; stop that server, or give this one its own data directory`,
  );
}

function whoHolds(db: Database): Holder | null {
  try {
    return db.query<Holder, []>('SELECT pid, since FROM holder WHERE one = 1').get();
  } catch {
    // The holder is just now writing its name; that it is held is known all the same.
    return null;
  }
}
