/**
 * Where agents can live. Every implementation passes tests/contracts/runtime.ts.
 *
 * Calls are idempotent by the instance's name: after a crash the same call comes again
 * and must find what it already did. Handles are plain versioned JSON, kept in the journal.
 */
export type RuntimeKind = 'host' | 'container' | 'vm';

export interface InstanceSpec {
  readonly name: string;
  /** UUIDv7, given at creation and kept for life. */
  readonly instanceId: string;
  readonly runtime: RuntimeKind;
  readonly loadout?: string;
  readonly profile?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Host runtime: an existing absolute directory to work in; absent: the instance's own. */
  readonly workingDir?: string;
  /** Directories of this host that it is to see. Given at every `create` anew, and nowhere remembered. */
  readonly mounts?: readonly Mount[];
  /**
   * Container runtime: the name of an image that was built, or of one that the engine has; absent: `base`.
   */
  readonly image?: string;
  /** What it may use at most. What cannot be enforced is refused; absent parts: the runtime's own. */
  readonly limits?: Limits;
  /** What it may reach; absent: nothing but the server. The host runtime enforces none. */
  readonly network?: Network;
}

/** One of the directories of Agentshare. */
export interface Mount {
  readonly name: 'global' | 'inbox' | 'outbox' | 'workspace';
  /** On this host; it is there when `create` is called. */
  readonly source: string;
  /** Where an instance with files of its own has it. One that sees this host's files finds it at `source`. */
  readonly target: string;
  readonly readOnly: boolean;
}

export interface Limits {
  /** Processors' worth of time; 0.5 is half of one. */
  readonly cpus?: number;
  readonly memoryBytes?: number;
  /** Processes and threads at one time. */
  readonly processes?: number;
  readonly diskBytes?: number;
}

/** Always enforced outside the instance. */
export interface Network {
  readonly mode: NetworkMode;
  /**
   * For `allowlist`: `example.org`, `*.example.org`, an address, or a block of addresses, each with an
   * optional `:port`; without one, 80 and 443.
   */
  readonly allow?: readonly string[];
}

export type NetworkMode = 'isolated' | 'allowlist' | 'full';

export interface Handle {
  readonly version: number;
  readonly runtime: RuntimeKind;
  readonly name: string;
  /** As they stood when it was last made or started; absent: it has none, or they are not known. */
  readonly walls?: Walls;
  readonly [key: string]: unknown;
}

/** What confines an instance, as whoever enforces it says that it is set; not as it was asked for. */
export interface Walls {
  /** `digest`: the id of the image, by its contents. */
  readonly image: { readonly name: string; readonly digest: string };
  /** Absent: not enforced, and `unenforced` says why. */
  readonly limits: Limits;
  readonly network: Network;
  readonly unenforced: readonly Unenforced[];
}

export interface Unenforced {
  readonly what: 'cpus' | 'memory' | 'processes' | 'disk' | 'files' | 'network' | 'users' | 'system-calls';
  readonly why: string;
}

export interface Probe {
  readonly runtime: RuntimeKind;
  readonly available: boolean;
  /** Why not, and what would make it work; or what an operator should know although it works. */
  readonly reasons: readonly string[];
  /** What it cannot enforce here; nothing when it is not available. */
  readonly unenforced: readonly Unenforced[];
  /** `full-host-access`, `shared-kernel` or `hardware-virtualized`. */
  readonly isolation: string;
}

export interface Usage {
  readonly cpuPercent: number;
  readonly memoryBytes: number;
  readonly processes: number;
}

/** What a running instance did by itself. */
export interface RuntimeExit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly at: number;
  /** When more is known than that: that it used too much memory, or that it is gone. */
  readonly reason?: string;
}

/** Something that `create` made, as it is found without being told of it. */
export interface Found {
  /** As it was created, without its labels. */
  readonly spec: InstanceSpec;
  readonly runs: boolean;
}

export interface Runtime {
  readonly kind: RuntimeKind;
  probe(): Promise<Probe>;
  /** All that was created in its place and not destroyed, whoever did it. */
  inventory(): Promise<readonly Found[]>;
  /** Throws Failure('bad-input' | 'not-found' | 'not-implemented') for what could never be made here. */
  check(spec: InstanceSpec): Promise<void>;
  /** Makes what the instance needs to start; a second call finds it. */
  create(spec: InstanceSpec, signal: AbortSignal): Promise<Handle>;
  /** Starts it, or finds it running. The new handle replaces the old one. */
  start(handle: Handle, signal: AbortSignal): Promise<Handle>;
  /** Asks, waits `graceMs`, then kills. Resolves when nothing of it runs any more, also if nothing ran. */
  stop(handle: Handle, graceMs: number): Promise<void>;
  /** Stops at once and removes everything that `create` made. */
  destroy(handle: Handle): Promise<void>;
  /**
   * True when what the handle names still runs; called after a restart of the server. Whoever would know that
   * may be away: with a signal it is waited for until then.
   */
  recover(handle: Handle, signal?: AbortSignal): Promise<boolean>;
  /** Calls back once when it stops running, for whatever reason. Returns how to stop watching. */
  watch(handle: Handle, onExit: (exit: RuntimeExit) => void): () => void;
  usage(handle: Handle): Promise<Usage | null>;
  /** Null: instances see the files of this host where they are. */
  readonly shares: Shares | null;
}

/** Lending directories of this host, below one root agreed on, to an instance that has files of its own. */
export interface Shares {
  /**
   * The user who works inside, as this host knows it, whom this process may or may not give files to; null
   * when that cannot be told, or there is no engine just now.
   */
  user(): Promise<number | null>;
  /**
   * Makes the directory appear in the instance under the path it has here, for its user to write to, and
   * takes it away from there meanwhile. A second call finds it.
   */
  lend(handle: Handle, path: string): Promise<void>;
  /** Brings it back to where it was, readable by us. A directory that is not lent is left as it is. */
  takeBack(handle: Handle, path: string): Promise<void>;
  /**
   * Writes files where the instance keeps its own, for its user, by the paths they have there. `write` is
   * told for each where it is now, and below which directories that nobody else can exchange: what is there
   * already can be read there, and what is written there comes to its place, with its mode, when `write` is
   * done.
   */
  edit(
    handle: Handle,
    paths: readonly string[],
    write: (at: (path: string) => string, roots: readonly string[]) => Promise<void>,
  ): Promise<void>;
  /** Where a path that the instance names is on this host now; null: nowhere that is shared. */
  hostPath(handle: Handle, path: string): string | null;
}
