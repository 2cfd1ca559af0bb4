/**
 * What the engine is asked for when a container is made. Pure: everything that confines an instance stands
 * here, to be read at once.
 */
import { basename } from 'node:path';
import type { ContainerCreateOptions } from 'dockerode';
import { Failure, type FieldFault } from '../failure.ts';
import type { InstanceSpec, Limits } from '../runtime.ts';
import type { Disk } from './container-disk.ts';
import type { ContainerDirs } from './container-files.ts';
import { allowRules } from './egress-rules.ts';
import type { Engine } from './engine.ts';

/** The user inside; the image has it (images/recipes.ts). */
export const AGENT_UID = 10_001;
const MIB = 1024 * 1024;

/** Of an instance that names none. */
export const limitsDefault = { cpus: 2, memoryBytes: 4096 * MIB, processes: 2_048 } as const;
const atLeast = { cpus: 0.01, memoryBytes: 64 * MIB, processes: 32, diskBytes: 16 * MIB } as const;

/** Where things are inside. */
export const inside = {
  home: '/home/agent',
  work: '/srv/work',
  spool: '/opt/agentic/spool',
  credentials: '/opt/agentic/credentials',
  identity: '/opt/agentic/identity',
  socket: '/opt/agentic/socket',
  egress: '/opt/agentic/egress',
  models: '/opt/agentic/models',
  secrets: '/opt/agentic/secrets',
} as const;

/** The proxy that HTTP(S)_PROXY names; the agent client carries what comes there to the egress socket. */
const PROXY_PORT = 3_128;
/** Where tools inside reach models: likewise carried, to the server's gateway. */
const MODELS_PORT = 3_129;
/** Names the file that says how the agent proves itself; it is written at every start. */
export const ENV_FILE_VARIABLE = 'AGENT_ENV_FILE';
export const modelsUrl = `http://127.0.0.1:${MODELS_PORT}`;

export const labelOf = {
  instance: 'agentic-sandbox.instance',
  instanceId: 'agentic-sandbox.instance-id',
  dataDir: 'agentic-sandbox.data-dir',
  spec: 'agentic-sandbox.spec',
  helper: 'agentic-sandbox.helper-of',
} as const;

export interface Asked {
  readonly spec: InstanceSpec;
  readonly engine: Engine;
  /** The id of the image in the engine. */
  readonly image: string;
  readonly containerName: string;
  readonly dirs: ContainerDirs;
  /** On this host, in memory; null: none. */
  readonly secrets: string | null;
  /** Which server it belongs to. */
  readonly dataDir: string;
  /** The root of directories that are lent, as it is called inside too. */
  readonly sharesRoot: string;
  /** The profile's text, and the file it is in: Podman reads a file. */
  readonly seccomp: { readonly text: string; readonly path: string };
  /** The engine's name of its network; `none`: it has only its own loopback. */
  readonly network: string;
}

/**
 * Throws Failure('bad-input' | 'not-implemented') for what is wrong in itself, or cannot be enforced here.
 */
export function checkSpec(spec: InstanceSpec, engine: Engine, disk: Disk): void {
  const faults: FieldFault[] = [];
  const { limits = {}, network } = spec;
  for (const [key, least] of Object.entries(atLeast)) {
    const value = limits[key as keyof typeof atLeast];
    if (value === undefined) continue;
    const name = `limits.${wireName[key as keyof Limits]}`;
    if (!(value >= least)) faults.push({ path: name, message: `must be at least ${least}` });
  }
  if (spec.workingDir !== undefined)
    faults.push({ path: 'working_dir', message: 'is for the host runtime; a container has its own' });
  if (network?.mode !== 'allowlist' && network?.allow !== undefined)
    faults.push({ path: 'network.allow', message: 'is for the mode allowlist' });
  if (network?.mode === 'allowlist') faults.push(...allowRules(network.allow ?? []).faults);
  if (faults.length > 0) {
    const words = faults.map(({ path, message }) => `${path} ${message}`).join('; ');
    throw new Failure('bad-input', `create ${spec.name}: ${words}`, { faults });
  }
  if (limits.diskBytes !== undefined && disk.why !== null)
    throw new Failure(
      'not-implemented',
      `create ${spec.name}: a limit of disk cannot be enforced here: ${disk.why}; or leave it out`,
    );
  for (const key of ['cpus', 'memory', 'processes'] as const) {
    const wanted = limits[key === 'memory' ? 'memoryBytes' : key];
    if (wanted !== undefined && !engine.limits[key]) throw unable(spec.name, key);
  }
}

