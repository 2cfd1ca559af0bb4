/**
 * Instances as containers of an engine on this machine that speaks Docker's API: Docker or Podman.
 *
 * A container is found by its name, which is made from the instance's and the data directory's, and known by
 * its labels, so that every call finds what it already did, also after a `kill -9` of the server. What
 * confines it is in container-spec.ts. The server is reached by a socket that is mounted, so the strictest
 * network is none; with an allowlist there is none either, but a second socket to a proxy of ours.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { chmod, copyFile, lstat, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type Docker from 'dockerode';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Found, Handle, InstanceSpec, Probe, Runtime, RuntimeExit } from '../runtime.ts';
import {
  type ContainerDirs,
  containerDirs,
  give,
  isDir,
  lent,
  lentPath,
  makeContainerDirs,
  moveDir,
  type Owner,
  placeCredentials,
  removeContainerDirs,
  take,
} from './container-files.ts';
import { IMAGE_DEFAULT, imageIn } from './container-images.ts';
import { ownerOf } from './container-owner.ts';
import { checkSpec, containerOptions, inside, labelOf } from './container-spec.ts';
import { type CpuTimes, usageOf, type Watchtower, watchtower } from './container-watch.ts';
import { type EgressDoors, egressDoors } from './egress.ts';
import {
  type Engine,
  type EngineOptions,
  engineAt,
  engineFailure,
  factsOf,
  findEngine,
  isMissing,
  isSame,
} from './engine.ts';

const HANDLE_VERSION = 1;

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
   * The files an agent proves itself with, name → path here; `secret` at least. The same when asked again.
   */
  issueCredentials(name: string, instanceId: string): Promise<Readonly<Record<string, string>>>;
  /** A socket of the server for this one instance. */
  readonly doors: GuestDoors;
  /** All addresses of a name, for allowlists; the system's resolver when absent. */
  readonly resolve?: (name: string) => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly log: (message: string) => void;
}

export interface GuestDoors {
  /**
   * Listens there, or does already. Whoever comes by it can only be this agent, and proves it all the same.
   */
  open(agent: string, path: string): Promise<void>;
  close(agent: string): Promise<void>;
}

interface ContainerHandle extends Handle {
  readonly runtime: 'container';
  readonly instanceId: string;
  readonly container: string;
  /** The engine's socket: another engine has it not. */
  readonly engine: string;
  readonly image: string;
  /** As the instance sees them. */
  readonly home: string;
  readonly workingDir: string;
}

interface State {
  readonly options: ContainerRuntimeOptions;
  readonly egress: EgressDoors;
  readonly engines: Map<string, Promise<Engine>>;
  readonly towers: Map<string, Watchtower>;
  readonly turns: Map<string, Promise<unknown>>;
  readonly times: CpuTimes;
}

export function containerRuntime(options: ContainerRuntimeOptions): Runtime {
  const { clock, log, resolve } = options;
  const state: State = {
    options,
    egress: egressDoors({ clock, log, ...(resolve ? { resolve } : {}) }),
    engines: new Map(),
    towers: new Map(),
    turns: new Map(),
    times: new Map(),
  };
  const inTurn = <T>({ name }: { readonly name: string }, act: () => Promise<T>): Promise<T> => {
    const turn = (state.turns.get(name) ?? Promise.resolve()).then(act);
    const over = turn.catch(() => {});
    state.turns.set(name, over);
    void over.then(() => {
      if (state.turns.get(name) === over) state.turns.delete(name);
    });
    return turn;
  };
  return {
    kind: 'container',
    probe: () => probe(state),
    inventory: () => inventory(state),
    check: (spec) => check(state, spec),
    create: (spec, signal) => inTurn(spec, () => create(state, spec, signal)),
    start: (handle, signal) => inTurn(handle, () => start(state, mine(handle), signal)),
    stop: (handle, graceMs) => inTurn(handle, () => stop(state, mine(handle), graceMs)),
    destroy: (handle) => inTurn(handle, () => destroy(state, handle)),
    recover: (handle) => recover(state, mine(handle)),
    watch: (handle, onExit) => watch(state, mine(handle), onExit),
    usage: async (handle) => {
      const { container, engine } = mine(handle);
      const found = await engineOf(state, engine);
      return await usageOf(found, container, { clock, times: state.times }).catch((thrown) => {
        throw engineFailure(`look at ${handle.name}`, thrown);
      });
    },
    shares: {
      lend: (handle, path) => inTurn(handle, () => lend(state, handle, path)),
      takeBack: (handle, path) => inTurn(handle, () => takeBack(state, handle, path)),
      give: (handle, path) => inTurn(handle, () => giveFile(state, handle, path)),
      hostPath: (handle, path) => hostPath(state, handle, path),
    },
  };
}

