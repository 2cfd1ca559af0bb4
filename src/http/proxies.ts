/**
 * Who a request comes from when proxies stand between. What a header says is believed as far as trusted hops
 * have written it: from the right, until the first address that is none of ours.
 */
import { BlockList, isIP } from 'node:net';
import { Failure } from '../failure.ts';
import type { Client } from './seen.ts';

export interface Proxies {
  isTrusted(address: string): boolean;
}

/** Throws Failure('bad-input') for what is neither an address nor a network. */
export function proxies(networks: readonly string[]): Proxies {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits] = network.split('/');
    const family = isIP(address);
    const width = family === 4 ? 32 : 128;
    const prefix = bits === undefined ? width : Number(bits);
    if (family === 0 || bits === '' || !Number.isInteger(prefix) || prefix < 0 || prefix > width)
      throw new Failure(
        'bad-input',
        `AGENTIC_TRUSTED_PROXIES: "${network}" is not a network such as 10.0.0.0/8`,
      );
    list.addSubnet(address, prefix, family === 4 ? 'ipv4' : 'ipv6');
  }
  return {
    isTrusted(address) {
      const family = isIP(address);
      return family !== 0 && list.check(address, family === 4 ? 'ipv4' : 'ipv6');
    },
  };
}

export interface Connection {
  readonly address: string | null;
  /** It speaks TLS to us. */
  readonly secure: boolean;
  /** Null: nothing a header says is believed. */
  readonly proxies: Proxies | null;
}

/** Throws Failure('bad-input') when two headers say different things: nobody could tell who wrote which. */
export function clientOf(request: Request, { address, secure, proxies: trusted }: Connection): Client {
  const peer = address === null ? null : plain(address);
  const host = request.headers.get('host') ?? new URL(request.url).host;
  const direct = { address: peer, proxied: false, secure, host };
  if (!trusted || peer === null || !trusted.isTrusted(peer)) return direct;
  const standard = request.headers.get('forwarded');
  const usual = request.headers.get('x-forwarded-for');
  if (standard !== null && usual !== null)
    throw new Failure(
      'bad-input',
      'the proxy sends Forwarded and X-Forwarded-For; it must set one and remove the other',
    );
  const hops = standard === null ? ofUsual(request, usual) : ofStandard(standard);
  let found: Hop = { address: peer, proto: null, host: null };
  for (const hop of hops.toReversed()) {
    if (hop.address === null) break;
    found = { address: hop.address, proto: hop.proto ?? found.proto, host: hop.host ?? found.host };
    if (!trusted.isTrusted(hop.address)) break;
  }
  return {
    address: found.address,
    proxied: found.address !== peer || hops.length > 0,
    secure: found.proto === null ? secure : found.proto === 'https',
    host: found.host ?? host,
  };
}

interface Hop {
  /** Null: it is hidden, or no address. */
  readonly address: string | null;
  readonly proto: string | null;
  readonly host: string | null;
}

const addressIn = (text: string): string | null => {
  const bare = text
    .trim()
    .replace(/^"|"$/g, '')
    .replace(/^\[(.*)\](:\d+)?$/, '$1');
  const address = plain(isIP(bare) ? bare : bare.replace(/:\d+$/, ''));
  return isIP(address) ? address : null;
};

/** IPv4 as IPv6 is IPv4. */
const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '');

/** The nearest proxy's word counts for the scheme and the name: it is the last of them. */
function ofUsual({ headers }: Request, usual: string | null): Hop[] {
  const last = (name: string) => headers.get(name)?.split(',').at(-1)?.trim().toLowerCase() || null;
  const [proto, host] = [last('x-forwarded-proto'), last('x-forwarded-host')];
  return (usual ?? '')
    .split(',')
    .filter((one) => one.trim() !== '')
    .map((one) => ({ address: addressIn(one), proto, host }));
}

/** RFC 7239. */
function ofStandard(header: string): Hop[] {
  return header.split(',').map((element) => {
    const pairs = new Map(
      element.split(';').map((pair) => {
        const [name = '', ...value] = pair.split('=');
        return [name.trim().toLowerCase(), value.join('=').trim().replace(/^"|"$/g, '')] as const;
      }),
    );
    return {
      address: addressIn(pairs.get('for') ?? ''),
      proto: pairs.get('proto')?.toLowerCase() ?? null,
      host: pairs.get('host')?.toLowerCase() ?? null,
    };
  });
}
