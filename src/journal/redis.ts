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
import { Failure, toFailureInfo } from '../failure.ts';
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
import { checkFormat, settingsWatch } from './redis-settings.ts';
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
  const arrivals = { heard: () => {}, gone: () => {} };
  const main = await connect({
    url,
    silentMs,
    onReady: () => arrivals.heard(),
    onGone: () => arrivals.gone(),
  });
  try {
    await checkFormat(main.redis, main.name, layout);
    const settings = settingsWatch(main.redis, options.log);
    const unsafe = await settings.look();
    if (unsafe) throw new Failure('wrong-state', `open the journal in Redis at ${main.name}: ${unsafe}`);
    await main.redis.hset(layout.meta, 'format', `${FORMAT}`);
    const token = await takeLease(main.redis, layout, rfc3339(options.clock.now()));
    const { clock, onLost, eventsMax = EVENTS_MAX } = options;
    const writer = new Writer({ redis: main.redis, layout, clock, token, eventsMax, onLost });
    await writer.arrived();
    // For a journal that was begun before the archive.
    const { endedSince } = layout;
    const ended = layout.index(null, false);
    await main.redis.zunionstore(endedSince, 2, ended, endedSince, 'WEIGHTS', 0, 1, 'AGGREGATE', 'MAX');
    const outage = outageIn(options.log, () => main.check('the journal'));
    arrivals.gone = outage.began;
    arrivals.heard = () => {
      outage.ended();
      void writer.arrived().catch(() => {}); // The next append finds out again.
    };
    const reader = await connect({ url, silentMs, onReady: () => {} });
    return journalOver({ main, reader, writer, layout, token, settings, options });
  } catch (thrown) {
    main.close();
    throw trouble(thrown, `open the journal in Redis at ${main.name}`, 'opening');
  }
}

interface Parts {
  readonly main: Connection;
  readonly reader: Connection;
  readonly writer: Writer;
  readonly layout: Layout;
  readonly token: string;
  readonly settings: ReturnType<typeof settingsWatch>;
  readonly options: RedisJournalOptions;
}

/** Says once that the connection is lost, and once that it is there again. */
function outageIn(log: Log, check: () => void) {
  let isAway = false;
  return {
    began(): void {
      if (isAway) return;
      try {
        check();
      } catch (thrown) {
        isAway = true;
        log.error('journal is away', { failure: toFailureInfo(thrown) });
      }
    },
    ended(): void {
      if (isAway) log.info('Redis is back');
      isAway = false;
    },
  };
}

function journalOver({ main, reader, writer, layout, token, settings, options }: Parts): Journal {
  const { clock, log } = options;
  let isClosed = false;
  /** Why nothing may be written although Redis is there, as of the last beat. */
  let unsafe: string | null = null;
  let timer: unknown = null;
  const check = (call: string, connection: Connection) => {
    if (isClosed) throw new Failure('journal-away', `${call}: the journal in Redis is closed`);
    connection.check(call);
  };
  const checkWrite = (call: string) => {
    check(call, main);
    if (unsafe === null) return;
    throw new Failure('journal-away', `${call}: Redis at ${main.name}: ${unsafe}, and it goes on by itself`);
  };
  const lookAgain = async () => {
    const was = unsafe;
    unsafe = await settings.look();
    if (unsafe !== null && was === null) log.error('journal is away', { why: unsafe });
    if (unsafe === null && was !== null) log.info('Redis is safe to write to again');
  };
  const beatOn = () => {
    timer = clock.setTimeout(async () => {
      try {
        // Whoever took it over is found by the writer, which can tell who that is.
        if (!isClosed && !(await beat(main.redis, layout, token))) await writer.arrived();
        if (!isClosed) await lookAgain();
      } catch (thrown) {
        log.debug('the lease of the journal was not renewed', { why: String(thrown) });
      }
      if (!isClosed) beatOn();
    }, BEAT_MS);
  };
  beatOn();
  return {
    async append(batch) {
      checkWrite('append');
      return await writer.append(batch);
    },
    async archive(actors) {
      checkWrite('archive');
      return await writer.archive(actors);
    },
    ...readsOf(reader.redis, layout, (call) => check(call, reader)),
    trouble() {
      try {
        checkWrite('append');
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
