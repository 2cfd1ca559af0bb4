/** The environment, read once, checked and frozen. The only place that reads `process.env`. */
import { join, resolve } from 'node:path';
import { type CredentialsConfig, credentialsConfig } from './config-credentials.ts';
import { Failure } from './failure.ts';
import type { Level } from './log.ts';

/** Where actors are remembered. */
export type JournalPlace =
  | { readonly kind: 'sqlite'; readonly path: string }
  | { readonly kind: 'redis'; readonly url: string; readonly prefix: string };

export interface Config {
  readonly dataDir: string;
  readonly journal: JournalPlace;
  /** Go on although the journal has less than was seen of it. */
  readonly journalAnew: boolean;
  /** gRPC; the WebSocket port is one above, HTTP two above. Port 0: all three are chosen by the system. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly httpHost: string;
  /** Extra names that a `Host` header may carry. */
  readonly allowedHosts: readonly string[];
  readonly behindProxy: boolean;
  readonly logLevel: Level;
  readonly metrics: boolean;
  /** How the agent client is started on this host; the first word is a program. */
  readonly agentCommand: readonly string[];
  /** Name of the instance that is made when the fleet is empty; null: none. */
  readonly firstInstance: string | null;
  readonly heartbeatSeconds: number;
  readonly hitlExpiresMs: number | null;
  readonly stopGraceMs: number;
  /** Recordings of sessions that ended longer ago are removed; 0: none are. */
  readonly recordingsKeepDays: number;
  readonly crashes: {
    readonly max: number;
    readonly withinMs: number;
    readonly backoffMs: readonly number[];
  };
  /** What becomes of a session that an agent runs and nobody here knows. */
  readonly unknownSessions: 'adopt' | 'end';
  /** How long an actor rests in the journal after its end before it is archived; null: for ever. */
  readonly archiveAfterMs: number | null;
  /** Where images for containers are built and found. */
  readonly imagesDir: string;
  /** Our seccomp profile, for engines. */
  readonly seccompPath: string;
  /** What instances on this host get of our environment. */
  readonly instanceEnv: Readonly<Record<string, string>>;
  /** Where `claude` is, when it is not on PATH. */
  readonly claudeBin: string | null;
  readonly credentials: CredentialsConfig;
  /** Our own environment, for secret references of source `env`; never logged, never handed on whole. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

type Env = Readonly<Record<string, string | undefined>>;

const bad = (name: string, why: string) => new Failure('bad-input', `${name}: ${why}`);

function integer(
  env: Env,
  name: string,
  { fallback, min, max }: { fallback: number; min: number; max: number },
) {
  const text = env[name];
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  if (!Number.isInteger(value) || value < min || value > max) {
    throw bad(name, `"${text}" is not a whole number from ${min} to ${max}`);
  }
  return value;
}

function flag(env: Env, name: string, fallback: boolean): boolean {
  const text = env[name]?.toLowerCase();
  if (text === undefined || text === '') return fallback;
  if (['1', 'true', 'yes', 'on'].includes(text)) return true;
  if (['0', 'false', 'no', 'off'].includes(text)) return false;
  throw bad(name, `"${text}" is neither true nor false`);
}

function address(env: Env): Config['listen'] {
  const text = env['LISTEN_ADDR'] ?? '127.0.0.1:8120';
  const at = text.lastIndexOf(':');
  const host = text.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  const port = Number(text.slice(at + 1));
  if (at <= 0 || !Number.isInteger(port) || port < 0 || port > 65_533) {
    throw bad('LISTEN_ADDR', `"${text}" is not an address such as 127.0.0.1:8120`);
  }
  return { host, port };
}

function level(env: Env): Level {
  const text = (env['LOG_LEVEL'] ?? 'info').toLowerCase();
  if (text === 'trace') return 'debug';
  if (text === 'debug' || text === 'info' || text === 'warn' || text === 'error') return text;
  throw bad('LOG_LEVEL', `"${text}" is not one of debug, info, warn, error`);
}

function unknownSessions(env: Env): Config['unknownSessions'] {
  const text = env['AGENTIC_UNKNOWN_SESSIONS'] || 'adopt';
  if (text === 'adopt' || text === 'end') return text;
  throw bad('AGENTIC_UNKNOWN_SESSIONS', `"${text}" is neither adopt nor end`);
}

/** Names of variables that an instance on this host sees of ours, besides those of AGENTIC_INSTANCE_ENV. */
const passedOn = ['PATH', 'LANG', 'LC_ALL', 'TZ', 'SHELL', 'AGENTIC_CLAUDE_BIN'];

function instanceEnv(env: Env): Record<string, string> {
  const wanted = (env['AGENTIC_INSTANCE_ENV'] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean);
  return Object.fromEntries(
    [...passedOn, ...wanted].flatMap((name) => {
      const value = env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** What the keys of a journal may begin with. Throws Failure('bad-input') that says where it stood. */
export function redisPrefix(text: string, where: string): string {
  if (/^[A-Za-z0-9_.-]{1,64}$/.test(text)) return text;
  throw bad(where, `"${text}" is not 1 to 64 letters, digits, ".", "_" or "-"`);
}

/** Redis when it is named, else a file of our own. */
function journalPlace(env: Env, dataDir: string): JournalPlace {
  const url = env['REDIS_URL'];
  if (!url) return { kind: 'sqlite', path: join(dataDir, 'journal.db') };
  const prefix = env['AGENTIC_REDIS_PREFIX'] || 'agentic';
  return { kind: 'redis', url, prefix: redisPrefix(prefix, 'AGENTIC_REDIS_PREFIX') };
}

/** Runs a program as it is: what lies in the directory it is started in is a session's to write. */
const bunAlone = [process.execPath, '--no-env-file', '--config=/dev/null'];

/** Throws Failure('bad-input') that names the variable. */
export function readConfig(env: Env, cwd: string, sourceDir: string): Config {
  const listen = address(env);
  const expires = integer(env, 'AGENTIC_HITL_EXPIRES_SECONDS', { fallback: 0, min: 0, max: 31_536_000 });
  const archiveHours = integer(env, 'AGENTIC_ARCHIVE_AFTER_HOURS', { fallback: 720, min: 0, max: 876_000 });
  const agent = env['AGENTIC_AGENT_BIN'];
  const dataDir = resolve(cwd, env['AGENTIC_DATA_DIR'] || '.run');
  return Object.freeze({
    dataDir,
    journal: journalPlace(env, dataDir),
    journalAnew: flag(env, 'AGENTIC_JOURNAL_ANEW', false),
    listen,
    httpHost: env['AGENTIC_HTTP_LISTEN_IP'] || listen.host,
    allowedHosts: (env['AGENTIC_ALLOWED_HOSTS'] ?? '')
      .split(',')
      .map((h) => h.trim())
      .filter(Boolean),
    behindProxy: flag(env, 'AGENTIC_BEHIND_PROXY', false),
    logLevel: level(env),
    metrics: flag(env, 'METRICS_ENABLED', true),
    agentCommand: agent ? [agent] : [...bunAlone, join(sourceDir, '..', 'agent', 'main.ts')],
    firstInstance: env['AGENTIC_FIRST_INSTANCE'] === '' ? null : (env['AGENTIC_FIRST_INSTANCE'] ?? 'local'),
    heartbeatSeconds: integer(env, 'AGENTIC_HEARTBEAT_SECONDS', { fallback: 10, min: 1, max: 300 }),
    hitlExpiresMs: expires === 0 ? null : expires * 1_000,
    stopGraceMs: integer(env, 'AGENTIC_STOP_GRACE_MS', { fallback: 10_000, min: 0, max: 600_000 }),
    recordingsKeepDays: integer(env, 'AGENTIC_RECORDINGS_KEEP_DAYS', { fallback: 0, min: 0, max: 36_500 }),
    crashes: {
      max: integer(env, 'AGENTIC_CRASHES_MAX', { fallback: 5, min: 0, max: 1_000 }),
      withinMs: integer(env, 'AGENTIC_CRASH_WINDOW_SECONDS', { fallback: 600, min: 1, max: 86_400 }) * 1_000,
      backoffMs: [200, 1_000, 5_000, 15_000, 30_000],
    },
    unknownSessions: unknownSessions(env),
    archiveAfterMs: archiveHours === 0 ? null : archiveHours * 3_600_000,
    imagesDir: resolve(cwd, env['AGENTIC_IMAGES_DIR'] || join(dataDir, 'images')),
    seccompPath: join(sourceDir, '..', 'images', 'seccomp.json'),
    instanceEnv: instanceEnv(env),
    claudeBin: env['AGENTIC_CLAUDE_BIN'] || null,
    credentials: credentialsConfig(env, { listen, dataDir }),
    env,
  });
}
