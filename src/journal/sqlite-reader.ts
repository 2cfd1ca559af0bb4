/** Looks into a SQLite journal beside the server that writes it. Blocks while it reads: for commands. */
import { Database } from 'bun:sqlite';
import { existsSync, statSync } from 'node:fs';
import { Failure } from '../failure.ts';
import type { ActorRecord, JournalReader } from '../journal.ts';
import { bounded, entryOf, type LiveRow, recordOf } from './sqlite-rows.ts';
import { isJournal } from './sqlite-schema.ts';
import { openForReading } from './sqlite-store.ts';

const LIVE_PART = 2_000;

/** Whether nothing was ever written there; of any schema. Throws Failure('bad-input' | 'not-found'). */
export function isSqliteEmpty(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw new Failure('not-found', `there is no journal ${path}`);
  if (found.isDirectory())
    throw new Failure('bad-input', `${path} is a directory; name the file in it, such as journal.db`);
  if (found.size === 0) return true;
  const db = new Database(path, { readonly: true });
  try {
    if (!isJournal(db)) throw new Failure('bad-input', `${path} is no journal`);
    const hasTail = db.query("SELECT 1 FROM sqlite_schema WHERE name = 'tail'").get() !== null;
    const places = ['entry', 'sqlite_sequence', ...(hasTail ? ['tail'] : [])];
    return places.every((place) => db.query(`SELECT 1 FROM ${place} LIMIT 1`).get() === null);
  } catch (thrown) {
    if (thrown instanceof Failure) throw thrown;
    throw new Failure('bad-input', `${path} cannot be read as a journal: ${(thrown as Error).message}`);
  } finally {
    db.close();
  }
}

/** Throws Failure('not-found' | 'wrong-state'). */
export function sqliteReader(path: string): JournalReader {
  if (!existsSync(path)) throw new Failure('not-found', `there is no journal ${path}`);
  const store = openForReading(path);
  return {
    async live() {
      const found: ActorRecord[] = [];
      for (let part: readonly LiveRow[] = store.live(0, LIVE_PART); part.length > 0; ) {
        for (const row of part) found.push(recordOf(row));
        part = store.live(part.at(-1)?.id ?? 0, LIVE_PART);
      }
      return found;
    },
    async record(actor) {
      const row = store.record(actor);
      return row && recordOf(row);
    },
    records: async (query) => store.records({ ...query, limit: bounded(query.limit) }).map(recordOf),
    history: async (actor, from, limit) => store.history(actor, from, bounded(limit)).map(entryOf),
    feed: async (after, limit) => store.feed(after, bounded(limit)).map(entryOf),
    cursor: async () => store.cursor(),
    expired: async (before, limit) => store.expired(before, bounded(limit)),
    close: async () => store.close(),
  };
}
