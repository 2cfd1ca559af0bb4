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

export interface Handle {
  readonly version: number;
  readonly runtime: RuntimeKind;
  readonly name: string;
  readonly [key: string]: unknown;
}

export interface Probe {
  readonly runtime: RuntimeKind;
  readonly available: boolean;
  /** Why not, and what would make it work; or what an operator should know although it works. */
  readonly reasons: readonly string[];
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
  /** Makes what the instance needs to start; a second call finds it. */
  create(spec: InstanceSpec, signal: AbortSignal): Promise<Handle>;
  /** Starts it, or finds it running. The new handle replaces the old one. */
  start(handle: Handle, signal: AbortSignal): Promise<Handle>;
  /** Asks, waits `graceMs`, then kills. Resolves when nothing of it runs any more, also if nothing ran. */
  stop(handle: Handle, graceMs: number): Promise<void>;
  /** Stops at once and removes everything that `create` made. */
  destroy(handle: Handle): Promise<void>;
  /** True when what the handle names still runs; called after a restart of the server. */
  recover(handle: Handle): Promise<boolean>;
  /** Calls back once when it stops running, for whatever reason. Returns how to stop watching. */
  watch(handle: Handle, onExit: (exit: RuntimeExit) => void): () => void;
  usage(handle: Handle): Promise<Usage | null>;
}
