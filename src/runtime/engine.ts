/**
 * Engines that speak the Docker API on a socket of this machine: which there are, and what each can enforce.
 *
 * Looked for in this order: what the operator names (DOCKER_HOST, CONTAINER_HOST), rootless ones of this
 * user, then those of root. The first that answers is taken. An engine over the network is not: instances
 * reach the server by a socket that is mounted into them.
 */
import { existsSync, readFileSync } from 'node:fs';
import Docker from 'dockerode';
import { type Clock, sleep } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Unenforced } from '../runtime.ts';

/** How long an engine may take to answer. */
const ANSWER_MS = 30_000;
/** Podman looks up which package each of its programs is of: seconds on a quiet machine. */
const FACTS_MS = 60_000;
/** How often it is looked whether an engine that is away is back. */
const AWAY_LOOK_MS = 2_000;

export interface EngineOptions {
  /** Where programs are looked for. */
  readonly path: string;
  /** Of the server's user, for rootless sockets: `/run/user/<uid>` or what XDG_RUNTIME_DIR says. */
  readonly runtimeDir: string | null;
  /** DOCKER_HOST and CONTAINER_HOST, as far as they are set. */
  readonly engineHosts: readonly string[];
  readonly clock: Clock;
}

/** What an engine told of itself. */
export interface Engine {
  readonly docker: Docker;
  readonly socket: string;
  readonly kind: 'docker' | 'podman';
  readonly version: string;
  readonly isRootless: boolean;
  /** Users inside are other users outside. */
  readonly hasUserNamespace: boolean;
  /** As root with `userns-remap`: who root inside is outside. Null: it does not say, or has none. */
  readonly idsFrom: { readonly uid: number; readonly gid: number } | null;
  /** It can count what a container uses. */
  readonly hasControlGroups: boolean;
  readonly seccomp: boolean;
  readonly storageDriver: string;
  readonly limits: { readonly cpus: boolean; readonly memory: boolean; readonly processes: boolean };
  /** Processors that it has; null: it does not say. */
  readonly processors: number | null;
  /** Bytes of memory that it has; null: it does not say. */
  readonly memoryBytes: number | null;
  readonly cgroup: string;
  /** The most open files and processes that this server may have itself; null: without end, or not known. */
  readonly most: { readonly nofile: number | null; readonly nproc: number | null };
}

export interface Search {
  readonly engine: Engine | null;
  /** What was looked at, and what did not answer. */
  readonly notes: readonly string[];
}

export async function findEngine(options: EngineOptions): Promise<Search> {
  const notes: string[] = [];
  for (const host of options.engineHosts)
    if (!host.startsWith('unix://'))
      notes.push(`${host} is not used: the engine must be on this machine, on a Unix socket (unix://…)`);
  for (const socket of socketsOf(options)) {
    if (!existsSync(socket)) continue;
    try {
      return { engine: await engineAt(socket, options.clock), notes };
    } catch (thrown) {
      notes.push(`no engine answers on ${socket} (${thrown instanceof Error ? thrown.message : thrown})`);
    }
  }
  return { engine: null, notes: [...notes, whatToDo(options.path)] };
}

function socketsOf({ engineHosts, runtimeDir }: EngineOptions): readonly string[] {
  const named = engineHosts.flatMap((host) => (host.startsWith('unix://') ? [host.slice(7)] : []));
  const rootless = runtimeDir ? [`${runtimeDir}/podman/podman.sock`, `${runtimeDir}/docker.sock`] : [];
  return [...new Set([...named, ...rootless, '/var/run/docker.sock', '/run/podman/podman.sock'])];
}

function whatToDo(path: string): string {
  const programs = ['podman', 'docker'].filter((program) => Bun.which(program, { PATH: path }));
  return programs.length > 0
    ? `${programs.join(' and ')} installed, but no engine has a socket here; ` +
        'start it, for instance with `systemctl --user start podman.socket`'
    : 'neither Docker nor Podman is installed; install one of them, rootless for choice';
}

