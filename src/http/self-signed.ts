/**
 * A certificate of our own making (RFC 5280): P-256, for the names and addresses by which this server is
 * reached, and for nothing but a server. Written out in DER by hand: it is one fixed shape.
 */
import { generateKeyPairSync, sign } from 'node:crypto';
import { isIP } from 'node:net';
import { newId } from '../ids.ts';

export interface Wanted {
  /** DNS names and IP addresses, without ports. */
  readonly names: readonly string[];
  readonly from: number;
  readonly until: number;
}

export interface Pair {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

const COMMON_NAME = 'agentic-sandbox';

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const hex = body.length.toString(16);
  const length = Buffer.from(hex.length % 2 ? `0${hex}` : hex, 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, body]);
}

const sequence = (...parts: readonly Uint8Array[]) => der(0x30, ...parts);
const set = (...parts: readonly Uint8Array[]) => der(0x31, ...parts);
const octets = (...parts: readonly Uint8Array[]) => der(0x04, ...parts);
const yes = der(0x01, Buffer.from([0xff]));

/** Every arc but the first two is below 2^14 here. */
function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = rest.flatMap((arc) =>
    arc < 0x80
      ? [arc]
      : arc < 0x4000
        ? [0x80 | (arc >> 7), arc & 0x7f]
        : [0x80 | (arc >> 14), 0x80 | ((arc >> 7) & 0x7f), arc & 0x7f],
  );
  return der(0x06, Buffer.from([first * 40 + second, ...bytes]));
}

/** GeneralizedTime from 2050 on, UTCTime before, as the RFC wants it. */
function time(ms: number): Buffer {
  const digits = `${new Date(ms).toISOString().slice(0, 19).replace(/[-T:]/g, '')}Z`;
  return Number(digits.slice(0, 4)) < 2050
    ? der(0x17, Buffer.from(digits.slice(2)))
    : der(0x18, Buffer.from(digits));
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail] = address.split('::');
  const groups = (text: string) =>
    (text === '' ? [] : text.split(':')).map((one) => Number.parseInt(one, 16));
  const [before, after] = [groups(head), tail === undefined ? [] : groups(tail)];
  const whole = [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
  return Buffer.from(whole.flatMap((group) => [group >> 8, group & 0xff]));
}

const alternative = (name: string): Buffer =>
  isIP(name) ? der(0x87, addressBytes(name)) : der(0x82, Buffer.from(name, 'ascii'));

const extension = (id: string, isCritical: boolean, value: Uint8Array): Buffer =>
  sequence(oid(id), ...(isCritical ? [yes] : []), octets(value));

const ecdsaWithSha256 = sequence(oid('1.2.840.10045.4.3.2'));

export function selfSigned({ names, from, until }: Wanted): Pair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = sequence(set(sequence(oid('2.5.4.3'), der(0x0c, Buffer.from(COMMON_NAME)))));
  // The first bit is not set: a serial number is positive.
  const serial = Buffer.from(`01${newId().replaceAll('-', '')}`, 'hex');
  const extensions = sequence(
    extension('2.5.29.19', true, sequence()), // No authority.
    extension('2.5.29.15', true, der(0x03, Buffer.from([7, 0x80]))), // digitalSignature
    extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'))), // serverAuth
    extension('2.5.29.17', false, sequence(...names.map(alternative))),
  );
  const toSign = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    ecdsaWithSha256,
    name,
    sequence(time(from), time(until)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, extensions),
  );
  const signature = der(0x03, Buffer.from([0]), sign('sha256', toSign, privateKey));
  const whole = sequence(toSign, ecdsaWithSha256, signature).toString('base64');
  const lines = whole.match(/.{1,64}/g) ?? [];
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}
