/** How a whole life lies in the archive of a journal: JSON, compressed with zstd (RFC 8878). */
import type { ActorKind, ActorRecord, FeedEntry } from '../journal.ts';

/** What is beside it, so that it is found without being unpacked. */
export interface Label {
  readonly actor: string;
  readonly kind: ActorKind;
  readonly version: number;
  readonly seq: number;
}

export interface Life {
  readonly spec: unknown;
  readonly snapshot: unknown;
  /** All of them from seq 1 on, without what the label says already. */
  readonly entries: readonly Omit<FeedEntry, 'actor' | 'kind'>[];
}

export const packed = (life: Life): Uint8Array => Bun.zstdCompressSync(JSON.stringify(life));

export const unpacked = (bytes: Uint8Array): Life =>
  JSON.parse(Bun.zstdDecompressSync(bytes as Uint8Array<ArrayBuffer>).toString('utf8'));

export const bare = ({ cursor, seq, at, event }: FeedEntry): Life['entries'][number] => ({
  cursor,
  seq,
  at,
  event,
});

export function archivedRecord(label: Label, { spec, snapshot }: Life): ActorRecord {
  const { actor, kind, version, seq } = label;
  return { actor, kind, version, seq, live: false, spec, snapshot, archived: true };
}

/** Entries with `seq >= from`, in order. */
export const archivedEntries = ({ actor, kind }: Label, { entries }: Life, from: number): FeedEntry[] =>
  entries.filter(({ seq }) => seq >= from).map((entry) => ({ actor, kind, ...entry }));
