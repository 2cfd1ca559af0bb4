/**
 * Flags and environment, read once. The only place of the agent that reads `process.env`. A flag beats a
 * variable.
 */
import { existsSync, readFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

export interface Options {
  /** This process is the network side of a holder. */
  readonly isNetworkSide: boolean;
  /** What relative paths are relative to. */
  readonly base: string;
  readonly agentId: string;
  readonly instanceId: string;
  readonly target: Target;
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
  readonly tls: {
    readonly ca: string;
    readonly cert: string;
    readonly key: string;
    readonly serverName: string;
  } | null;
}

export const version = '0.1.0';

export const help = `agent-client ${version}: runs inside an instance and does what the server asks.

  -s, --server HOST:PORT       the server (MANAGEMENT_SERVER; host.internal:8120)
      --uds-path PATH          the server's Unix socket (AGENT_GRPC_UDS_PATH)
      --transport NAME         auto, tcp, uds or tls (AGENT_TRANSPORT; auto: uds, then tls, then tcp)
  -i, --agent-id ID            who this is (AGENT_ID; the host name)
      --tls-ca, --tls-cert, --tls-key FILE   all or none (AGENT_GRPC_TLS_CA, _CERT, _KEY)
      --tls-server-name NAME   the name in the server's certificate (AGENT_GRPC_TLS_SERVER_NAME)
  -H, --heartbeat SECONDS      between heartbeats (HEARTBEAT_INTERVAL; what the server says)
      --env-file FILE          read into the environment first (/etc/agentic-sandbox/agent.env)
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
  const envFile = resolve(base, values['env-file'] ?? '/etc/agentic-sandbox/agent.env');
  const env: Env = { ...fromFile(envFile), ...given };
  const heartbeat = values.heartbeat ?? env['HEARTBEAT_INTERVAL'];
  const agentId = values['agent-id'] ?? env['AGENT_ID'] ?? hostname();
  const sentinel = env['AGENT_SETUP_SENTINEL'];
  return {
    isNetworkSide: values['network-side'] !== undefined,
    base,
    agentId,
    instanceId: env['AGENT_INSTANCE_ID'] ?? env['AIWG_INSTANCE_ID'] ?? '',
    target: targetOf({ values, env, base }),
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

type Flags = Readonly<Record<string, string | boolean | undefined>>;

interface Given {
  readonly values: Flags;
  readonly env: Env;
  readonly base: string;
}

function targetOf({ values, env, base }: Given): Target {
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
  const host = server.slice(0, server.lastIndexOf(':'));
  const tls = { ca, cert, key, serverName: flag('tls-server-name', 'AGENT_GRPC_TLS_SERVER_NAME') || host };
  const transport = flag('transport', 'AGENT_TRANSPORT') || 'auto';
  switch (transport) {
    case 'uds':
      if (!uds) throw new Error('transport uds: give uds-path too');
      return { address: `unix:${uds}`, tls: null };
    case 'tls':
      if (given === 0) throw new Error('transport tls: give tls-ca, tls-cert and tls-key too');
      return { address: server, tls };
    case 'tcp':
      return { address: server, tls: null };
    case 'auto':
      if (uds) return { address: `unix:${uds}`, tls: null };
      return { address: server, tls: given === 3 ? tls : null };
    default:
      throw new Error(`transport: "${transport}" is none of auto, tcp, uds, tls`);
  }
}
