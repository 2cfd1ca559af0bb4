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
import { type Fleet, fleet as makeFleet } from './actors/fleet.ts';
import { auditLog } from './audit/log.ts';
import { rfc3339, systemClock } from './clock.ts';
import { type Config, readConfig } from './config.ts';
import { Failure } from './failure.ts';
import { openIdentity } from './identity/open.ts';
import { openJournal } from './journal/open.ts';
import { remembered } from './journal/seen.ts';
import { takeLock } from './journal/sqlite-lock.ts';
import { asWords, jsonLog, type Log } from './log.ts';
import { composeCredentials } from './main/credentials.ts';
import { type Built, type Ground, openDoors } from './main/doors.ts';
import { runtimesOf } from './main/runtimes.ts';
import { readQuestion } from './terminal/asking.ts';
import { keysFor } from './terminal/asking-keys.ts';
import { terminals as makeTerminals } from './terminal/terminals.ts';
import { socketPathOf } from './transport/socket-path.ts';
import { veil } from './veil.ts';
import { keepAgentshare, openAgentshare } from './wiring/agentshare.ts';
import { auditedIn, instanceNamed, revokeInstance } from './wiring/certificates.ts';
import { voidedAll } from './wiring/credentials.ts';
import { changed, terminalListener } from './wiring/data-plane.ts';
import { firstInstance, publish, welcome } from './wiring/first-words.ts';
import { type House, nothingObserved } from './wiring/house.ts';
import { fileSecrets } from './wiring/identity.ts';
import { applyLimits } from './wiring/instances.ts';
import { adoptOrphans } from './wiring/orphans.ts';
import { forgetLinks, liveness, reopenTerminals } from './wiring/presence.ts';
import { keepRecordings } from './wiring/recording-keeper.ts';
import { recordingWorld } from './wiring/recordings.ts';
import { retention } from './wiring/retention.ts';
import { keepTaskDirs } from './wiring/task-keeper.ts';
import { wire } from './wiring/wire.ts';

/** How long open requests may take to finish when the server is asked to stop. */
const DRAIN_MS = 3_000;

const clock = systemClock;

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
  const share = await openAgentshare({ config, clock, log });
  const onLost = (why: Failure) => leave(why.message);
  const bare = await openJournal(config.journal, { clock, log, onLost });
  const { dataDir, journal: place, journalAnew: isAnew } = config;
  const journal = await remembered(bare, { path: join(dataDir, 'journal.seen'), place, isAnew, clock, log });
  const secrets = fileSecrets(join(config.dataDir, 'instances'));
  const socketPath = await socketPathOf(config.dataDir);
  const proofs = await composeCredentials({ config, clock, log, veil: hidden, uid: process.getuid?.() ?? 0 });
  const late: Ground['late'] = { house: null, cut: () => 0 };
  const named = instanceNamed(() => (late.house as House).fleet);
  const trusted = await trust(config, { log, named }).catch(async (thrown) => {
    await journal.close();
    throw thrown;
  });
  return {
    clock,
    config,
    log,
    lock,
    journal,
    share,
    secrets,
    socketPath,
    grpc: { address: '' },
    late,
    proofs,
    ...trusted,
  };
}

interface Known {
  readonly log: Log;
  /** The name of a living instance, by its id. */
  readonly named: (instanceId: string) => string | null;
}

/** What is noted of whoever comes in, and who agents are. */
async function trust(
  { dataDir, auditKeepDays: keepDays, identity: config, env }: Config,
  { log, named }: Known,
) {
  const audit = await auditLog({ dir: join(dataDir, 'audit'), clock, log, keepDays });
  const audited = auditedIn(audit);
  const dir = join(dataDir, 'secrets');
  const world = { config, dir, env, instanceNamed: named, clock, log, audited };
  const identity = await openIdentity(world).catch(async (thrown) => {
    await audit.close();
    throw thrown;
  });
  return { audit, audited, identity };
}

