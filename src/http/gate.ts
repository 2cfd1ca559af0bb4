/**
 * What a request must show before it is looked at: a host that is ours, an origin that is ours, and not too
 * many of them. A page on another site can make a browser call us; it cannot make it lie about these two
 * headers.
 */
import type { Shown } from '../access.ts';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import { cookieOf } from './cookie.ts';

const loopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

export const isLoopback = (host: string): boolean => loopback.test(host) || host === '::1';

export interface GateOptions {
  /** Names besides the loopback's own that a `Host` header may carry. */
  readonly allowedHosts: readonly string[];
  readonly httpHost: string;
  readonly hasTokens: () => boolean;
  readonly behindProxy: boolean;
  /** We speak it ourselves. */
  readonly tls: boolean;
  /** Those we listen on. */
  readonly ports: () => readonly number[];
}

/** Throws Failure('wrong-state') when others could reach a server that asks nobody who they are. */
export function refuseOpenDoors(
  gate: Pick<GateOptions, 'httpHost' | 'hasTokens' | 'behindProxy' | 'tls'>,
): void {
  const { httpHost, hasTokens, behindProxy, tls } = gate;
  if (!hasTokens() && isReachable({ httpHost, behindProxy })) {
    const where = isLoopback(httpHost) ? 'behind a proxy' : `on ${httpHost}`;
    const how = 'make an admin token first: bun run token:create --name NAME --role admin';
    throw new Failure(
      'wrong-state',
      `listening ${where} without operator tokens would let anybody in: ${how}`,
    );
  }
  if (!isLoopback(httpHost) && !behindProxy && !tls) {
    const how =
      'set AGENTIC_TLS_CERT and AGENTIC_TLS_KEY, or AGENTIC_TLS=self-signed, or put a proxy that speaks TLS in front and start with --behind-proxy, or listen on 127.0.0.1';
    throw new Failure(
      'wrong-state',
      `listening on ${httpHost} without TLS would show tokens to the network: ${how}`,
    );
  }
}

/** By others than those who are on this machine. */
const isReachable = ({ httpHost, behindProxy }: Pick<GateOptions, 'httpHost' | 'behindProxy'>): boolean =>
  behindProxy || !isLoopback(httpHost);

/** The last token may be revoked while we listen; from then on there is nobody whom we could let in. */
export function checkTokens(gate: GateOptions): void {
  if (gate.hasTokens() || !isReachable(gate)) return;
  const how = 'make an admin token: bun run token:create --name NAME --role admin';
  throw new Failure('unauthenticated', `there are no operator tokens any more; ${how}`);
}

/** Throws Failure('forbidden'). */
export function checkOrigin(
  request: Request,
  asked: string,
  { allowedHosts, httpHost, ports }: GateOptions,
): void {
  const host = asked.toLowerCase();
  const name = host.replace(/:\d+$/, '');
  const allowed = allowedHosts.map((one) => one.toLowerCase());
  const known = isLoopback(name) || allowed.includes(name) || allowed.includes(host);
  if (!known && (isLoopback(httpHost) || allowed.length > 0)) {
    throw new Failure(
      'forbidden',
      `"${host}" is not a name of this server; AGENTIC_ALLOWED_HOSTS adds names`,
    );
  }
  const origin = request.headers.get('origin');
  if (origin === null) return;
  let from: URL | null = null;
  try {
    from = new URL(origin);
  } catch {
    // "null" is the origin of a sandboxed page, and not ours.
  }
  // The dashboard of one of our ports may open a WebSocket on the other.
  const isSibling = from?.hostname.toLowerCase() === name && ports().includes(Number(from.port));
  if (from?.host.toLowerCase() === host || isSibling) return;
  throw new Failure('forbidden', `pages of ${origin} may not use this server`);
}

export interface RateLimits {
  readonly perSecond: number;
  readonly burst: number;
}

/** A token bucket a caller. The number of callers that are remembered is bounded. */
export function rateLimit(clock: Clock, { perSecond, burst }: RateLimits): (caller: string) => void {
  const CALLERS_MAX = 10_000;
  const buckets = new Map<string, { left: number; at: number }>();
  return (caller) => {
    const now = clock.now();
    const bucket = buckets.get(caller) ?? { left: burst, at: now };
    // A clock that is set back takes nothing away, or it would shut everybody out for as long.
    const passed = Math.max(0, now - bucket.at) / 1_000;
    bucket.left = Math.min(burst, bucket.left + passed * perSecond);
    bucket.at = now;
    buckets.delete(caller);
    buckets.set(caller, bucket);
    if (buckets.size > CALLERS_MAX)
      for (const oldest of buckets.keys()) {
        buckets.delete(oldest);
        break;
      }
    if (bucket.left < 1) {
      const failure = new Failure(
        'over-quota',
        `more than ${perSecond} requests a second from ${caller}; slow down`,
      );
      failure.retryAfterSeconds = Math.ceil((1 - bucket.left) / perSecond);
      throw failure;
    }
    bucket.left -= 1;
  };
}

/** Throws Failure('forbidden') unless the browser itself says that a page of ours asks. */
export function sameOriginOnly(request: Request): void {
  // An origin that is there is ours: see checkOrigin.
  if (request.headers.get('origin') !== null) return;
  if (request.headers.get('sec-fetch-site') === 'same-origin') return;
  throw new Failure(
    'forbidden',
    'a session takes changes only from pages of this server; programs use Authorization: Bearer <token>',
  );
}

/**
 * Once a name was reached by TLS, browsers go there by nothing else. Not for the loopback, whose other ports
 * would suffer, and not for a certificate that nobody vouches for: there it would forbid going on.
 */
export function strictTransport({ host, secure }: { host: string; secure: boolean }): Record<string, string> {
  const name = host.replace(/:\d+$/, '');
  if (!secure || isLoopback(name)) return {};
  return { 'strict-transport-security': 'max-age=31536000' };
}

export const shownBy = (request: Request): Shown => ({
  token: tokenOf(request),
  peerUid: null,
  cookie: cookieOf(request),
});

/**
 * A bearer token from the header; for a WebSocket, which cannot set headers, also from the query or the
 * subprotocol.
 */
export function tokenOf(request: Request): string | null {
  const [, bearer] = /^Bearer\s+(\S+)$/i.exec(request.headers.get('authorization') ?? '') ?? [];
  if (bearer !== undefined) return bearer;
  if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') return null;
  const { pathname, searchParams } = new URL(request.url);
  // Anybody can claim an upgrade; only these places have no other way to show a token.
  if (!pathname.startsWith('/ws/')) return null;
  const named = (request.headers.get('sec-websocket-protocol') ?? '').split(',').map((word) => word.trim());
  const protocol = named.find((word) => word.startsWith('bearer.'));
  return protocol?.slice('bearer.'.length) ?? searchParams.get('access_token');
}