function mine(handle: Handle): ContainerHandle {
  if (handle.runtime === 'container' && handle.version === HANDLE_VERSION && 'container' in handle)
    return handle as ContainerHandle;
  throw new Failure(
    'runtime-failed',
    `instance ${handle.name}: its handle is of ${handle.runtime} version ${handle.version}, ` +
      `not of container version ${HANDLE_VERSION}`,
  );
}

async function probe({ options }: State): Promise<Probe> {
  const { engine, notes } = await findEngine(options);
  const isolation = 'shared-kernel';
  const instead = 'create the instance with runtime "host" instead';
  return engine === null
    ? { runtime: 'container', available: false, isolation, reasons: [...notes, instead] }
    : { runtime: 'container', available: true, isolation, reasons: [...factsOf(engine), ...notes] };
}

/** Connected once; an engine that was restarted is the same. */
function engineOf({ engines, options }: State, socket: string): Promise<Engine> {
  const known =
    engines.get(socket) ??
    engineAt(socket, options.clock).catch((thrown) => {
      engines.delete(socket);
      throw engineFailure(`ask the engine on ${socket}`, thrown);
    });
  engines.set(socket, known);
  return known;
}

async function anyEngine(state: State): Promise<Engine> {
  const { engine, notes } = await findEngine(state.options);
  if (engine === null) throw new Failure('runtime-failed', notes.join('; '));
  state.engines.set(engine.socket, Promise.resolve(engine));
  return engine;
}

const dirsOf = ({ options }: State, name: string): ContainerDirs =>
  containerDirs(join(options.dataDir, 'instances'), options.socketsDir, name);

/** Two servers on one engine have different data directories. */
const containerName = ({ options }: State, name: string): string =>
  `agentic-${name}-${createHash('sha256').update(options.dataDir).digest('hex').slice(0, 8)}`;

function refuseWhenCancelled(signal: AbortSignal, what: string): void {
  if (signal.aborted) throw new Failure('cancelled', `${what}: it was cancelled before it began`);
}

async function inspected(docker: Docker, id: string): Promise<Docker.ContainerInspectInfo | null> {
  try {
    return await docker.getContainer(id).inspect();
  } catch (thrown) {
    if (isMissing(thrown)) return null;
    throw engineFailure(`look at container ${id}`, thrown);
  }
}

async function check(state: State, spec: InstanceSpec): Promise<void> {
  const engine = await anyEngine(state);
  checkSpec(spec, engine);
  await imageIn(engine, state.options.imagesDir, spec.image ?? IMAGE_DEFAULT);
}

async function create(state: State, spec: InstanceSpec, signal: AbortSignal): Promise<Handle> {
  const { options } = state;
  const what = `create ${spec.name}`;
  refuseWhenCancelled(signal, what);
  const dirs = dirsOf(state, spec.name);
  const engine = await anyEngine(state);
  checkSpec(spec, engine);
  const name = containerName(state, spec.name);
  const there = await inspected(engine.docker, name);
  const owner = there?.Config.Labels[labelOf.instanceId];
  if (there && owner !== spec.instanceId)
    throw new Failure('already-exists', `${what}: container ${name} belongs to another instance (${owner})`);
  if (there) return handleOf(spec, engine, there.Id);
  const image = await imageIn(engine, options.imagesDir, spec.image ?? IMAGE_DEFAULT);
  refuseWhenCancelled(signal, what);
  await makeContainerDirs(dirs);
  const files = ownerOf(engine, image);
  for (const path of [dirs.home, dirs.work, dirs.spool]) await give(path, files);
  const { seccompPath, dataDir, sharesRoot } = options;
  const seccomp = { path: seccompPath, text: JSON.stringify(JSON.parse(readFileSync(seccompPath, 'utf8'))) };
  const network = await networkOf(engine, spec, name);
  const wanted = { spec, engine, image, containerName: name, dirs, dataDir, sharesRoot, seccomp, network };
  try {
    const made = await engine.docker.createContainer(containerOptions(wanted));
    options.log(
      `instance ${spec.name}: container ${made.id.slice(0, 12)} made from ${spec.image ?? IMAGE_DEFAULT}`,
    );
    return handleOf(spec, engine, made.id);
  } catch (thrown) {
    throw engineFailure(what, thrown);
  }
}