function build(on: Ground): Built {
  const { config, log, journal, share, secrets, late } = on;
  const { register } = on.identity;
  const runtimes = runtimesOf(on);
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
    share,
    terminals: data,
    recordings: data.recordings,
    ...nothingObserved(),
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
    kinds: wire(house, {
      keysFor,
      isRevoked: (name) => secrets.isRevoked(name),
      revoke: (name, reason) =>
        revokeInstance(house, { register, secrets, cut: late.cut }, { name, by: 'house', reason }),
    }),
    log,
    defer: (fn) => void setImmediate(fn),
    fatal: (thrown) => leave(`the journal cannot be written any more: ${messageOf(thrown)}`),
  });
  return { house, runtimes, data };
}

const messageOf = (thrown: unknown) => (thrown instanceof Error ? thrown.message : String(thrown));

/** What is kept for so long and no longer. Returns how to stop looking. */
function keeping(house: House, { journal, log, config }: Ground): () => void {
  const { archiveAfterMs, recordingsKeepDays: keepDays } = config;
  const stops = [
    keepRecordings(recordingWorld(house, journal), { clock, keepDays }),
    keepAgentshare(house),
    keepTaskDirs(house),
  ];
  if (archiveAfterMs !== null) stops.push(retention({ journal, clock, log, afterMs: archiveAfterMs }));
  return () => {
    for (const stop of stops) stop();
  };
}

function leave(reason: string): never {
  process.stderr.write(`agentic-sandbox: ${reason}\n`);
  process.exit(1);
}

const help = `agentic-sandbox ${packageJson.version}: supervises coding agents on this machine.

Usage: bin/up [--behind-proxy] [--help | --version]

  --behind-proxy      a proxy that speaks TLS is in front; the same as AGENTIC_BEHIND_PROXY=1

Everything is set by environment variables; README.md has the table. The usual ones:
  LISTEN_ADDR         gRPC address; WebSocket is one port above, HTTP two, and on the loopback gRPC over TLS
                      three and enrolment four (127.0.0.1:8120; port 0: any free ones)
  AGENTIC_DATA_DIR    journal, recordings, instances and tasks (./.run)
  REDIS_URL           the journal in that Redis instead of in a file (none)
  LOG_LEVEL           debug, info, warn or error (info)
`;

async function main(): Promise<void> {
  // What cannot be said, as on a full disk or to a reader that left, is no reason to die.
  for (const stream of [process.stderr, process.stdout]) stream.on('error', () => {});
  const [flag, ...more] = process.argv.slice(2);
  if (flag === '--help' || flag === '-h') return void process.stdout.write(help);
  if (flag === '--version') return void process.stdout.write(`${packageJson.version}\n`);
  const proxied = flag === '--behind-proxy' && more.length === 0 ? { AGENTIC_BEHIND_PROXY: '1' } : {};
  if (flag !== undefined && !('AGENTIC_BEHIND_PROXY' in proxied))
    leave(`unknown argument "${[flag, ...more].join(' ')}"; see --help`);
  const startedAt = clock.now();
  const on = await ground(readConfig({ ...process.env, ...proxied }, process.cwd(), import.meta.dir));
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
    on.identity.close();
    await on.audit.close();
    throw thrown;
  });
  await built.runtimes.listen(doors.guests, gateway);
  const stopOpening = reopenTerminals(house);
  const { httpPort, wsPort } = doors.http;
  const url = await publish(on.config, { httpPort, wsPort, grpc: on.grpc.address, ...doors.places });
  const stopLooking = liveness(house);
  const stopKeeping = keeping(house, on);
  await firstInstance(house);
  stopBySignal(on, async () => {
    stopLooking();
    stopKeeping();
    stopOpening();
    doors.grpc.stopAccepting();
    doors.enrol?.close();
    await doors.guests.close();
    await Promise.all([doors.http.close(DRAIN_MS), gateway?.close(DRAIN_MS)]);
    await fleet.close();
    await doors.grpc.close(DRAIN_MS);
    await data.close();
    await on.journal.close();
    on.identity.close();
    await on.audit.close();
    on.lock.release();
  });
  const agents = await welcome(house, on.secrets);
  const { shown } = doors.tls ?? { shown: null };
  const tls = shown ? `  tls:    SHA-256 ${shown.fingerprint}${shown.isOwnMade ? ' (made here)' : ''}\n` : '';
  process.stdout.write(
    `agentic-sandbox is ready at ${url}\n  agents: ${agents}\n  data:   ${on.config.dataDir}\n${tls}`,
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
