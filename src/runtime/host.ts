/**
 * Instances as processes on this very machine: the runtime that needs nothing else.
 *
 * An instance is an agent client in a session of its own, under a directory of its own, with a clean
 * environment. It does not depend on the server: after a `kill -9` of the server it runs on, and is found
 * again by pid and start time, or by its mark when the server died before it could write the pid down.
 *
 * This is no isolation. What the instance runs can do whatever the server's user can. Knows nothing of
 * actors, sessions or the wire.
 */
import { constants as osConstants } from 'node:os';
import { Failure } from '../failure.ts';
import type { Found, Handle, InstanceSpec, Probe, Runtime } from '../runtime.ts';
import { controlGroups } from './cgroup.ts';
import { linkShares, readOnlySaid, shareEnv, withReadOnly } from './host-shares.ts';
import {
  HANDLE_VERSION,
  type Host,
  type HostHandle,
  type HostOptions,
  type Kin,
  type Known,
  knownOf,
  mine,
  running,
} from './host-state.ts';
import { endLeftovers, stopInstance } from './host-stop.ts';
import { kinOf, usageOf, watchInstance } from './host-watch.ts';
import {
  checkWorkingDir,
  closeLog,
  type InstanceDir,
  instanceDir,
  instanceNames,
  makeInstanceDir,
  openLog,
  readJson,
  removeInstanceDir,
  writeJson,
} from './instance-dir.ts';
import { MARK, nameOf, type ProcessName } from './processes.ts';

export interface HostRuntime extends Runtime {
  /** What a process is to the instance whose first process it descends from; null: to none. */
  kinOf(pid: number): Kin | null;
}

export function hostRuntime(options: HostOptions): HostRuntime {
  const host: Host = { options, groups: controlGroups(), known: new Map(), table: null };
  const inTurn = <T>(handle: Handle, act: () => Promise<T>): Promise<T> => {
    const known = knownOf(host, handle.name);
    const turn = known.turn.then(act);
    known.turn = turn.catch(() => {});
    return turn;
  };
  return {
    kind: 'host',
    probe: async () => probe(host),
    inventory: async () => inventory(host),
    check: async (spec) => check(spec),
    create: async (spec, signal) => create(host, spec, signal),
    start: (handle, signal) => inTurn(handle, () => start(host, mine(handle), signal)),
    stop: (handle, graceMs) => inTurn(handle, () => stopInstance(host, mine(handle), graceMs)),
    destroy: (handle) =>
      inTurn(handle, async () => {
        await stopInstance(host, mine(handle), 0);
        await removeInstanceDir(instanceDir(options.root, handle.name));
        host.known.delete(handle.name);
      }),
    recover: async (handle) => running(host, mine(handle)) !== null,
    watch: (handle, onExit) => watchInstance(host, mine(handle), onExit),
    usage: async (handle) => usageOf(host, mine(handle)),
    kinOf: (pid) => kinOf(host, pid),
    shares: null,
  };
}

function probe(host: Host): Probe {
  const [program = ''] = host.options.agentCommand;
  const reasons = [
    'the host runtime is no isolation: an instance can do whatever the user who runs the server can; ' +
      'use it for what you trust',
    host.groups.kind
      ? `processes are kept together in control groups (${host.groups.kind}); no limits are set`
      : `${host.groups.why}; processes are kept together by their session and a mark in their environment`,
    readOnlySaid(),
  ];
  const available = process.platform === 'linux' && programAt(host, program);
  if (process.platform !== 'linux') reasons.unshift('the host runtime needs Linux (/proc)');
  else if (!available) reasons.unshift(`the agent client ${program} is not there or cannot be run`);
  const why = 'the host runtime is no isolation; run it in a container for that';
  const none = ['cpus', 'memory', 'processes', 'disk', 'files', 'network', 'users', 'system-calls'] as const;
  const unenforced = available ? none.map((what) => ({ what, why })) : [];
  return { runtime: 'host', available, isolation: 'full-host-access', reasons, unenforced };
}

