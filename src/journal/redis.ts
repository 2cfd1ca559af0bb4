/**
 * The journal in Redis: for whoever runs one already, or wants others to watch.
 *
 * Guarantees what src/journal.ts says, and what is acknowledged is as durable as that Redis is told to be:
 * with `appendonly yes` and `appendfsync always` as in a file of our own, with less only as docs/redis.md
 * tells. One server writes (redis-lease.ts); anybody may look (redis-layout.ts).
 *
 * An append that failed for want of a connection may be found in after all; the same batch appended again is
 * then acknowledged and not written twice. Nothing was promised either way. The shared feed keeps the newest
 * entries only; each actor's own history is whole.
 */
import type { Redis } from 'ioredis';
import { type Clock, rfc3339 } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { ActorRecord, FeedEntry, Journal, JournalReader, RecordQuery } from '../journal.ts';
import type { Log } from '../log.ts';
import { entriesInArchive, expiredIn, recordInArchive, recordsInArchive } from './redis-archive.ts';
import { type Connection, connect } from './redis-connection.ts';
import {
  entryOfFeed,
  entryOfLog,
  FORMAT,
  type Layout,
  layoutOf,
  recordFieldNames,
  recordOf,
  type StreamRow,
} from './redis-layout.ts';
import { BEAT_MS, beat, leave, takeLease } from './redis-lease.ts';
import { trouble } from './redis-trouble.ts';
import { Writer } from './redis-writer.ts';

/** The most that one call of `records`, `history` and `feed` gives. */
const ROWS_MAX = 1_000;
const EVENTS_MAX = 100_000;
const SILENT_MS = 10_000;

export interface RedisJournalOptions {
  readonly url: string;
  /** What every key begins with: `agentic` gives `agentic:events`. Several journals may share one Redis. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Another server writes it now, or it is not what it was: this one can promise nothing any more. */
  readonly onLost: (why: Failure) => void;
  /** The newest entries that the shared feed keeps, at least; 100,000 unless said. */
  readonly eventsMax?: number;
  /** After so long without an answer a connection counts as broken; 10,000 unless said. */
  readonly silentMs?: number;
}

/**
 * Throws Failure('journal-away') when Redis cannot be reached, Failure('bad-input') for an address that is
 * none, and Failure('wrong-state') when another server has it, or what is there is not ours, too new, or not
 * safe to write to.
 */
export async function redisJournal(options: RedisJournalOptions): Promise<Journal> {
  const layout = layoutOf(options.prefix);
  const { url, silentMs = SILENT_MS } = options;
  const arrivals = { heard: () => {} };
  const main = await connect({ url, silentMs, onReady: () => arrivals.heard() });
  try {
    await checkPlace(main, layout, options.log);
    const token = await takeLease(main.redis, layout, rfc3339(options.clock.now()));
    const { clock, onLost, eventsMax = EVENTS_MAX } = options;
    const writer = new Writer({ redis: main.redis, layout, clock, token, eventsMax, onLost });
    await writer.arrived();
    // For a journal that was begun before the archive.
    const { endedSince } = layout;
    const ended = layout.index(null, false);
    await main.redis.zunionstore(endedSince, 2, ended, endedSince, 'WEIGHTS', 0, 1, 'AGGREGATE', 'MAX');
    arrivals.heard = () => void writer.arrived().catch(() => {}); // The next append finds out again.
    const reader = await connect({ url, silentMs, onReady: () => {} });
    return journalOver({ main, reader, writer, layout, token, options });
  } catch (thrown) {
    main.close();
    throw trouble(thrown, `open the journal in Redis at ${main.name}`);
  }
}

interface Parts {
  readonly main: Connection;
  readonly reader: Connection;
  readonly writer: Writer;
  readonly layout: Layout;
  readonly token: string;
  readonly options: RedisJournalOptions;
}

function journalOver({ main, reader, writer, layout, token, options }: Parts): Journal {
  const { clock, log } = options;
  let isClosed = false;
  let timer: unknown = null;
  const check = (call: string, connection: Connection) => {
    if (isClosed) throw new Failure('journal-away', `${call}: the journal in Redis is closed`);
    connection.check(call);
  };
  const beatOn = () => {
    timer = clock.setTimeout(async () => {
      try {
        // Whoever took it over is found by the writer, which can tell who that is.
        if (!isClosed && !(await beat(main.redis, layout, token))) await writer.arrived();
      } catch (thrown) {
        log.debug('the lease of the journal was not renewed', { why: String(thrown) });
      }
      if (!isClosed) beatOn();
    }, BEAT_MS);
  };
  beatOn();
  return {
    async append(batch) {
      check('append', main);
      return await writer.append(batch);
    },
    async archive(actors) {
      check('archive', main);
      return await writer.archive(actors);
    },
    ...readsOf(reader.redis, layout, (call) => check(call, reader)),
    trouble() {
      try {
        check('append', main);
        return null;
      } catch (thrown) {
        return thrown as Failure;
      }
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      clock.clearTimeout(timer);
      await writer.settled();
      await leave(main.redis, layout, token).catch(() => {}); // Then it ends by itself.
      main.close();
      reader.close();
    },
  };
}

type Reads = Omit<JournalReader, 'close'>;

/** Looks into a journal beside the server that writes it. Throws as `redisJournal` where it can. */
export async function redisReader(url: string, prefix: string): Promise<JournalReader> {
  const connection = await connect({ url, silentMs: SILENT_MS, onReady: () => {} });
  const reads = readsOf(connection.redis, layoutOf(prefix), (call) => connection.check(call));
  return { ...reads, close: async () => connection.close() };
}

