/**
 * The composition root: configuration → journal → data plane → fleet → doors; a signal closes them in
 * reverse.
 *
 * The way in is the way back: after a crash the same steps restore every live actor, and the agents, which
 * run on without us, find the new server by themselves.
 */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import packageJson from '../package.json' with { type: 'json' };
import { bundleDashboard, contentSecurityPolicy } from '../ui/build.ts';
import { type Fleet, fleet as makeFleet } from './actors/fleet.ts';
import { rfc3339, systemClock } from './clock.ts';
import { type Config, readConfig } from './config.ts';
import { Failure } from './failure.ts';
import { httpDoors } from './http/doors.ts';
import { refuseOpenDoors } from './http/gate.ts';
import { operators } from './http/operators.ts';
import { openJournal } from './journal/open.ts';
import { remembered } from './journal/seen.ts';
import { type Lock, takeLock } from './journal/sqlite-lock.ts';
import type { Journal } from './journal.ts';
import { asWords, jsonLog, type Log } from './log.ts';
import { type Composed, composeCredentials } from './main/credentials.ts';
import { type Runtimes, runtimesOf } from './main/runtimes.ts';
import { readQuestion } from './terminal/asking.ts';
import { keysFor } from './terminal/asking-keys.ts';
import { terminals as makeTerminals } from './terminal/terminals.ts';
import { type AgentServer, agentServer } from './transport/server.ts';
import { socketPathOf } from './transport/socket-path.ts';
import { veil } from './veil.ts';
import type { AgentView, InstanceView, SessionView, TaskView } from './views.ts';
import { agentDesk, observed } from './wiring/agents.ts';
import { voidedAll } from './wiring/credentials.ts';
import { changed, terminalListener } from './wiring/data-plane.ts';
import { eventDesk } from './wiring/events.ts';
import { execDesk } from './wiring/exec.ts';
import { gauges, healthDesk } from './wiring/health.ts';
import { hitlDesk } from './wiring/hitl.ts';
import { type House, signals, until } from './wiring/house.ts';
import { admission, fileSecrets, type Secrets } from './wiring/identity.ts';
import { applyLimits, instanceDesk, makeInstance } from './wiring/instances.ts';
import { adoptOrphans } from './wiring/orphans.ts';
import { forgetLinks, liveness, presence, reopenTerminals } from './wiring/presence.ts';
import { keepRecordings } from './wiring/recording-keeper.ts';
import { recordingDesk, recordingWorld } from './wiring/recordings.ts';
import { actorDesk } from './wiring/replay.ts';
import { retention } from './wiring/retention.ts';
import { observedSession, sessionDesk } from './wiring/sessions.ts';
import { taskDesk, told } from './wiring/task-desk.ts';
import { logsOf } from './wiring/task-story.ts';
import { usageDesk } from './wiring/usage.ts';
import { wire } from './wiring/wire.ts';

/** How long open requests may take to finish when the server is asked to stop. */
const DRAIN_MS = 3_000;
/** How long the first words wait for agents that should be there. */
const WELCOME_MS = 20_000;

const clock = systemClock;

interface Ground {
  readonly config: Config;
  readonly log: Log;
  /** Held for life: let go of, it is the next one's. */
  readonly lock: Lock;
  readonly journal: Journal;
  readonly secrets: Secrets;
  readonly proofs: Composed;
  readonly socketPath: string | null;
  /** `host:port` of the gRPC server, once it listens. */
  readonly grpc: { address: string };
}

async function ground(config: Config): Promise<Ground> {
  const hidden = veil();
  const log = jsonLog({
    clock,
    level: config.logLevel,
    ...(process.stderr.isTTY ? { format: asWords } : {}),
    write: (line) => void process.stderr.write(hidden.hide(line)),
  });
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 }).catch((thrown: NodeJS.ErrnoException) => {
    const cure = 'set AGENTIC_DATA_DIR to a directory that you may write';
    throw new Failure(
      'bad-input',
      `the data directory ${config.dataDir} cannot be made (${thrown.code}): ${cure}`,
    );
  });
  // Also where the journal is elsewhere: two servers on one directory would take each other's agents.
  const lock = takeLock(join(config.dataDir, 'server'), {
    what: `start a server on ${config.dataDir}`,
    since: rfc3339(clock.now()),
  });
  const onLost = (why: Failure) => leave(why.message);
  const named = await openJournal(config.journal, { clock, log, onLost });
  const { dataDir, journal: place, journalAnew: isAnew } = config;
  const journal = await remembered(named, { path: join(dataDir, 'journal.seen'), place, isAnew, clock, log });
  const secrets = fileSecrets(join(config.dataDir, 'instances'));
  const socketPath = await socketPathOf(config.dataDir);
  const proofs = await composeCredentials({ config, clock, log, veil: hidden, uid: uid() });
  return { config, log, lock, journal, secrets, proofs, socketPath, grpc: { address: '' } };
}

