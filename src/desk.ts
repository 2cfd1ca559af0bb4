/**
 * What the doors (HTTP, WebSocket, gRPC Exec) may ask of the house.
 *
 * Each door takes only the desk it needs. Every call that changes something resolves when the
 * change is durable, and throws a Failure otherwise. `by` names the caller for the log.
 */
import type { FailureInfo } from './failure.ts';
import type { RecordQuery } from './journal.ts';
import type { CastWish, FoundLines, Gaps, Moment, PastScreen, SearchWish } from './recordings.ts';
import type { Limits, Network, Probe, RuntimeKind } from './runtime.ts';
import type { Terminal } from './terminal.ts';
import type {
  ActorChangesView,
  ActorEntryView,
  ActorStateView,
  ActorView,
  ActorWholeView,
  AgentView,
  ArtifactView,
  BootstrapView,
  EventView,
  HitlView,
  IdentityView,
  InstanceView,
  RecordingRemovedView,
  RevokedView,
  SessionView,
  TaskView,
} from './views.ts';
import type { ImageView } from './views-images.ts';
import type { FoundLineView, RecordingMarkView, RecordingView } from './views-recordings.ts';
import type { InstanceUseView, UsageReport } from './views-usage.ts';

/**
 * Looks up an actor, `<kind>:<id>`, that ended longer ago than memory reaches, so that the desks find it. One
 * that never was is passed over. Throws 'journal-away' when that cannot be told.
 */
export type Recall = (actor: string) => Promise<void>;

export interface InstanceDesk {
  list(): readonly InstanceView[];
  find(name: string): InstanceView | null;
  /** Throws 'already-exists', 'not-implemented' (with the probe's reasons), 'bad-input'. */
  create(wanted: NewInstance, by: string): Promise<InstanceView>;
  start(name: string, by: string): Promise<InstanceView>;
  stop(name: string, graceMs: number | null, by: string): Promise<InstanceView>;
  restart(name: string, graceMs: number | null, by: string): Promise<InstanceView>;
  reprovision(name: string, by: string): Promise<InstanceView>;
  /** Clears `crash-looping` or `failed` so that it may be started again. */
  reset(name: string, by: string): Promise<InstanceView>;
  /** Its storage stays, unless `removesStorage` asks for that to go too, or nothing is in it. */
  destroy(name: string, by: string, removesStorage?: boolean): Promise<InstanceView>;
  probes(): Promise<readonly Probe[]>;
  /** Measured at most every two seconds. Throws 'not-found', and what its runtime throws. */
  usage(name: string): Promise<InstanceUseView>;
}

export interface NewInstance {
  readonly name: string;
  readonly runtime: RuntimeKind;
  readonly loadout?: string;
  readonly profile?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly workingDir?: string;
  readonly image?: string;
  readonly limits?: Limits;
  readonly network?: Network;
  /** Start it once it is made; true when absent. */
  readonly start?: boolean;
}

/** Who an agent is, by certificates. Each call that names an instance throws 'not-found'. */
export interface IdentityDesk {
  describe(): Promise<IdentityView>;
  /** Throws 'not-implemented' when nothing listens for tokens, 'wrong-state' for what is being destroyed. */
  bootstrap(name: string, by: string): Promise<BootstrapView>;
  /** Resolves when it is durable and the connections are being ended. */
  revoke(name: string, why: { readonly by: string; readonly reason: string }): Promise<RevokedView>;
}

export interface VsockProbe {
  readonly available: boolean;
  /** This machine's own address; null when nobody says. */
  readonly cid: number | null;
  readonly reasons: readonly string[];
}

export interface AgentDesk {
  list(): readonly AgentView[];
  find(id: string): AgentView | null;
}

export interface NewSession {
  readonly command: string;
  readonly args: readonly string[];
  readonly workingDir: string | null;
  readonly name: string | null;
  readonly type: 'interactive' | 'headless' | 'background';
  readonly env: Readonly<Record<string, string>>;
  readonly cols: number;
  readonly rows: number;
  /** Seconds, 0 is none. */
  readonly timeoutSeconds: number;
  /** Piped processes: leave stdin open for `input`; closed otherwise. */
  readonly stdin: 'open' | 'closed';
}

