/** The runtimes of this server, and what each is given of it. */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import type { GatewayServer } from '../gateway/server.ts';
import { ENROL_PATH } from '../http/enrol.ts';
import type { OpenIdentity } from '../identity/open.ts';
import type { Log } from '../log.ts';
import { absentRuntime } from '../runtime/absent.ts';
import { containerRuntime } from '../runtime/container.ts';
import type { AgentDoors, Certified, Identities } from '../runtime/container-state.ts';
import { type HostRuntime, hostRuntime } from '../runtime/host.ts';
import type { Runtime, RuntimeKind } from '../runtime.ts';
import { fileSystemProjects } from '../share/quota.ts';
import type { Agentshare } from '../share/store.ts';
import type { Secrets } from '../wiring/identity.ts';
import type { Credentials } from '../wiring/proofs.ts';

export interface RuntimeGround {
  readonly config: Config;
  readonly log: Log;
  readonly clock: Clock;
  readonly secrets: Secrets;
  readonly proofs: { readonly credentials: Pick<Credentials, 'files'> };
  readonly identity: Pick<OpenIdentity, 'register' | 'server'>;
  readonly share: Pick<Agentshare, 'quotaReason'>;
  readonly socketPath: string | null;
  /** `host:port` of the gRPC server, once it listens. */
  readonly grpc: { readonly address: string };
}

export interface Runtimes {
  readonly host: HostRuntime;
  readonly all: ReadonlyMap<RuntimeKind, Runtime>;
  /**
   * Opens the sockets that instances wait for, and from then on those that they ask for. `models` null: this
   * server has no gateway, and nobody listens there.
   */
  listen(agents: AgentDoors, models: ModelGuests | null): Promise<void>;
}

export function runtimesOf(on: RuntimeGround): Runtimes {
  const { config, log, clock, secrets, socketPath, grpc } = on;
  const { PATH: path = '', XDG_RUNTIME_DIR, DOCKER_HOST, CONTAINER_HOST } = config.env;
  const engines = {
    path,
    runtimeDir: XDG_RUNTIME_DIR ?? null,
    engineHosts: [CONTAINER_HOST, DOCKER_HOST].flatMap((host) => host || []),
    clock,
  };
  const host = hostRuntime({
    root: join(config.dataDir, 'instances'),
    agentCommand: config.agentCommand,
    serverAddress: () => grpc.address,
    socketPath,
    issueSecret: (name) => secrets.issue(name),
    clock,
    log: (message) => log.info(message),
    env: config.instanceEnv,
  });
  const [doors, models] = [waitingDoors(), waitingDoors()];
  const sharesRoot = join(config.agentshare.root, 'tasks');
  mkdirSync(sharesRoot, { recursive: true, mode: 0o700 });
  const container = containerRuntime({
    ...engines,
    dataDir: config.dataDir,
    socketsDir: socketsDir(config.dataDir, socketPath),
    imagesDir: config.imagesDir,
    seccompPath: config.seccompPath,
    sharesRoot,
    issueCredentials: async (name) => ({ secret: await secrets.issue(name) }),
    identities: identitiesOf(on),
    doors,
    models,
    projects: fileSystemProjects,
    placesUnheld: () =>
      config.agentshare.quotaBytes === 0
        ? 'AGENTSHARE_QUOTA_MB is 0, which is no limit'
        : on.share.quotaReason(),
    secretsDir: (name) => on.proofs.credentials.files.lodging(name),
    log: (message) => log.info(message),
  });
  const all = new Map<RuntimeKind, Runtime>([
    ['host', host],
    ['container', container],
    ['vm', absentRuntime('vm', { path })],
  ]);
  return {
    host,
    all,
    async listen(agents, gateway) {
      await doors.listen(agents);
      if (gateway)
        await models.listen({
          open: (agent, path) => gateway.openGuest(agent, path),
          close: (agent) => gateway.closeGuest(agent),
        });
    },
  };
}

/** Beside the server's own socket, whose directory is private and its path short. */
function socketsDir(dataDir: string, socketPath: string | null): string {
  const sum = createHash('sha256').update(dataDir).digest('hex').slice(0, 8);
  return join(dirname(socketPath ?? join(dataDir, 'agent.sock')), `s-${sum}`);
}

/** Whose tokens these are in the audit log. */
const BY = 'house';

function identitiesOf({ config, identity, secrets }: RuntimeGround): Identities {
  const { register, server } = identity;
  return {
    isWanted: config.identity.tls !== null && config.identity.enrol !== null,
    enrolUrl: `https://${register.serverName}${ENROL_PATH}`,
    spiffeId: (instanceId) => register.spiffeId(instanceId),
    caPem: () => server.current().ca,
    held: (instanceId) => register.held(instanceId),
    grant: (instanceId) => register.grant(instanceId, BY).token,
    isRevoked: (name) => secrets.isRevoked(name),
  };
}

type ModelGuests = Pick<GatewayServer, 'openGuest' | 'closeGuest'>;

/** An instance may be found before the server listens. */
function waitingDoors(): AgentDoors & { listen(doors: AgentDoors): Promise<void> } {
  const wanted = new Map<string, readonly [path: string, certified: Certified | null]>();
  let listening: AgentDoors | null = null;
  return {
    async open(agent, path, certified = null) {
      wanted.set(agent, [path, certified]);
      await listening?.open(agent, path, certified);
    },
    async close(agent) {
      wanted.delete(agent);
      await listening?.close(agent);
    },
    async listen(doors) {
      listening = doors;
      for (const [agent, at] of wanted) await doors.open(agent, ...at);
    },
  };
}