/** Throws what the connection throws, or Failure('timed-out'). */
export async function engineAt(socket: string, clock: Clock): Promise<Engine> {
  const docker = new Docker({ socketPath: socket });
  const version = (await within(docker.version(), ANSWER_MS, clock)) as Version;
  const info = (await within(docker.info(), FACTS_MS, clock)) as Info;
  return told({ docker, socket, version, info });
}

async function within<T>(asked: Promise<T>, ms: number, clock: Clock): Promise<T> {
  asked.catch(() => {});
  const late = Promise.withResolvers<never>();
  const timer = clock.setTimeout(() => late.reject(new Failure('timed-out', `silent for ${ms} ms`)), ms);
  try {
    return await Promise.race([asked, late.promise]);
  } finally {
    clock.clearTimeout(timer);
  }
}

interface Version {
  readonly Version?: string;
  readonly Components?: readonly { readonly Name: string }[];
}

interface Info {
  readonly SecurityOptions?: readonly string[] | null;
  /** Podman's word for it. */
  readonly Rootless?: boolean;
  readonly Driver?: string;
  readonly MemoryLimit?: boolean;
  readonly CpuCfsQuota?: boolean;
  readonly PidsLimit?: boolean;
  readonly NCPU?: number;
  readonly MemTotal?: number;
  readonly CgroupVersion?: string;
  readonly CgroupDriver?: string;
  readonly DockerRootDir?: string;
}

function told(given: { docker: Docker; socket: string; version: Version; info: Info }): Engine {
  const { docker, socket, version, info } = given;
  const security = (info.SecurityOptions ?? []).map((option) => /name=([\w-]+)/.exec(option)?.[1] ?? '');
  const isPodman = (version.Components ?? []).some(({ Name }) => /podman/i.test(Name));
  const isRootless = info.Rootless === true || security.includes('rootless');
  return {
    docker,
    socket,
    kind: isPodman ? 'podman' : 'docker',
    version: version.Version ?? 'unknown',
    isRootless,
    hasUserNamespace: isRootless || security.includes('userns'),
    idsFrom: security.includes('userns') ? idsIn(info.DockerRootDir ?? '') : null,
    hasControlGroups: info.CgroupDriver !== 'none' && !(isRootless && info.CgroupVersion === '1'),
    seccomp: security.includes('seccomp'),
    storageDriver: info.Driver ?? 'unknown',
    limits: {
      cpus: info.CpuCfsQuota === true,
      memory: info.MemoryLimit === true,
      processes: info.PidsLimit === true,
    },
    processors: info.NCPU || null,
    memoryBytes: info.MemTotal || null,
    cgroup: `v${info.CgroupVersion ?? '?'}, ${info.CgroupDriver || 'none'}`,
    most: { nofile: hardLimit('Max open files'), nproc: hardLimit('Max processes') },
  };
}

/** With `userns-remap` Docker's directory is called by the users that it begins with: `…/100000.100000`. */
function idsIn(rootDir: string): Engine['idsFrom'] {
  const [, uid, gid] = /\/(\d+)\.(\d+)$/.exec(rootDir) ?? [];
  return uid === undefined || gid === undefined ? null : { uid: Number(uid), gid: Number(gid) };
}

function hardLimit(name: string): number | null {
  try {
    const line = readFileSync('/proc/self/limits', 'utf8')
      .split('\n')
      .find((one) => one.startsWith(name));
    const [, hard = ''] = /^\s*\S+\s+(\S+)/.exec(line?.slice(name.length) ?? '') ?? [];
    return /^\d+$/.test(hard) ? Number(hard) : null;
  } catch {
    return null; // Not Linux.
  }
}

