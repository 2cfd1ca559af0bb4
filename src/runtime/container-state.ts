/** What the container runtime knows of its engines and instances, and how it finds a container again. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type Docker from 'dockerode';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Projects } from '../projects.ts';
import type { Handle } from '../runtime.ts';
import { type ContainerDirs, containerDirs } from './container-files.ts';
import type { CpuTimes, Watchtower } from './container-watch.ts';
import type { EgressDoors } from './egress.ts';
import { type Engine, type EngineOptions, engineAt, engineFailure, findEngine, isMissing } from './engine.ts';

export const HANDLE_VERSION = 1;

export interface ContainerRuntimeOptions extends EngineOptions {
  readonly dataDir: string;
  /** A short private directory for sockets, the same after every start. */
  readonly socketsDir: string;
  /** Where images are built (images/build.ts). */
  readonly imagesDir: string;
  readonly seccompPath: string;
  /** Directories below it can be lent to instances: `<data>/agentshare/tasks`. */
  readonly sharesRoot: string;
  /**
   * The files an agent without a certificate proves itself with, name → path here; `secret` at least. The
   * same when asked again; what was revoked begins anew.
   */
  issueCredentials(name: string, instanceId: string): Promise<Readonly<Record<string, string>>>;
  /** Null, or not given: agents have no certificates. */
  readonly identities?: Identities | null;
  /** Sockets of the server for this one instance. */
  readonly doors: AgentDoors;
  /** A socket of the gateway to models for this one instance. */
  readonly models: GuestDoors;
  /**
   * A directory in memory for secrets of this one instance's processes, made where it is missing; null: none.
   */
  secretsDir(name: string): Promise<string | null>;
  /** Absent: nothing holds what instances have on the disk. */
  readonly projects?: Projects;
  /** Why the file system does not hold what instances have in Agentshare; null: it does. */
  readonly placesUnheld?: () => string | null;
  /** All addresses of a name, for allowlists; the system's resolver when absent. */
  readonly resolve?: (name: string) => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly log: (message: string) => void;
}

/** Certificates of agents, as far as a runtime hands out what leads to one. */
export interface Identities {
  /** False: who starts from now on shows a secret. */
  readonly isWanted: boolean;
  /** Where a token is taken for a certificate, as the server's own certificate calls it. */
  readonly enrolUrl: string;
  spiffeId(instanceId: string): string;
  /** The roots to trust. */
  caPem(): string;
  /** Whether a certificate of an instance is good, and whether a token of it is. */
  held(instanceId: string): { readonly certificate: boolean; readonly token: boolean };
  /** A one-time token. */
  grant(instanceId: string): string;
  /** True from a revocation on until the next start. */
  isRevoked(name: string): Promise<boolean>;
}

/** What the socket of an agent with certificates needs to know. */
export interface Certified {
  /** Nobody else comes by it. */
  readonly instanceId: string;
  /** A second socket, for one-time tokens. */
  readonly enrolPath: string;
  /** The token was used. */
  enrolled(): Promise<void>;
}

export interface AgentDoors {
  /** As GuestDoors. `certified`: only by a certificate, for which `enrolPath` is opened too. */
  open(agent: string, path: string, certified?: Certified | null): Promise<void>;
  close(agent: string): Promise<void>;
}

export interface GuestDoors {
  /**
   * Listens there, or does already. Whoever comes by it can only be this agent, and proves it all the same.
   */
  open(agent: string, path: string): Promise<void>;
  close(agent: string): Promise<void>;
}

export interface ContainerHandle extends Handle {
  readonly runtime: 'container';
  readonly instanceId: string;
  readonly container: string;
  /** The engine's socket: another engine has it not. */
  readonly engine: string;
  readonly image: string;
  /** As the instance sees them. */
  readonly home: string;
  readonly workingDir: string;
  /** Where tools inside reach the gateway to models. */
  readonly models: string;
  /** Where processes inside find secrets that are files; null: there is no place in memory for them. */
  readonly secrets: string | null;
}

export interface State {
  readonly options: ContainerRuntimeOptions;
  /** When this server began with it. */
  readonly since: number;
  readonly egress: EgressDoors;
  readonly engines: Map<string, Promise<Engine>>;
  /** The engine for new instances, once one was found. */
  readonly found: { engine: Engine | null; notes: readonly string[] };
  readonly towers: Map<string, Watchtower>;
  readonly turns: Map<string, Promise<unknown>>;
  readonly times: CpuTimes;
  /** Looking after tokens, by instance. */
  readonly looks: Map<string, { timer: unknown }>;
}

export function mine(handle: Handle): ContainerHandle {
  if (handle.runtime === 'container' && handle.version === HANDLE_VERSION && 'container' in handle)
    return handle as ContainerHandle;
  throw new Failure(
    'runtime-failed',
    `instance ${handle.name}: its handle is of ${handle.runtime} version ${handle.version}, ` +
      `not of container version ${HANDLE_VERSION}`,
  );
}

/** Connected once; an engine that was restarted is the same. */
export function engineOf({ engines, options }: State, socket: string): Promise<Engine> {
  const known =
    engines.get(socket) ??
    engineAt(socket, options.clock).catch((thrown) => {
      engines.delete(socket);
      throw engineFailure(`ask the engine on ${socket}`, thrown);
    });
  engines.set(socket, known);
  return known;
}

/** The one that was found last while it answers: to ask one for all its facts takes Podman seconds. */
export async function anyEngine(state: State): Promise<Engine> {
  const { engine, notes } = await seekEngine(state);
  if (engine === null) throw new Failure('runtime-failed', notes.join('; '));
  return engine;
}

/** The same; `engine` null: there is none. */
export async function seekEngine(
  state: State,
): Promise<{ readonly engine: Engine | null; readonly notes: readonly string[] }> {
  const last = state.found.engine;
  const answers = last?.docker.ping().then(
    () => true,
    () => false,
  );
  if (last && (await answers)) return { engine: last, notes: state.found.notes };
  const found = await findEngine(state.options);
  if (found.engine === null) return found;
  state.engines.set(found.engine.socket, Promise.resolve(found.engine));
  Object.assign(state.found, found);
  return found;
}

export const dirsOf = ({ options }: State, name: string): ContainerDirs =>
  containerDirs(join(options.dataDir, 'instances'), options.socketsDir, name);

/** Two servers on one engine have different data directories. */
export const containerName = ({ options }: State, name: string): string =>
  `agentic-${name}-${createHash('sha256').update(options.dataDir).digest('hex').slice(0, 8)}`;

export async function inspected(docker: Docker, id: string): Promise<Docker.ContainerInspectInfo | null> {
  try {
    return await docker.getContainer(id).inspect();
  } catch (thrown) {
    if (isMissing(thrown)) return null;
    throw engineFailure(`look at container ${id}`, thrown);
  }
}
