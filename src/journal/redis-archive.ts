/**
 * Where actors lie in Redis that ended long ago: one hash a life, and the order in which they were put away.
 *
 * A life leaves its log, its hash and every index in the transaction that puts it here.
 */
import type { ChainableCommander, Redis } from 'ioredis';
import type { ActorKind, ActorRecord, FeedEntry, RecordQuery } from '../journal.ts';
import {
  archivedEntries,
  archivedRecord,
  bare,
  type Label,
  type Life,
  packed,
  unpacked,
} from './archived.ts';
import {
  entryOfLog,
  type Layout,
  recordFieldNames,
  recordOf,
  type StreamRow,
  stateWords,
} from './redis-layout.ts';

/** Looked at together, of the archive or of what has ended. */
const PAGE = 100;

interface Found {
  readonly label: Label;
  readonly life: Life;
}

async function found(redis: Redis, layout: Layout, actor: string): Promise<Found | null> {
  const key = layout.archived(actor);
  const [[kind, version, seq], life] = await Promise.all([
    redis.hmget(key, 'kind', 'version', 'seq'),
    redis.hgetBuffer(key, 'life'),
  ]);
  if (life === null || kind == null) return null;
  const label = { actor, kind: kind as ActorKind, version: Number(version), seq: Number(seq) };
  return { label, life: unpacked(life) };
}

export async function recordInArchive(
  redis: Redis,
  layout: Layout,
  actor: string,
): Promise<ActorRecord | null> {
  const it = await found(redis, layout, actor);
  return it && archivedRecord(it.label, it.life);
}

export async function entriesInArchive(
  redis: Redis,
  layout: Layout,
  { actor, from }: { readonly actor: string; readonly from: number },
): Promise<FeedEntry[]> {
  const it = await found(redis, layout, actor);
  return it ? archivedEntries(it.label, it.life, from) : [];
}

/** Newest first; of a name that is used again only its present life is listed, and not here. */
export async function recordsInArchive(
  redis: Redis,
  layout: Layout,
  { kind, live, before, limit }: RecordQuery,
): Promise<ActorRecord[]> {
  const records: ActorRecord[] = [];
  if (live === true) return records;
  let below = '+inf';
  if (before !== undefined) {
    const place = await redis.zscore(layout.archive, before);
    if (place === null) return records;
    below = `(${place}`;
  }
  while (records.length < limit) {
    const actors = await redis.zrevrangebyscore(layout.archive, below, '-inf', 'LIMIT', 0, PAGE);
    const last = actors.at(-1);
    if (last === undefined) break;
    below = `(${await redis.zscore(layout.archive, last)}`;
    const isReborn = await Promise.all(actors.map((actor) => redis.exists(layout.actor(actor))));
    const page = await Promise.all(
      actors.filter((_, i) => isReborn[i] === 0).map((actor) => recordInArchive(redis, layout, actor)),
    );
    for (const record of page)
      if (record && (kind === undefined || record.kind === kind)) records.push(record);
  }
  return records.slice(0, limit);
}

/** Who has ended since before. A journal that did not keep that yet is told it as it is asked. */
export async function expiredIn(
  redis: Redis,
  layout: Layout,
  { before, limit }: { readonly before: number; readonly limit: number },
): Promise<string[]> {
  for (;;) {
    const undated = await redis.zrangebyscore(layout.endedSince, 0, 0, 'LIMIT', 0, PAGE);
    if (undated.length === 0) break;
    const rows = await Promise.all(
      undated.map((actor) => redis.xrevrange(layout.log(actor), '+', '-', 'COUNT', 1)),
    );
    const dated = undated.flatMap((actor, i) => {
      const [row] = rows[i] as StreamRow[];
      // One without an entry has ended at the beginning of time.
      return [row ? Math.max(1, entryOfLog(actor, row).at) : 1, actor];
    });
    await redis.zadd(layout.endedSince, 'XX', ...dated);
  }
  return await redis.zrangebyscore(layout.endedSince, '-inf', `(${before}`, 'LIMIT', 0, limit);
}

/** A life that is to be put away, read whole. */
export interface Gathered extends Found {
  readonly place: number;
  readonly birth: string;
}

/** Those that have ended, of the actors named. Nobody writes meanwhile. */
export async function gather(redis: Redis, layout: Layout, actors: readonly string[]): Promise<Gathered[]> {
  const [, newest] = await redis.zrevrange(layout.archive, 0, 0, 'WITHSCORES');
  let place = Number(newest ?? 0);
  const gathered: Gathered[] = [];
  for (const actor of new Set(actors)) {
    const record = recordOf(await redis.hmget(layout.actor(actor), ...recordFieldNames));
    if (!record || record.live) continue;
    const { kind, version, seq, spec, snapshot } = record;
    const birth = (await redis.hget(layout.actor(actor), 'birth')) ?? '0';
    const before = await found(redis, layout, actor);
    const rows = (await redis.xrange(layout.log(actor), '-', '+')) as StreamRow[];
    const fresh = rows.map((row) => bare(entryOfLog(actor, row)));
    const entries = [...(before?.life.entries ?? []), ...fresh];
    place += 1;
    const label = { actor, kind, version, seq };
    gathered.push({ label, life: { spec, snapshot, entries }, place, birth });
  }
  return gathered;
}

export function putAway(multi: ChainableCommander, layout: Layout, one: Gathered): void {
  const { label, life, place, birth } = one;
  const { actor, kind, version, seq } = label;
  const state = stateWords(life.snapshot);
  const fields = { actor, kind, version, seq, state, birth, life: Buffer.from(packed(life)) };
  multi.hset(layout.archived(actor), fields);
  multi.zadd(layout.archive, place, actor);
  multi.del(layout.log(actor), layout.actor(actor));
  for (const live of [null, false]) for (const of of [null, kind]) multi.zrem(layout.index(of, live), actor);
  multi.zrem(layout.endedSince, actor);
}