function readsOf(redis: Redis, layout: Layout, check: (call: string) => void): Reads {
  const asked = async <T>(call: string, ask: () => Promise<T>): Promise<T> => {
    check(call);
    try {
      return await ask();
    } catch (thrown) {
      throw trouble(thrown, `${call} of the journal in Redis`);
    }
  };
  const one = async (actor: string) => recordOf(await redis.hmget(layout.actor(actor), ...recordFieldNames));
  const many = async (actors: readonly string[]): Promise<ActorRecord[]> =>
    (await Promise.all(actors.map(one))).filter((record) => record !== null);
  return {
    live: () => asked('live', () => allLive(redis, layout, many)),
    record: (actor) =>
      asked('record', async () => (await one(actor)) ?? (await recordInArchive(redis, layout, actor))),
    records: (query) =>
      asked('records', async () => {
        if (query.archived)
          return await recordsInArchive(redis, layout, { ...query, limit: bounded(query.limit) });
        const actors = await chosen(redis, layout, query);
        // One may have ended since it was chosen.
        const { live } = query;
        return (await many(actors)).filter((record) => live === undefined || record.live === live);
      }),
    history: (actor, from, limit) =>
      asked('history', async () => {
        const rows = await range(redis, layout.log(actor), { from, limit });
        const found = rows.map((row): FeedEntry => entryOfLog(actor, row));
        // Where the log begins later than it was asked for, its beginning is in the archive, or all of it.
        if (found[0]?.seq === from) return found;
        const earlier = await entriesInArchive(redis, layout, { actor, from });
        return [...earlier, ...found].slice(0, bounded(limit));
      }),
    expired: (before, limit) =>
      asked('expired', () => expiredIn(redis, layout, { before, limit: bounded(limit) })),
    feed: (after, limit) =>
      asked('feed', async () => {
        const rows = await range(redis, layout.events, { from: after + 1, limit });
        return rows.map(entryOfFeed);
      }),
    cursor: () => asked('cursor', async () => Number((await redis.hget(layout.meta, 'cursor')) ?? 0)),
  };
}

const bounded = (limit: number): number => Math.max(0, Math.min(limit, ROWS_MAX));

async function range(
  redis: Redis,
  stream: string,
  { from, limit }: { readonly from: number; readonly limit: number },
): Promise<readonly StreamRow[]> {
  const count = bounded(limit);
  if (count === 0) return [];
  return (await redis.xrange(stream, `${Math.max(0, from)}-0`, '+', 'COUNT', count)) as StreamRow[];
}

async function allLive(
  redis: Redis,
  layout: Layout,
  many: (actors: readonly string[]) => Promise<ActorRecord[]>,
): Promise<ActorRecord[]> {
  const found: ActorRecord[] = [];
  const actors = await redis.zrange(layout.index(null, true), '0', '-1');
  for (let at = 0; at < actors.length; at += ROWS_MAX)
    for (const record of await many(actors.slice(at, at + ROWS_MAX))) found.push(record);
  return found;
}

async function chosen(redis: Redis, layout: Layout, query: RecordQuery): Promise<readonly string[]> {
  const { kind = null, live = null, before, limit } = query;
  let below = '+inf';
  if (before !== undefined) {
    const present = await redis.zscore(layout.index(null, null), before);
    // It may have been put away since.
    const birth = present ?? (await redis.hget(layout.archived(before), 'birth'));
    // An actor that nobody knows has nothing after it.
    if (birth === null) return [];
    below = `(${birth}`;
  }
  const count = bounded(limit);
  return await redis.zrevrangebyscore(layout.index(kind, live), below, '-inf', 'LIMIT', 0, count);
}

/** Refuses a Redis that would forget, and says what this one keeps. */
async function checkPlace({ redis, name }: Connection, layout: Layout, log: Log): Promise<void> {
  const [format, settings] = await Promise.all([redis.hget(layout.meta, 'format'), settingsOf(redis)]);
  if (format !== null && Number(format) !== FORMAT) {
    const cure = 'start a server that knows it, or name another AGENTIC_REDIS_PREFIX';
    const what = `its format is ${format}, this server knows ${FORMAT}`;
    throw new Failure('wrong-state', `open the journal in Redis at ${name}: ${what}; ${cure}`);
  }
  const { policy, appendOnly, fsync } = settings;
  if (policy?.startsWith('allkeys')) {
    const why = `it may drop any key when memory is short (maxmemory-policy ${policy})`;
    throw new Failure('wrong-state', `open the journal in Redis at ${name}: ${why}; set noeviction`);
  }
  if (appendOnly === 'no')
    log.warn('Redis keeps no append-only file: what it acknowledged may be gone when it dies', {
      cure: 'appendonly yes, appendfsync always; see docs/redis.md',
    });
  else if (fsync !== null && fsync !== 'always')
    log.warn('Redis writes to disk later than it acknowledges', {
      appendfsync: fsync,
      cure: 'appendfsync always; see docs/redis.md',
    });
  await redis.hset(layout.meta, 'format', `${FORMAT}`);
}

interface Settings {
  readonly policy: string | null;
  readonly appendOnly: string | null;
  readonly fsync: string | null;
}

/** Null where this Redis does not tell. */
async function settingsOf(redis: Redis): Promise<Settings> {
  const one = async (name: string): Promise<string | null> => {
    try {
      const [, value] = (await redis.config('GET', name)) as string[];
      return value ?? null;
    } catch {
      return null; // Managed ones forbid CONFIG.
    }
  };
  const [policy = null, appendOnly = null, fsync = null] = await Promise.all(
    ['maxmemory-policy', 'appendonly', 'appendfsync'].map(one),
  );
  return { policy, appendOnly, fsync };
}