const handleOf = (spec: InstanceSpec, engine: Engine, container: string): ContainerHandle => ({
  version: HANDLE_VERSION,
  runtime: 'container',
  name: spec.name,
  instanceId: spec.instanceId,
  container,
  engine: engine.socket,
  image: spec.image ?? IMAGE_DEFAULT,
  home: inside.home,
  workingDir: inside.work,
});

/** A network of its own where it may reach everything, so that it shares none with another instance. */
async function networkOf(engine: Engine, spec: InstanceSpec, name: string): Promise<string> {
  if (spec.network?.mode !== 'full') return 'none';
  // Every container has a user-mode network of its own there.
  if (engine.kind === 'podman' && engine.isRootless) return 'slirp4netns';
  try {
    await engine.docker.getNetwork(name).inspect();
    return name;
  } catch (thrown) {
    if (!isMissing(thrown)) throw engineFailure(`create ${spec.name}: look for its network`, thrown);
  }
  try {
    await engine.docker.createNetwork({
      Name: name,
      Driver: 'bridge',
      CheckDuplicate: true,
      Labels: { [labelOf.instance]: spec.name },
    });
    return name;
  } catch (thrown) {
    throw engineFailure(`create ${spec.name}: make its network`, thrown);
  }
}

async function start(state: State, handle: ContainerHandle, signal: AbortSignal): Promise<Handle> {
  const { options } = state;
  const what = `start ${handle.name}`;
  refuseWhenCancelled(signal, what);
  const { docker } = await engineOf(state, handle.engine);
  const there = await inspected(docker, handle.container);
  if (!there) throw new Failure('runtime-failed', `${what}: its container is gone; reprovision the instance`);
  const dirs = dirsOf(state, handle.name);
  await makeContainerDirs(dirs);
  await openDoors(state, handle.name, there);
  if (there.State.Running) return handle;
  await placeCredentials(dirs, await options.issueCredentials(handle.name, handle.instanceId));
  refuseWhenCancelled(signal, what);
  try {
    await docker.getContainer(handle.container).start();
  } catch (thrown) {
    if (!isSame(thrown)) throw engineFailure(what, thrown);
  }
  options.log(`instance ${handle.name}: container ${handle.container.slice(0, 12)} started`);
  return handle;
}

/** The sockets that it sees: to the server, and to the proxy when it has an allowlist. */
async function openDoors(state: State, name: string, there: Docker.ContainerInspectInfo): Promise<void> {
  const dirs = dirsOf(state, name);
  await state.options.doors.open(name, dirs.socketPath);
  const { network } = specIn(there.Config.Labels);
  if (network?.mode === 'allowlist') await state.egress.open(name, dirs.egressPath, network.allow ?? []);
}

async function stop(state: State, handle: ContainerHandle, graceMs: number): Promise<void> {
  const { docker } = await engineOf(state, handle.engine);
  try {
    await docker.getContainer(handle.container).stop({ t: Math.ceil(graceMs / 1_000) });
    state.options.log(`instance ${handle.name}: stopped`);
  } catch (thrown) {
    if (!isSame(thrown) && !isMissing(thrown)) throw engineFailure(`stop ${handle.name}`, thrown);
  }
  state.times.delete(handle.container);
}

/** By its name: what a lost handle named is found as well. */
async function destroy(state: State, handle: Handle): Promise<void> {
  const dirs = dirsOf(state, handle.name);
  const socket = typeof handle['engine'] === 'string' ? handle['engine'] : null;
  const engine = socket === null ? await anyEngine(state) : await engineOf(state, socket);
  const name = containerName(state, handle.name);
  const there = await inspected(engine.docker, name);
  if (there) await removed(engine.docker.getContainer(name).remove({ force: true, v: true }), handle.name);
  await removed(engine.docker.getNetwork(name).remove(), handle.name);
  await state.options.doors.close(handle.name);
  await state.egress.close(handle.name);
  const owner = ownerOf(engine, there?.Image ?? IMAGE_DEFAULT);
  // What is lent is not the instance's.
  for (const path of await lent(dirs))
    await bringBack({ state, dirs, owner }, join(state.options.sharesRoot, path));
  await removeContainerDirs(dirs, owner);
  if (there) state.times.delete(there.Id);
}

async function removed(removal: Promise<unknown>, name: string): Promise<void> {
  await removal.catch((thrown) => {
    if (!isMissing(thrown)) throw engineFailure(`destroy ${name}`, thrown);
  });
}

