/**
 * X.509 certificates (RFC 5280) as this house issues them: version 3, P-256, ECDSA with SHA-256.
 *
 * A leaf has no subject and exactly one URI among its names, the SPIFFE id it is for. Only the server's has
 * other names, by which clients that know nothing of SPIFFE check it.
 */
import { createHash, type KeyObject, sign } from 'node:crypto';
import { isIP } from 'node:net';
import * as der from '../../proto/der.ts';
import { ecdsaWithSha256 } from '../../proto/request.ts';

const oids = {
  commonName: '2.5.4.3',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** Clocks differ by a little. */
export const BACKDATE_MS = 60_000;

export interface Validity {
  readonly from: number;
  readonly until: number;
}

export interface Leaf {
  /** SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  readonly spiffeId: string;
  readonly purpose: 'agent' | 'server';
  /** DNS names and IP addresses; none for an agent. */
  readonly names: readonly string[];
  readonly validity: Validity;
  readonly serial: Uint8Array;
}

export interface Issuer {
  /** Its subject, in DER. */
  readonly name: Uint8Array;
  readonly keyId: Uint8Array;
  readonly key: KeyObject;
}

/** SHA-1 of the key's bits, as RFC 5280 §4.2.1.2 has it: a name, and no seal. */
export function keyIdOf(publicKey: Uint8Array): Uint8Array {
  const [, bits] = der.elements(der.only(publicKey, der.tags.sequence).value, 2);
  if (!bits) throw new SyntaxError('a public key has two parts');
  return createHash('sha1').update(bits.value.subarray(1)).digest();
}

export const commonName = (name: string): Uint8Array =>
  der.sequence(der.set(der.sequence(der.oid(oids.commonName), der.text(der.tags.utf8, name))));

const extension = (id: string, value: Uint8Array, isCritical = false): Uint8Array =>
  der.sequence(der.oid(id), ...(isCritical ? [der.yes] : []), der.octets(value));

/** KeyUsage with one run of bits; `unused` is how many of the last byte do not count. */
const usage = (byte: number, unused: number): Uint8Array =>
  Uint8Array.of(der.tags.bitString, 2, unused, byte);

const uri = (value: string): Uint8Array => der.text(der.tags.uri, value);

function addressBytes(address: string): Uint8Array {
  if (isIP(address) === 4) return Uint8Array.from(address.split('.').map(Number));
  const [head = '', tail] = address.split('::');
  const groups = (text: string | undefined) => (text ? text.split(':') : []);
  const [before, after] = [groups(head), groups(tail)];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  return Uint8Array.from(
    [...before, ...zeros, ...after].flatMap((group) => {
      const value = Number.parseInt(group, 16);
      return [value >> 8, value & 0xff];
    }),
  );
}

const otherName = (name: string): Uint8Array =>
  isIP(name) === 0 ? der.text(der.tags.dns, name) : der.element(der.tags.ip, addressBytes(name));

interface Content {
  readonly serial: Uint8Array;
  readonly subject: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly validity: Validity;
  readonly extensions: readonly Uint8Array[];
}

function signed({ name, key }: Issuer, content: Content): string {
  const { serial, subject, publicKey, validity, extensions } = content;
  const tbs = der.sequence(
    der.element(der.context(0), der.integer(Uint8Array.of(2))),
    der.integer(serial),
    ecdsaWithSha256,
    name,
    der.sequence(der.time(validity.from), der.time(validity.until)),
    subject,
    publicKey,
    der.element(der.context(3), der.sequence(...extensions)),
  );
  return der.toPem('CERTIFICATE', der.sequence(tbs, ecdsaWithSha256, der.bits(sign('sha256', tbs, key))));
}

export function leafPem(issuer: Issuer, leaf: Leaf): string {
  const { publicKey, spiffeId, purpose, names, validity, serial } = leaf;
  const purposeId = purpose === 'agent' ? oids.clientAuth : oids.serverAuth;
  const extensions = [
    extension(oids.basicConstraints, der.sequence(), true),
    extension(oids.keyUsage, usage(0x80, 7), true),
    extension(oids.extKeyUsage, der.sequence(der.oid(purposeId))),
    extension(oids.subjectKeyIdentifier, der.octets(keyIdOf(publicKey))),
    extension(oids.authorityKeyIdentifier, der.sequence(der.element(0x80, issuer.keyId))),
    // Critical, because there is no subject.
    extension(oids.subjectAltName, der.sequence(uri(spiffeId), ...names.map(otherName)), true),
  ];
  return signed(issuer, { serial, subject: der.sequence(), publicKey, validity, extensions });
}

/** A root signs leaves and nothing below them. Its one name is the trust domain. */
export function rootPem(issuer: Issuer, root: Omit<Content, 'subject' | 'extensions'> & { domain: string }) {
  const pathLength = der.integer(Uint8Array.of(0));
  const extensions = [
    extension(oids.basicConstraints, der.sequence(der.yes, pathLength), true),
    // keyCertSign and cRLSign.
    extension(oids.keyUsage, usage(0x06, 1), true),
    extension(oids.subjectKeyIdentifier, der.octets(issuer.keyId)),
    extension(oids.subjectAltName, der.sequence(uri(`spiffe://${root.domain}`))),
  ];
  return signed(issuer, { ...root, subject: issuer.name, extensions });
}
