/**
 * How a caller proves who it is, as far as its transport can tell. The one place that certificates will
 * change.
 *
 * On the Unix socket the kernel's word counts, unless a secret says more; on TCP only a secret does.
 */
import type { Metadata } from '@grpc/grpc-js';
import type { Proof } from '../agent-link.ts';
import type { Peer } from './peer.ts';

/** The token of `authorization: Bearer <token>`; null when there is none. */
export function bearerOf(metadata: Metadata): string | null {
  const [, token = null] = /^Bearer\s+(\S+)$/i.exec(String(metadata.get('authorization')[0] ?? '')) ?? [];
  return token;
}

export function proofOf(metadata: Metadata, peer: Peer | null): Proof {
  const token = bearerOf(metadata);
  if (token !== null) return { kind: 'secret', token };
  return peer ? { kind: 'peer', ...peer } : { kind: 'none' };
}
