/**
 * Instances as containers of an engine on this machine that speaks Docker's API: Docker or Podman.
 *
 * A container is found by its name, which is made from the instance's and the data directory's, and known by
 * its labels, so that every call finds what it already did, also after a `kill -9` of the server. What
 * confines it is in container-spec.ts. The server is reached by a socket that is mounted, so the strictest
 * network is none; with an allowlist there is none either, but a second socket to a proxy of ours.
 */
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type Docker from 'dockerode';
import { Failure } from '../failure.ts';
import type { Found, Handle, InstanceSpec, Probe, Runtime, RuntimeExit } from '../runtime.ts';
import { diskHere, diskOf, freeDisk, holdDisk, keepDisk } from './container-disk.ts';
import { edit } from './container-edit.ts';
import {
  type ContainerDirs,
  give,
  isDir,
  makeContainerDirs,
  type Owner,
  ownDirs,
  removeContainerDirs,
  take,
} from './container-files.ts';
import { IMAGE_DEFAULT, imageIn } from './container-images.ts';
import { ownerOf, removeHelpers } from './container-owner.ts';
import { certifiedOf, forgetToken, keepToken, placeProof } from './container-proof.ts';
import { bringAllBack, helpingOf, hostPath, lend, takeBack } from './container-shares.ts';
import { checkSpec, containerOptions, inside, labelOf, modelsUrl } from './container-spec.ts';
import {
  anyEngine,
  type ContainerHandle,
  type ContainerRuntimeOptions,
  containerName,
  dirsOf,
  engineOf,
  HANDLE_VERSION,
  inspected,
  mine,
  type State,
  seekEngine,
} from './container-state.ts';
import { userOutside } from './container-users.ts';
import { specIn, wallsOf } from './container-walls.ts';
import { usageOf, watchtower } from './container-watch.ts';
import { egressDoors } from './egress.ts';
import { type Engine, engineFailure, factsOf, isMissing, isSame, onceThere, unenforcedBy } from './engine.ts';

/**
 * Who is inside is another than we, and more is not known: what the kernel shows for users that have no name.
 */
const SOMEBODY = 65_534;

export function containerRuntime(options: ContainerRuntimeOptions): Runtime {
  const { clock, log, resolve } = options;
  const state: State = {
    options,
    since: clock.now(),
    egress: egressDoors({ clock, log, ...(resolve ? { resolve } : {}) }),
    engines: new Map(),
    found: { engine: null, notes: [] },
    towers: new Map(),
    turns: new Map(),
    times: new Map(),
    looks: new Map(),
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
    recover: (handle, signal) =>
      onceThere(() => recover(state, mine(handle)), { what: handle.name, clock, log, signal }),
    watch: (handle, onExit) => watch(state, mine(handle), onExit),
    usage: async (handle) => {
      const { container, engine } = mine(handle);
      const found = await engineOf(state, engine);
      return await usageOf(found, container, { clock, times: state.times }).catch((thrown) => {
        throw engineFailure(`look at ${handle.name}`, thrown);
      });
    },
    shares: {
      user: async () => {
        const { engine } = await seekEngine(state);
        return engine === null ? null : (userOutside(engine)?.uid ?? SOMEBODY);
      },
      lend: (handle, path) => inTurn(handle, () => lend(state, handle, path)),
      takeBack: (handle, path) => inTurn(handle, () => takeBack(state, handle, path)),
      edit: (handle, paths, write) => inTurn(handle, () => edit(state, handle, { paths, write })),
      hostPath: (handle, path) => hostPath(state, handle, path),
    },
  };
}

async function probe(state: State): Promise<Probe> {
  const { engine, notes } = await seekEngine(state);
  const isolation = 'shared-kernel';
  const instead = 'create the instance with runtime "host" instead';
  if (engine === null)
    return {
      runtime: 'container',
      available: false,
      isolation,
      reasons: [...notes, instead],
      unenforced: [],
    };
  const disk = await diskHere(state, engine);
  return {
    runtime: 'container',
    available: true,
    isolation,
    reasons: [...factsOf(engine, disk.why), ...notes],
    unenforced: unenforcedBy(engine, disk.why),
  };
}

