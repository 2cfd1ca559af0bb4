/**
 * The true screen of a PTY, behind its recording by as little as the processor allows.
 *
 * It pulls from the recording, in bounded bites with a turn of the event loop between them, so that a flood
 * keeps nobody waiting; a plain flood is forwarded over [T6]. Exactly one terminal answers what a program
 * asks: this one, and never while it is being rebuilt from the past [T5].
 */
import { SerializeAddon } from '@xterm/addon-serialize';
import { type ITerminalAddon, Terminal } from '@xterm/headless';
import type { TerminalState } from '../agent-link.ts';
import type { Clock } from '../clock.ts';
import type { ScreenView } from '../terminal.ts';
import { type ScreenFacts, screenFacts } from './asking-screen.ts';
import { fingerprintOf } from './fingerprint.ts';
import { coloursOf, endsLine, firstLineStart, heldFrom, plainOf, unfinishedOf } from './forward.ts';
import { carry, type InnerState, innerStateOf } from './inner-state.ts';
import type { Recording, Resize } from './recording.ts';
import { answerColours } from './replies.ts';

export const SCROLLBACK_LINES = 1_000;
/** Parsed in one turn: 3 to 5 ms. */
const PARSE_BYTES = 64 << 10;
/** Looked at as one piece of a flood: enough for the lines of screen and scrollback. */
const BITE_BYTES = 256 << 10;
/** Behind by more, it is worth looking whether the flood is plain. */
const FORWARD_BYTES = 512 << 10;
/** After so much at once nobody reads along: what comes within this time may be forwarded over. */
const RUSH_BYTES = 32 << 10;
const RUSH_MS = 200;
const TAIL_LINES = 50;
/** Looked through in one turn, and how much of a bite may be the beginning of a sequence or character. */
const FORWARD_BITES = 4;
const UNFINISHED_BYTES = 64;
const COLOURS_MAX = 1_024;
/** A sequence that began earlier is not looked for. */
const LOOKBACK_BYTES = 4_096;
/** ParserState.GROUND of xterm.js; should a release number it otherwise, every byte is parsed. */
const PARSER_GROUND = 0;

/** What is only looked through is read into these in turns: a flood of garbage would be memory. */
const scratch = [Buffer.alloc(BITE_BYTES), Buffer.alloc(BITE_BYTES)] as const;

export const terminalOptions = {
  scrollback: SCROLLBACK_LINES,
  allowProposedApi: true,
  logLevel: 'off',
} as const;

/** What a screen is drawn from: a recording, or the part of one up to a place. */
export type Source = Pick<Recording, 'first' | 'next' | 'slice' | 'resizes'>;

export interface Checkpoint {
  readonly offset: number;
  readonly cols: number;
  readonly rows: number;
  /** What brings an empty terminal of that size to that screen. */
  readonly serialized: string;
  readonly title?: string;
  /** What is not seen and matters for what comes next. */
  readonly inner?: InnerState;
  /** By which it is known whether it brings back the same screen. */
  readonly fingerprint?: string;
}

export interface ScreenOptions {
  readonly recording: Source;
  readonly clock: Clock;
  readonly cols: number;
  readonly rows: number;
  /** Where to begin; null: at the beginning of the recording. */
  readonly checkpoint: Checkpoint | null;
  readonly onReply: (bytes: Uint8Array) => void;
  /** Everything that was recorded is on the screen. */
  readonly onCaughtUp: () => void;
  /** After every bite, also when there is more: a flood may never be caught up with. */
  readonly onBite?: (screen: Screen) => void;
}

export class Screen {
  readonly #options: ScreenOptions;
  readonly #terminal: Terminal;
  readonly #serializer = new SerializeAddon();
  readonly #resizes: Resize[];
  readonly #waiting: { readonly wanted: number; readonly resolve: () => void }[] = [];
  /** Questions before it are of the past and were answered then. */
  readonly #answersFrom: number;
  #parsed: number;
  /** Parsed up to here, and a line begins here. */
  #alignedAt = -1;
  #isAnswering = false;
  /** The checkpoint it begins with is drawn. */
  #hasBegun: boolean;
  #title = '';
  #isPulling = false;
  #pause: unknown = null;
  #isClosed = false;
  #serialized: (Checkpoint & { readonly parsed: number }) | null = null;

