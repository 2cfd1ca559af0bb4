/**
 * What of a flood a screen need not parse, because it cannot make a difference.
 *
 * Plain text (printable characters, line ends, tabs, colours) scrolls away whole: after as many line ends as
 * screen and scrollback hold lines, all that is left of what came before is the colours that were set. So the
 * beginning of a plain stretch is dropped, and its colours are kept. Everything else is parsed, byte by byte.
 * Pure.
 */

const LF = 10;
const CR = 13;
const ESC = 27;
const M = 109;

/**
 * Bytes of plain text. C1 controls begin with 0xC2 in UTF-8, so that byte is plain only before 0xA0 and
 * above.
 */
const plain = new Uint8Array(256);
for (let byte = 32; byte < 256; byte++) plain[byte] = 1;
plain[9] = plain[LF] = plain[CR] = 1;
plain[127] = 0;
/** Plain, and nothing else to be said of it. */
const letter = plain.slice();
letter[LF] = letter[0xc2] = 0;

/**
 * The end of a colour sequence `ESC [ digits ; : m` that begins at `at`; -1 when it is something else or
 * unfinished.
 */
function colourEnd(bytes: Uint8Array, at: number): number {
  if (bytes[at + 1] !== 91) return -1;
  for (let i = at + 2; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    if (byte === M) return i + 1;
    if (byte < 48 || byte > 59) return -1;
  }
  return -1;
}

export interface Plain {
  /** Bytes from the start that are plain; what follows is not, or is unfinished. */
  readonly length: number;
  readonly lineEnds: number;
}

/** How far a stretch is plain, and how many lines end in it from `countFrom` on. */
export function plainOf(bytes: Uint8Array, countFrom: number): Plain {
  let lineEnds = 0;
  let i = 0;
  for (const end = bytes.length; ; ) {
    // Most of it: this loop is what a flood costs.
    while (i < end && letter[bytes[i] as number] === 1) i += 1;
    if (i >= end) break;
    const byte = bytes[i] as number;
    if (byte === ESC) {
      const end = colourEnd(bytes, i);
      if (end < 0) break;
      i = end;
      continue;
    }
    if (plain[byte] === 0 || (byte === 0xc2 && (bytes[i + 1] ?? 0) < 0xa0)) break;
    if (byte === LF && i >= countFrom) lineEnds += 1;
    i += 1;
  }
  return { length: i, lineEnds };
}

const resets = [Buffer.from('\x1b[0m'), Buffer.from('\x1b[m')];

/** Nothing before the last reset counts any more; a flood resets on every other line. */
function lastReset(bytes: Uint8Array): number {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return Math.max(0, ...resets.map((reset) => view.lastIndexOf(reset)));
}

/** The colours that a plain stretch leaves set, as the sequences that set them. */
export function coloursOf(bytes: Uint8Array): Uint8Array[] {
  const kept: Uint8Array[] = [];
  for (let i = bytes.indexOf(ESC, lastReset(bytes)); i >= 0; i = bytes.indexOf(ESC, i + 1)) {
    const end = colourEnd(bytes, i);
    if (end < 0) continue;
    const sequence = bytes.subarray(i, end);
    const text = Buffer.from(sequence).toString('latin1', 2, sequence.length - 1);
    // A reset first makes all that was set before it void.
    if (/^(0*)(;|$)/.test(text)) kept.length = 0;
    // A copy: what it lies in is used again.
    kept.push(new Uint8Array(sequence));
  }
  return kept;
}

/** Where a plain stretch may begin anew: after its first whole line end. -1 when it has none. */
export function firstLineStart(bytes: Uint8Array): number {
  for (let i = bytes.indexOf(LF); i >= 0; i = bytes.indexOf(LF, i + 1))
    if (i > 0 && bytes[i - 1] === CR) return i + 1;
  return -1;
}

/** How many bytes at the end belong to a sequence or a character that has only begun. */
export function unfinishedOf(bytes: Uint8Array, isInGround: boolean): number {
  if (!isInGround) {
    const begun = bytes.lastIndexOf(ESC);
    return begun < 0 ? 0 : bytes.length - begun;
  }
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) return 0;
    if (byte < 0xc0) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return back < length ? back : 0;
  }
  return 0;
}

/** Where the last lines begin that are enough to fill `lineEnds` lines; 0 when all of it is needed. */
export function heldFrom(bytes: Uint8Array, lineEnds: number): number {
  let ends = 0;
  for (let i = bytes.lastIndexOf(LF); i > 0; i = bytes.lastIndexOf(LF, i - 1)) {
    if (ends > lineEnds && bytes[i - 1] === CR) return i + 1;
    ends += 1;
  }
  return 0;
}

export const endsLine = (bytes: Uint8Array): boolean =>
  bytes.length > 1 && bytes[bytes.length - 1] === LF && bytes[bytes.length - 2] === CR;
