/** The runtimes of this server, and what each is given of it. */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import type { Log } from '../log.ts';
import { absentRuntime } from '../runtime/absent.ts';
import { containerRuntime } from '../runtime/container.ts';
import type { GuestDoors } from '../runtime/container-state.ts';
import { type HostRuntime, hostRuntime } from '../runtime/host.ts';
import type { Runtime, RuntimeKind } from '../runtime.ts';
import type { AgentServer } from '../transport/server.ts';
import type { Secrets } from '../wiring/identity.ts';
import type { Credentials } from '../wiring/proofs.ts';

export interface RuntimeGround {
  readonly config: Config;
  readonly log: Log;
  readonly clock: Clock;
  readonly secrets: Secrets;
  readonly proofs: { readonly credentials: Pick<Credentials, 'files'> };
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
  listen(server: Guests, models: Guests | null): Promise<void>;
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
    doors,
    models,
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
    async listen(server, gateway) {
      await doors.listen(server);
      if (gateway) await models.listen(gateway);
    },
  };
}

/** Beside the server's own socket, whose directory is private and its path short. */
function socketsDir(dataDir: string, socketPath: string | null): string {
  const sum = createHash('sha256').update(dataDir).digest('hex').slice(0, 8);
  return join(dirname(socketPath ?? join(dataDir, 'agent.sock')), `s-${sum}`);
}

type Guests = Pick<AgentServer, 'openGuest' | 'closeGuest'>;

/** An instance may be found before the server listens. */
function waitingDoors(): GuestDoors & { listen(server: Guests): Promise<void> } {
  const wanted = new Map<string, string>();
  let listening: Guests | null = null;
  return {
    async open(agent, path) {
      wanted.set(agent, path);
      await listening?.openGuest(agent, path);
    },
    async close(agent) {
      wanted.delete(agent);
      await listening?.closeGuest(agent);
    },
    async listen(server) {
      listening = server;
      for (const [agent, path] of wanted) await server.openGuest(agent, path);
    },
  };
}
