/**
 * A recording as asciicast v2 (docs.asciinema.org): a header, then one event a line.
 *
 * Output is text there, so characters that are cut between two records are joined, and bytes that are no
 * UTF-8 become U+FFFD. Times never go back. Gaps are markers.
 */
import type { Position } from './positions.ts';
import { type Recording, sizeIn } from './recording.ts';
import { isOutput, type Stream } from './records.ts';
import type { Found, Segment } from './segment.ts';

/** Handed on as one piece. */
const PIECE_CHARACTERS = 64 << 10;

export interface CastOptions {
  readonly cols: number;
  readonly rows: number;
  readonly title: string | null;
  readonly command: string | null;
  /** Where it begins, and what draws the screen there; null: at the beginning. */
  readonly from: { readonly position: Position; readonly drawing: string } | null;
  /** When it begins; null: with its first record. */
  readonly fromMs: number | null;
  /** Nothing later is in it; null: everything is. */
  readonly toMs: number | null;
  /** Seconds. */
  readonly idleLimit: number | null;
}

type Timed = (ms: number) => number;

/** Milliseconds since the beginning, with pauses cut short. */
function timing(begun: number, idleLimit: number | null): Timed {
  const pauseMax = idleLimit === null ? Number.POSITIVE_INFINITY : idleLimit * 1_000;
  let last = begun;
  let shown = 0;
  return (ms) => {
    shown += Math.min(Math.max(0, ms - last), pauseMax);
    last = Math.max(last, ms);
    return shown;
  };
}

/** Of each stream, so that what is cut in one is not joined with another. */
function decoders() {
  const made = new Map<Stream, TextDecoder>();
  return {
    text(stream: Stream, bytes: Uint8Array): string {
      const decoder = made.get(stream) ?? new TextDecoder();
      made.set(stream, decoder);
      return decoder.decode(bytes, { stream: true });
    },
    /** What was cut and never came. */
    rest: () => [...made.values()].map((decoder) => decoder.decode()).join(''),
  };
}

/** Every record from a position on, until the end that it had when it was opened. */
function* recordsFrom(recording: Recording, from: Position | null): Generator<[Segment, Found]> {
  let sizesToPass = from?.sizes ?? 0;
  for (const [i, segment] of recording.segments.entries()) {
    const following = recording.segments[i + 1];
    if (from && following && following.first < from.offset) continue;
    if (!segment.isThere) throw new Error('the recording was removed while it was read');
    for (const record of segment.records()) {
      const { kind, offset, bytes } = record.head;
      if (from && offset < from.offset && offset + (isOutput(kind) ? bytes : 0) <= from.offset) continue;
      const isPassed = kind === 'resize' && offset === from?.offset && sizesToPass > 0;
      if (isPassed) sizesToPass -= 1;
      else yield [segment, record];
    }
    if (following) segment.close();
  }
}

/**
 * Piece by piece; a turn of the event loop lies between two. Throws when its recording is removed meanwhile.
 */
export async function* asciicast(recording: Recording, options: CastOptions): AsyncGenerator<string> {
  const { from, toMs, idleLimit } = options;
  const begun = options.fromMs ?? recording.segments[0]?.beganAt() ?? 0;
  const timed = timing(begun, idleLimit);
  const decoding = decoders();
  let size = { cols: options.cols, rows: options.rows };
  let piece = `${header(options, begun)}\n`;
  const event = (ms: number, code: 'o' | 'r' | 'm', data: string) => {
    const seconds = (timed(ms) / 1_000).toFixed(3);
    piece += `[${seconds}, "${code}", ${JSON.stringify(data)}]\n`;
  };
  if (from) event(begun, 'o', from.drawing);
  let lastAt = begun;
  for (const [segment, found] of recordsFrom(recording, from?.position ?? null)) {
    const { kind, at, offset } = found.head;
    if (toMs !== null && at > toMs) break;
    lastAt = at;
    if (isOutput(kind)) {
      const text = decoding.text(kind, payloadOf(segment, found).subarray(passed(from, offset)));
      if (text !== '') event(at, 'o', text);
    } else if (kind === 'gap') {
      const cut = decoding.rest();
      if (cut !== '') event(at, 'o', cut);
      event(at, 'm', `${recording.missingIn(segment, found)} bytes missing at offset ${offset}`);
    } else if (kind === 'resize') {
      const { cols, rows } = sizeIn(segment, found);
      if (cols !== size.cols || rows !== size.rows) event(at, 'r', `${cols}x${rows}`);
      size = { cols, rows };
    }
    if (piece.length < PIECE_CHARACTERS) continue;
    yield piece;
    piece = '';
    await new Promise((resolve) => setImmediate(resolve));
  }
  const cut = decoding.rest();
  if (cut !== '') event(lastAt, 'o', cut);
  yield piece;
}

/** Of a record that began before the position, so much is on the screen already. */
const passed = (from: CastOptions['from'], offset: number): number =>
  from === null ? 0 : Math.max(0, from.position.offset - offset);

function payloadOf(segment: Segment, { head, at }: Found): Uint8Array {
  const bytes = Buffer.allocUnsafe(head.bytes);
  if (segment.read(at, bytes) < head.bytes) throw new Error('the recording was removed while it was read');
  return bytes;
}

function header({ cols, rows, title, command, idleLimit }: CastOptions, begun: number): string {
  return JSON.stringify({
    version: 2,
    width: cols,
    height: rows,
    timestamp: Math.floor(begun / 1_000),
    ...(idleLimit === null ? {} : { idle_time_limit: idleLimit }),
    ...(command === null ? {} : { command }),
    ...(title === null ? {} : { title }),
    env: { TERM: 'xterm-256color' },
  });
}
