/**
 * A connection to Redis that comes back by itself, and says what is wrong while it is not there.
 *
 * Nothing waits in a queue for it: a command without a connection fails at once, and one that was on its way
 * when the connection broke fails too, with its fate unknown.
 */
import { Redis, type RedisOptions } from 'ioredis';
import { Failure } from '../failure.ts';
import { trouble } from './redis-trouble.ts';

const RETRY_MS = 50;
const RETRY_MS_MAX = 500;
const KEEP_ALIVE_MS = 10_000;
const CONNECT_MS = 5_000;

export interface Connection {
  readonly redis: Redis;
  /** For people: never with user or password. */
  readonly name: string;
  /** Throws Failure('journal-away') with what was said last when there is no connection. */
  check(call: string): void;
  close(): void;
}

export interface ConnectionOptions {
  /** `redis://`, `rediss://`, or the path of a Unix socket (also as `unix:///path`). */
  readonly url: string;
  /** It is there, for the first time or again. */
  readonly onReady: () => void;
  /** It is not there any more, or still not. */
  readonly onGone?: () => void;
  /** No byte for so long although something was asked: the connection counts as broken. */
  readonly silentMs: number;
}

/** Resolves when it is there. Throws Failure('bad-input' | 'journal-away'). */
export async function connect({
  url,
  onReady,
  onGone = () => {},
  silentMs,
}: ConnectionOptions): Promise<Connection> {
  const { target, name } = targetOf(url);
  const redis = new Redis({
    ...target,
    protocol: 2,
    lazyConnect: true,
    connectionName: 'agentic-sandbox',
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: CONNECT_MS,
    socketTimeout: silentMs,
    keepAlive: KEEP_ALIVE_MS,
    retryStrategy: (attempt) => Math.min(attempt * RETRY_MS, RETRY_MS_MAX),
  });
  let last: string | null = null;
  redis.on('error', (error: Error) => {
    last = error.message;
  });
  redis.on('ready', onReady);
  // Also for each attempt to come back that failed.
  redis.on('close', onGone);
  try {
    await redis.connect();
  } catch (thrown) {
    redis.disconnect();
    // ioredis says only that the connection ended; why is what it said before.
    const why = last === null ? thrown : new Error(last);
    throw trouble(why, `open the journal in Redis at ${name}`, 'opening');
  }
  return {
    redis,
    name,
    check(call) {
      if (redis.status === 'ready') return;
      throw new Failure(
        'journal-away',
        `${call}: Redis at ${name} is away (${last ?? 'it is not connected'}); it goes on by itself`,
      );
    },
    close: () => redis.disconnect(),
  };
}

/** The address for people, without user and password. Throws Failure('bad-input'). */
export const nameOf = (url: string): string => targetOf(url).name;

type Target = Pick<RedisOptions, 'path' | 'host' | 'port' | 'db' | 'username' | 'password' | 'tls'>;

function targetOf(url: string): { readonly target: Target; readonly name: string } {
  if (url.startsWith('/')) return { target: { path: url }, name: url };
  const parsed = URL.parse(url);
  const isTls = parsed?.protocol === 'rediss:';
  if (parsed?.protocol === 'unix:') return { target: { path: parsed.pathname }, name: parsed.pathname };
  const db = Number(parsed?.pathname.slice(1) || '0');
  if (!parsed || !(isTls || parsed.protocol === 'redis:') || !parsed.hostname || !Number.isInteger(db)) {
    const wanted = 'redis://[user:password@]host[:port][/database], rediss:// for TLS, or unix:///path';
    throw new Failure('bad-input', `REDIS_URL: not an address such as ${wanted}`);
  }
  const port = Number(parsed.port || '6379');
  const target: Target = {
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port,
    db,
    ...(parsed.username ? { username: decodeURIComponent(parsed.username) } : {}),
    ...(parsed.password ? { password: decodeURIComponent(parsed.password) } : {}),
    ...(isTls ? { tls: {} } : {}),
  };
  return { target, name: `${parsed.hostname}:${port}/${db}` };
}
