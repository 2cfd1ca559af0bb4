/** Looks into a SQLite journal beside the server that writes it. Blocks while it reads: for commands. */
import { existsSync } from 'node:fs';
import { Failure } from '../failure.ts';
import type { ActorRecord, JournalReader } from '../journal.ts';
import { bounded, entryOf, type LiveRow, recordOf } from './sqlite-rows.ts';
import { openForReading } from './sqlite-store.ts';

const LIVE_PART = 2_000;

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
