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

type EntryHead = readonly [actor: string, kind: ActorKind, seq: number, at: number];
type RecordHead = readonly [actor: string, kind: ActorKind, version: number, seq: number, live: number];

/** A record's spec is the same object for as long as its actor is in memory. */
const specTexts = new WeakMap<object, string>();

function specText(spec: unknown): string {
  if (typeof spec !== 'object' || spec === null) return JSON.stringify(spec ?? null);
  const text = specTexts.get(spec) ?? JSON.stringify(spec);
  specTexts.set(spec, text);
  return text;
}

/** A batch as one text, as it is handed to the thread and as it lies in the tail. */
export function textOf({ entries, records }: Batch): string {
  const heads: [EntryHead[], RecordHead[]] = [
    entries.map(({ actor, kind, seq, at }) => [actor, kind, seq, at]),
    records.map(({ actor, kind, version, seq, live }) => [actor, kind, version, seq, live ? 1 : 0]),
  ];
  const texts = [JSON.stringify(heads)];
  for (const { event } of entries) texts.push(JSON.stringify(event));
  for (const { spec, snapshot } of records) texts.push(specText(spec), JSON.stringify(snapshot ?? null));
  return texts.join(BETWEEN);
}

export function rowsIn(text: string): { entries: EntryRow[]; records: RecordRow[] } {
  const texts = text.split(BETWEEN);
  const [entryHeads, recordHeads] = JSON.parse(texts[0] as string) as [EntryHead[], RecordHead[]];
  const entries = entryHeads.map(([actor, kind, seq, at], i) => {
    return { actor, kind, seq, at, event: texts[i + 1] as string };
  });
  const firstRecord = 1 + entries.length;
  const records = recordHeads.map(([actor, kind, version, seq, live], i) => {
    const spec = texts[firstRecord + 2 * i] as string;
    const snapshot = texts[firstRecord + 2 * i + 1] as string;
    return { actor, kind, version, seq, live, spec, snapshot };
  });
  return { entries, records };
}

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
