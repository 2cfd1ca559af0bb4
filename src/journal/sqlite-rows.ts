/** Rows of the SQLite file and what they say. */
import type { ActorRecord, Batch, FeedEntry } from '../journal.ts';
import type { EntryRow, FeedRow, RecordRow } from './sqlite-store.ts';

/** The most that one call of `records`, `history` and `feed` gives. */
const ROWS_MAX = 1_000;

export const bounded = (limit: number): number => Math.max(0, Math.min(limit, ROWS_MAX));

export function rowsOf(batch: Batch): { entries: EntryRow[]; records: RecordRow[] } {
  return {
    entries: batch.entries.map(({ actor, kind, seq, at, event }) => ({
      actor,
      kind,
      seq,
      at,
      event: JSON.stringify(event),
    })),
    records: batch.records.map(({ actor, kind, version, seq, live, spec, snapshot }) => ({
      actor,
      kind,
      version,
      seq,
      live: live ? 1 : 0,
      spec: JSON.stringify(spec ?? null),
      snapshot: JSON.stringify(snapshot ?? null),
    })),
  };
}

export const recordOf = (row: RecordRow): ActorRecord => ({
  actor: row.actor,
  kind: row.kind,
  version: row.version,
  seq: row.seq,
  live: row.live === 1,
  spec: JSON.parse(row.spec),
  snapshot: JSON.parse(row.snapshot),
});

export const entryOf = (row: FeedRow): FeedEntry => ({
  cursor: row.cursor,
  actor: row.actor,
  kind: row.kind,
  seq: row.seq,
  at: row.at,
  event: JSON.parse(row.event),
});
