/** The environment, read once, checked and frozen. The only place that reads `process.env`. */
import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import { type CredentialsConfig, credentialsConfig } from './config-credentials.ts';
import { Failure } from './failure.ts';
import type { Level } from './log.ts';

/** Where actors are remembered. */
export type JournalPlace =
  | { readonly kind: 'sqlite'; readonly path: string }
  | { readonly kind: 'redis'; readonly url: string; readonly prefix: string };

/** The operator's own certificate, or one that is made here. */
export type TlsWish =
  | { readonly kind: 'files'; readonly cert: string; readonly key: string }
  | { readonly kind: 'self-signed' };

export interface Address {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

/** How agents elsewhere prove themselves by certificates. */
export interface IdentityConfig {
  readonly trustDomain: string;
  /** gRPC with client certificates; null: off. */
  readonly tls: Address | null;
  /** Where one-time tokens are taken, over HTTPS; null: off. */
  readonly enrol: Address | null;
  /** What agents are told to call; null: where we listen. */
  readonly enrolUrl: string | null;
  /** DNS names and addresses in the server's certificate, besides those of this machine's loopback. */
  readonly names: readonly string[];
  /** A program that signs (docs/ca-backend.md); null: the authority in the data directory. */
  readonly authority: string | null;
  readonly agentTtlMs: number;
  readonly serverTtlMs: number;
  readonly tokenTtlMs: number;
}

export interface Config {
  readonly dataDir: string;
  readonly agentshare: {
    readonly root: string;
    /** Of each instance; 0: no limit. */
    readonly quotaBytes: number;
    /** Of `global`; 0: no limit. */
    readonly globalQuotaBytes: number;
    readonly uploadBytesMax: number;
    /** Logs of runs that ended longer ago are removed; 0: none are. */
    readonly runsKeepDays: number;
  };
  readonly journal: JournalPlace;
  /** Go on although the journal has less than was seen of it. */
  readonly journalAnew: boolean;
  /** gRPC; the WebSocket port is one above, HTTP two above. Port 0: all three are chosen by the system. */
  readonly listen: Address;
  readonly identity: IdentityConfig;
  readonly httpHost: string;
  /** Extra names that a `Host` header may carry. */
  readonly allowedHosts: readonly string[];
  readonly behindProxy: boolean;
  /** Hops whose word on the client is believed, behind a proxy: addresses or networks. */
  readonly trustedProxies: readonly string[];
  /** For HTTP and WebSockets; null: plain. */
  readonly tls: TlsWish | null;
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
  /** Directories of tasks that ended longer ago are removed; 0: none are. */
  readonly tasksKeepDays: number;
  readonly crashes: {
    readonly max: number;
    readonly withinMs: number;
    readonly backoffMs: readonly number[];
  };
  /** What becomes of a session that an agent runs and nobody here knows. */
  readonly unknownSessions: 'adopt' | 'end';
  /** Whole days of the audit log that are kept before today. */
  readonly auditKeepDays: number;
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

const words = (text: string | undefined): string[] =>
  (text ?? '')
    .split(',')
    .map((word) => word.trim())
    .filter(Boolean);

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

/** Whole days; 0 and `off`: for ever. */
const keepDays = (env: Env, name: string, fallback: number): number =>
  env[name] === 'off' ? 0 : integer(env, name, { fallback, min: 0, max: 36_500 });

function flag(env: Env, name: string, fallback: boolean): boolean {
  const text = env[name]?.toLowerCase();
  if (text === undefined || text === '') return fallback;
  if (['1', 'true', 'yes', 'on'].includes(text)) return true;
  if (['0', 'false', 'no', 'off'].includes(text)) return false;
  throw bad(name, `"${text}" is neither true nor false`);
}

const PORT_MAX = 65_535;

function address(name: string, text: string, portMax = PORT_MAX): Address {
  const at = text.lastIndexOf(':');
  const host = text.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  const port = Number(text.slice(at + 1));
  if (at <= 0 || !Number.isInteger(port) || port < 0 || port > portMax) {
    throw bad(name, `"${text}" is not an address such as 127.0.0.1:8120`);
  }
  return { host, port };
}

/** Some ports above LISTEN_ADDR's on the loopback; `off`, `0` and nothing: not at all. */
function besides(env: Env, name: string, { port, above }: { port: number; above: number }): Address | null {
  const text = env[name];
  if (text === undefined) {
    const own = port + above;
    return own > PORT_MAX ? null : { host: '127.0.0.1', port: port === 0 ? 0 : own };
  }
  return ['', '0', 'off'].includes(text.toLowerCase()) ? null : address(name, text);
}

function identity(env: Env, port: number): IdentityConfig {
  const trustDomain = env['AGENTIC_TRUST_DOMAIN'] || 'sandbox.local';
  const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?';
  if (trustDomain.length > 200 || !new RegExp(`^${label}(\\.${label})*$`).test(trustDomain)) {
    throw bad('AGENTIC_TRUST_DOMAIN', `"${trustDomain}" is not a name such as sandbox.local, in lower case`);
  }
  const names = words(env['AGENTIC_TLS_NAMES']);
  const wrong = names.find((name) => isIP(name) === 0 && !/^[A-Za-z0-9*][A-Za-z0-9.-]{0,252}$/.test(name));
  if (wrong !== undefined) throw bad('AGENTIC_TLS_NAMES', `"${wrong}" is no DNS name and no IP address`);
  const authority = env['AGENTIC_CA_COMMAND'] || null;
  if (authority !== null && !authority.startsWith('/')) {
    throw bad('AGENTIC_CA_COMMAND', `"${authority}" must be the absolute path of a program`);
  }
  const enrolUrl = env['AGENTIC_ENROL_URL'] || null;
  if (enrolUrl !== null && !/^https:\/\/[^\s]+$/.test(enrolUrl)) {
    throw bad('AGENTIC_ENROL_URL', `"${enrolUrl}" is not a URL that begins with https://`);
  }
  const seconds = (name: string, fallback: number, max: number) =>
    integer(env, name, { fallback, min: 5, max }) * 1_000;
  return {
    trustDomain,
    tls: besides(env, 'AGENTIC_GRPC_TLS_LISTEN', { port, above: 3 }),
    enrol: besides(env, 'AGENTIC_ENROL_LISTEN', { port, above: 4 }),
    enrolUrl,
    names,
    authority,
    agentTtlMs: seconds('AGENTIC_AGENT_CERT_SECONDS', 86_400, 30 * 86_400),
    serverTtlMs: seconds('AGENTIC_SERVER_CERT_SECONDS', 7 * 86_400, 90 * 86_400),
    tokenTtlMs: seconds('AGENTIC_BOOTSTRAP_TOKEN_SECONDS', 600, 3_600),
  };
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
  return Object.fromEntries(
    [...passedOn, ...words(env['AGENTIC_INSTANCE_ENV'])].flatMap((name) => {
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

function tlsWish(env: Env, cwd: string): TlsWish | null {
  const [cert, key, kind] = [env['AGENTIC_TLS_CERT'], env['AGENTIC_TLS_KEY'], env['AGENTIC_TLS']];
  if (kind && kind !== 'self-signed' && kind !== 'off')
    throw bad('AGENTIC_TLS', `"${kind}" is neither self-signed nor off`);
  if (Boolean(cert) !== Boolean(key))
    throw bad(cert ? 'AGENTIC_TLS_KEY' : 'AGENTIC_TLS_CERT', 'the certificate and its key come together');
  if (kind && cert) throw bad('AGENTIC_TLS', 'with AGENTIC_TLS_CERT there is nothing more to say');
  if (cert && key) return { kind: 'files', cert: resolve(cwd, cert), key: resolve(cwd, key) };
  return kind === 'self-signed' ? { kind } : null;
}

/** Redis when it is named, else a file of our own. */
function journalPlace(env: Env, dataDir: string): JournalPlace {
  const url = env['REDIS_URL'];
  if (!url) return { kind: 'sqlite', path: join(dataDir, 'journal.db') };
  const prefix = env['AGENTIC_REDIS_PREFIX'] || 'agentic';
  return { kind: 'redis', url, prefix: redisPrefix(prefix, 'AGENTIC_REDIS_PREFIX') };
}

const MIB = 1024 * 1024;

function agentshare(env: Env, { cwd, dataDir }: { cwd: string; dataDir: string }): Config['agentshare'] {
  const mib = (name: string, fallback: number, min: number) =>
    integer(env, name, { fallback, min, max: 1 << 30 }) * MIB;
  const root = env['AGENTSHARE_ROOT'];
  return {
    root: root ? resolve(cwd, root) : join(dataDir, 'agentshare'),
    quotaBytes: mib('AGENTSHARE_QUOTA_MB', 50 * 1024, 0),
    globalQuotaBytes: mib('AGENTSHARE_GLOBAL_QUOTA_MB', 100 * 1024, 0),
    uploadBytesMax: mib('AGENTSHARE_UPLOAD_MAX_MB', 1024, 1),
    runsKeepDays: integer(env, 'AGENTIC_RUN_RETENTION_DAYS', { fallback: 0, min: 0, max: 36_500 }),
  };
}

/** Runs a program as it is: what lies in the directory it is started in is a session's to write. */
const bunAlone = [process.execPath, '--no-env-file', '--config=/dev/null'];

/** Throws Failure('bad-input') that names the variable. */
export function readConfig(env: Env, cwd: string, sourceDir: string): Config {
  // The WebSocket and HTTP ports are above it.
  const listen = address('LISTEN_ADDR', env['LISTEN_ADDR'] ?? '127.0.0.1:8120', PORT_MAX - 2);
  const expires = integer(env, 'AGENTIC_HITL_EXPIRES_SECONDS', { fallback: 0, min: 0, max: 31_536_000 });
  const archiveHours = integer(env, 'AGENTIC_ARCHIVE_AFTER_HOURS', { fallback: 720, min: 0, max: 876_000 });
  const agent = env['AGENTIC_AGENT_BIN'];
  const dataDir = resolve(cwd, env['AGENTIC_DATA_DIR'] || '.run');
  return Object.freeze({
    dataDir,
    agentshare: agentshare(env, { cwd, dataDir }),
    journal: journalPlace(env, dataDir),
    journalAnew: flag(env, 'AGENTIC_JOURNAL_ANEW', false),
    listen,
    identity: identity(env, listen.port),
    httpHost: env['AGENTIC_HTTP_LISTEN_IP'] || listen.host,
    allowedHosts: words(env['AGENTIC_ALLOWED_HOSTS']),
    trustedProxies: words(env['AGENTIC_TRUSTED_PROXIES'] || '127.0.0.0/8,::1'),
    tls: tlsWish(env, cwd),
    behindProxy: flag(env, 'AGENTIC_BEHIND_PROXY', false),
    logLevel: level(env),
    metrics: flag(env, 'METRICS_ENABLED', true),
    agentCommand: agent ? [agent] : [...bunAlone, join(sourceDir, '..', 'agent', 'main.ts')],
    firstInstance: env['AGENTIC_FIRST_INSTANCE'] === '' ? null : (env['AGENTIC_FIRST_INSTANCE'] ?? 'local'),
    heartbeatSeconds: integer(env, 'AGENTIC_HEARTBEAT_SECONDS', { fallback: 10, min: 1, max: 300 }),
    hitlExpiresMs: expires === 0 ? null : expires * 1_000,
    stopGraceMs: integer(env, 'AGENTIC_STOP_GRACE_MS', { fallback: 10_000, min: 0, max: 600_000 }),
    tasksKeepDays: keepDays(env, 'AGENTIC_TASKS_KEEP_DAYS', 30),
    recordingsKeepDays: integer(env, 'AGENTIC_RECORDINGS_KEEP_DAYS', { fallback: 0, min: 0, max: 36_500 }),
    crashes: {
      max: integer(env, 'AGENTIC_CRASHES_MAX', { fallback: 5, min: 0, max: 1_000 }),
      withinMs: integer(env, 'AGENTIC_CRASH_WINDOW_SECONDS', { fallback: 600, min: 1, max: 86_400 }) * 1_000,
      backoffMs: [200, 1_000, 5_000, 15_000, 30_000],
    },
    unknownSessions: unknownSessions(env),
    auditKeepDays: integer(env, 'AGENTIC_AUDIT_KEEP_DAYS', { fallback: 90, min: 1, max: 36_500 }),
    archiveAfterMs: archiveHours === 0 ? null : archiveHours * 3_600_000,
    imagesDir: resolve(cwd, env['AGENTIC_IMAGES_DIR'] || join(dataDir, 'images')),
    seccompPath: join(sourceDir, '..', 'images', 'seccomp.json'),
    instanceEnv: instanceEnv(env),
    claudeBin: env['AGENTIC_CLAUDE_BIN'] || null,
    credentials: credentialsConfig(env, { listen, dataDir }),
    env,
  });
}