const programAt = (host: Host, program: string): boolean =>
  Bun.which(program, { PATH: host.options.env.PATH ?? DEFAULT_PATH }) !== null;

/** What it cannot enforce it does not pretend to. */
function check({ name, image, limits, network }: InstanceSpec): void {
  const faults = [
    ...(image === undefined ? [] : [{ path: 'image', message: 'is for containers' }]),
    ...(limits === undefined ? [] : [{ path: 'limits', message: 'are not enforced on the host' }]),
    ...(network === undefined || network.mode === 'full'
      ? []
      : [{ path: 'network.mode', message: 'on the host is always full' }]),
  ];
  if (faults.length === 0) return;
  const words = faults.map(({ path, message }) => `${path} ${message}`).join('; ');
  throw new Failure('bad-input', `create ${name}: ${words}; use runtime "container"`, { faults });
}

async function create(host: Host, spec: InstanceSpec, signal: AbortSignal): Promise<Handle> {
  refuseWhenCancelled(signal, `create ${spec.name}`);
  const dir = instanceDir(host.options.root, spec.name);
  check(spec);
  if (spec.workingDir !== undefined) checkWorkingDir(spec.workingDir);
  const there = readJson(dir.handle) as HostHandle | null;
  if (there && there.instanceId !== spec.instanceId) {
    throw new Failure(
      'already-exists',
      `create ${spec.name}: ${dir.path} belongs to another instance (${there.instanceId}); ` +
        'destroy that one, or remove the directory',
    );
  }
  makeInstanceDir(dir);
  const handle: HostHandle = {
    version: HANDLE_VERSION,
    runtime: 'host',
    name: spec.name,
    instanceId: spec.instanceId,
    home: dir.home,
    workingDir: spec.workingDir ?? dir.work,
    profile: spec.profile ?? '',
    loadout: spec.loadout ?? '',
    process: there?.process ?? null,
    ...(spec.mounts ? { mounts: spec.mounts } : {}),
  };
  writeJson(dir.handle, handle);
  return handle;
}

function inventory(host: Host): readonly Found[] {
  return instanceNames(host.options.root).flatMap((name) => {
    const dir = instanceDir(host.options.root, name);
    const there = readJson(dir.handle) as Partial<HostHandle> | null;
    // What is damaged, or of another version, is left for a person to look at.
    if (there?.runtime !== 'host' || there.version !== HANDLE_VERSION || there.name !== name) return [];
    const handle = mine(there as Handle);
    const { instanceId, profile, loadout, workingDir } = handle;
    const spec: InstanceSpec = {
      name,
      instanceId,
      runtime: 'host',
      ...(profile ? { profile } : {}),
      ...(loadout ? { loadout } : {}),
      ...(workingDir === dir.work ? {} : { workingDir }),
    };
    return [{ spec, runs: running(host, handle) !== null }];
  });
}

function refuseWhenCancelled(signal: AbortSignal, what: string): void {
  if (signal.aborted) throw new Failure('cancelled', `${what}: it was cancelled before it began`);
}

async function start(host: Host, handle: HostHandle, signal: AbortSignal): Promise<Handle> {
  refuseWhenCancelled(signal, `start ${handle.name}`);
  const dir = instanceDir(host.options.root, handle.name);
  const found = running(host, handle);
  if (found) return started(host, handle, found);
  // When it ended while no server watched.
  await endLeftovers(host, handle);
  makeInstanceDir(dir);
  checkWorkingDir(handle.workingDir);
  const { mounts = [] } = handle;
  linkShares(dir.home, mounts);
  // A directory that the operator named is the operator's.
  if (handle.workingDir === dir.work) linkShares(dir.work, mounts);
  const secretFile = await host.options.issueSecret(handle.name, handle.instanceId);
  refuseWhenCancelled(signal, `start ${handle.name}`);
  const known = knownOf(host, handle.name);
  const child = spawn(host, handle, { dir, secretFile, known });
  const name = nameOf(child.pid);
  known.process = name;
  // It may have ended before we could look; then whoever watches is told how.
  return started(host, handle, name);
}

