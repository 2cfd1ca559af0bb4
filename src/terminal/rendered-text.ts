/**
 * A recording as a person would read it: the lines as they scrolled off the screen, then what is left on it.
 *
 * It is drawn on a terminal of its own, so a progress bar is one line and a redraw is not told twice. Lines
 * that only were as long as the terminal was wide are one again. The bytes go in by bites that cannot scroll
 * off more than the terminal holds, so no line is missed but by nonsense (a character repeated ten thousands
 * of times by one sequence).
 */
import { type IBuffer, type IMarker, Terminal } from '@xterm/headless';
import type { Slice } from '../terminal.ts';
import type { Recording, Resize } from './recording.ts';
import type { Stream } from './records.ts';
import { terminalOptions } from './screen.ts';

/** Scrolled off by one bite at most; twice as many are held. */
const HELD_LINES = 2_000;
const BITE_BYTES = 64 << 10;
/** Handed on as one piece. */
const PIECE_CHARACTERS = 32 << 10;

export const missing = (bytes: number): string => `[… ${bytes} bytes missing …]`;

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** What has no screen: its bytes as text. */
export async function* pipedText(recording: Recording): AsyncGenerator<string> {
  const decoders = new Map<Stream, TextDecoder>();
  const rest = () => [...decoders.values()].map((decoder) => decoder.decode()).join('');
  for (let at = recording.first; ; ) {
    const slice = recording.slice(at, BITE_BYTES);
    if (slice.gapBytes > 0) yield `${rest()}\n${missing(slice.gapBytes)}\n`;
    if (slice.bytes.length === 0) {
      checkEnd(recording, at);
      return yield rest();
    }
    const decoder = decoders.get(slice.stream) ?? new TextDecoder();
    decoders.set(slice.stream, decoder);
    yield decoder.decode(slice.bytes, { stream: true });
    at = slice.next;
    await turn();
  }
}

/** Files that are gone look like an end. */
function checkEnd(recording: Recording, at: number): void {
  if (at < recording.next) throw new Error('the recording was removed while it was read');
}

/** How many bytes of it cannot scroll off more lines than are held. */
function biteOf(bytes: Uint8Array, cols: number): number {
  let lines = 0;
  const perByte = 1 / cols;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    lines += perByte;
    // Line ends, and whatever may begin a sequence that is one.
    if ((byte >= 10 && byte <= 12) || byte === 27 || byte === 0xc2) lines += 1;
    if (lines > HELD_LINES) return Math.max(1, i);
  }
  return bytes.length;
}

interface InnerBuffer {
  readonly addMarker?: (y: number) => IMarker;
}

