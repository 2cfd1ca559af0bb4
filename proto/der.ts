/**
 * DER (ITU-T X.690), as much of it as certificates and requests for them are made of.
 *
 * The reader takes what strangers send: lengths are definite, minimal and inside what there is, or it throws
 * a SyntaxError. It never copies; values are views into what it was given.
 */

/** Tags as they stand in the first byte. */
export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  /** `[6] IMPLICIT`: a URI among the names of a certificate. */
  uri: 0x86,
  /** `[2] IMPLICIT`: a DNS name. */
  dns: 0x82,
  /** `[7] IMPLICIT`: an IP address. */
  ip: 0x87,
} as const;

/** `[n]` around something. */
export const context = (n: number): number => 0xa0 | n;

export interface Element {
  readonly tag: number;
  readonly value: Uint8Array;
  /** Tag, length and value. */
  readonly whole: Uint8Array;
}

const LENGTH_BYTES_MAX = 3;

export function readElement(from: Uint8Array): Element {
  const [tag, length] = from;
  if (tag === undefined || length === undefined) throw new SyntaxError('DER: cut off');
  if ((tag & 0x1f) === 0x1f) throw new SyntaxError('DER: a tag of several bytes');
  let bytes = length;
  let head = 2;
  if (length >= 0x80) {
    const count = length & 0x7f;
    if (count === 0 || count > LENGTH_BYTES_MAX) throw new SyntaxError('DER: a length that is none');
    bytes = from.subarray(2, 2 + count).reduce((sum, byte) => sum * 256 + byte, 0);
    head += count;
    const isMinimal = bytes >= 0x80 && (count === 1 || bytes >= 256 ** (count - 1));
    if (!isMinimal) throw new SyntaxError('DER: a length that is longer than it must be');
  }
  if (head + bytes > from.length) throw new SyntaxError('DER: cut off');
  return { tag, value: from.subarray(head, head + bytes), whole: from.subarray(0, head + bytes) };
}

/** The elements of a value, at most `max`; nothing may be left over. */
export function elements(value: Uint8Array, max: number): readonly Element[] {
  const found: Element[] = [];
  for (let rest = value; rest.length > 0; ) {
    if (found.length === max) throw new SyntaxError(`DER: more than ${max} elements`);
    const next = readElement(rest);
    found.push(next);
    rest = rest.subarray(next.whole.length);
  }
  return found;
}

/** One element that is all there is. */
export function only(whole: Uint8Array, tag: number): Element {
  const found = readElement(whole);
  if (found.tag !== tag) throw new SyntaxError(`DER: tag ${found.tag} where ${tag} should be`);
  if (found.whole.length !== whole.length) throw new SyntaxError('DER: something follows');
  return found;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export function element(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const value = join(parts);
  const { length } = value;
  if (length < 0x80) return join([Uint8Array.of(tag, length), value]);
  const long: number[] = [];
  for (let left = length; left > 0; left = Math.floor(left / 256)) long.unshift(left % 256);
  return join([Uint8Array.of(tag, 0x80 | long.length, ...long), value]);
}

export const sequence = (...parts: readonly Uint8Array[]): Uint8Array => element(tags.sequence, ...parts);
export const set = (...parts: readonly Uint8Array[]): Uint8Array => element(tags.set, ...parts);
export const octets = (value: Uint8Array): Uint8Array => element(tags.octetString, value);
export const yes: Uint8Array = Uint8Array.of(tags.boolean, 1, 0xff);

/** Of whole bytes. */
export const bits = (value: Uint8Array): Uint8Array => element(tags.bitString, Uint8Array.of(0), value);

/** A positive number, most significant byte first. */
export function integer(bytes: Uint8Array): Uint8Array {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  const short = bytes.subarray(from);
  const isNegative = ((short[0] ?? 0) & 0x80) !== 0;
  return element(tags.integer, ...(isNegative ? [Uint8Array.of(0)] : []), short);
}

export function text(tag: number, value: string): Uint8Array {
  return element(tag, new TextEncoder().encode(value));
}

export function oid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((part) => {
    const groups = [part & 0x7f];
    for (let left = Math.floor(part / 128); left > 0; left = Math.floor(left / 128))
      groups.unshift((left & 0x7f) | 0x80);
    return groups;
  });
  return element(tags.oid, Uint8Array.from(bytes));
}

/** To the second; RFC 5280 wants two digits of the year before 2050 and four from then on. */
export function time(at: number): Uint8Array {
  const iso = new Date(at).toISOString();
  const digits = `${iso.slice(0, 19).replace(/[-:T]/g, '')}Z`;
  return iso < '2050' ? text(tags.utcTime, digits.slice(2)) : text(tags.generalizedTime, digits);
}

export const isSame = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

export function toPem(label: string, bytes: Uint8Array): string {
  const lines = (
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  ).join('\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

/** The one block of that label that the text is. Throws a SyntaxError. */
export function fromPem(label: string, given: string): Uint8Array {
  const pattern = new RegExp(`^\\s*-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]+)-----END ${label}-----\\s*$`);
  const [, base64] = pattern.exec(given) ?? [];
  if (base64 === undefined) throw new SyntaxError(`not one PEM block "${label}"`);
  return new Uint8Array(Buffer.from(base64.replace(/\s/g, ''), 'base64'));
}