/** For the probe: what is enforced here and what is not. `disk`: why no limit of it is; null: it is. */
export function factsOf(engine: Engine, disk: string | null): readonly string[] {
  const { kind, version, socket, isRootless, cgroup } = engine;
  const [set, missing] = [limitsThat(engine, true), limitsThat(engine, false)].map((keys) =>
    keys.map((key) => (key === 'cpus' ? 'CPU' : key)),
  ) as [string[], string[]];
  return [
    `${kind} ${version} answers on ${socket}, ${isRootless ? 'rootless' : 'as root'}`,
    set.length > 0
      ? `limits of ${set.join(', ')} are enforced (cgroup ${cgroup})`
      : `no limits are enforced (cgroup ${cgroup})`,
    ...(missing.length > 0 ? [`limits of ${missing.join(', ')} are not: ${noControlGroup}`] : []),
    disk === null
      ? 'limits of disk are enforced by project quotas of the file system'
      : `limits of disk are not enforced: ${disk}`,
    engine.hasUserNamespace ? 'users inside are other users outside (user namespace)' : noUserNamespace,
    engine.seccomp ? 'system calls are limited by our seccomp profile' : 'this engine has no seccomp',
    'networks: isolated (none at all), allowlist (none but a proxy of the server), full',
  ];
}

const limitsThat = ({ limits }: Engine, can: boolean) =>
  (['cpus', 'memory', 'processes'] as const).filter((key) => limits[key] === can);

const noControlGroup = 'this host gives the engine no control group for them';
const noUserNamespace =
  'no user namespace: the user inside, 10001, is 10001 outside; run the engine rootless or with userns-remap';

/** The same for programs: what is not enforced, each with its reason. */
export function unenforcedBy(engine: Engine, disk: string | null): readonly Unenforced[] {
  const missing = limitsThat(engine, false).map((what) => ({ what, why: noControlGroup }));
  return [
    ...missing,
    ...(disk === null ? [] : [{ what: 'disk', why: disk } as const]),
    ...(engine.hasUserNamespace ? [] : [{ what: 'users', why: noUserNamespace } as const]),
    ...(engine.seccomp ? [] : [{ what: 'system-calls', why: 'this engine has no seccomp' } as const]),
  ];
}

/** The engine's own status codes, and a connection that is not there, in our words. */
export function engineFailure(what: string, thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown;
  const { message, statusCode, code } = thrown as { message?: string; statusCode?: number; code?: string };
  const why = (message ?? String(thrown)).trim();
  if (statusCode === 409) return new Failure('already-exists', `${what}: ${why}`, { cause: thrown });
  if (statusCode === 404) return new Failure('not-found', `${what}: ${why}`, { cause: thrown });
  const cure = code === undefined ? '' : '; is the container engine running?';
  return new Failure('runtime-failed', `${what}: ${why}${cure}`, { cause: thrown });
}

/** Nobody answers, as while the engine is being started again. */
const isAway = (thrown: unknown): thrown is Failure =>
  thrown instanceof Failure &&
  (thrown.code === 'timed-out' || (thrown.cause as { code?: unknown } | undefined)?.code !== undefined);

interface Waiting {
  /** For the log. */
  readonly what: string;
  readonly clock: Clock;
  readonly log: (message: string) => void;
  /** Until when an engine that is away is waited for; absent: not at all. */
  readonly signal: AbortSignal | undefined;
}

/** An engine that is away says nothing of its containers, which may run on meanwhile. */
export async function onceThere<T>(ask: () => Promise<T>, waiting: Waiting): Promise<T> {
  const { what, clock, log, signal } = waiting;
  for (let tries = 0; ; tries++) {
    try {
      return await ask();
    } catch (thrown) {
      if (!signal || signal.aborted || !isAway(thrown)) throw thrown;
      if (tries === 0) log(`${what}: its engine is waited for: ${thrown.message}`);
      await sleep(clock, AWAY_LOOK_MS, signal).catch(() => {});
    }
  }
}

export const isMissing = (thrown: unknown): boolean =>
  (thrown as { statusCode?: number } | null)?.statusCode === 404;
/** 304: it is so already. */
export const isSame = (thrown: unknown): boolean =>
  (thrown as { statusCode?: number } | null)?.statusCode === 304;