function started(host: Host, handle: HostHandle, process: ProcessName | null): Handle {
  const dir = instanceDir(host.options.root, handle.name);
  const fresh: HostHandle = { ...handle, home: dir.home, process };
  writeJson(dir.handle, fresh);
  return fresh;
}

function spawn(host: Host, handle: HostHandle, at: { dir: InstanceDir; secretFile: string; known: Known }) {
  const { clock, agentCommand, log } = host.options;
  const [program = ''] = agentCommand;
  if (!programAt(host, program)) {
    throw new Failure(
      'runtime-failed',
      `start ${handle.name}: the agent client ${program} is not there or cannot be run`,
    );
  }
  const output = openLog(at.dir);
  try {
    const command = withReadOnly(handle.mounts ?? [], agentCommand);
    const child = Bun.spawn(commandIn(host.groups.make(handle.instanceId), command), {
      cwd: handle.workingDir,
      env: environment(host, handle, at),
      stdin: 'ignore',
      stdout: output,
      stderr: output,
      // A session of its own: nothing that is sent to the server's terminal or group reaches it.
      detached: true,
      onExit: (ended, code, signal) => {
        const how = { code, signal: signal === null ? null : signalName(signal), at: clock.now() };
        if (at.known.child?.pid === ended.pid) at.known.child.exit = how;
        for (const look of [...at.known.watchers]) look();
      },
    });
    at.known.child = { pid: child.pid, exit: null };
    child.unref();
    log(`instance ${handle.name}: agent client started as process ${child.pid}`);
    return child;
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new Failure('runtime-failed', `start ${handle.name}: ${agentCommand.join(' ')}: ${why}`, {
      cause: thrown,
    });
  } finally {
    closeLog(output);
  }
}

/**
 * The shell enters the group before it becomes the agent: were it put there from outside, what the agent
 * starts in its first moment would stay out. When the group does not take it, it runs all the same.
 */
const commandIn = (procs: string | null, command: readonly string[]): string[] =>
  procs === null
    ? [...command]
    : ['/bin/sh', '-c', 'echo $$ 2>/dev/null >"$0"; exec "$@"', procs, ...command];

const DEFAULT_PATH = '/usr/local/bin:/usr/bin:/bin';

/** Nothing of the server's own environment is here but what the operator lets through. */
function environment(host: Host, handle: HostHandle, at: { dir: InstanceDir; secretFile: string }) {
  const { env, socketPath, serverAddress } = host.options;
  return {
    PATH: DEFAULT_PATH,
    LANG: 'C.UTF-8',
    TERM: 'xterm-256color',
    ...env,
    ...shareEnv(handle.mounts ?? []),
    HOME: at.dir.home,
    AGENT_WORKING_DIR: handle.workingDir,
    [MARK]: handle.instanceId,
    AGENT_ID: handle.name,
    AGENT_INSTANCE_ID: handle.instanceId,
    AGENT_PROFILE: handle.profile,
    AGENT_LOADOUT: handle.loadout,
    AGENT_SETUP_COMPLETE: '1',
    AGENT_SECRET_FILE: at.secretFile,
    AGENT_SPOOL_DIR: at.dir.spool,
    MANAGEMENT_SERVER: serverAddress(),
    AGENT_TRANSPORT: socketPath ? 'uds' : 'tcp',
    ...(socketPath ? { AGENT_GRPC_UDS_PATH: socketPath } : {}),
  };
}

const signalName = (signal: number | string): string =>
  Object.entries(osConstants.signals).find(([, number]) => number === signal)?.[0] ?? String(signal);
