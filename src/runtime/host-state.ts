/** What the host runtime knows of its instances, and how it finds their processes again. */
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Handle, Mount, RuntimeExit } from '../runtime.ts';
import type { Groups } from './cgroup.ts';
import { instanceDir, readJson } from './instance-dir.ts';
import {
  factsOf,
  findLeader,
  isAlive,
  type ProcessFacts,
  type ProcessName,
  type ProcessTable,
  readProcesses,
  runs,
} from './processes.ts';

export const HANDLE_VERSION = 1;

export interface HostOptions {
  /** Where the instances' directories are: `<data>/instances`. */
  readonly root: string;
  /** What to run as the agent client. */
  readonly agentCommand: readonly string[];
  /** `ip:port` of the gRPC server, asked at each start. */
  serverAddress(): string;
  /** The Unix socket of the gRPC server; null: the agent connects over TCP. */
  readonly socketPath: string | null;
  /** Hands out the agent's secret in a file and returns its path; the same secret when asked again. */
  issueSecret(name: string, instanceId: string): Promise<string>;
  readonly clock: Clock;
  readonly log: (message: string) => void;
  /** All that an instance gets of the server's environment: PATH, LANG, TERM and what the operator adds. */
  readonly env: Readonly<Record<string, string>>;
}

export interface HostHandle extends Handle {
  readonly runtime: 'host';
  readonly instanceId: string;
  /** For whoever reads the handle; the runtime itself goes by the name. */
  readonly home: string;
  readonly workingDir: string;
  readonly profile: string;
  readonly loadout: string;
  /** The agent client's process; null before the first start. */
  readonly process: ProcessName | null;
  /** What it sees of Agentshare from its next start on; absent: nothing. */
  readonly mounts?: readonly Mount[];
}

/** What is kept in memory of one instance. All of it can be found again. */
export interface Known {
  /** Serialises start, stop and destroy of one name. */
  turn: Promise<unknown>;
  process: ProcessName | null;
  /** The process that we started ourselves, and how it ended once the operating system has told us. */
  child: { readonly pid: number; exit: RuntimeExit | null } | null;
  /** Asked to look again at once. */
  readonly watchers: Set<() => void>;
  cpu: { seconds: number; at: number } | null;
}

export interface Host {
  readonly options: HostOptions;
  readonly groups: Groups;
  readonly known: Map<string, Known>;
  /** All processes as last read, for answers that may be a second old. */
  table: { readonly at: number; readonly processes: ProcessTable } | null;
}

export function knownOf(host: Host, name: string): Known {
  const known = host.known.get(name) ?? {
    turn: Promise.resolve(),
    process: null,
    child: null,
    watchers: new Set(),
    cpu: null,
  };
  host.known.set(name, known);
  return known;
}

/** What a process is to an instance, by the kernel's word. */
export interface Kin {
  readonly instance: string;
  /** It is of the agent itself, and not of what the agent runs. */
  readonly isAgent: boolean;
}

/** A handle comes back from the journal as JSON; anything but our own shape is a mistake worth naming. */
export function mine(handle: Handle): HostHandle {
  if (
    handle.runtime === 'host' &&
    handle.version === HANDLE_VERSION &&
    typeof handle.instanceId === 'string'
  ) {
    return handle as HostHandle;
  }
  throw new Failure(
    'runtime-failed',
    `instance ${handle.name}: its handle is of ${handle.runtime} version ${handle.version}, ` +
      `not of host version ${HANDLE_VERSION}`,
  );
}

/** The first process, if it runs: as remembered, by the handle, by the file, or by its mark. */
export function running(host: Host, handle: HostHandle): ProcessName | null {
  const known = knownOf(host, handle.name);
  const dir = instanceDir(host.options.root, handle.name);
  const onDisk = readJson(dir.handle) as HostHandle | null;
  const written = onDisk?.instanceId === handle.instanceId ? onDisk.process : null;
  const found =
    [known.process, handle.process, written].find((name) => name && isAlive(name)) ??
    findLeader(handle.instanceId, host.options.agentCommand);
  known.process = found;
  return found;
}

export interface Seen {
  readonly leader: ProcessName | null;
  /** A look at all processes that was had already; a fresh one when absent. */
  readonly table?: ReturnType<typeof readProcesses>;
}

/** All that runs of the instance, found in every way we know. */
export function membersOf(
  host: Host,
  handle: HostHandle,
  { leader, table = readProcesses() }: Seen,
): readonly ProcessFacts[] {
  const found = new Map<number, ProcessFacts>();
  for (const facts of table.members(handle.instanceId, leader?.pid ?? null)) found.set(facts.pid, facts);
  for (const pid of host.groups.members(handle.instanceId)) {
    const facts = factsOf(pid);
    if (runs(facts)) found.set(pid, facts);
  }
  return [...found.values()];
}