/** The lines of a terminal that have scrolled off, each once, also when a change of size wraps them anew. */
class ScrolledOff {
  readonly #terminal: Terminal;
  /** The first line above the screen when it was set, and how many from it on have been taken. */
  #marker: IMarker | undefined;
  #taken = 0;
  #isFirst = true;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    this.#mark(0);
  }

  /** Whole lines above the screen that were not taken before. */
  take(): string {
    const { normal } = this.#terminal.buffer;
    const from = this.#from();
    let to = normal.baseY;
    // A line that goes on down on the screen is taken as a whole later, unless it fills everything.
    while (to > from && normal.getLine(to)?.isWrapped) to -= 1;
    if (to === from && normal.baseY - from > HELD_LINES / 2) to = normal.baseY;
    const text = this.#lines(normal, from, to);
    this.#mark(Math.max(from, to));
    return text;
  }

  /**
   * Gives the terminal another size. What was not taken is known by its lines, whatever they are wrapped to.
   */
  resize(cols: number, rows: number): void {
    const { normal } = this.#terminal.buffer;
    const from = this.#from();
    let lines = 0;
    for (let y = normal.baseY + normal.cursorY; y >= from; y--) if (!normal.getLine(y)?.isWrapped) lines += 1;
    this.#terminal.resize(cols, rows);
    let y = normal.baseY + normal.cursorY + 1;
    while (lines > 0 && y > 0) {
      y -= 1;
      if (!normal.getLine(y)?.isWrapped) lines -= 1;
    }
    this.#mark(y);
  }

  /** Those on the screen too, and what another screen shows in front of it. */
  rest(): string {
    const { normal, active } = this.#terminal.buffer;
    const text = this.#lines(normal, this.#from(), filledTo(normal));
    if (active.type === 'normal') return text;
    return text + this.#lines(active, 0, filledTo(active));
  }

  #from(): number {
    const line = this.#marker?.isDisposed === false ? this.#marker.line : -1;
    return line < 0 ? 0 : line + this.#taken;
  }

  /** In the normal screen, also while the other one is shown, which the public way does not allow. */
  #mark(from: number): void {
    const { normal, active } = this.#terminal.buffer;
    const inner = (Object(normal) as { readonly _buffer?: InnerBuffer })._buffer;
    const mayMark = inner?.addMarker !== undefined || active.type === 'normal';
    if (!mayMark) {
      this.#taken += from - this.#from();
      return;
    }
    this.#marker?.dispose();
    this.#marker = inner?.addMarker?.(normal.baseY) ?? this.#terminal.registerMarker(-normal.cursorY);
    this.#taken = from - normal.baseY;
  }

  #lines(buffer: IBuffer, from: number, to: number): string {
    let text = '';
    for (let y = from; y < to; y++) {
      const line = buffer.getLine(y);
      const goesOn = buffer.getLine(y + 1)?.isWrapped ?? false;
      if (!line?.isWrapped && !this.#isFirst) text += '\n';
      this.#isFirst = false;
      const shown = line?.translateToString(!goesOn) ?? '';
      text += goesOn ? shown : shown.trimEnd();
    }
    return text;
  }
}

/** Where the last line ends that holds something. */
function filledTo(buffer: IBuffer): number {
  for (let y = buffer.length - 1; y >= 0; y--)
    if ((buffer.getLine(y)?.translateToString(true) ?? '') !== '') return y + 1;
  return 0;
}

/** Bytes, gaps and changes of size in their order. */
function* eventsOf(recording: Recording): Generator<Slice | Resize> {
  let at = recording.first;
  const sizes = recording.resizes(at);
  for (;;) {
    for (let size = sizes[0]; size && size.offset <= at; size = sizes[0]) {
      sizes.shift();
      yield size;
    }
    const limit = sizes[0]?.offset ?? Number.POSITIVE_INFINITY;
    const slice = recording.slice(at, Math.min(BITE_BYTES, limit - at));
    if (slice.bytes.length === 0) {
      if (limit === Number.POSITIVE_INFINITY) return checkEnd(recording, at);
      at = limit;
      continue;
    }
    const bytes = slice.bytes.subarray(0, Math.max(0, limit - slice.from));
    yield { ...slice, bytes };
    at = Math.min(slice.next, Math.max(at, limit));
  }
}

/** For what has a screen. */
export async function* renderedText(
  recording: Recording,
  size: { readonly cols: number; readonly rows: number },
): AsyncGenerator<string> {
  const terminal = new Terminal({ ...terminalOptions, ...size, scrollback: 2 * HELD_LINES });
  try {
    const off = new ScrolledOff(terminal);
    const write = (bytes: Uint8Array | string) =>
      new Promise<void>((resolve) => terminal.write(bytes, resolve));
    let piece = '';
    for (const event of eventsOf(recording)) {
      if ('cols' in event) {
        off.resize(event.cols, event.rows);
        continue;
      }
      if (event.gapBytes > 0) {
        piece += off.take();
        // What was begun before it is not gone on with after it.
        if (terminal.buffer.active.type === 'normal') {
          await write(
            `\x18${terminal.buffer.active.cursorX > 0 ? '\r\n' : ''}${missing(event.gapBytes)}\r\n`,
          );
        } else piece += `\n${missing(event.gapBytes)}`;
      }
      for (let rest = event.bytes; rest.length > 0; ) {
        const bite = biteOf(rest, terminal.cols);
        await write(rest.subarray(0, bite));
        rest = rest.subarray(bite);
        piece += off.take();
      }
      if (piece.length >= PIECE_CHARACTERS) {
        yield piece;
        piece = '';
      }
    }
    yield `${piece}${off.rest()}\n`;
  } finally {
    terminal.dispose();
  }
}