export interface SessionDesk {
  list(filter: { agent?: string; live?: boolean }): readonly SessionView[];
  find(id: string): SessionView | null;
  /**
   * Resolves when the process runs. Throws 'not-found', 'agent-gone', 'already-exists' (the name),
   * 'wrong-state'.
   */
  create(agent: string, wanted: NewSession, by: string): Promise<SessionView>;
  /** Types bytes; refused with 'wrong-state' unless the session is live. */
  input(id: string, bytes: Uint8Array, by: string): void;
  resize(id: string, size: { readonly cols: number; readonly rows: number }, by: string): void;
  /** A name such as SIGINT. KILL and TERM end in `killed`. */
  signal(id: string, signal: string, by: string): Promise<SessionView>;
  /** The terminal, live or recalled from disk; null when there never was one. */
  terminal(id: string): Promise<Terminal | null>;
  /** Resolves with the view once the session has ended. */
  ended(id: string, signal: AbortSignal): Promise<SessionView>;
}

export interface ExecWanted {
  readonly agent: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly workingDir: string;
  readonly env: Readonly<Record<string, string>>;
  /** Seconds, 0 is none. */
  readonly timeoutSeconds: number;
  /** Typed once, then its input ends; null: no input. */
  readonly stdin: string | null;
}

export type ExecPart =
  | { readonly stream: 'stdout' | 'stderr'; readonly bytes: Uint8Array }
  | { readonly ended: SessionView };

/** Runs one command as a session and hands its output on as it comes; leaving early ends the process. */
export interface ExecDesk {
  /** Throws 'not-found', 'agent-gone'. The last part is `ended`. */
  run(wanted: ExecWanted, by: string, signal: AbortSignal): AsyncIterable<ExecPart>;
}

export interface TaskDesk {
  list(query: TaskQuery): { tasks: readonly TaskView[]; total: number };
  find(id: string): TaskView | null;
  /** `manifest` is YAML or JSON text, or an object. Throws 'unprocessable' with a fault per field. */
  submit(manifest: string | object, by: string): Promise<TaskView>;
  cancel(id: string, reason: string, by: string): Promise<TaskView>;
  /** A failed or cancelled task starts again as a new attempt. */
  retry(id: string, by: string): Promise<TaskView>;
  /**
   * What the task said, in order; ends when the task has ended unless it is aborted first. `after` is the
   * last id seen.
   */
  logs(id: string, after: string | null, signal: AbortSignal): AsyncIterable<TaskLog>;
  artifacts(id: string): Promise<readonly ArtifactView[]>;
  /** Opens one artifact; null when there is none of that name. Never leaves the outbox. */
  artifact(
    id: string,
    name: string,
  ): Promise<{ view: ArtifactView; body: ReadableStream<Uint8Array> } | null>;
  /** The manifest as submitted, defaults filled in, secrets as references. */
  manifest(id: string): object | null;
}

export interface TaskQuery {
  /** Upper-case names; empty is all. */
  readonly states: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly limit: number;
  readonly offset: number;
}

export interface TaskLog {
  /** Opaque, grows; resumes with `Last-Event-ID`. */
  readonly id: string;
  readonly event: 'stdout' | 'stderr' | 'state' | 'progress' | 'question' | 'completed' | 'error' | 'gap';
  readonly data: string;
}

export interface HitlDesk {
  list(filter: { state?: 'open' | 'all'; agent?: string; session?: string }): readonly HitlView[];
  find(id: string): HitlView | null;
  /** Throws 'already-exists' when the session has an open question, 'not-found' for an unknown session. */
  ask(agent: string, wanted: NewQuestion, by: string): Promise<HitlView>;
  /** Exactly one of `text` and `option`. Durable when it resolves; delivery goes on and shows in the view. */
  answer(id: string, answer: { text?: string; option?: string }, by: string): Promise<HitlView>;
  withdraw(id: string, by: string): Promise<HitlView>;
}

export interface NewQuestion {
  readonly sessionId: string;
  readonly prompt: string;
  readonly context: string;
  readonly kind: 'confirm' | 'choice' | 'text' | 'secret';
  readonly options: readonly { readonly id: string; readonly label: string; readonly keys?: string }[];
  /** Null: the configured default. */
  readonly expiresInMs: number | null;
}

export interface EventDesk {
  /** Durable events after a cursor, oldest first, at most `limit`. */
  read(after: number, limit: number): Promise<readonly EventView[]>;
  /** The newest cursor. */
  cursor(): Promise<number>;
  /** Called for every event once it is durable, in order. Returns how to stop. */
  watch(listener: (event: EventView) => void): () => void;
}

/** What a person who asks "is it well?" is told. */
export interface HealthDesk {
  ready(): { readonly ready: boolean; readonly reasons: readonly string[] };
  summary(): {
    readonly version: string;
    readonly uptimeSeconds: number;
    readonly agents: { readonly connected: number; readonly ready: number };
    readonly tasks: Readonly<Record<string, number>>;
    readonly journal: { readonly kind: string; readonly away: FailureInfo | null };
  };
}

