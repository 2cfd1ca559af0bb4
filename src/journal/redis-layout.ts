/**
 * The keys of the journal in Redis and what is in them: a public contract for whoever looks from outside
 * (docs/redis.md). Names and fields may be added; none changes its meaning without a new `format`.
 */
import type { ActorKind, ActorRecord, FeedEntry, JournalEntry } from '../journal.ts';

/** What `<prefix>:meta` says of the whole. A server refuses a journal of a format that it does not know. */
export const FORMAT = 1;

export interface Layout {
  readonly meta: string;
  readonly lease: string;
  readonly beat: string;
  readonly events: string;
  channel(kind: ActorKind): string;
  actor(id: string): string;
  log(id: string): string;
  /** Actors by birth; `kind` null: of every kind, `live` null: also those that have ended. */
  index(kind: ActorKind | null, live: boolean | null): string;
  /** Actors that have ended, by the time of their newest entry; 0: it was not looked up yet. */
  readonly endedSince: string;
  /** Actors that were put away, in that order, and each of them. */
  readonly archive: string;
  archived(id: string): string;
}

export function layoutOf(prefix: string): Layout {
  const lives = (live: boolean | null): string => (live === null ? 'actors' : live ? 'live' : 'ended');
  return {
    meta: `${prefix}:meta`,
    lease: `${prefix}:lease`,
    beat: `${prefix}:lease:beat`,
    events: `${prefix}:events`,
    channel: (kind) => `${prefix}:events:${kind}`,
    actor: (id) => `${prefix}:actor:${id}`,
    log: (id) => `${prefix}:log:${id}`,
    index: (kind, live) => [prefix, lives(live), ...(kind === null ? [] : [kind])].join(':'),
    endedSince: `${prefix}:ended-since`,
    archive: `${prefix}:archive`,
    archived: (id) => `${prefix}:archive:${id}`,
  };
}

/** A state as words: `running.working`; parallel states are joined by a comma. Empty when there is none. */
export function stateWords(snapshot: unknown): string {
  const words = (value: unknown): string[] => {
    if (typeof value === 'string') return [value];
    if (value === null || typeof value !== 'object') return [];
    return Object.entries(value).flatMap(([name, below]) => {
      const deeper = words(below);
      return deeper.length === 0 ? [name] : deeper.map((word) => `${name}.${word}`);
    });
  };
  const value = (snapshot as { readonly value?: unknown } | null)?.value;
  return words(value).join(',');
}

/** Fields of an actor's hash besides `birth`, `state` and `last`, which the writer sets. */
const recordFields = ['actor', 'kind', 'version', 'seq', 'live', 'spec', 'snapshot'] as const;
export const recordFieldNames: readonly string[] = recordFields;

export function fieldsOfRecord(record: ActorRecord): string[] {
  const { actor, kind, version, seq, live, spec, snapshot } = record;
  const json = (value: unknown) => JSON.stringify(value ?? null);
  const values = [actor, kind, `${version}`, `${seq}`, live ? '1' : '0', json(spec), json(snapshot)];
  return recordFields.flatMap((name, i) => [name, values[i] ?? '']);
}

/** From the values of `recordFieldNames`; null when there is no record. */
export function recordOf(values: readonly (string | null)[]): ActorRecord | null {
  const [actor, kind, version, seq, live, spec, snapshot] = values;
  if (actor == null || spec == null || snapshot == null) return null;
  return {
    actor,
    kind: kind as ActorKind,
    version: Number(version),
    seq: Number(seq),
    live: live === '1',
    spec: JSON.parse(spec),
    snapshot: JSON.parse(snapshot),
  };
}

export interface EntryText {
  readonly entry: JournalEntry;
  readonly cursor: number;
  /** The event as JSON. */
  readonly event: string;
}

export const logFields = ({ entry, cursor, event }: EntryText): string[] => [
  'cursor',
  `${cursor}`,
  'kind',
  entry.kind,
  'at',
  `${entry.at}`,
  'type',
  entry.event.type,
  'event',
  event,
];

/** `state`: of the actor once the batch of this entry is in; empty when the batch did not say. */
export const eventFields = ({ entry, event }: EntryText, state: string): string[] => [
  'actor',
  entry.actor,
  'kind',
  entry.kind,
  'seq',
  `${entry.seq}`,
  'at',
  `${entry.at}`,
  'type',
  entry.event.type,
  'state',
  state,
  'event',
  event,
];

/** What is published: one JSON object. */
export function message({ entry, cursor, event }: EntryText, state: string): string {
  const { actor, kind, seq, at } = entry;
  const head = JSON.stringify({ cursor, actor, kind, seq, at, type: entry.event.type, state });
  return `${head.slice(0, -1)},"event":${event}}`;
}

/** A stream's entry as ioredis gives it. */
export type StreamRow = readonly [id: string, fields: readonly string[]];

function named(fields: readonly string[]): Readonly<Record<string, string | undefined>> {
  const all: Record<string, string> = {};
  for (let i = 0; i + 1 < fields.length; i += 2) all[fields[i] as string] = fields[i + 1] as string;
  return all;
}

const numberOf = (id: string): number => Number(id.slice(0, id.indexOf('-')));

export function entryOfLog(actor: string, [id, fields]: StreamRow): FeedEntry {
  const { cursor, kind, at, event = 'null' } = named(fields);
  return {
    actor,
    kind: kind as ActorKind,
    seq: numberOf(id),
    at: Number(at),
    event: JSON.parse(event),
    cursor: Number(cursor),
  };
}

export function entryOfFeed([id, fields]: StreamRow): FeedEntry {
  const { actor = '', kind, seq, at, event = 'null' } = named(fields);
  return {
    actor,
    kind: kind as ActorKind,
    seq: Number(seq),
    at: Number(at),
    event: JSON.parse(event),
    cursor: numberOf(id),
  };
}
