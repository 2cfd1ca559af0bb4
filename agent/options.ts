/**
 * Flags and environment, read once. The only place of the agent that reads `process.env`. A flag beats a
 * variable.
 */
import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { instanceOf } from '../proto/spiffe.ts';
import type { Bootstrap } from './enrol.ts';
import type { IdentityOptions } from './identity.ts';
import { filesIn, type TlsFiles } from './keys.ts';

export interface Options {
  /** This process is the network side of a holder. */
  readonly isNetworkSide: boolean;
  /** What relative paths are relative to. */
  readonly base: string;
  readonly agentId: string;
  readonly instanceId: string;
  readonly target: Target;
  /** Null: there is no certificate of our own to enrol for or to renew. */
  readonly identity: IdentityOptions | null;
  /** Null: what the server says. */
  readonly heartbeatSeconds: number | null;
  readonly profile: string;
  readonly loadout: string;
  readonly secretFile: string | null;
  /** `<port>=<socket>,…`: what is sent to that loopback port goes to that Unix socket; null: nothing is. */
  readonly egress: string | null;
  readonly spoolDir: string;
  readonly spoolMemoryBytes: number;
  readonly spoolDiskBytes: number;
  readonly setup: { readonly isComplete: boolean; readonly sentinel: string; readonly progress: string };
  readonly logLevel: string;
  readonly home: string;
  /** Where a command runs that names no directory. */
  readonly workingDir: string;
  /** What children get of our environment: all of it but what is the agent's own. */
  readonly childEnv: Readonly<Record<string, string>>;
}

export interface Target {
  /** As grpc-js takes it: `host:port` or `unix:/path`. */
  readonly address: string;
  readonly tls: TlsFiles | null;
}

export const version = '0.1.0';

export const help = `agent-client ${version}: runs inside an instance and does what the server asks.

  -s, --server HOST:PORT       the server, or unix:PATH for TLS by a socket (MANAGEMENT_SERVER;
                               host.internal:8120)
      --uds-path PATH          the server's Unix socket (AGENT_GRPC_UDS_PATH)
      --transport NAME         auto, tcp, uds or tls (AGENT_TRANSPORT; auto: uds, then tls, then tcp)
  -i, --agent-id ID            who this is (AGENT_ID; the host name)
      --tls-ca, --tls-cert, --tls-key FILE   all or none (AGENT_GRPC_TLS_CA, _CERT, _KEY)
      --tls-server-name NAME   the name in the server's certificate (AGENT_GRPC_TLS_SERVER_NAME; that of
                               our certificate's trust domain)
  -H, --heartbeat SECONDS      between heartbeats (HEARTBEAT_INTERVAL; what the server says)
      --env-file FILE          read into the environment first (AGENT_ENV_FILE;
                               /etc/agentic-sandbox/agent.env)
      --version, --help

Other variables: AGENT_INSTANCE_ID, AGENT_SECRET_FILE (a file with this instance's secret, mode 0600),
AGENT_WORKING_DIR (where a command runs that names no directory; HOME), AGENT_PROFILE, AGENT_LOADOUT,
AGENT_SPOOL_DIR, AGENT_SPOOL_MEMORY_BYTES, AGENT_SPOOL_DISK_BYTES, AGENT_SETUP_COMPLETE,
AGENT_SETUP_SENTINEL, AGENT_EGRESS (PORT=PATH,…: loopback ports that lead to Unix sockets), LOG_LEVEL.

It is two processes: this one holds the sessions, and starts another that speaks to the server. That one may
die, and is started again; sessions only end with this one.
  SIGHUP            drops the link to the server and makes another at once
  SIGUSR2           upgrade: starts what is on disk now in the place of the process that speaks to the server;
                    one that does not start changes nothing
  SIGTERM, SIGINT   end the sessions, then both processes
To enrol with a one-time token and renew the certificate ever after: AGENT_BOOTSTRAP_TOKEN_FILE (mode 0600;
emptied once it is used), AGENT_BOOTSTRAP_URL (https://…), AGENT_BOOTSTRAP_CA (the roots to trust),
AGENT_BOOTSTRAP_SPIFFE_ID; AGENT_BOOTSTRAP_TLS_DIR holds key.pem, cert.pem and ca.pem
(/etc/agentic-sandbox/grpc-mtls). With a certificate there already, the last one alone is enough. A new token
is a new beginning, whatever is held. AGENT_BOOTSTRAP_SOCKET is a Unix socket that leads to that URL, and
AGENT_BOOTSTRAP_TOKEN_MOUNTED=1 says that the token is in a mount of this instance alone, to be read only.
`;

