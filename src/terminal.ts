/**
 * The data plane: bytes from agents to recordings, screens and viewers.
 *
 * No actor, JSON or base64 is on this path. `src/terminal/` implements it; the transport
 * feeds it through the wiring, and the doors read it.
 */
import type { TerminalState } from './agent-link.ts';
import type { SessionId } from './ids.ts';

export interface TerminalSpec {
  readonly cols: number;
  readonly rows: number;
  /** False for a piped process: it has a recording and no screen worth reading. */
  readonly pty: boolean;
}

export interface Terminals {
  /**
   * Opens the recording and, for a PTY, rebuilds the screen from it. A second call returns the same terminal.
   */
  open(session: SessionId, spec: TerminalSpec): Terminal;
  find(session: SessionId): Terminal | null;
  /** Opens the recording of an ended session for reading; null when there is none. */
  recall(session: SessionId): Promise<Terminal | null>;
  /** Lets go of screen and viewers; the recording stays on disk. */
  release(session: SessionId): void;
  /** Deletes the recording. */
  erase(session: SessionId): Promise<void>;
  close(): Promise<void>;
}

export interface Terminal {
  readonly session: SessionId;
  readonly spec: TerminalSpec;
  /** The next byte wanted: everything below it is in the recording. */
  nextOffset(): number;
  /** Somebody is attached. */
  readonly isWatched: boolean;
  /**
   * Takes bytes at an absolute offset (null: append). Bytes already held are dropped; a jump is recorded as a
   * gap, never hidden. Written to the operating system when it returns; returns `nextOffset()`.
   */
  output(stream: 'stdout' | 'stderr' | 'log', bytes: Uint8Array, offset: number | null): number;
  resized(cols: number, rows: number): void;
  ended(exitCode: number | null, reason: string): void;
  /** The screen once everything so far has been parsed. */
  screen(): Promise<ScreenView>;
  /**
   * Evidence from the agent, for the readers of questions; null: it cannot tell any. A terminal that was
   * opened on a recording with bytes in it, as after a restart, is not read before.
   */
  evidence(state: TerminalState | null): void;
  /** Recorded bytes from an offset; `bytes` is empty at the end. At most 1 MiB a call. */
  read(from: number, maxBytes: number): Promise<Slice>;
  attach(viewer: Viewer, options: AttachOptions): Attachment;
  members(): Members;
}

export interface Slice {
  readonly from: number;
  readonly stream: 'stdout' | 'stderr' | 'log';
  readonly bytes: Uint8Array;
  /** Offset after the last byte of this slice. */
  readonly next: number;
  /** Bytes missing before `from`, when a gap was recorded there. */
  readonly gapBytes: number;
  /** When the first byte of the slice was recorded. */
  readonly at: number;
}

export interface ScreenView {
  readonly cols: number;
  readonly rows: number;
  /** The visible lines, trailing blanks trimmed, joined by newlines. */
  readonly text: string;
  readonly cursor: { readonly row: number; readonly col: number; readonly visible: boolean };
  readonly alternate: boolean;
  /** The last lines above the screen, oldest first; at most 50. */
  readonly scrollback: readonly string[];
  /** The window title that the program set, empty when it set none. */
  readonly title: string;
  /** Everything below this offset is on the screen. */
  readonly offset: number;
}

export type Role = 'controller' | 'observer';

/** One attached WebSocket, seen from the fan-out. */
export interface Viewer {
  readonly id: string;
  readonly label: string;
  /**
   * Sends a binary frame; returns the bytes still unsent on this connection, -1 when it is closed. The frame
   * is used again after it has returned.
   */
  send(frame: Uint8Array): number;
  /** Sends a small JSON message. */
  tell(message: { readonly type: string; readonly [key: string]: unknown }): void;
}

export interface AttachOptions {
  readonly role: Role;
  /** Replay the recording from this offset; null: a serialized screen first, then live bytes. */
  readonly from: number | null;
}

export interface Attachment {
  readonly role: Role;
  /** Takes or gives up control; true when it has it afterwards. Taking is told to everyone attached. */
  control(action: 'take' | 'release'): boolean;
  /** The viewer has shown everything below `offset`; a viewer that acknowledges is paced by it. */
  acknowledge(offset: number): void;
  /** The connection can take more. */
  drained(): void;
  /** A fresh serialized screen now. */
  refresh(): void;
  detach(): void;
}

export interface Members {
  readonly controller: string | null;
  readonly observers: readonly string[];
}

/** What the data plane tells the house. */
export interface TerminalListener {
  /** The screen asks the world something (cursor position, attributes): exactly one terminal answers. */
  reply(session: SessionId, bytes: Uint8Array): void;
  /** Output has settled and what the screen asks has changed; null: it asks nothing. */
  asking(session: SessionId, question: AskedOnScreen | null): void;
  /** Everything below `offset` is recorded; called at most every 50 ms per session while bytes flow. */
  recorded(session: SessionId, offset: number): void;
  /** The recording could not be written; the session goes on. */
  recordingFailed(session: SessionId, reason: string): void;
}

export type QuestionKind = 'confirm' | 'choice' | 'text' | 'secret';

/** One way to answer: `keys` are the bytes, as a string, that pick it. */
export interface QuestionOption {
  readonly id: string;
  readonly label: string;
  readonly keys: string;
}

/** A question as it was read off a screen. */
export interface AskedOnScreen {
  readonly kind: QuestionKind;
  /** The question's own words, without frame or marker. */
  readonly question: string;
  /** A few lines around it, for the person who answers. */
  readonly context: string;
  readonly options: readonly QuestionOption[];
  /** 0 to 1; the house asks a human from 0.85. */
  readonly confidence: number;
  /** What must be typed after free text, usually `\r`. */
  readonly submit: string;
  /** The same question asked twice on an unmoved screen has the same fingerprint. */
  readonly fingerprint: string;
}
