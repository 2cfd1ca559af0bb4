/**
 * The composition of the doors: gRPC for agents, HTTP and WebSockets for operators, over one house and one
 * answer to who is there.
 */
import { join } from 'node:path';
import packageJson from '../../package.json' with { type: 'json' };
import { bundleDashboard, contentSecurityPolicy } from '../../ui/build.ts';
import type { Audit } from '../audit.ts';
import type { Audited } from '../certificates.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import { browsers } from '../http/browsers.ts';
import { type Certificate, certificate } from '../http/certificate.ts';
import { httpDoors } from '../http/doors.ts';
import { ENROL_PATH, type EnrolDoor, enrolDoor } from '../http/enrol.ts';
import { refuseOpenDoors } from '../http/gate.ts';
import { operators } from '../http/operators.ts';
import { tokenPathIn } from '../http/token-file.ts';
import type { OpenIdentity } from '../identity/open.ts';
import type { Lock } from '../journal/sqlite-lock.ts';
import type { Journal } from '../journal.ts';
import type { Log } from '../log.ts';
import { builtImages } from '../runtime/built-images.ts';
import type { Agentshare } from '../share/store.ts';
import { keysFor } from '../terminal/asking-keys.ts';
import type { terminals as makeTerminals } from '../terminal/terminals.ts';
import type { ExecDoor } from '../transport/exec.ts';
import { type AgentServer, agentServer } from '../transport/server.ts';
import { vsockProbe } from '../transport/vsock.ts';
import { agentDesk } from '../wiring/agents.ts';
import { type Cut, type IdentityPlaces, identityDesk, identityPlaces } from '../wiring/certificates.ts';
import { eventDesk } from '../wiring/events.ts';
import { execDesk } from '../wiring/exec.ts';
import { gauges, healthDesk } from '../wiring/health.ts';
import { hitlDesk } from '../wiring/hitl.ts';
import type { House } from '../wiring/house.ts';
import { admission, type Secrets } from '../wiring/identity.ts';
import { instanceUse } from '../wiring/instance-use.ts';
import { instanceDesk } from '../wiring/instances.ts';
import { decorated } from '../wiring/observed.ts';
import { presence } from '../wiring/presence.ts';
import { recordingDesk, recordingWorld } from '../wiring/recordings.ts';
import { actorDesk } from '../wiring/replay.ts';
import { sessionDesk } from '../wiring/sessions.ts';
import { storageDesk } from '../wiring/storage.ts';
import { taskDesk } from '../wiring/task-desk.ts';
import { logsOf } from '../wiring/task-story.ts';
import { usageDesk } from '../wiring/usage.ts';
import type { Composed } from './credentials.ts';
import { type Guests, guests as makeGuests } from './guests.ts';
import type { Runtimes } from './runtimes.ts';

export interface Ground {
  readonly clock: Clock;
  readonly config: Config;
  readonly log: Log;
  /** Held for life: let go of, it is the next one's. */
  readonly lock: Lock;
  readonly journal: Journal;
  readonly share: Agentshare;
  readonly secrets: Secrets;
  readonly proofs: Composed;
  readonly socketPath: string | null;
  /** `host:port` of the gRPC server, once it listens. */
  readonly grpc: { address: string };
  readonly audit: Audit;
  /** The same, as identities tell it. */
  readonly audited: Audited;
  readonly identity: OpenIdentity;
  /** What comes into being after it is needed. */
  readonly late: { house: House | null; cut: Cut };
}

export interface Built {
  readonly house: House;
  readonly runtimes: Runtimes;
  readonly data: ReturnType<typeof makeTerminals>;
}

export interface Doors {
  readonly http: Awaited<ReturnType<typeof httpDoors>>;
  readonly grpc: AgentServer;
  /** Sockets of instances. */
  readonly guests: Guests;
  /** Null: off. */
  readonly enrol: EnrolDoor | null;
  readonly places: IdentityPlaces;
  /** Null: plain HTTP. */
  readonly tls: Certificate | null;
}

type AgentDoors = Pick<Doors, 'grpc' | 'guests' | 'enrol' | 'places'>;

