/**
 * The composition root: configuration → journal → data plane → fleet → doors; a signal closes them in
 * reverse.
 *
 * The way in is the way back: after a crash the same steps restore every live actor, and the agents, which
 * run on without us, find the new server by themselves.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import packageJson from '../package.json' with { type: 'json' };
import { bundleDashboard, contentSecurityPolicy } from '../ui/build.ts';
import { type Fleet, fleet as makeFleet } from './actors/fleet.ts';
import { systemClock } from './clock.ts';
import { type Config, readConfig } from './config.ts';
import { Failure } from './failure.ts';
import { httpDoors } from './http/doors.ts';
import { ENROL_PATH, type EnrolDoor, enrolDoor } from './http/enrol.ts';
import { refuseOpenDoors } from './http/gate.ts';
import { operators } from './http/operators.ts';
import { type OpenIdentity, openIdentity } from './identity/open.ts';
import { openJournal } from './journal/open.ts';
import type { Journal } from './journal.ts';
import { asWords, jsonLog, type Log } from './log.ts';
import { absentRuntime } from './runtime/absent.ts';
import { type HostRuntime, hostRuntime } from './runtime/host.ts';
import type { Runtime, RuntimeKind } from './runtime.ts';
import { readQuestion } from './terminal/asking.ts';
import { keysFor } from './terminal/asking-keys.ts';
import { terminals as makeTerminals } from './terminal/terminals.ts';
import type { ExecDoor } from './transport/exec.ts';
import { type AgentServer, agentServer } from './transport/server.ts';
import { socketPathOf } from './transport/socket-path.ts';
import { vsockProbe } from './transport/vsock.ts';
import { agentDesk } from './wiring/agents.ts';
import {
  auditedIn,
  type Cut,
  type IdentityPlaces,
  identityDesk,
  identityPlaces,
  instanceNamed,
  revokeInstance,
} from './wiring/certificates.ts';
import { changed, terminalListener } from './wiring/data-plane.ts';
import { eventDesk } from './wiring/events.ts';
import { execDesk } from './wiring/exec.ts';
import { firstInstance, publish, welcome } from './wiring/first-words.ts';
import { gauges, healthDesk } from './wiring/health.ts';
import { hitlDesk } from './wiring/hitl.ts';
import { type House, signals } from './wiring/house.ts';
import { admission, fileSecrets, type Secrets } from './wiring/identity.ts';
import { instanceDesk } from './wiring/instances.ts';
import { decorated } from './wiring/observed.ts';
import { adoptOrphans } from './wiring/orphans.ts';
import { forgetLinks, liveness, presence } from './wiring/presence.ts';
import { actorDesk } from './wiring/replay.ts';
import { retention } from './wiring/retention.ts';
import { sessionDesk } from './wiring/sessions.ts';
import { taskDesk } from './wiring/task-desk.ts';
import { logsOf } from './wiring/task-story.ts';
import { wire } from './wiring/wire.ts';

/** How long open requests may take to finish when the server is asked to stop. */
const DRAIN_MS = 3_000;

const clock = systemClock;

interface Ground {
  readonly config: Config;
  readonly log: Log;
  readonly journal: Journal;
  readonly secrets: Secrets;
  readonly socketPath: string | null;
  /** `host:port` of the gRPC server, once it listens. */
  readonly grpc: { address: string };
  readonly identity: OpenIdentity;
  /** What comes into being after it is needed. */
  readonly late: { house: House | null; cut: Cut };
}

async function ground(config: Config): Promise<Ground> {
  const log = jsonLog({
    clock,
    level: config.logLevel,
    ...(process.stderr.isTTY ? { format: asWords } : {}),
    write: (line) => void process.stderr.write(line),
  });
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 }).catch((thrown: NodeJS.ErrnoException) => {
    const cure = 'set AGENTIC_DATA_DIR to a directory that you may write';
    throw new Failure(
      'bad-input',
      `the data directory ${config.dataDir} cannot be made (${thrown.code}): ${cure}`,
    );
  });
  const onLost = (why: Failure) => leave(why.message);
  const journal = await openJournal(config.journal, { clock, log, onLost });
  const secrets = fileSecrets(join(config.dataDir, 'instances'));
  const socketPath = await socketPathOf(config.dataDir);
  const late: Ground['late'] = { house: null, cut: () => 0 };
  const { identity: identityConfig, env } = config;
  const identity = await openIdentity({
    config: identityConfig,
    dir: join(config.dataDir, 'secrets'),
    env,
    instanceNamed: instanceNamed(() => (late.house as House).fleet),
    clock,
    log,
    audited: auditedIn(log),
  }).catch(async (thrown) => {
    await journal.close();
    throw thrown;
  });
  return { config, log, journal, secrets, socketPath, grpc: { address: '' }, identity, late };
}