interface Built {
  readonly house: House;
  readonly runtimes: Runtimes;
  readonly data: ReturnType<typeof makeTerminals>;
}

function build(on: Ground): Built {
  const { config, log, journal, secrets } = on;
  const runtimes = runtimesOf({ ...on, clock });
  const late: { house: House | null } = { house: null };
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
    runtimes: runtimes.all,
    terminals: data,
    recordings: data.recordings,
    links: new Map(),
    telemetry: new Map(),
    asked: new Map(),
    unwritten: new Map(),
    tallies: new Map(),
    signals: signals(),
    credentials: on.proofs.credentials,
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
    kinds: wire(house, { keysFor, revoke: (name) => secrets.revoke(name) }),
    log,
    defer: (fn) => void setImmediate(fn),
    fatal: (thrown) => leave(`the journal cannot be written any more: ${messageOf(thrown)}`),
  });
  return { house, runtimes, data };
}

interface Doors {
  readonly http: Awaited<ReturnType<typeof httpDoors>>;
  readonly grpc: AgentServer;
}

async function openDoors(on: Ground, { house, runtimes, data }: Built, startedAt: number): Promise<Doors> {
  const { config, log, journal, secrets } = on;
  const { version } = packageJson;
  const access = await operators({
    path: join(config.dataDir, 'secrets', 'operator-tokens.json'),
    clock,
    uid: uid(),
  });
  const admit = admission({
    secrets,
    fleet: () => house.fleet,
    kinOf: (pid) => runtimes.host.kinOf(pid),
    uid: uid(),
  });
  const exec = execDesk(house);
  const { host: address, port } = config.listen;
  // Exec is behind this door too.
  refuseOpenDoors({ ...config, httpHost: address, hasTokens: () => access.hasTokens });
  const grpc = await agentServer({
    host: address,
    port,
    socketPath: on.socketPath,
    listener: presence(house, admit),
    exec,
    access,
    heartbeatSeconds: config.heartbeatSeconds,
    clock,
    log,
  });
  on.grpc.address = `${address}:${grpc.port}`;
  const decorate = (kind: string, view: unknown) => {
    if (view === null) return view;
    if (kind === 'agent') return observed(house, view as AgentView);
    if (kind === 'session') return observedSession(house, view as SessionView);
    return kind === 'task' ? told(house, view as TaskView) : view;
  };
  const http = await httpDoors({
    desks: {
      recall: (actor) => house.fleet.remind([actor]),
      actors: actorDesk(house.fleet, journal),
      instances: instanceDesk(house),
      agents: agentDesk(house),
      sessions: sessionDesk(house),
      recordings: recordingDesk(recordingWorld(house, journal)),
      exec,
      tasks: taskDesk(house, logsOf(house, journal)),
      hitl: hitlDesk(house, keysFor),
      events: eventDesk(house.fleet, journal, decorate),
      usage: usageDesk(house),
      health: healthDesk(house, { version, journal: config.journal.kind, startedAt }),
    },
    gauges: gauges(house, data.numbers, on.proofs.counts),
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
  }).catch(async (thrown) => {
    await grpc.close(0);
    throw thrown;
  });
  return { http, grpc };
}

const uid = () => process.getuid?.() ?? 0;
const messageOf = (thrown: unknown) => (thrown instanceof Error ? thrown.message : String(thrown));

