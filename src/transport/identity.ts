/**
 * How a caller proves who it is, as far as its transport can tell.
 *
 * On the TLS port the certificate of the connection counts and nothing else; on the Unix socket the kernel's
 * word, unless a secret says more; on TCP only a secret does.
 */
import type { Metadata } from '@grpc/grpc-js';
import type { Proof, Proven } from '../agent-link.ts';
import type { ShownCertificate } from '../certificates.ts';
import type { Peer } from './peer.ts';

/** Where a call came in, and what was known of its connection before it said a word. */
export type Origin =
  | { readonly kind: 'plain' }
  | { readonly kind: 'unix'; readonly peer: Peer }
  /** A socket that only the instance of this agent sees; who is there proves itself by more than that. */
  | { readonly kind: 'guest'; readonly agent: string }
  | { readonly kind: 'certificate'; readonly certificate: ShownCertificate };

/** The token of `authorization: Bearer <token>`; null when there is none. */
export function bearerOf(metadata: Metadata): string | null {
  const [, token = null] = /^Bearer\s+(\S+)$/i.exec(String(metadata.get('authorization')[0] ?? '')) ?? [];
  return token;
}

/** Of one that was admitted: the secret itself, and whose process it was, go no further. */
export function provenBy(proof: Proof): Proven {
  switch (proof.kind) {
    case 'certificate':
      return { kind: 'certificate', serial: proof.serial, until: proof.until };
    case 'peer':
      return { kind: 'peer-credentials' };
    case 'secret':
      return { kind: 'secret' };
    case 'none':
      throw new Error('an agent was admitted without a proof');
  }
}

export function proofOf(metadata: Metadata, origin: Origin): Proof {
  if (origin.kind === 'certificate') return { kind: 'certificate', ...origin.certificate };
  const token = bearerOf(metadata);
  if (token !== null) return { kind: 'secret', token };
  return origin.kind === 'unix' ? { kind: 'peer', ...origin.peer } : { kind: 'none' };
}
