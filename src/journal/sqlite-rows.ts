/** Rows of the SQLite file and what they say. */
import type { ActorKind, ActorRecord, Batch, FeedEntry, JournalEntry } from '../journal.ts';

export interface EntryRow {
  readonly actor: string;
  readonly kind: ActorKind;
  readonly seq: number;
  readonly at: number;
  readonly event: string;
}

export interface FeedRow extends EntryRow {
  readonly cursor: number;
}

export interface RecordRow {
  readonly actor: string;
  readonly kind: ActorKind;
  readonly version: number;
  readonly seq: number;
  readonly live: number;
  readonly spec: string;
  readonly snapshot: string;
  readonly archived?: number;
}

export interface LiveRow extends RecordRow {
  readonly id: number;
}

/** The most that one call of `records`, `history` and `feed` gives. */
const ROWS_MAX = 1_000;

export const bounded = (limit: number): number => Math.max(0, Math.min(limit, ROWS_MAX));

export const entryRowOf = ({ actor, kind, seq, at, event }: JournalEntry): EntryRow => ({
  actor,
  kind,
  seq,
  at,
  event: JSON.stringify(event),
});

export const recordRowOf = ({ live, spec, snapshot, ...record }: ActorRecord): RecordRow => ({
  actor: record.actor,
  kind: record.kind,
  version: record.version,
  seq: record.seq,
  live: live ? 1 : 0,
  spec: JSON.stringify(spec ?? null),
  snapshot: JSON.stringify(snapshot ?? null),
  ...(record.archived ? { archived: 1 } : {}),
});

export const rowsOf = ({ entries, records }: Batch): { entries: EntryRow[]; records: RecordRow[] } => ({
  entries: entries.map(entryRowOf),
  records: records.map(recordRowOf),
});

export const recordOf = (row: RecordRow): ActorRecord => ({
  actor: row.actor,
  kind: row.kind,
  version: row.version,
  seq: row.seq,
  live: row.live === 1,
  spec: JSON.parse(row.spec),
  snapshot: JSON.parse(row.snapshot),
  ...(row.archived ? { archived: true } : {}),
});

/** Stands in no JSON, and so between two of them. */
const BETWEEN = '\x1f';

/** Live rows as one text: it goes from thread to thread at half the cost of as many objects. */
export interface LivePart {
  readonly rows: number;
  /** The `id` of the last row; 0 when there is none. */
  readonly last: number;
  readonly text: string;
}

export function livePart(rows: readonly LiveRow[]): LivePart {
  const texts: string[] = [];
  for (const { actor, kind, version, seq, spec, snapshot } of rows)
    texts.push(JSON.stringify([actor, kind, version, seq]), spec, snapshot);
  return { rows: rows.length, last: rows.at(-1)?.id ?? 0, text: texts.join(BETWEEN) };
}

export function recordsOf({ rows, text }: LivePart): ActorRecord[] {
  const texts = text.split(BETWEEN);
  return Array.from({ length: rows }, (_, i) => {
    const [actor, kind, version, seq] = JSON.parse(texts[i * 3] as string);
    const spec = JSON.parse(texts[i * 3 + 1] as string);
    const snapshot = JSON.parse(texts[i * 3 + 2] as string);
    return { actor, kind, version, seq, live: true, spec, snapshot };
  });
}

export const entryOf = (row: FeedRow): FeedEntry => ({
  cursor: row.cursor,
  actor: row.actor,
  kind: row.kind,
  seq: row.seq,
  at: row.at,
  event: JSON.parse(row.event),
});
