/**
 * A request for a certificate (PKCS#10, RFC 2986) as agents make it and the server takes it: a P-256 key, no
 * subject, and exactly one name, a SPIFFE id.
 *
 * Signing and checking are the caller's; here is only the form.
 */
import * as der from './der.ts';

const oids = {
  ecPublicKey: '1.2.840.10045.2.1',
  p256: '1.2.840.10045.3.1.7',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  extensionRequest: '1.2.840.113549.1.9.14',
  subjectAltName: '2.5.29.17',
} as const;

export const ecdsaWithSha256: Uint8Array = der.sequence(der.oid(oids.ecdsaWithSha256));
/** What stands before the 65 bytes of the point in a P-256 public key (SubjectPublicKeyInfo). */
const p256: Uint8Array = der.sequence(der.oid(oids.ecPublicKey), der.oid(oids.p256));
const POINT_BYTES = 65;
/** Of one request, as text. */
export const REQUEST_CHARS_MAX = 8_192;

export interface Request {
  /** What was signed. */
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
  /** SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  readonly spiffeId: string;
}

/** What is to be signed, given the public key as SubjectPublicKeyInfo. */
export function requestToSign(publicKey: Uint8Array, spiffeId: string): Uint8Array {
  const names = der.sequence(der.text(der.tags.uri, spiffeId));
  const extensions = der.sequence(der.sequence(der.oid(oids.subjectAltName), der.octets(names)));
  const attribute = der.sequence(der.oid(oids.extensionRequest), der.set(extensions));
  const version = der.integer(Uint8Array.of(0));
  return der.sequence(version, der.sequence(), publicKey, der.element(der.context(0), attribute));
}

/** `signature`: ECDSA with SHA-256, in DER. */
export const requestPem = (toSign: Uint8Array, signature: Uint8Array): string =>
  der.toPem('CERTIFICATE REQUEST', der.sequence(toSign, ecdsaWithSha256, der.bits(signature)));

/** Throws a SyntaxError that says what is not as it must be. The signature is not looked at. */
export function readRequest(pem: string): Request {
  if (pem.length > REQUEST_CHARS_MAX) throw new SyntaxError(`longer than ${REQUEST_CHARS_MAX} characters`);
  const outer = der.only(der.fromPem('CERTIFICATE REQUEST', pem), der.tags.sequence);
  const [info, algorithm, sealed] = parts(outer.value, 3, 'request');
  if (!der.isSame(algorithm.whole, ecdsaWithSha256))
    throw new SyntaxError('its signature must be ECDSA with SHA-256');
  const [version, subject, publicKey, attributes] = parts(info.value, 4, 'request');
  if (version.tag !== der.tags.integer || version.value.length !== 1 || version.value[0] !== 0)
    throw new SyntaxError('its version must be 0');
  if (subject.tag !== der.tags.sequence || subject.value.length > 0)
    throw new SyntaxError('its subject must be empty: the SPIFFE id is the only name');
  return {
    signed: info.whole,
    signature: bitsOf(sealed),
    publicKey: keyOf(publicKey),
    spiffeId: nameOf(attributes),
  };
}

type Parts = readonly [der.Element, der.Element, der.Element, der.Element];

/** As many as there must be; those beyond are never looked at. */
function parts(value: Uint8Array, count: number, what: string): Parts {
  const found = der.elements(value, count);
  if (found.length !== count) throw new SyntaxError(`a ${what} has ${count} parts`);
  return found as unknown as Parts;
}

function bitsOf({ tag, value }: der.Element): Uint8Array {
  if (tag !== der.tags.bitString || value[0] !== 0) throw new SyntaxError('its signature is no bit string');
  return value.subarray(1);
}

function keyOf(key: der.Element): Uint8Array {
  const [algorithm, point] = parts(key.value, 2, 'public key');
  const bytes = der.isSame(algorithm.whole, p256) ? bitsOf(point) : null;
  if (bytes?.length !== POINT_BYTES || bytes[0] !== 4)
    throw new SyntaxError('its key must be on P-256, the point uncompressed');
  return key.whole;
}

function nameOf(attributes: der.Element): string {
  if (attributes.tag !== der.context(0)) throw new SyntaxError('its attributes are missing');
  const [attribute] = parts(attributes.value, 1, 'request with one attribute');
  const [kind, values] = parts(attribute.value, 2, 'request attribute');
  if (!der.isSame(kind.whole, der.oid(oids.extensionRequest)))
    throw new SyntaxError('its one attribute must ask for extensions');
  const [extensions] = parts(values.value, 1, 'list of values');
  const [extension] = parts(extensions.value, 1, 'request with one extension');
  const [id, ...rest] = der.elements(extension.value, 3);
  const value = rest.at(-1);
  if (!id || !value || !der.isSame(id.whole, der.oid(oids.subjectAltName)))
    throw new SyntaxError('its one extension must be the subject alternative name');
  const isCritical = rest.length === 1 || (rest[0] && der.isSame(rest[0].whole, der.yes));
  if (!isCritical || value.tag !== der.tags.octetString) throw new SyntaxError('its extension is malformed');
  const [name] = parts(der.only(value.value, der.tags.sequence).value, 1, 'request with one name');
  if (name.tag !== der.tags.uri) throw new SyntaxError('its one name must be a URI');
  return new TextDecoder('ascii', { fatal: true }).decode(name.value);
}
