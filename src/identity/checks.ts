/**
 * What is checked of a request before anybody signs it, and of a certificate before anybody gets it: a
 * program that signs for us is not trusted to have done what it was asked.
 */
import { createHash, createPublicKey, type KeyObject, verify, X509Certificate } from 'node:crypto';
import { readRequest } from '../../proto/request.ts';
import { onlyUriOf } from '../../proto/spiffe.ts';
import type { ShownCertificate } from '../certificates.ts';
import { Failure } from '../failure.ts';

export const keyOf = (spki: Uint8Array): KeyObject =>
  createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });

/** By which a key is known again. */
export const hashOfKey = (spki: Uint8Array): string => createHash('sha256').update(spki).digest('hex');

export interface CheckedRequest {
  readonly publicKey: Uint8Array;
  readonly spiffeId: string;
}

/** Throws Failure('unprocessable') that says what is not as it must be. */
export function checkedRequest(csr: string): CheckedRequest {
  try {
    const { publicKey, spiffeId, signed, signature } = readRequest(csr);
    // Reading the key checks that its point is on the curve.
    if (!verify('sha256', signed, keyOf(publicKey), signature))
      throw new SyntaxError('its signature is not that of its key');
    return { publicKey, spiffeId };
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new Failure('unprocessable', `the certificate request cannot be taken: ${why}`, {
      cause: thrown,
      faults: [{ path: 'csr_pem', message: why }],
    });
  }
}

export function certificatesIn(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

export const validityOf = ({ validFrom, validTo }: X509Certificate) => ({
  from: Date.parse(validFrom),
  until: Date.parse(validTo),
});

/** Null when it has not exactly one URI for a name. */
export function shownOf(certificate: X509Certificate): ShownCertificate | null {
  const spiffeId = onlyUriOf(certificate.subjectAltName);
  if (spiffeId === null) return null;
  return { spiffeId, serial: certificate.serialNumber.toUpperCase(), ...validityOf(certificate) };
}

const CHAIN_MAX = 5;

/** True when a chain leads from the leaf over certificates that came with it to a root of ours. */
export function isIssuedUnder(chain: readonly X509Certificate[], bundle: string, at: number): boolean {
  const roots = certificatesIn(bundle);
  const between = chain.slice(1);
  const isGood = (one: X509Certificate) => {
    const { from, until } = validityOf(one);
    return from <= at && at < until;
  };
  let current = chain[0];
  for (let depth = 0; current && depth < CHAIN_MAX; depth++) {
    if (!isGood(current)) return false;
    const by = (one: X509Certificate) =>
      one.ca && isGood(one) && current?.checkIssued(one) === true && current.verify(one.publicKey);
    if (roots.some(by)) return true;
    current = between.find((one) => one !== current && by(one));
  }
  return false;
}

const purposes = { agent: '1.3.6.1.5.5.7.3.2', server: '1.3.6.1.5.5.7.3.1' } as const;
/** An authority may round up; it may not give much more than was asked for. */
const LIFE_SLACK_MS = 10 * 60_000;

export interface IssuedFor {
  readonly spiffeId: string;
  readonly purpose: 'agent' | 'server';
  readonly publicKey: Uint8Array;
  readonly ttlMs: number;
  readonly bundle: string;
  readonly at: number;
}

/** Throws Failure('authority-away'): what came back is not what was asked for. */
export function checkedChain(pem: string, wanted: IssuedFor): ShownCertificate {
  const fault = (why: string) =>
    new Failure('authority-away', `the certificate authority answered with a certificate that ${why}`);
  let chain: readonly X509Certificate[];
  try {
    chain = certificatesIn(pem);
  } catch (thrown) {
    throw new Failure('authority-away', 'the certificate authority answered with no certificate', {
      cause: thrown,
    });
  }
  const [leaf] = chain;
  const shown = leaf ? shownOf(leaf) : null;
  if (!leaf || !shown) throw fault('has not exactly one URI for a name');
  if (shown.spiffeId !== wanted.spiffeId) throw fault(`is for ${shown.spiffeId}`);
  const isBare = leaf.subjectAltName === `URI:${wanted.spiffeId}` && !leaf.subject;
  if (wanted.purpose === 'agent' && !isBare) throw fault('has other names too');
  const uses = leaf.keyUsage ?? [];
  if (leaf.ca || uses.length !== 1 || uses[0] !== purposes[wanted.purpose])
    throw fault(`is not for ${wanted.purpose === 'agent' ? 'clients' : 'servers'} only`);
  const key = leaf.publicKey.export({ type: 'spki', format: 'der' });
  if (!Buffer.from(wanted.publicKey).equals(key)) throw fault('is for another key');
  if (shown.until > wanted.at + wanted.ttlMs + LIFE_SLACK_MS) throw fault('lives longer than was asked for');
  if (!isIssuedUnder(chain, wanted.bundle, wanted.at)) throw fault('leads to no root of its trust bundle');
  return shown;
}