  constructor(options: ScreenOptions) {
    const { recording, checkpoint, onReply } = options;
    this.#options = options;
    const { cols, rows } = checkpoint ?? options;
    this.#terminal = new Terminal({ ...terminalOptions, cols, rows });
    // Written for the browser's terminal, and of this one it uses only what both have.
    this.#terminal.loadAddon(this.#serializer as unknown as ITerminalAddon);
    this.#answersFrom = recording.next;
    this.#parsed = Math.max(checkpoint?.offset ?? 0, recording.first);
    this.#resizes = recording.resizes(this.#parsed);
    const reply = (text: string) => {
      if (this.#isAnswering) onReply(Buffer.from(text, 'utf8'));
    };
    this.#terminal.onData(reply);
    this.#terminal.onBinary((text) => reply(text));
    this.#terminal.onTitleChange((title) => {
      this.#title = title;
    });
    answerColours(this.#terminal, reply);
    this.#hasBegun = checkpoint === null;
    if (checkpoint) this.#begin(checkpoint);
    else this.pull();
  }

  /** Nothing is parsed, and no size changed, before it is drawn. */
  #begin({ serialized, title, inner }: Checkpoint): void {
    this.#isPulling = true;
    this.#terminal.write(serialized, () => {
      if (inner) carry(this.#terminal, inner);
      if (title !== undefined) this.#title = title;
      this.#hasBegun = true;
      this.#bite();
    });
  }

  get parsed(): number {
    return this.#parsed;
  }

  get size(): { readonly cols: number; readonly rows: number } {
    return { cols: this.#terminal.cols, rows: this.#terminal.rows };
  }

  /** From the next byte on. */
  resize(cols: number, rows: number): void {
    this.#resizes.push({ offset: this.#options.recording.next, cols, rows });
    this.pull();
  }

  /** There may be more in the recording. */
  pull(): void {
    if (this.#isPulling || this.#isClosed) return;
    this.#isPulling = true;
    this.#bite();
  }

  #goOn(parsedBytes: number, isPlain: boolean): void {
    const behind = this.#options.recording.next - this.#parsed;
    const mayWait =
      isPlain && parsedBytes >= RUSH_BYTES && behind <= FORWARD_BYTES && this.#waiting.length === 0;
    if (!mayWait) return void setImmediate(() => this.#bite());
    this.#pause = this.#options.clock.setTimeout(() => this.#resume(), RUSH_MS);
  }

  #resume(): void {
    if (this.#pause === null) return;
    this.#options.clock.clearTimeout(this.#pause);
    this.#pause = null;
    this.#bite();
  }

  /** Resolves when everything that was recorded before this call has been parsed. */
  async settled(): Promise<void> {
    const wanted = this.#options.recording.next;
    while (!this.#isClosed && !this.#isShown(wanted)) {
      const caught = new Promise<void>((resolve) => this.#waiting.push({ wanted, resolve }));
      this.#resume();
      this.pull();
      await caught;
    }
  }

  view(): ScreenView {
    const terminal = this.#terminal;
    const buffer = terminal.buffer.active;
    const line = (y: number) => buffer.getLine(y)?.translateToString(true) ?? '';
    const rows = Array.from({ length: terminal.rows }, (_, row) => line(buffer.baseY + row));
    const above = Math.min(TAIL_LINES, buffer.baseY);
    return {
      cols: terminal.cols,
      rows: terminal.rows,
      text: rows.join('\n').trimEnd(),
      cursor: { row: buffer.cursorY, col: buffer.cursorX, visible: this.facts(null).cursor.visible },
      alternate: buffer.type === 'alternate',
      scrollback: Array.from({ length: above }, (_, i) => line(buffer.baseY - above + i)),
      title: this.#title,
      offset: this.#parsed,
    };
  }

  facts(evidence: TerminalState | null): ScreenFacts {
    return screenFacts(this.#terminal, evidence);
  }

  /** What brings another terminal to this screen. The same object while nothing has changed. */
  serialize(): Checkpoint {
    const { cols, rows } = this.#terminal;
    const held = this.#serialized;
    const parsed = this.#parsed;
    if (held && held.parsed === parsed && held.cols === cols && held.rows === rows) return held;
    const serialized = this.#serializer.serialize() + this.#unserialized();
    this.#serialized = { offset: parsed - this.#unfinishedBytes(), cols, rows, serialized, parsed };
    return this.#serialized;
  }

  /** What another screen can go on from as this one does; null where something cannot be carried over. */
  checkpoint(): Checkpoint | null {
    const inner = innerStateOf(this.#terminal);
    if (!inner) return null;
    const { offset, cols, rows, serialized } = this.serialize();
    const fingerprint = fingerprintOf(this.#terminal, this.#serializer.serialize());
    return { offset, cols, rows, serialized, title: this.#title, inner, fingerprint };
  }

  /**
   * What was begun and has no effect yet, a sequence or a character, is for who goes on from here to read
   * whole.
   */
  #unfinishedBytes(): number {
    const { recording } = this.#options;
    const from = Math.max(recording.first, this.#parsed - LOOKBACK_BYTES);
    const parts: Uint8Array[] = [];
    for (let at = from; at < this.#parsed; ) {
      const { bytes, next, gapBytes } = recording.slice(at, this.#parsed - at);
      if (gapBytes > 0) parts.length = 0;
      if (bytes.length === 0) break;
      parts.push(bytes);
      at = next;
    }
    return unfinishedOf(Buffer.concat(parts), this.#isInGround());
  }

  /** What the serializer leaves out: a scroll region, and whether the cursor is hidden. */
  #unserialized(): string {
    const { scrollTop, scrollBottom } = this.#region();
    const { cursorX, cursorY } = this.#terminal.buffer.active;
    const isWhole = scrollTop === 0 && scrollBottom === this.#terminal.rows - 1;
    const isKnown = typeof scrollTop === 'number' && typeof scrollBottom === 'number';
    // Setting a region sends the cursor home.
    const region =
      isWhole || !isKnown
        ? ''
        : `\x1b[${scrollTop + 1};${scrollBottom + 1}r\x1b[${cursorY + 1};${cursorX + 1}H`;
    return `${region}${this.facts(null).cursor.visible ? '' : '\x1b[?25l'}`;
  }

  #region(): { readonly scrollTop?: unknown; readonly scrollBottom?: unknown } {
    const inner: { _core?: { buffer?: { scrollTop?: unknown; scrollBottom?: unknown } } } = Object(
      this.#terminal,
    );
    return inner._core?.buffer ?? {};
  }

  close(): void {
    this.#isClosed = true;
    if (this.#pause !== null) this.#options.clock.clearTimeout(this.#pause);
    this.#terminal.dispose();
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  #bite(): void {
    if (this.#isClosed) return;
    const { recording } = this.#options;
    this.#applyResizes();
    this.#wake();
    const until = this.#resizes[0]?.offset ?? recording.next;
    if (this.#parsed >= until) return this.#rest();
    const isBehind = until - this.#parsed > FORWARD_BYTES;
    const wasAt = this.#parsed;
    const wasAligned = this.#alignedAt === wasAt;
    if (isBehind) this.#forward(until);
    const hasForwarded = this.#parsed > wasAt;
    // The screen shows less than is counted as parsed, so nobody may look before the next bite is parsed. Who
    // begins to wait from here on waits for more than that.
    if (hasForwarded && this.#waiting.length === 0 && until - this.#parsed > FORWARD_BYTES) {
      return void setImmediate(() => this.#bite());
    }
    // What is of the past and what is of now are never in one bite.
    const isPast = this.#parsed < this.#answersFrom;
    const limit = isPast ? Math.min(until, this.#answersFrom) : until;
    const slice = recording.slice(this.#parsed, Math.min(PARSE_BYTES, limit - this.#parsed));
    if (slice.bytes.length === 0 || slice.from >= limit) {
      // Only a gap, or what is lost, is there.
      this.#parsed = limit;
      return void setImmediate(() => this.#bite());
    }
    // Behind a gap it may reach over a change of size.
    const there = slice.bytes.subarray(0, limit - slice.from);
    // To the next line only, where the next bite may forward from; but one that could not is parsed whole.
    const lineStart = isBehind && !wasAligned ? firstLineStart(there) : -1;
    const bytes = lineStart > 0 ? there.subarray(0, lineStart) : there;
    const next = slice.from + bytes.length;
    this.#isAnswering = !isPast;
    this.#terminal.write(bytes, () => {
      this.#parsed = next;
      if (lineStart > 0 || endsLine(bytes)) this.#alignedAt = next;
      this.#options.onBite?.(this);
      this.#goOn(bytes.length, hasForwarded || !isBehind);
    });
  }

  #rest(): void {
    this.#isPulling = false;
    this.#wake();
    this.#options.onCaughtUp();
  }

  #isShown(wanted: number): boolean {
    const size = this.#resizes[0];
    return this.#hasBegun && this.#parsed >= wanted && (size === undefined || size.offset > wanted);
  }

  /** A flood may never end: who waits for an offset waits for no more than that. */
  #wake(): void {
    const waiting = this.#waiting.splice(0);
    for (const one of waiting) {
      if (this.#isShown(one.wanted)) one.resolve();
      else this.#waiting.push(one);
    }
  }

  #applyResizes(): void {
    for (let next = this.#resizes[0]; next && next.offset <= this.#parsed; next = this.#resizes[0]) {
      this.#terminal.resize(next.cols, next.rows);
      this.#serialized = null;
      this.#resizes.shift();
    }
  }

  /** Drops the beginning of a plain stretch whose end alone fills screen and scrollback. */
  #forward(until: number): void {
    if (this.#alignedAt !== this.#parsed || !this.#isAtRest()) return;
    const { recording } = this.#options;
    const needed = SCROLLBACK_LINES + this.#terminal.rows;
    let colours: Uint8Array[] = [];
    let held: Uint8Array = new Uint8Array();
    let at = this.#parsed;
    // Bounded: the next bite goes on where this one stops.
    for (let bites = 0; bites < FORWARD_BITES && until - at > BITE_BYTES; bites++) {
      const { bytes, next, gapBytes } = recording.slice(at, BITE_BYTES, scratch[bites % 2]);
      const start = bytes.length === 0 || gapBytes > 0 ? -1 : firstLineStart(bytes);
      if (start < 0) break;
      const { length, lineEnds } = plainOf(bytes, start);
      if (length < bytes.length - UNFINISHED_BYTES || lineEnds <= needed) break;
      colours.push(...coloursOf(held), ...coloursOf(bytes.subarray(0, start)));
      if (colours.length > COLOURS_MAX) {
        this.#terminal.write(Buffer.concat(colours));
        colours = [];
      }
      held = bytes.subarray(start, length);
      // An unfinished sequence or character at its end is read again with what follows it.
      at = next - (bytes.length - length);
    }
    if (held.length === 0) return;
    const dropped = heldFrom(held, needed);
    colours.push(...coloursOf(held.subarray(0, dropped)));
    held = held.subarray(dropped);
    this.#parsed = at - held.length;
    // A line begins here: what is dropped ends one.
    this.#alignedAt = this.#parsed;
    if (colours.length > 0) this.#terminal.write(Buffer.concat(colours));
  }

  /** A checkpoint may be taken here: nothing is half said. */
  get isAtRest(): boolean {
    return !this.#isClosed && this.#isAtRest();
  }

  /** The parser is inside no sequence, and plain text moves the whole screen: no part of it is set apart. */
  #isAtRest(): boolean {
    const { scrollTop, scrollBottom } = this.#region();
    return this.#isInGround() && scrollTop === 0 && scrollBottom === this.#terminal.rows - 1;
  }

  #isInGround(): boolean {
    const inner: { _core?: { _inputHandler?: { _parser?: { currentState?: unknown } } } } = Object(
      this.#terminal,
    );
    return inner._core?._inputHandler?._parser?.currentState === PARSER_GROUND;
  }
}
