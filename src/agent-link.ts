/**
 * The way to one agent, and what an agent tells us.
 *
 * `transport/` implements the links and calls the listener; the wiring implements the
 * listener and calls the links. Neither knows the other.
 */
import type { ShownCertificate } from './certificates.ts';
import type { AgentId, SessionId } from './ids.ts';

/** What to run. argv is never joined into a shell line. */
export interface Launch {
  /** Also the command id on the wire. A known id is not started again. */
  readonly session: SessionId;
  readonly name: string;
  readonly type: SessionType;
  readonly command: string;
  readonly args: readonly string[];
  readonly workingDir: string;
  readonly env: Readonly<Record<string, string>>;
  /** Seconds; 0 is none. */
  readonly timeoutSeconds: number;
  readonly pty: { readonly cols: number; readonly rows: number; readonly term: string } | null;
  readonly runAs: string;
}

export type SessionType = 'interactive' | 'headless' | 'background';

export interface AgentLink {
  readonly agent: AgentId;
  readonly instanceId: string;
  /**
   * Additions the agent speaks: `offsets`, `started`, `stdin-acks`, `terminal-state`. Empty for a foreign
   * agent.
   */
  readonly features: ReadonlySet<string>;
  readonly proven: Proven;
  /**
   * Resolves when the process runs (for an agent without `started`: when the command is sent).
   * Throws Failure('agent-gone' | 'runtime-failed').
   */
  launch(launch: Launch, signal: AbortSignal): Promise<void>;
  /**
   * Types into a session. With a key the agent drops what it has seen under that key, and the
   * promise resolves when the agent says it is written. Throws Failure('agent-gone').
   */
  type(session: SessionId, bytes: Uint8Array, typing: Typing): Promise<void>;
  closeStdin(session: SessionId): void;
  resize(session: SessionId, cols: number, rows: number): void;
  /** A POSIX signal number, to the session's foreground process group. */
  signal(session: SessionId, number: number): void;
  /** Everything below `offset` is recorded here; `resume` asks for what follows it, after a reconnect. */
  ackOutput(session: SessionId, offset: number, resume: boolean): void;
  /** The end of this session is durable here; the agent may forget it. */
  ackResult(session: SessionId): void;
  /** Ends what is not to be kept: SIGTERM, `graceSeconds`, SIGKILL. */
  reconcile(plan: ReconcilePlan): Promise<ReconcileOutcome>;
  /** Asks the agent to end its sessions and itself. */
  shutdown(reason: string, graceSeconds: number): void;
}

export interface Typing {
  /** Null: it may be typed twice, as when a link is lost in between. */
  readonly key: string | null;
  readonly signal?: AbortSignal;
}

export interface ReconcilePlan {
  readonly keep: readonly SessionId[];
  readonly kill: readonly SessionId[];
  readonly killUnrecognized: boolean;
  readonly graceSeconds: number;
}

export interface ReconcileOutcome {
  readonly killed: readonly string[];
  readonly kept: readonly string[];
  readonly failed: readonly string[];
}

/** What an agent says of itself when it connects. */
export interface Registration {
  readonly agent: AgentId;
  readonly instanceId: string;
  readonly hostname: string;
  readonly ipAddress: string;
  readonly profile: string;
  readonly loadout: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly system: SystemFacts | null;
  readonly frameworks: readonly { readonly name: string; readonly providers: readonly string[] }[];
}

export interface SystemFacts {
  readonly os: string;
  readonly kernel: string;
  readonly cpuCores: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

export interface HeartbeatFacts {
  readonly at: number;
  readonly status: string;
  readonly cpuPercent: number;
  readonly memoryUsedBytes: number;
  readonly uptimeSeconds: number;
  readonly setupStatus: string;
  readonly setupProgressJson: string;
}

export interface MetricFacts {
  readonly cpuPercent: number;
  readonly memoryUsedBytes: number;
  readonly memoryTotalBytes: number;
  readonly diskUsedBytes: number;
  readonly diskTotalBytes: number;
  /** 1, 5 and 15 minutes. */
  readonly loadAvg: readonly number[];
  readonly custom: Readonly<Record<string, number>>;
}

/** A session as the agent reports it after connecting. */
export interface ReportedSession {
  readonly session: SessionId;
  readonly name: string;
  readonly type: SessionType;
  readonly command: string;
  readonly startedAt: number;
  readonly pid: number;
  readonly pty: { readonly cols: number; readonly rows: number } | null;
  /** The oldest byte the agent still has and the next one it will produce; null from a foreign agent. */
  readonly spool: { readonly first: number; readonly next: number } | null;
}

/** How a session's process ended. */
export interface SessionResult {
  readonly session: SessionId;
  /** 128 + signal when a signal ended it; -1 when it never started. */
  readonly exitCode: number;
  readonly error: string;
  readonly durationMs: number;
  /** All the output there ever was, in bytes; null from a foreign agent. */
  readonly outputBytes: number | null;
}

/** What the screen cannot show: whether the program reads the terminal, and whether it echoes. */
export interface TerminalState {
  readonly echo: boolean;
  readonly canonical: boolean;
  /** The foreground process is blocked reading the terminal; null when the agent cannot tell. */
  readonly reading: boolean | null;
  readonly foreground: string;
}

/** How the caller proved who it is, as far as its transport can tell. */
export type Proof =
  | { readonly kind: 'secret'; readonly token: string }
  | { readonly kind: 'peer'; readonly uid: number; readonly gid: number; readonly pid: number }
  | ({ readonly kind: 'certificate' } & ShownCertificate)
  | { readonly kind: 'none' };

/** What an agent was let in by, without what must not be kept. */
export type Proven =
  | { readonly kind: 'certificate'; readonly serial: string; readonly until: number }
  | { readonly kind: 'peer-credentials' }
  | { readonly kind: 'secret' };

/** What the transport tells the house. The output path is hot: no allocation per call beyond the bytes. */
export interface AgentListener {
  /** Throws Failure('unauthenticated' | 'forbidden') unless the proof is this agent's. */
  admit(proof: Proof, agent: string, instanceId: string): Promise<void>;
  /**
   * A newer link of the same agent supersedes the older one. Resolves when it is durable; then the agent is
   * acknowledged.
   */
  connected(link: AgentLink, registration: Registration): Promise<void>;
  reported(link: AgentLink, sessions: readonly ReportedSession[]): Promise<void>;
  heartbeat(link: AgentLink, facts: HeartbeatFacts): void;
  metrics(link: AgentLink, facts: MetricFacts): void;
  /** The bytes are good until this returns. */
  output(link: AgentLink, session: SessionId, chunk: OutputBytes): void;
  terminalState(link: AgentLink, session: SessionId, state: TerminalState): void;
  result(link: AgentLink, result: SessionResult): Promise<void>;
  lost(link: AgentLink, reason: string): void;
}

export interface OutputBytes {
  readonly stream: 'stdout' | 'stderr' | 'log';
  readonly bytes: Uint8Array;
  /** Absolute offset of the first byte over all streams of the session; null from a foreign agent. */
  readonly offset: number | null;
}