function refuseWhenCancelled(signal: AbortSignal, what: string): void {
  if (signal.aborted) throw new Failure('cancelled', `${what}: it was cancelled before it began`);
}

async function check(state: State, spec: InstanceSpec): Promise<void> {
  const engine = await anyEngine(state);
  checkSpec(spec, engine, await diskHere(state, engine));
  await imageIn(engine, state.options.imagesDir, spec.image ?? IMAGE_DEFAULT);
}

async function create(state: State, spec: InstanceSpec, signal: AbortSignal): Promise<Handle> {
  const { options } = state;
  const what = `create ${spec.name}`;
  refuseWhenCancelled(signal, what);
  const dirs = dirsOf(state, spec.name);
  const engine = await anyEngine(state);
  checkSpec(spec, engine, await diskHere(state, engine));
  const name = containerName(state, spec.name);
  const there = await inspected(engine.docker, name);
  const owner = there?.Config.Labels[labelOf.instanceId];
  if (there && owner !== spec.instanceId)
    throw new Failure('already-exists', `${what}: container ${name} belongs to another instance (${owner})`);
  if (there) return await handleOf(state, { spec, engine, there });
  const image = await imageIn(engine, options.imagesDir, spec.image ?? IMAGE_DEFAULT);
  refuseWhenCancelled(signal, what);
  await makeContainerDirs(dirs);
  await holdDisk(state, dirs, spec);
  await give(ownDirs(dirs), ownerOf({ engine, dataDir: options.dataDir, image: async () => image }));
  const { seccompPath, dataDir, sharesRoot } = options;
  const seccomp = { path: seccompPath, text: JSON.stringify(JSON.parse(readFileSync(seccompPath, 'utf8'))) };
  const network = await networkOf(engine, spec, name);
  const secrets = await options.secretsDir(spec.name);
  const wanted = {
    spec,
    engine,
    image,
    containerName: name,
    dirs,
    secrets,
    dataDir,
    sharesRoot,
    seccomp,
    network,
  };
  try {
    const made = await engine.docker.createContainer(containerOptions(wanted));
    options.log(
      `instance ${spec.name}: container ${made.id.slice(0, 12)} made from ${spec.image ?? IMAGE_DEFAULT}`,
    );
    return await handleOf(state, { spec, engine, there: await made.inspect() });
  } catch (thrown) {
    throw engineFailure(what, thrown);
  }
}

interface Made {
  readonly spec: InstanceSpec;
  readonly engine: Engine;
  readonly there: Docker.ContainerInspectInfo;
}

