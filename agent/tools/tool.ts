/**
 * A tool is a program that does a task's work: how to launch it, how to read what it tells,
 * and how its end is judged. One small file per tool beside this one.
 *
 * Everything here is pure: no file is touched, no process started, no environment read.
 * Whoever launches writes `files` first, starts the program, feeds what it tells to the
 * reader, and hands reader and exit to `outcome`. A tool knows nothing of actors, links or terminals.
 */

/** The manifest's `agent`, in the manifest's words. */
export interface AgentWish {
  readonly tool: 'claude' | 'command';
  readonly mode: 'interactive' | 'headless';
  /** Null only for `command`. */
  readonly prompt: string | null;
  /** Null: the tool's own choice. */
  readonly model: string | null;
  readonly max_turns: number | null;
  readonly allowed_tools: readonly string[];
  readonly skip_permissions: boolean;
  /** A path relative to the working directory, or the configuration itself. */
  readonly mcp_config: string | { readonly [key: string]: unknown } | null;
  /** Interactive: is it over when the tool rests at its prompt, or only when somebody ends it? */
  readonly finish: 'idle' | 'exit';
  /** For the tool `command`: a program and its arguments, never a shell line. */
  readonly command: string | null;
  readonly args: readonly string[];
  readonly env: { readonly [name: string]: string };
}

export interface ToolSpec {
  readonly wish: AgentWish;
  /** Where the program is, from `locateTool`; unused by `command`. */
  readonly program: string;
  /** The directory it works in, as its instance sees it. */
  readonly workDir: string;
  /** Its HOME. */
  readonly home: string;
  /** A directory of this attempt that the instance may write and the collector reads. */
  readonly control: string;
  /** A UUID, new for each attempt: the tool's own name for the conversation where it takes one. */
  readonly conversation: string;
  /** A conversation of an earlier attempt to go on with; null starts afresh. */
  readonly resume: string | null;
  /** Resolved secrets and what the house gives (base URL, API key); wins over the wish's `env`. */
  readonly env: { readonly [name: string]: string };
}

/** Holds resolved secrets in `env`: to be used and forgotten. */
export interface ToolLaunch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: { readonly [name: string]: string };
  /** Written to its standard input, which is then closed; null: there is none (closed, or the PTY). */
  readonly stdin: string | null;
  readonly pty: boolean;
  /** To be written before the start, by someone who can write where the instance reads. */
  readonly files: readonly ToolFile[];
  readonly follow: Following;
}

/**
 * How to follow it to its end. Plain JSON without secrets, so it may be kept; the rest of a launch may not.
 */
export interface Following {
  /** Where it tells how it gets on: its standard output, or a file of JSON lines that grows. */
  readonly tells: { readonly by: 'stdout' } | { readonly by: 'file'; readonly path: string };
  /**
   * The directory below which `ToolProgress.transcript` may lie; what it names elsewhere is not to be opened.
   */
  readonly transcripts: string | null;
  /**
   * `exit`: over when the process is. `idle`: over when the reader's progress says `resting`, and then to be
   * ended.
   */
  readonly done: 'exit' | 'idle';
  /** How to end it politely once it rests. Null when it ends by itself. */
  readonly farewell: Farewell | null;
}

/**
 * It must have rested for `restMs`; then the keys, `pauseMs` apart and only while it lives; `graceMs` later
 * SIGTERM.
 */
export interface Farewell {
  readonly restMs: number;
  readonly keys: readonly string[];
  readonly pauseMs: number;
  readonly graceMs: number;
}

export type ToolFile =
  | { readonly path: string; readonly mode: number; readonly text: string }
  /** Merged into the JSON object that is there: objects deep, lists as sets, the rest replaced. */
  | { readonly path: string; readonly mode: number; readonly merge: { readonly [key: string]: unknown } };

/** What is known so far. Plain JSON; a new object whenever something changed. */
export interface ToolProgress {
  readonly toolCalls: number;
  readonly currentTool: string | null;
  /** Everything read by the model, cached or not. */
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWriteTokens: number;
  /** Null until the tool tells. */
  readonly costUsd: number | null;
  readonly turns: number;
  readonly model: string | null;
  /** The tool's closing words; null until it has closed. */
  readonly summary: string | null;
  readonly lastText: string | null;
  readonly isError: boolean;
  /** Why, in one word or a few, when `isError`. */
  readonly errorKind: string | null;
  /** The tool's name for this conversation, to resume it. */
  readonly conversation: string | null;
  /**
   * It has finished its turn and waits for a next prompt that nobody owes it. False again once somebody gives
   * one.
   */
  readonly resting: boolean;
  /**
   * Its own jobs that still run behind a finished turn and may wake it; it does not rest before they have
   * ended.
   */
  readonly background: number;
  /**
   * A person stopped it in the middle ("No" to a permission, Escape); it waits to be told what to do instead.
   */
  readonly interrupted: boolean;
  /**
   * A further file of JSON lines to be read too (`feed` with its name), once the tool has said where it is.
   */
  readonly transcript: string | null;
  /** Lines that could not be read, for the log. */
  readonly junkLines: number;
}

export interface ToolReader {
  /** Takes bytes as they come, cut anywhere; true when the progress changed. */
  feed(bytes: Uint8Array, source?: 'told' | 'transcript'): boolean;
  progress(): ToolProgress;
}

export type ToolOutcome =
  | { readonly ok: true; readonly summary: string | null }
  | { readonly ok: false; readonly reason: string; readonly summary: string | null };

export interface Tool {
  readonly name: AgentWish['tool'];
  launch(spec: ToolSpec): ToolLaunch;
  reader(): ToolReader;
  /** Null: the process never told its exit code. Ended by us after resting counts as exit 0. */
  outcome(exitCode: number | null, progress: ToolProgress): ToolOutcome;
}

export const noProgress: ToolProgress = {
  toolCalls: 0,
  currentTool: null,
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
  costUsd: null,
  turns: 0,
  model: null,
  summary: null,
  lastText: null,
  isError: false,
  errorKind: null,
  conversation: null,
  resting: false,
  background: 0,
  interrupted: false,
  transcript: null,
  junkLines: 0,
};