async function recover(state: State, handle: ContainerHandle): Promise<boolean> {
  const { docker } = await engineOf(state, handle.engine);
  const there = await inspected(docker, handle.container);
  if (!there?.State.Running) return false;
  // Those of a server that was killed are gone with it.
  await openDoors(state, handle.name, there);
  return true;
}

function watch(state: State, handle: ContainerHandle, onExit: (exit: RuntimeExit) => void): () => void {
  const { clock, log } = state.options;
  let stopped = false;
  let end = () => {};
  engineOf(state, handle.engine).then(
    (engine) => {
      if (stopped) return;
      const tower = state.towers.get(engine.socket) ?? watchtower(engine, { clock, log });
      state.towers.set(engine.socket, tower);
      end = tower.watch(handle.container, onExit);
    },
    (thrown) => {
      if (!stopped) onExit({ code: null, signal: null, at: clock.now(), reason: String(thrown) });
    },
  );
  return () => {
    stopped = true;
    end();
  };
}

async function inventory(state: State): Promise<readonly Found[]> {
  const { engine } = await findEngine(state.options);
  if (engine === null) return [];
  const label = [`${labelOf.dataDir}=${state.options.dataDir}`];
  const found = await engine.docker.listContainers({ all: true, filters: { label } }).catch((thrown) => {
    throw engineFailure('look for containers', thrown);
  });
  return found.map(({ Labels, State: state }) => ({ spec: specIn(Labels), runs: state === 'running' }));
}

const specIn = (labels: Readonly<Record<string, string>>): InstanceSpec =>
  JSON.parse(labels[labelOf.spec] ?? '{}') as InstanceSpec;

async function lend(state: State, handle: Handle, path: string): Promise<void> {
  const dirs = dirsOf(state, handle.name);
  const to = lentPath(dirs, state.options.sharesRoot, path);
  if (to === null)
    throw new Failure('bad-input', `${path} cannot be lent: it is not below ${state.options.sharesRoot}`);
  const { engine, container } = mine(handle);
  const found = await engineOf(state, engine);
  const there = await inspected(found.docker, container);
  const owner = ownerOf(found, there?.Image ?? IMAGE_DEFAULT);
  const facts = await lstat(path).catch(() => null);
  if (facts?.isFile()) {
    // A file is copied: only directories come back.
    await mkdir(dirname(to), { recursive: true, mode: 0o755 });
    await copyFile(path, to);
    await chmod(to, 0o644);
    return;
  }
  await moveDir(path, to);
  if (isDir(to)) await give(to, owner);
}

async function takeBack(state: State, handle: Handle, path: string): Promise<void> {
  const dirs = dirsOf(state, handle.name);
  const { engine, container } = mine(handle);
  const from = lentPath(dirs, state.options.sharesRoot, path);
  if (from === null || !isDir(from)) return;
  const found = await engineOf(state, engine);
  const there = await inspected(found.docker, container);
  await bringBack({ state, dirs, owner: ownerOf(found, there?.Image ?? IMAGE_DEFAULT) }, path);
}

interface Bringing {
  readonly state: State;
  readonly dirs: ContainerDirs;
  readonly owner: Owner;
}

/** To be called again until it is done: a killed server may leave it half way. */
async function bringBack({ state, dirs, owner }: Bringing, path: string): Promise<void> {
  const from = lentPath(dirs, state.options.sharesRoot, path);
  if (from === null || !isDir(from)) return;
  await take(from, owner);
  await moveDir(from, path);
}

async function giveFile(state: State, handle: Handle, path: string): Promise<void> {
  const here = hostPath(state, handle, path);
  if (here === null)
    throw new Failure('bad-input', `${path} is no place that instance ${handle.name} shares`);
  const { engine, container } = mine(handle);
  const found = await engineOf(state, engine);
  const there = await inspected(found.docker, container);
  await give(here, ownerOf(found, there?.Image ?? IMAGE_DEFAULT));
}

/** Of what the instance names: its home, its working directory, and what it was lent while it is lent. */
function hostPath(state: State, handle: Handle, path: string): string | null {
  const dirs = dirsOf(state, handle.name);
  const { sharesRoot } = state.options;
  const lentTo = lentPath(dirs, sharesRoot, path);
  if (lentTo !== null) {
    const [task = '', part = ''] = path.slice(sharesRoot.length + 1).split('/');
    return isDir(join(dirs.shares, task, part)) ? lentTo : path;
  }
  for (const [there, here] of [
    [inside.home, dirs.home],
    [inside.work, dirs.work],
  ] as const)
    if (path === there || path.startsWith(`${there}/`)) return join(here, path.slice(there.length));
  return null;
}