const wireName = {
  cpus: 'cpus',
  memoryBytes: 'memory_bytes',
  processes: 'processes',
  diskBytes: 'disk_bytes',
};

const unable = (name: string, what: string): Failure =>
  new Failure(
    'not-implemented',
    `create ${name}: this engine cannot enforce a limit of ${what}; leave it out, or see the probe for what it lacks`,
  );

/**
 * The limits that are asked of the engine: those wanted, and our own for the rest, where it can. Of
 * processors and memory no more than there is: Docker refuses more processors, and nobody could use either.
 */
export function limitsOf({ limits = {} }: InstanceSpec, engine: Engine): Limits {
  const { cpus, memory, processes } = engine.limits;
  const { processors, memoryBytes } = engine;
  const most = (wanted: number, all: number | null) => (all === null ? wanted : Math.min(wanted, all));
  return {
    ...(cpus ? { cpus: most(limits.cpus ?? limitsDefault.cpus, processors) } : {}),
    ...(memory ? { memoryBytes: most(limits.memoryBytes ?? limitsDefault.memoryBytes, memoryBytes) } : {}),
    ...(processes ? { processes: limits.processes ?? limitsDefault.processes } : {}),
  };
}

export function containerOptions(asked: Asked): ContainerCreateOptions {
  const { spec, image, containerName } = asked;
  return {
    name: containerName,
    Image: image,
    Hostname: spec.name.slice(0, 63),
    User: `${AGENT_UID}:${AGENT_UID}`,
    WorkingDir: inside.work,
    Env: environment(asked),
    Labels: {
      [labelOf.instance]: spec.name,
      [labelOf.instanceId]: spec.instanceId,
      [labelOf.dataDir]: asked.dataDir,
      [labelOf.spec]: JSON.stringify({ ...spec, labels: undefined, mounts: undefined }),
    },
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    Tty: false,
    OpenStdin: false,
    HostConfig: hostConfig(asked),
  };
}

function hostConfig(asked: Asked): NonNullable<ContainerCreateOptions['HostConfig']> {
  const { spec, engine, seccomp, network } = asked;
  const limits = limitsOf(spec, engine);
  // What lies in them is memory that no killing frees: full, they must leave room for who works there.
  const share = (most: number, part: number) =>
    Math.min(most, Math.floor((limits.memoryBytes ?? Number.POSITIVE_INFINITY) / part));
  const profile = engine.kind === 'podman' ? seccomp.path : seccomp.text;
  return {
    // What it could do as root it cannot do, whoever it becomes.
    CapDrop: ['ALL'],
    CapAdd: [],
    Privileged: false,
    SecurityOpt: ['no-new-privileges:true', ...(engine.seccomp ? [`seccomp=${profile}`] : [])],
    ReadonlyRootfs: true,
    Mounts: mounts(asked),
    Tmpfs: {
      '/tmp': `rw,nosuid,nodev,exec,size=${share(1_024 * MIB, 4)},mode=1777`,
      '/var/tmp': `rw,nosuid,nodev,exec,size=${share(256 * MIB, 8)},mode=1777`,
      '/run': 'rw,nosuid,nodev,noexec,size=16m,mode=0755',
    },
    ShmSize: share(64 * MIB, 16),
    // Nothing is shared with the host or with another container.
    NetworkMode: network,
    IpcMode: 'private',
    // Docker's private namespaces are its default, and have no name.
    ...(engine.kind === 'podman' ? { PidMode: 'private', UTSMode: 'private' } : {}),
    ...(limits.cpus === undefined ? {} : { NanoCpus: Math.round(limits.cpus * 1e9) }),
    // No swap on top: the limit is the limit.
    ...(limits.memoryBytes === undefined
      ? {}
      : { Memory: limits.memoryBytes, MemorySwap: limits.memoryBytes }),
    ...(limits.processes === undefined ? {} : { PidsLimit: limits.processes }),
    Ulimits: ulimits(engine),
    // The server decides when something starts again.
    RestartPolicy: { Name: 'no' },
    LogConfig: { Type: 'json-file', Config: { 'max-size': '8m', 'max-file': '2' } },
    AutoRemove: false,
  } as NonNullable<ContainerCreateOptions['HostConfig']>;
}