function hostRuntimeOf({ config, log, secrets, socketPath, grpc }: Ground): HostRuntime {
  return hostRuntime({
    root: join(config.dataDir, 'instances'),
    agentCommand: config.agentCommand,
    serverAddress: () => grpc.address,
    socketPath,
    issueSecret: (name) => secrets.issue(name),
    clock,
    log: (message) => log.info(message),
    env: config.instanceEnv,
  });
}

interface Built {
  readonly house: House;
  readonly host: HostRuntime;
  readonly data: ReturnType<typeof makeTerminals>;
}

function build(on: Ground): Built {
  const { config, log, journal, secrets, late } = on;
  const host = hostRuntimeOf(on);
  const { PATH: path = '', XDG_RUNTIME_DIR, DOCKER_HOST, CONTAINER_HOST } = config.env;
  const absent = {
    path,
    runtimeDir: XDG_RUNTIME_DIR ?? null,
    engineHosts: [DOCKER_HOST, CONTAINER_HOST].flatMap((host) => host || []),
    clock,
  };
  const runtimes = new Map<RuntimeKind, Runtime>([
    ['host', host],
    ['container', absentRuntime('container', absent)],
    ['vm', absentRuntime('vm', absent)],
  ]);
  const houseNow = () => late.house as House;
  const data = makeTerminals({
    dir: join(config.dataDir, 'recordings'),
    clock,
    log,
    listener: terminalListener(houseNow),
    read: readQuestion,
  });
  const shared = {
    clock,
    log,
    config,
    runtimes,
    terminals: data,
    links: new Map(),
    telemetry: new Map(),
    asked: new Map(),
    unwritten: new Map(),
    tallies: new Map(),
    signals: signals(),
  };
  // The fleet needs the effects, the effects need the house, and the house has the fleet.
  const house: House = {
    ...shared,
    get fleet(): Fleet {
      return fleet;
    },
  };
  late.house = house;
  const fleet = makeFleet({
    clock,
    journal,
    kinds: wire(house, {
      keysFor,
      revoke: (name, reason) =>
        revokeInstance(
          house,
          { register: on.identity.register, secrets, cut: late.cut },
          { name, by: 'house', reason },
        ),
    }),
    log,
    defer: (fn) => void setImmediate(fn),
    fatal: (thrown) => leave(`the journal cannot be written any more: ${messageOf(thrown)}`),
  });
  return { house, host, data };
}

interface Doors {
  readonly http: Awaited<ReturnType<typeof httpDoors>>;
  readonly grpc: AgentServer;
  readonly enrol: EnrolDoor | null;
  readonly places: IdentityPlaces;
}

type AgentDoors = Pick<Doors, 'grpc' | 'enrol' | 'places'>;

/** Where agents come in: by gRPC, and for their first certificate. */
async function agentDoors(on: Ground, { house, host }: Built, door: ExecDoor): Promise<AgentDoors> {
  const { config, log, secrets, identity } = on;
  const certificates = identity.register;
  const instanceOf = (pid: number) => host.instanceOf(pid);
  const admit = admission({ secrets, fleet: () => house.fleet, instanceOf, uid: uid(), certificates });
  const { host: address, port } = config.listen;
  const grpc = await agentServer({
    host: address,
    port,
    socketPath: on.socketPath,
    tls: config.identity.tls && { ...config.identity.tls, ...identity.server, audited: auditedIn(log) },
    certificates,
    listener: presence(house, admit),
    ...door,
    heartbeatSeconds: config.heartbeatSeconds,
    clock,
  });
  on.grpc.address = `${address}:${grpc.port}`;
  on.late.cut = grpc.cut;
  const at = config.identity.enrol;
  const world = at && { ...at, ...identity.server, register: certificates, clock, log };
  const enrol = await (world && enrolDoor(world).catch(closing(grpc)));
  const ports = { tls: grpc.tlsPort, enrol: enrol?.port ?? null };
  return { grpc, enrol, places: identityPlaces(config.identity, { ports, path: ENROL_PATH }) };
}

/** What is open when the next door cannot be opened. */
const closing = (grpc: AgentServer, enrol?: EnrolDoor | null) => async (thrown: unknown) => {
  enrol?.close();
  await grpc.close(0);
  throw thrown;
};