const handleOf = async (state: State, { spec, engine, there }: Made): Promise<ContainerHandle> => ({
  version: HANDLE_VERSION,
  runtime: 'container',
  name: spec.name,
  instanceId: spec.instanceId,
  container: there.Id,
  engine: engine.socket,
  image: spec.image ?? IMAGE_DEFAULT,
  home: inside.home,
  workingDir: inside.work,
  models: modelsUrl,
  secrets: there.Mounts.some(({ Destination }) => Destination === inside.secrets) ? inside.secrets : null,
  walls: wallsOf(engine, there, await diskOf(state, dirsOf(state, spec.name), engine)),
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
  const engine = await engineOf(state, handle.engine);
  const { docker } = engine;
  const there = await inspected(docker, handle.container);
  if (!there) throw new Failure('runtime-failed', `${what}: its container is gone; reprovision the instance`);
  const dirs = dirsOf(state, handle.name);
  await makeContainerDirs(dirs);
  await keepDisk(state, dirs, specIn(there.Config.Labels));
  // What was in memory is gone when this machine was started again.
  await options.secretsDir(handle.name);
  if (!there.State.Running) await placeProof(state, handle, there);
  await openDoors(state, handle, there);
  const found: ContainerHandle = {
    ...handle,
    walls: wallsOf(engine, there, await diskOf(state, dirs, engine)),
  };
  if (there.State.Running) return await kept(state, found);
  refuseWhenCancelled(signal, what);
  try {
    await docker.getContainer(handle.container).start();
  } catch (thrown) {
    if (!isSame(thrown)) throw engineFailure(what, thrown);
  }
  options.log(`instance ${handle.name}: container ${handle.container.slice(0, 12)} started`);
  return await kept(state, found);
}

async function kept(state: State, handle: ContainerHandle): Promise<Handle> {
  await keepToken(state, handle);
  return handle;
}

/** The sockets that it sees: to the server, to models, and to the proxy when it has an allowlist. */
async function openDoors(
  state: State,
  handle: ContainerHandle,
  there: Docker.ContainerInspectInfo,
): Promise<void> {
  const { name } = handle;
  const dirs = dirsOf(state, name);
  await state.options.doors.open(name, dirs.socketPath, certifiedOf(state, handle));
  await state.options.models.open(name, dirs.modelsPath);
  const { network } = specIn(there.Config.Labels);
  if (network?.mode === 'allowlist') await state.egress.open(name, dirs.egressPath, network.allow ?? []);
}

async function stop(state: State, handle: ContainerHandle, graceMs: number): Promise<void> {
  forgetToken(state, handle.name);
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
  forgetToken(state, handle.name);
  const dirs = dirsOf(state, handle.name);
  const socket = typeof handle['engine'] === 'string' ? handle['engine'] : null;
  const engine = socket === null ? await anyEngine(state) : await engineOf(state, socket);
  const name = containerName(state, handle.name);
  const there = await inspected(engine.docker, name);
  const its = there?.Config.Labels[labelOf.instanceId];
  if (there && handle['instanceId'] !== undefined && its !== handle['instanceId']) {
    state.options.log(
      `destroy ${handle.name}: container ${name} stays, it belongs to another instance (${its})`,
    );
    return;
  }
  const owner = ownerOf(helpingOf(state, engine, there));
  if (there && owner.user === null) await takeStorage({ docker: engine.docker, there, owner }, dirs);
  if (there) await removed(engine.docker.getContainer(name).remove({ force: true, v: true }), handle.name);
  await removed(engine.docker.getNetwork(name).remove(), handle.name);
  await state.options.doors.close(handle.name);
  await state.options.models.close(handle.name);
  await state.egress.close(handle.name);
  await bringAllBack({ state, dirs, owner });
  await freeDisk(state, dirs);
  await removeContainerDirs(dirs, owner);
  const secrets = await state.options.secretsDir(handle.name);
  if (secrets !== null) await rm(secrets, { recursive: true, force: true });
  if (there) state.times.delete(there.Id);
}

interface Leaving {
  readonly docker: Docker;
  readonly there: Docker.ContainerInspectInfo;
  readonly owner: Owner;
}

/**
 * Its storage outlives it and is not below its directory: whoever may not remove what is its user's takes it
 * back while the container tells where it is.
 */
async function takeStorage(
  { docker, there, owner }: Leaving,
  { path, socket }: ContainerDirs,
): Promise<void> {
  await removed(docker.getContainer(there.Id).stop({ t: 0 }), there.Name);
  const own = [path, dirname(socket)];
  const storage = there.Mounts.flatMap(({ Type, Source = '', RW }) =>
    Type === 'bind' && RW && !own.some((dir) => Source.startsWith(`${dir}/`)) ? [Source] : [],
  );
  await take(storage.filter(isDir), owner);
}

async function removed(removal: Promise<unknown>, name: string): Promise<void> {
  await removal.catch((thrown) => {
    if (!isMissing(thrown) && !isSame(thrown)) throw engineFailure(`destroy ${name}`, thrown);
  });
}

async function recover(state: State, handle: ContainerHandle): Promise<boolean> {
  const { docker } = await engineOf(state, handle.engine);
  const there = await inspected(docker, handle.container);
  if (!there?.State.Running) return false;
  // Those of a server that was killed are gone with it.
  await openDoors(state, handle, there);
  await keepToken(state, handle);
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
  const { engine } = await seekEngine(state);
  if (engine === null) return [];
  await removeHelpers(engine, state.options.dataDir, state.since).catch((thrown) => {
    state.options.log(`helper containers stay: ${thrown}`);
  });
  const label = [`${labelOf.dataDir}=${state.options.dataDir}`];
  const found = await engine.docker.listContainers({ all: true, filters: { label } }).catch((thrown) => {
    throw engineFailure('look for containers', thrown);
  });
  return found.map(({ Labels, State: state }) => ({ spec: specIn(Labels), runs: state === 'running' }));
}
