/**
 * Paths below the root of an area. A name on disk need not be UTF-8, so it is bytes in here; on the wire it
 * is plain text where it can be, and percent-encoded bytes, which lose nothing.
 */
import { Failure } from '../failure.ts';

const PATH_BYTES_MAX = 4_096;
const NAME_BYTES_MAX = 255;
const SLASH = 0x2f;
const PERCENT = 0x25;

const refuse = (path: string, why: string): Failure =>
  new Failure('bad-input', `path ${JSON.stringify(path.slice(0, 200))}: ${why}`, {
    faults: [{ path: 'path', message: why }],
  });

/**
 * The parts of a path that is percent-encoded; none for the root itself. Throws Failure('bad-input') for one
 * that is absolute, goes up, has an empty part or a NUL, or is too long.
 */
export function partsOf(path: string): Buffer[] {
  const bytes = decoded(path);
  if (bytes === null) throw refuse(path, 'is not percent-encoded');
  return partsIn(bytes, path);
}

/** The same of a path as people write it, where `%` is only a character. */
export const plainPartsOf = (path: string): Buffer[] => partsIn(Buffer.from(path), path);

function partsIn(bytes: Buffer, path: string): Buffer[] {
  if (bytes.length === 0) return [];
  if (bytes.length > PATH_BYTES_MAX) throw refuse(path, `is longer than ${PATH_BYTES_MAX} bytes`);
  if (bytes[0] === SLASH) throw refuse(path, 'is absolute; give it relative to the root of the area');
  if (bytes.includes(0)) throw refuse(path, 'holds a NUL');
  // A closing slash is how people write directories.
  const whole = bytes.at(-1) === SLASH ? bytes.subarray(0, -1) : bytes;
  const parts: Buffer[] = [];
  for (let from = 0; from <= whole.length; ) {
    const slash = whole.indexOf(SLASH, from);
    const to = slash < 0 ? whole.length : slash;
    parts.push(Buffer.from(whole.subarray(from, to)));
    from = to + 1;
  }
  for (const part of parts) {
    const text = part.toString('latin1');
    if (text === '') throw refuse(path, 'has an empty part');
    if (text === '.' || text === '..') throw refuse(path, 'has "." or ".." in it; give the plain path');
    if (part.length > NAME_BYTES_MAX) throw refuse(path, `has a name longer than ${NAME_BYTES_MAX} bytes`);
  }
  return parts;
}

/** Null when a `%` is not followed by two hex digits. */
function decoded(text: string): Buffer | null {
  const bytes = Buffer.from(text);
  const out = Buffer.alloc(bytes.length);
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    let byte = bytes[i] as number;
    if (byte === PERCENT) {
      const hex = bytes.toString('latin1', i + 1, i + 3);
      if (!/^[0-9a-fA-F]{2}$/.test(hex)) return null;
      byte = Number.parseInt(hex, 16);
      i += 2;
    }
    out[length++] = byte;
  }
  return out.subarray(0, length);
}

const plain = /[A-Za-z0-9._~-]/;

export function encoded(name: Buffer): string {
  let text = '';
  for (const byte of name) {
    const char = String.fromCharCode(byte);
    text += plain.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return text;
}

export const encodedPath = (parts: readonly Buffer[]): string => parts.map(encoded).join('/');

/** For people: what is not UTF-8 shows as U+FFFD. */
export const shown = (name: Buffer): string => name.toString('utf8');