/** A newcomer finds one agent; what was destroyed on purpose is not made again. */
async function firstInstance(house: House): Promise<void> {
  const { fleet, config, log } = house;
  if (config.firstInstance === null || fleet.views('instance').length > 0) return;
  const name = config.firstInstance;
  await makeInstance(house, { name, runtime: 'host' }, 'house');
  log.info('first instance made', { name });
}

/** What is kept for so long and no longer. Returns how to stop looking. */
function keeping(house: House, { journal, log, config }: Ground): () => void {
  const { archiveAfterMs, recordingsKeepDays: keepDays } = config;
  const stops = [keepRecordings(recordingWorld(house, journal), { clock, keepDays })];
  if (archiveAfterMs !== null) stops.push(retention({ journal, clock, log, afterMs: archiveAfterMs }));
  return () => {
    for (const stop of stops) stop();
  };
}

/** Waits until the agents that should be there are, but not for ever. */
async function welcome(house: House): Promise<string> {
  const wanted = () =>
    (house.fleet.views('instance') as InstanceView[]).filter(
      ({ state }) => state === 'running' || state === 'starting' || state === 'provisioning',
    );
  const late = () => new Failure('timed-out', 'not yet');
  await Promise.all(
    wanted().map(({ name }) => {
      const look = () => (house.links.has(name as never) ? true : null);
      return until(house, { fact: `link:${name}`, look, withinMs: WELCOME_MS, late }).catch(() => null);
    }),
  );
  const names = wanted().map(
    ({ name }) => `${name} ${house.links.has(name as never) ? 'ready' : 'not connected yet'}`,
  );
  return names.length === 0 ? 'no instances yet' : names.join(', ');
}

/** Where this server is, for programs. Whole or not at all. */
async function publish({ config, grpc }: Ground, http: Doors['http']): Promise<string> {
  const host = config.httpHost === '0.0.0.0' || config.httpHost === '::' ? '127.0.0.1' : config.httpHost;
  const bracketed = host.includes(':') ? `[${host}]` : host;
  const url = `http://${bracketed}:${http.httpPort}`;
  const facts = { http: url, ws: `ws://${bracketed}:${http.wsPort}`, grpc: grpc.address, pid: process.pid };
  const path = join(config.dataDir, 'server.json');
  await writeFile(`${path}.new`, `${JSON.stringify(facts)}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
  return url;
}

function leave(reason: string): never {
  process.stderr.write(`agentic-sandbox: ${reason}\n`);
  process.exit(1);
}

const help = `agentic-sandbox ${packageJson.version}: supervises coding agents on this machine.

Usage: bin/up [--help | --version]

Everything is set by environment variables; README.md has the table. The usual ones:
  LISTEN_ADDR         gRPC address; WebSocket is one port above, HTTP two (127.0.0.1:8120; port 0: any free ones)
  AGENTIC_DATA_DIR    journal, recordings, instances and tasks (./.run)
  REDIS_URL           the journal in that Redis instead of in a file (none)
  LOG_LEVEL           debug, info, warn or error (info)
`;

async function main(): Promise<void> {
  // What cannot be said, as on a full disk or to a reader that left, is no reason to die.
  for (const stream of [process.stderr, process.stdout]) stream.on('error', () => {});
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
  let isRestored = false;
  const gateway = await on.proofs.open(house, () => isRestored);
  const restored = await fleet.restore();
  isRestored = true;
  log.info('restored', restored);
  await voidedAll(house);
  forgetLinks(house);
  applyLimits(house);
  await adoptOrphans(house);
  const doors = await openDoors(on, built, startedAt).catch(async (thrown) => {
    await fleet.close();
    await on.journal.close();
    throw thrown;
  });
  await built.runtimes.listen(doors.grpc, gateway);
  const stopOpening = reopenTerminals(house);
  const url = await publish(on, doors.http);
  const stopLooking = liveness(house);
  const stopKeeping = keeping(house, on);
  await firstInstance(house);
  stopBySignal(on, async () => {
    stopLooking();
    stopKeeping();
    stopOpening();
    doors.grpc.stopAccepting();
    await Promise.all([doors.http.close(DRAIN_MS), gateway?.close(DRAIN_MS)]);
    await fleet.close();
    await doors.grpc.close(DRAIN_MS);
    await data.close();
    await on.journal.close();
    on.lock.release();
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