/** Where agents come in: by gRPC, and for their first certificate. */
async function agentDoors(on: Ground, { house, runtimes }: Built, door: ExecDoor): Promise<AgentDoors> {
  const { clock, config, log, secrets, identity, audited } = on;
  const certificates = identity.register;
  const kinOf = (pid: number) => runtimes.host.kinOf(pid);
  const admit = admission({ secrets, fleet: () => house.fleet, kinOf, uid: uid(), certificates });
  const { host: address, port } = config.listen;
  const grpc = await agentServer({
    host: address,
    port,
    socketPath: on.socketPath,
    tls: config.identity.tls && { ...config.identity.tls, ...identity.server, audited },
    guests: { ...identity.server, audited },
    certificates,
    listener: presence(house, admit),
    ...door,
    heartbeatSeconds: config.heartbeatSeconds,
  });
  on.grpc.address = `${address}:${grpc.port}`;
  on.late.cut = grpc.cut;
  const at = config.identity.enrol;
  const world = at && { ...at, ...identity.server, register: certificates, clock, log };
  const enrol = await (world && enrolDoor(world).catch(closing(grpc)));
  const ports = { tls: grpc.tlsPort, enrol: enrol?.port ?? null };
  const guests = makeGuests({ grpc, identity, clock, log });
  return { grpc, guests, enrol, places: identityPlaces(config.identity, { ports, path: ENROL_PATH }) };
}

/** What is open when the next door cannot be opened. */
const closing = (grpc: AgentServer, enrol?: EnrolDoor | null) => async (thrown: unknown) => {
  enrol?.close();
  await grpc.close(0);
  throw thrown;
};

/** Who may come in. */
async function known({ clock, config }: Ground) {
  const people = await operators({ path: tokenPathIn(config.dataDir), clock, uid: uid() });
  const access = await browsers({
    path: join(config.dataDir, 'secrets', 'browsers.json'),
    operators: people,
    clock,
  });
  return { people, access };
}

export async function openDoors(on: Ground, built: Built, startedAt: number): Promise<Doors> {
  const { clock, config, log, journal, secrets, identity, audit } = on;
  const { house, data } = built;
  const { version } = packageJson;
  const { people, access } = await known(on);
  const exec = execDesk(house);
  const { host: address, port } = config.listen;
  // Exec is behind this door too.
  refuseOpenDoors({ ...config, httpHost: address, tls: false, hasTokens: () => people.hasTokens });
  const tls = await certificateOf(on);
  const agents = await agentDoors(on, built, { exec, access, audit, clock, log });
  const { grpc, enrol, places } = agents;
  const http = await httpDoors({
    desks: {
      recall: (actor) => house.fleet.remind([actor]),
      actors: actorDesk(house.fleet, journal),
      instances: instanceDesk(house, instanceUse(house)),
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
      recordings: recordingDesk(recordingWorld(house, journal)),
      exec,
      tasks: taskDesk(house, logsOf(house, journal)),
      hitl: hitlDesk(house, keysFor),
      storage: storageDesk(house),
      usage: usageDesk(house),
      images: builtImages(config.imagesDir),
      events: eventDesk(house.fleet, journal, decorated(house)),
      health: healthDesk(house, { version, journal: config.journal.kind, startedAt }),
    },
    gauges: gauges(house, data.numbers, on.proofs.counts),
    operators: people,
    access,
    audit,
    options: {
      httpHost: config.httpHost,
      httpPort: port === 0 ? 0 : port + 2,
      wsPort: port === 0 ? 0 : port + 1,
      allowedHosts: config.allowedHosts,
      behindProxy: config.behindProxy,
      trustedProxies: config.trustedProxies,
      tls,
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
  return { http, ...agents, tls };
}

async function certificateOf({ clock, config, log }: Ground): Promise<Certificate | null> {
  if (config.tls === null) return null;
  const names = [config.httpHost, ...config.allowedHosts.map((host) => host.replace(/:\d+$/, ''))];
  return certificate({ wish: config.tls, dir: join(config.dataDir, 'secrets', 'tls'), names, clock, log });
}

const uid = () => process.getuid?.() ?? 0;
