/**
 * Looking for text in a recording, without escape sequences and without a screen.
 *
 * A line ends where a line ends, and where the cursor is sent elsewhere: what programs write in two places of
 * the screen is not one line. Very long ones are looked through in pieces that overlap.
 */
import type { FoundLine, FoundLines, SearchWish } from '../recordings.ts';
import type { Slice } from '../terminal.ts';
import type { Recording } from './recording.ts';

/** Looked through in one turn of the event loop. */
const PIECE_BYTES = 64 << 10;
/** Longer lines are looked through, and shown, by pieces of it. */
const LINE_BYTES_MAX = 4 << 10;
/** As long as anything that may be looked for, with colours between its letters. */
const OVERLAP_BYTES = 1 << 10;
const ESCAPE_BYTES_MAX = 64;

// biome-ignore lint/complexity/useRegexLiterals: the escapes are told more plainly as a string
const lineEnds = new RegExp('\\r*\\n|\\r|\\x1b\\[[0-?]*[ -/]*[ABEFHfdJ]', 'g');
// biome-ignore lint/complexity/useRegexLiterals: as above
const moves = new RegExp('\\x1b\\[[0-9]*C', 'g');
// biome-ignore lint/complexity/useRegexLiterals: as above
const escapes = new RegExp('\\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\\x07\\x1b]*(?:\\x07|\\x1b\\\\)?|[@-_])', 'g');

/** One character a byte, as the recording is looked through, to text. */
const plain = (raw: string): string =>
  Buffer.from(raw.replace(moves, ' ').replace(escapes, ''), 'latin1')
    .toString('utf8')
    .replace(/[\x00-\x08\x0b-\x1f\x7f]/g, '')
    .trimEnd();

/**
 * From where on a piece of a line must not be cut: in an escape sequence or a character that has only begun.
 */
function cutOf(raw: string): number {
  const begun = raw.lastIndexOf('\x1b');
  if (begun >= 0 && raw.length - begun < ESCAPE_BYTES_MAX) return begun;
  let cut = raw.length;
  for (let back = 0; back < 3 && cut > 0 && raw.charCodeAt(cut - 1) >= 0x80; back++) {
    cut -= 1;
    if (raw.charCodeAt(cut) >= 0xc0) return cut;
  }
  return raw.length;
}

interface Line {
  readonly raw: string;
  readonly offset: number;
  /** So much at its beginning has been looked through with what was before it. */
  readonly seen: number;
}

function shownOf({ raw, seen }: Line, q: string): string | null {
  const text = plain(raw);
  if (text === '') return null;
  if (q === '') return text;
  const from = seen === 0 ? 0 : Math.max(0, plain(raw.slice(0, seen)).length - q.length + 1);
  return text.toLowerCase().includes(q, from) ? text : null;
}

/** Where in what is held a line begins, and how much of its beginning was looked through already. */
interface Begun {
  at: number;
  seen: number;
}

/** Bytes of one stream without a hole, as the lines they hold. */
class Lines {
  #rest = '';
  #restAt = 0;
  #begun: Begun = { at: 0, seen: 0 };
  readonly #overlap: number;

  constructor(q: string) {
    this.#overlap = q === '' ? 0 : OVERLAP_BYTES;
  }

  /** Where the line begins, or its next piece, that has not ended yet. */
  get unfinishedAt(): number {
    return this.#restAt + this.#begun.seen;
  }

  *take({ from, bytes }: Pick<Slice, 'from' | 'bytes'>): Generator<Line> {
    if (this.#rest === '') this.#restAt = from;
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#rest += view.toString('latin1');
    const begun = this.#begun;
    for (const end of this.#rest.matchAll(lineEnds)) {
      yield* this.#pieces(end.index);
      if (end.index > begun.at + begun.seen) yield this.#line(end.index);
      begun.at = end.index + end[0].length;
      begun.seen = 0;
    }
    yield* this.#pieces(this.#rest.length);
    this.#rest = this.#rest.slice(begun.at);
    this.#restAt += begun.at;
    begun.at = 0;
  }

  /** What has no end. */
  *flush(): Generator<Line> {
    if (this.#rest.length > this.#begun.seen) yield this.#line(this.#rest.length);
    this.#rest = '';
    this.#begun = { at: 0, seen: 0 };
  }

  #line(end: number): Line {
    const { at, seen } = this.#begun;
    return { raw: this.#rest.slice(at, end), offset: this.#restAt + at, seen };
  }

  *#pieces(end: number): Generator<Line> {
    const begun = this.#begun;
    while (end - begun.at > LINE_BYTES_MAX) {
      const cut = begun.at + cutOf(this.#rest.slice(begun.at, begun.at + LINE_BYTES_MAX));
      yield this.#line(cut);
      begun.at = cut - this.#overlap;
      begun.seen = this.#overlap;
    }
  }
}

/** Oldest first. A turn of the event loop lies between two pieces. */
export async function findText(recording: Recording, wish: SearchWish): Promise<FoundLines> {
  const { q, from, limit, budget, since, until } = wish;
  const found: FoundLine[] = [];
  const lines = new Lines(q);
  let at = from;
  let stream: Slice['stream'] = 'stdout';
  const keep = (line: Line): boolean => {
    const text = shownOf(line, q);
    if (text === null) return false;
    const ms = recording.headAt(line.offset)?.at ?? 0;
    if ((since !== null && ms < since) || (until !== null && ms > until)) return false;
    found.push({ offset: line.offset, end: line.offset + line.raw.length, at: ms, stream, text });
    return found.length >= limit;
  };
  for (;;) {
    const slice = recording.slice(at, PIECE_BYTES);
    if (slice.gapBytes > 0 || slice.stream !== stream || slice.bytes.length === 0) {
      for (const line of lines.flush()) if (keep(line)) return { lines: found, next: nextAfter(line) };
      stream = slice.stream;
    }
    if (slice.bytes.length === 0 || (until !== null && slice.at > until)) return { lines: found, next: null };
    for (const line of lines.take(slice)) if (keep(line)) return { lines: found, next: nextAfter(line) };
    at = slice.next;
    budget.bytes -= slice.bytes.length;
    if (budget.bytes <= 0) return { lines: found, next: lines.unfinishedAt > from ? lines.unfinishedAt : at };
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Its end is no part of a line: whoever goes on begins there. */
const nextAfter = ({ offset, raw }: Line): number => offset + raw.length;