async function openDoors(on: Ground, built: Built, startedAt: number): Promise<Doors> {
  const { config, log, journal, secrets, identity } = on;
  const { house, data } = built;
  const { version } = packageJson;
  const path = join(config.dataDir, 'secrets', 'operator-tokens.json');
  const access = await operators({ path, clock, uid: uid() });
  const exec = execDesk(house);
  const { host: address, port } = config.listen;
  // Exec is behind the agents' door too.
  refuseOpenDoors({ ...config, httpHost: address, hasTokens: () => access.hasTokens });
  const agents = await agentDoors(on, built, { exec, access, log });
  const { grpc, enrol, places } = agents;
  const http = await httpDoors({
    desks: {
      recall: (actor) => house.fleet.remind([actor]),
      actors: actorDesk(house.fleet, journal),
      instances: instanceDesk(house),
      identity: identityDesk(house, {
        ...identity,
        secrets,
        cut: grpc.cut,
        vsock: vsockProbe,
        places,
        caPem: () => identity.server.current().ca,
      }),
      agents: agentDesk(house),
      sessions: sessionDesk(house),
      exec,
      tasks: taskDesk(house, logsOf(house, journal)),
      hitl: hitlDesk(house, keysFor),
      events: eventDesk(house.fleet, journal, decorated(house)),
      health: healthDesk(house, { version, journal: config.journal.kind, startedAt }),
    },
    gauges: gauges(house, data.numbers),
    access,
    options: {
      httpHost: config.httpHost,
      httpPort: port === 0 ? 0 : port + 2,
      wsPort: port === 0 ? 0 : port + 1,
      allowedHosts: config.allowedHosts,
      behindProxy: config.behindProxy,
      metrics: config.metrics,
      version,
    },
    dashboard: {
      files: await bundleDashboard({ cacheDir: join(config.dataDir, 'cache') }),
      contentSecurityPolicy,
    },
    clock,
    log,
  }).catch(closing(grpc, enrol));
  return { http, ...agents };
}

const uid = () => process.getuid?.() ?? 0;
const messageOf = (thrown: unknown) => (thrown instanceof Error ? thrown.message : String(thrown));

/** Returns how to stop. */
function keeping({ journal, log, config: { archiveAfterMs } }: Ground): () => void {
  return archiveAfterMs === null ? () => {} : retention({ journal, clock, log, afterMs: archiveAfterMs });
}

function leave(reason: string): never {
  process.stderr.write(`agentic-sandbox: ${reason}\n`);
  process.exit(1);
}

const help = `agentic-sandbox ${packageJson.version}: supervises coding agents on this machine.

Usage: bin/up [--help | --version]

Everything is set by environment variables; README.md has the table. The usual ones:
  LISTEN_ADDR         gRPC address; WebSocket is one port above, HTTP two, and on the loopback gRPC over TLS
                      three and enrolment four (127.0.0.1:8120; port 0: any free ones)
  AGENTIC_DATA_DIR    journal, recordings, instances and tasks (./.run)
  REDIS_URL           the journal in that Redis instead of in a file (none)
  LOG_LEVEL           debug, info, warn or error (info)
`;

async function main(): Promise<void> {
  const [flag] = process.argv.slice(2);
  if (flag === '--help' || flag === '-h') return void process.stdout.write(help);
  if (flag === '--version') return void process.stdout.write(`${packageJson.version}\n`);
  if (flag !== undefined) leave(`unknown argument "${flag}"; see --help`);
  const startedAt = clock.now();
  const on = await ground(readConfig(process.env, process.cwd(), import.meta.dir));
  const built = build(on);
  const { house, data } = built;
  const { fleet, log } = house;
  fleet.watch((change) => changed(house, change));
  const restored = await fleet.restore();
  log.info('restored', restored);
  forgetLinks(house);
  await adoptOrphans(house);
  const doors = await openDoors(on, built, startedAt).catch(async (thrown) => {
    await fleet.close();
    await on.journal.close();
    on.identity.close();
    throw thrown;
  });
  const { httpPort, wsPort } = doors.http;
  const url = await publish(on.config, { httpPort, wsPort, grpc: on.grpc.address, ...doors.places });
  const stopLooking = liveness(house);
  const stopKeeping = keeping(on);
  await firstInstance(house);
  stopBySignal(on, async () => {
    stopLooking();
    stopKeeping();
    doors.grpc.stopAccepting();
    doors.enrol?.close();
    await doors.http.close(DRAIN_MS);
    await fleet.close();
    await doors.grpc.close(DRAIN_MS);
    await data.close();
    await on.journal.close();
    on.identity.close();
  });
  const agents = await welcome(house);
  process.stdout.write(
    `agentic-sandbox is ready at ${url}\n  agents: ${agents}\n  data:   ${on.config.dataDir}\n`,
  );
}

/** Agents and their work go on without us; the next start finds them again. */
function stopBySignal({ log }: Ground, close: () => Promise<void>): void {
  let isStopping = false;
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (isStopping) process.exit(130);
      isStopping = true;
      log.info('stopping; agents go on', { signal: name });
      close().then(
        () => process.exit(0),
        (thrown) => leave(messageOf(thrown)),
      );
    });
  }
  process.on('unhandledRejection', (thrown) => {
    log.error('a bug: nobody waited for a failure', {
      why: messageOf(thrown),
      stack: (thrown as Error)?.stack,
    });
  });
}

main().catch((thrown) => {
  if (!(thrown instanceof Failure)) process.stderr.write(`${(thrown as Error)?.stack ?? ''}\n`);
  const faults = thrown instanceof Failure ? (thrown.faults ?? []) : [];
  leave([messageOf(thrown), ...faults.map(({ path, message }) => `  ${path}: ${message}`)].join('\n'));
});