/** Podman lowers its own to this, and gives no more than it has. */
const PODMAN_NPROC = 32_768;

/**
 * Podman sets some by itself, higher than it may where it is not allowed to raise any: it is told what we
 * have.
 */
export function ulimits({ kind, most }: Engine) {
  const core = { Name: 'core', Soft: 0, Hard: 0 };
  if (kind === 'docker') return [core];
  const nproc = Math.min(most.nproc ?? PODMAN_NPROC, PODMAN_NPROC);
  return [
    core,
    { Name: 'nproc', Soft: nproc, Hard: nproc },
    ...(most.nofile === null ? [] : [{ Name: 'nofile', Soft: most.nofile, Hard: most.nofile }]),
  ];
}

/** Only directories of this very instance, and `global` to read; nothing that a caller could name. */
function mounts({ dirs, spec, sharesRoot, secrets }: Asked) {
  const bind = (Source: string, Target: string, ReadOnly: boolean) => ({
    Type: 'bind' as const,
    Source,
    Target,
    ReadOnly,
    BindOptions: { Propagation: 'private' as const },
  });
  return [
    bind(dirs.home, inside.home, false),
    bind(dirs.work, inside.work, false),
    bind(dirs.spool, inside.spool, false),
    bind(dirs.shares, sharesRoot, false),
    ...(spec.mounts ?? []).map(({ source, target, readOnly }) => bind(source, target, readOnly)),
    bind(dirs.credentials, inside.credentials, true),
    bind(dirs.identity, inside.identity, false),
    bind(dirs.socket, inside.socket, true),
    bind(dirs.models, inside.models, true),
    ...(secrets === null ? [] : [bind(secrets, inside.secrets, true)]),
    ...(spec.network?.mode === 'allowlist' ? [bind(dirs.egress, inside.egress, true)] : []),
  ];
}

/** Nothing here is a secret: the engine shows it to whoever may ask. */
function environment({ spec, dirs }: Asked): string[] {
  const proxy = `http://127.0.0.1:${PROXY_PORT}`;
  const proxied = spec.network?.mode === 'allowlist';
  const ways = [
    `${MODELS_PORT}=${inside.models}/${basename(dirs.modelsPath)}`,
    ...(proxied ? [`${PROXY_PORT}=${inside.egress}/${basename(dirs.egressPath)}`] : []),
  ];
  const env: Readonly<Record<string, string>> = {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    LANG: 'C.UTF-8',
    TERM: 'xterm-256color',
    SHELL: '/bin/bash',
    HOME: inside.home,
    AGENT_ID: spec.name,
    AGENT_INSTANCE_ID: spec.instanceId,
    AGENT_PROFILE: spec.profile ?? '',
    AGENT_LOADOUT: spec.loadout ?? '',
    AGENT_SETUP_COMPLETE: '1',
    AGENT_WORKING_DIR: inside.work,
    AGENT_SPOOL_DIR: inside.spool,
    [ENV_FILE_VARIABLE]: `${inside.credentials}/agent.env`,
    AGENT_EGRESS: ways.join(','),
    ...Object.fromEntries(
      (spec.mounts ?? []).map(({ name, target }) => [`AGENTSHARE_${name.toUpperCase()}`, target]),
    ),
    ...(proxied
      ? {
          HTTP_PROXY: proxy,
          HTTPS_PROXY: proxy,
          http_proxy: proxy,
          https_proxy: proxy,
          NO_PROXY: 'localhost,127.0.0.1,::1',
          no_proxy: 'localhost,127.0.0.1,::1',
        }
      : {}),
  };
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}
