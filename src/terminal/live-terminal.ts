/** One terminal: its recording, its screen, its audience, and who looks for questions on it. */
import type { TerminalState } from '../agent-link.ts';
import type { Clock } from '../clock.ts';
import type { SessionId } from '../ids.ts';
import type {
  AskedOnScreen,
  Attachment,
  AttachOptions,
  Members,
  ScreenView,
  Slice,
  Terminal,
  TerminalSpec,
  Viewer,
} from '../terminal.ts';
import type { ScreenFacts } from './asking-screen.ts';
import { FanOut } from './fan-out.ts';
import type { Recording } from './recording.ts';
import { type Checkpoint, Screen } from './screen.ts';
import type { SeatLimits } from './seat.ts';
import { tailOf } from './tail.ts';
import { Watch } from './watch.ts';

/** `recorded` is told at most so often, but whenever so much has come: the agent waits for it. */
const RECORDED_MS = 50;
const RECORDED_BYTES = 32 << 10;
const READ_BYTES_MAX = 1 << 20;

export interface TerminalOptions {
  readonly session: SessionId;
  readonly spec: TerminalSpec;
  readonly recording: Recording;
  readonly checkpoint: Checkpoint | null;
  readonly clock: Clock;
  readonly limits: SeatLimits;
  readonly onReply: (bytes: Uint8Array) => void;
  readonly onAsking: (question: AskedOnScreen | null) => void;
  readonly onRecorded: (offset: number) => void;
  readonly onBite: (screen: Screen) => void;
  readonly onSkipped: () => void;
  /** Null: nobody looks for questions, as on a terminal that has ended. */
  readonly read: ((facts: ScreenFacts) => AskedOnScreen | null) | null;
}

export class LiveTerminal implements Terminal {
  readonly session: SessionId;
  readonly spec: TerminalSpec;
  readonly #options: TerminalOptions;
  readonly #recording: Recording;
  readonly #screen: Screen | null;
  readonly #watch: Watch | null;
  readonly #audience: FanOut;
  #toldOffset: number;
  #toldAt = 0;
  /** The screen may be behind it. */
  #size: { readonly cols: number; readonly rows: number };
  #timer: unknown = null;

  constructor(options: TerminalOptions) {
    const {
      session,
      spec,
      recording,
      checkpoint,
      clock,
      limits,
      read,
      onReply,
      onAsking,
      onBite,
      onSkipped,
    } = options;
    this.session = session;
    this.spec = spec;
    this.#options = options;
    this.#recording = recording;
    this.#toldOffset = recording.next;
    const { cols, rows } = spec;
    this.#size = recording.resizes(checkpoint?.offset ?? recording.first).at(-1) ?? checkpoint ?? spec;
    this.#screen = spec.pty
      ? new Screen({
          recording,
          clock,
          cols,
          rows,
          checkpoint,
          onReply,
          onCaughtUp: () => {},
          onBite,
        })
      : null;
    const isReopened = recording.next > 0;
    this.#watch =
      this.#screen && read ? new Watch({ clock, screen: this.#screen, read, onAsking, isReopened }) : null;
    this.#audience = new FanOut({
      clock,
      limits,
      next: recording.next,
      slice: (from, maxBytes, into) => recording.slice(from, maxBytes, into),
      screen: () => this.#checkpoint(),
      skipped: onSkipped,
    });
  }

  /** For its numbers. */
  get recording(): Recording {
    return this.#recording;
  }

  get isWatched(): boolean {
    return !this.#audience.isEmpty;
  }

  get size(): { readonly cols: number; readonly rows: number } {
    return this.#size;
  }

  nextOffset(): number {
    return this.#recording.next;
  }

  output(stream: 'stdout' | 'stderr' | 'log', bytes: Uint8Array, offset: number | null): number {
    const { fresh, from } = this.#recording.output(stream, bytes, offset);
    if (fresh.length === 0) return this.#recording.next;
    this.#audience.output(fresh, from);
    this.#screen?.pull();
    this.#watch?.stir();
    this.#tellRecorded();
    return this.#recording.next;
  }

  resized(cols: number, rows: number): void {
    const now = this.size;
    if (now.cols === cols && now.rows === rows) return;
    this.#size = { cols, rows };
    this.#recording.resized(cols, rows);
    this.#screen?.resize(cols, rows);
    this.#audience.resized(cols, rows);
    this.#watch?.stir();
  }

  ended(exitCode: number | null, reason: string): void {
    this.#recording.ended(exitCode, reason);
    this.#told();
    this.#audience.ended(exitCode, reason);
    this.#watch?.close();
  }

  async screen(): Promise<ScreenView> {
    if (!this.#screen) return tailOf(this.#recording, { ...this.spec, next: this.#recording.next });
    await this.#screen.settled();
    return this.#screen.view();
  }

  evidence(state: TerminalState | null): void {
    this.#watch?.evidence(state);
  }

  read(from: number, maxBytes: number): Promise<Slice> {
    return Promise.resolve(this.#recording.slice(Math.max(0, from), Math.min(maxBytes, READ_BYTES_MAX)));
  }

  attach(viewer: Viewer, options: AttachOptions): Attachment {
    const from = options.from ?? (this.#screen ? null : 0);
    const there = from === null ? null : Math.min(Math.max(0, from), this.#recording.next);
    return this.#audience.attach(viewer, { ...options, from: there });
  }

  members(): Members {
    return this.#audience.members();
  }

  close(): void {
    if (this.#timer !== null) this.#options.clock.clearTimeout(this.#timer);
    this.#watch?.close();
    this.#screen?.close();
    this.#audience.close();
    this.#recording.close();
  }

  async erase(): Promise<void> {
    this.close();
    await this.#recording.erase();
  }

  /** Viewers are told how it ended when it is looked at again later. */
  recalled(): this {
    const ending = this.#recording.ending();
    if (ending) this.#audience.ended(ending.exitCode, ending.reason);
    return this;
  }

  async #checkpoint(): Promise<Checkpoint | null> {
    await this.#screen?.settled();
    return this.#screen?.serialize() ?? null;
  }

  #tellRecorded(): void {
    const { clock } = this.#options;
    if (this.#recording.next - this.#toldOffset >= RECORDED_BYTES) return this.#told();
    if (this.#timer !== null) return;
    const sinceMs = clock.now() - this.#toldAt;
    if (sinceMs >= RECORDED_MS) return this.#told();
    this.#timer = clock.setTimeout(() => this.#told(), RECORDED_MS - sinceMs);
  }

  #told(): void {
    const { clock, onRecorded } = this.#options;
    if (this.#timer !== null) clock.clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#recording.next === this.#toldOffset) return;
    this.#toldOffset = this.#recording.next;
    this.#toldAt = clock.now();
    onRecorded(this.#toldOffset);
  }
}