type Env = Readonly<Record<string, string | undefined>>;

/** KEY=VALUE lines; quotes around a value are taken off. A file that is not there is an empty one. */
function fromFile(path: string): Record<string, string> {
  if (!existsSync(path)) return {};
  const lines = readFileSync(path, 'utf8').split('\n');
  return Object.fromEntries(
    lines.flatMap((line) => {
      const [, name, value = ''] = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line) ?? [];
      return name ? [[name, value.trim().replace(/^(['"])(.*)\1$/, '$2')]] : [];
    }),
  );
}

function count(name: string, text: string | undefined, fallback: number): number {
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new Error(`${name}: "${text}" is not a positive number`);
  return value;
}

const own = /^(AGENT_|MANAGEMENT_SERVER$|HEARTBEAT_INTERVAL$)/;

/** Throws an Error that names the option. Null: help or version was asked for and is on standard output. */
export function readOptions(args: readonly string[], given: Env = process.env): Options | null {
  const { values } = parseArgs({
    args: [...args],
    options: {
      server: { type: 'string', short: 's' },
      'agent-id': { type: 'string', short: 'i' },
      'uds-path': { type: 'string' },
      transport: { type: 'string' },
      'tls-ca': { type: 'string' },
      'tls-cert': { type: 'string' },
      'tls-key': { type: 'string' },
      'tls-server-name': { type: 'string' },
      heartbeat: { type: 'string', short: 'H' },
      'env-file': { type: 'string' },
      // Of the holder to what it starts.
      'network-side': { type: 'string' },
      version: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help || values.version) {
    process.stdout.write(values.help ? help : `${version}\n`);
    return null;
  }
  const base = values['network-side'] ?? process.cwd();
  const envFile = resolve(
    base,
    values['env-file'] ?? given['AGENT_ENV_FILE'] ?? '/etc/agentic-sandbox/agent.env',
  );
  const env: Env = { ...fromFile(envFile), ...given };
  const heartbeat = values.heartbeat ?? env['HEARTBEAT_INTERVAL'];
  const agentId = values['agent-id'] ?? env['AGENT_ID'] ?? hostname();
  const sentinel = env['AGENT_SETUP_SENTINEL'];
  const identity = identityOf(env, base);
  const target = targetOf({ values, env, base, identity });
  return {
    isNetworkSide: values['network-side'] !== undefined,
    base,
    agentId,
    instanceId: env['AGENT_INSTANCE_ID'] ?? env['AIWG_INSTANCE_ID'] ?? '',
    target,
    // Certificates that are given by flags are somebody else's to renew.
    identity: target.tls !== null && target.tls.cert === certIn(identity) ? identity : null,
    heartbeatSeconds: heartbeat ? count('heartbeat', heartbeat, 5) : null,
    profile: env['AGENT_PROFILE'] ?? '',
    loadout: env['AGENT_LOADOUT'] ?? '',
    secretFile: env['AGENT_SECRET_FILE'] ? resolve(base, env['AGENT_SECRET_FILE']) : null,
    egress: env['AGENT_EGRESS'] || null,
    spoolDir: resolve(base, env['AGENT_SPOOL_DIR'] || join(tmpdir(), `agent-spool-${agentId}`)),
    spoolMemoryBytes: count('AGENT_SPOOL_MEMORY_BYTES', env['AGENT_SPOOL_MEMORY_BYTES'], 4 << 20),
    spoolDiskBytes: count('AGENT_SPOOL_DISK_BYTES', env['AGENT_SPOOL_DISK_BYTES'], 256 << 20),
    setup: {
      isComplete: env['AGENT_SETUP_COMPLETE'] === '1',
      sentinel: sentinel ?? '/var/run/agentic-setup-complete',
      progress: '/var/run/agentic-setup-progress.json',
    },
    logLevel: env['LOG_LEVEL'] ?? 'info',
    home: env['HOME'] || '/',
    workingDir: env['AGENT_WORKING_DIR'] || env['HOME'] || '/',
    childEnv: Object.fromEntries(
      Object.entries(env).flatMap(([name, value]) =>
        value === undefined || own.test(name) ? [] : [[name, value]],
      ),
    ),
  };
}

const certIn = (identity: IdentityOptions | null) => identity && filesIn(identity.dir, '').cert;

/** All of the bootstrap variables or none; the folder alone, when somebody has enrolled before. */
function identityOf(env: Env, base: string): IdentityOptions | null {
  const names = [
    'AGENT_BOOTSTRAP_TOKEN_FILE',
    'AGENT_BOOTSTRAP_URL',
    'AGENT_BOOTSTRAP_CA',
    'AGENT_BOOTSTRAP_SPIFFE_ID',
  ] as const;
  const given = names.filter((name) => env[name]);
  const dir = env['AGENT_BOOTSTRAP_TLS_DIR'] && resolve(base, env['AGENT_BOOTSTRAP_TLS_DIR']);
  if (given.length === 0) return dir ? { dir, bootstrap: null } : null;
  const missing = names.find((name) => !env[name]);
  if (missing) throw new Error(`${missing} is missing: give all of ${names.join(', ')} or none`);
  const [tokenFile, url, caFile, spiffeId] = names.map((name) => env[name] as string);
  const file = (path: string | undefined) => resolve(base, path ?? '');
  const socket = env['AGENT_BOOTSTRAP_SOCKET'];
  const bootstrap = {
    tokenFile: file(tokenFile),
    url,
    caFile: file(caFile),
    spiffeId,
    ...(socket ? { socket: file(socket) } : {}),
    isMounted: env['AGENT_BOOTSTRAP_TOKEN_MOUNTED'] === '1',
  } as Bootstrap;
  if (!bootstrap.url.startsWith('https://'))
    throw new Error(`AGENT_BOOTSTRAP_URL: "${url}" does not begin with https://`);
  if (!instanceOf(bootstrap.spiffeId))
    throw new Error(`AGENT_BOOTSTRAP_SPIFFE_ID: "${spiffeId}" is not spiffe://DOMAIN/instance/UUID`);
  return { dir: dir || '/etc/agentic-sandbox/grpc-mtls', bootstrap };
}

type Flags = Readonly<Record<string, string | boolean | undefined>>;

interface Given {
  readonly values: Flags;
  readonly env: Env;
  readonly base: string;
  readonly identity: IdentityOptions | null;
}

function targetOf({ values, env, base, identity }: Given): Target {
  const flag = (name: string, variable: string) =>
    (values[name] as string | undefined) ?? env[variable] ?? '';
  const file = (name: string, variable: string) => {
    const path = flag(name, variable);
    return path && resolve(base, path);
  };
  const uds = file('uds-path', 'AGENT_GRPC_UDS_PATH');
  const server =
    (values['server'] as string | undefined) ??
    env['AGENT_RESTORE_GRPC_SERVER'] ??
    env['MANAGEMENT_SERVER'] ??
    'host.internal:8120';
  const ca = file('tls-ca', 'AGENT_GRPC_TLS_CA');
  const cert = file('tls-cert', 'AGENT_GRPC_TLS_CERT');
  const key = file('tls-key', 'AGENT_GRPC_TLS_KEY');
  const given = [ca, cert, key].filter(Boolean).length;
  if (given !== 0 && given !== 3) throw new Error('tls-ca, tls-cert and tls-key: give all three or none');
  const host = server.slice(0, server.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1');
  const named = flag('tls-server-name', 'AGENT_GRPC_TLS_SERVER_NAME');
  // An address is no name that a certificate could be asked for by.
  const byFlags = given === 0 ? null : { ca, cert, key, serverName: named || (isIP(host) === 0 ? host : '') };
  const tls = byFlags ?? (identity && filesIn(identity.dir, named));
  const transport = flag('transport', 'AGENT_TRANSPORT') || 'auto';
  switch (transport) {
    case 'uds':
      if (!uds) throw new Error('transport uds: give uds-path too');
      return { address: `unix:${uds}`, tls: null };
    case 'tls':
      if (!tls)
        throw new Error('transport tls: give tls-ca, tls-cert and tls-key too, or AGENT_BOOTSTRAP_TLS_DIR');
      return { address: server, tls };
    case 'tcp':
      return { address: server, tls: null };
    case 'auto':
      if (uds) return { address: `unix:${uds}`, tls: null };
      return { address: server, tls };
    default:
      throw new Error(`transport: "${transport}" is none of auto, tcp, uds, tls`);
  }
}