/** What `bun run images:build` keeps. Each call that names an image throws 'not-found'. */
export interface ImageDesk {
  list(): Promise<readonly ImageView[]>;
  /** Reads all of it; `trouble` null: it is as it was built. */
  verify(name: string): Promise<ImageView & { readonly trouble: string | null }>;
  /** As SPDX 2.3, in JSON. Throws 'runtime-failed' when it is not what was built. */
  sbom(name: string): Promise<Uint8Array<ArrayBuffer>>;
}

export interface UsageDesk {
  /** Of the last `days`, today included, in UTC; of the newest `tasks`. */
  report(wanted: {
    readonly agent: string | undefined;
    readonly days: number;
    readonly tasks: number;
  }): UsageReport;
}

/** Since this server started. */
export interface ModelCounts {
  readonly requests: readonly {
    readonly provider: string;
    readonly status: string;
    readonly count: number;
  }[];
  readonly tokens: readonly { readonly provider: string; readonly kind: string; readonly count: number }[];
  readonly costUsd: readonly { readonly provider: string; readonly usd: number }[];
}

/** Numbers that only the house knows; read at each scrape. */
export interface Gauges {
  agentsByStatus(): Readonly<Record<string, number>>;
  tasksByState(): Readonly<Record<string, number>>;
  sessionsByAgent(): Readonly<Record<string, number>>;
  hitlOpen(): number;
  instancesByState(): Readonly<Record<string, number>>;
  /** How often each instance was started again after a crash. */
  restartsByInstance(): Readonly<Record<string, number>>;
  /** What an operator should look at just now, by the name of the alert; 0 when all is well. */
  alerts(): Readonly<Record<string, number>>;
  /** By instance, and `global`; what was measured. */
  storageBytes(): Readonly<Record<string, number>>;
  recordedBytes(): number;
  /** How often the recording of a terminal could not be written. */
  recordingFailures(): number;
  skippedFrames(): number;
  /** What went through the gateway to models. */
  models(): ModelCounts;
}

/**
 * What sessions said, also those that nobody remembers. Calls about one throw 'not-found' when it has no
 * recording, with the reason when it was removed.
 */
export interface RecordingDesk {
  /** Newest first. */
  list(query: RecordingQuery): Promise<{ recordings: readonly RecordingView[]; next: string | null }>;
  /** With its marks from an offset on; `next_offset` is where to go on for more of them. */
  find(id: string, from: number): Promise<RecordingWhole>;
  /** Throws 'over-quota' and 'timed-out', after which the same call may be tried again. */
  screen(id: string, moment: Moment, signal: AbortSignal): Promise<PastScreen>;
  gapsBefore(id: string, offset: number): Promise<Gaps>;
  /** `name` is for a file, without its ending. */
  cast(id: string, wish: ExportWish, signal: AbortSignal): Promise<Exported>;
  text(id: string): Promise<Exported>;
  /** Lines of one recording, oldest first. */
  lines(id: string, wish: Pick<SearchWish, 'q' | 'from' | 'limit'>): Promise<FoundLines>;
  /** Recordings newest first, the lines of each oldest first. */
  search(query: RecordingSearch): Promise<{ found: readonly FoundLineView[]; next: string | null }>;
  /** Throws 'wrong-state' for a session that goes on. */
  remove(id: string, by: string): Promise<RecordingRemovedView>;
}

export interface RecordingQuery {
  readonly agent: string | null;
  readonly task: string | null;
  /** What `next` was. */
  readonly before: string | null;
  readonly limit: number;
}

export interface RecordingSearch extends RecordingQuery {
  readonly q: string;
  /** Unix milliseconds. */
  readonly since: number | null;
  readonly until: number | null;
}

export interface RecordingWhole {
  readonly recording: RecordingView;
  readonly marks: readonly RecordingMarkView[];
  readonly next_offset: number | null;
}

export type ExportWish = Pick<CastWish, 'from' | 'to' | 'idleLimit'>;

export interface Exported {
  readonly name: string;
  readonly pieces: AsyncIterable<string>;
}

/** Into the life of every actor. Each throws 'not-found' for one that never was, or an entry that is none. */
export interface ActorDesk {
  /** Newest first. */
  list(query: RecordQuery): Promise<readonly ActorView[]>;
  find(actor: string): Promise<ActorWholeView>;
  /** Entries from `from` on. */
  log(actor: string, from: number, limit: number): Promise<readonly ActorEntryView[]>;
  /** The state after the entry `seq`, recomputed from the entries up to it. */
  at(actor: string, seq: number): Promise<ActorStateView>;
  /** Null: the newest entry, and the one before it. */
  diff(actor: string, from: number | null, to: number | null): Promise<ActorChangesView>;
}
