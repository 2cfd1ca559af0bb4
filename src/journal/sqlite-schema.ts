/**
 * The journal's tables, step by step, and the checks that a file goes through before it is used.
 *
 * A step is never edited once it was released: a change is a new step at the end. The file says which
 * steps it has (`schema_step`), so an older server refuses a newer file instead of spoiling it.
 */
import type { Database } from 'bun:sqlite';
import { Failure } from '../failure.ts';

/** "AgSJ": tells our files from any other SQLite file. */
const APPLICATION_ID = 0x4167534a;

interface Step {
  readonly version: number;
  readonly name: string;
  readonly sql: readonly string[];
}

export const steps: readonly Step[] = [
  {
    version: 1,
    name: 'entries and actors',
    sql: [
      // AUTOINCREMENT, because a cursor that was given out is never given out again.
      `CREATE TABLE entry (
         cursor INTEGER PRIMARY KEY AUTOINCREMENT,
         actor TEXT NOT NULL, kind TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL,
         event TEXT NOT NULL,
         UNIQUE (actor, seq)
       )`,
      // `id` is the order of birth; an update keeps it.
      `CREATE TABLE actor (
         id INTEGER PRIMARY KEY,
         actor TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, version INTEGER NOT NULL, seq INTEGER NOT NULL,
         live INTEGER NOT NULL, spec TEXT NOT NULL, snapshot TEXT NOT NULL
       )`,
      'CREATE INDEX actor_live ON actor (id) WHERE live = 1',
      'CREATE INDEX actor_kind ON actor (kind, id)',
    ],
  },
  {
    version: 2,
    name: 'archive',
    sql: [
      // When an actor ended; 0 while it lives.
      'ALTER TABLE actor ADD COLUMN ended_at INTEGER NOT NULL DEFAULT 0',
      `UPDATE actor SET ended_at = coalesce(
         (SELECT at FROM entry WHERE entry.actor = actor.actor AND entry.seq = actor.seq), 0) WHERE live = 0`,
      'CREATE INDEX actor_ended ON actor (ended_at, id) WHERE live = 0',
      // `place` is the order in which they were put away, `birth` the id among the actors. `life` is zstd of
      // JSON: spec, snapshot and entries.
      `CREATE TABLE archive (
         place INTEGER PRIMARY KEY AUTOINCREMENT,
         actor TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, version INTEGER NOT NULL, seq INTEGER NOT NULL,
         birth INTEGER NOT NULL, life BLOB NOT NULL
       )`,
    ],
  },
  {
    version: 3,
    name: 'tail',
    sql: [
      // Batches that are durable and not in the tables yet, in their order: `after` is the cursor before its
      // first entry, `text` the batch (sqlite-rows.ts).
      'CREATE TABLE tail (id INTEGER PRIMARY KEY, after INTEGER NOT NULL, text TEXT NOT NULL)',
    ],
  },
];

export const SCHEMA_VERSION = steps.at(-1)?.version ?? 0;

const numberOf = (db: Database, pragma: string): number =>
  Number(Object.values(db.query<Record<string, unknown>, []>(`PRAGMA ${pragma}`).get() ?? { none: 0 })[0]);

const textOf = (db: Database, pragma: string): string =>
  String(Object.values(db.query<Record<string, unknown>, []>(`PRAGMA ${pragma}`).get() ?? { none: '' })[0]);

/** Brings the file to this server's schema, or refuses it and says why. */
export function migrate(db: Database, path: string, now: number): void {
  const application = numberOf(db, 'application_id');
  const objects = db.query<{ n: number }, []>('SELECT count(*) AS n FROM sqlite_schema').get()?.n ?? 0;
  if (application !== APPLICATION_ID && objects > 0) {
    throw new Failure(
      'wrong-state',
      `open the journal ${path}: that is some other SQLite file; name another path`,
    );
  }
  const has = numberOf(db, 'user_version');
  if (has > SCHEMA_VERSION) {
    throw new Failure(
      'wrong-state',
      `open the journal ${path}: a newer server wrote it ` +
        `(schema ${has}, this one knows ${SCHEMA_VERSION}); ` +
        'start that version, or one that is newer still',
    );
  }
  if (has === SCHEMA_VERSION) return;
  db.transaction(() => {
    db.run(`PRAGMA application_id = ${APPLICATION_ID}`);
    db.run(
      `CREATE TABLE IF NOT EXISTS schema_step (
         version INTEGER PRIMARY KEY, name TEXT NOT NULL, at INTEGER NOT NULL
       )`,
    );
    for (const step of steps.filter((s) => s.version > has)) {
      for (const sql of step.sql) db.run(sql);
      db.run('INSERT INTO schema_step (version, name, at) VALUES (?, ?, ?)', [step.version, step.name, now]);
    }
    db.run(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  }).immediate();
}

/** Whether it is a journal of ours, of whatever schema. */
export const isJournal = (db: Database): boolean => numberOf(db, 'application_id') === APPLICATION_ID;

/** Refuses what `migrate` would refuse, and a file that it would have to change first. */
export function checkReadable(db: Database, path: string): void {
  const isOurs = isJournal(db);
  const has = numberOf(db, 'user_version');
  if (isOurs && has === SCHEMA_VERSION) return;
  const why = isOurs ? `its schema is ${has}, this one knows ${SCHEMA_VERSION}` : 'that is no journal';
  throw new Failure('wrong-state', `look into the journal ${path}: ${why}`);
}

/** Reads every page once and throws when the file is damaged. Costs a second for about 500 MB. */
export function checkIntegrity(db: Database, path: string): void {
  const found = textOf(db, 'quick_check(1)');
  if (found === 'ok') return;
  throw new Failure(
    'journal-away',
    `open the journal ${path}: the file is damaged (${found}); put a backup in its place, ` +
      'or save what can be saved with `sqlite3 FILE .recover`',
  );
}
