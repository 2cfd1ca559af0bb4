/**
 * What an instance with an allowlist may connect to. Pure.
 *
 * A name is allowed by its name, and then only at addresses that are public; an address or a block is allowed
 * as it stands, private or not, for the operator has written it. Addresses of this host, link-local ones and
 * others where a cloud has its metadata, multicast and the unspecified one are never allowed.
 */
import { BlockList, isIP } from 'node:net';
import type { FieldFault } from '../failure.ts';
import { Failure } from '../failure.ts';

/** Entries of one list. */
export const RULES_MAX = 500;
const PORTS_DEFAULT: readonly number[] = [80, 443];

interface Rule {
  readonly ports: readonly number[];
  /** A name in lower case; `suffix`: all names below it. */
  readonly name: { readonly text: string; readonly suffix: boolean } | null;
  readonly block: BlockList | null;
}

export interface AllowRules {
  readonly faults: readonly FieldFault[];
  /** May it ask for this name or address at this port? Throws Failure('forbidden'), which says what is. */
  ask(host: string, port: number): void;
  /** May it be connected to this address, which that host resolved to? */
  mayConnect(host: string, port: number, address: string): boolean;
}

const never = blocks([
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/4',
  '240.0.0.0/4',
  'fe80::/10',
  'ff00::/8',
  // Forms that carry an IPv4 address of any kind inside.
  '::/96',
  '::ffff:0:0:0/96',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '2001::/32',
  '2002::/16',
  // The metadata of clouds, where it is not link-local.
  '100.100.100.200/32',
  '168.63.129.16/32',
  '192.0.0.192/32',
  'fd00:ec2::254/128',
  'fd20:ce::254/128',
]);
const reserved = blocks([
  '10.0.0.0/8',
  '100.64.0.0/10',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  'fc00::/7',
  'fec0::/10',
]);

export const isNever = (address: string): boolean => inBlock(never, plain(address));
export const isPrivate = (address: string): boolean =>
  inBlock(never, plain(address)) || inBlock(reserved, plain(address));

export function allowRules(entries: readonly string[]): AllowRules {
  const faults: FieldFault[] = [];
  if (entries.length > RULES_MAX)
    faults.push({ path: 'network.allow', message: `may have ${RULES_MAX} entries` });
  const rules = entries.slice(0, RULES_MAX).flatMap((entry, i) => {
    const rule = ruleOf(entry);
    if (rule === null)
      faults.push({
        path: `network.allow[${i}]`,
        message: `"${entry.slice(0, 80)}" is no name, *.name, address or block of addresses, with or without :port`,
      });
    return rule ?? [];
  });
  const byName = (host: string, port: number) =>
    rules.some(({ name, ports }) => name !== null && ports.includes(port) && matches(name, host));
  const byAddress = (address: string, port: number) =>
    rules.some(
      ({ block, ports }) => block !== null && ports.includes(port) && inBlock(block, plain(address)),
    );
  return {
    faults,
    ask(asked, port) {
      const host = nameOf(asked);
      const allowed = isIP(host) ? byAddress(host, port) && !isNever(host) : byName(host, port);
      if (!allowed) throw new Failure('forbidden', `${host}:${port} is not on this instance's allowlist`);
    },
    mayConnect(asked, port, address) {
      if (isNever(address)) return false;
      const host = nameOf(asked);
      if (byAddress(address, port)) return true;
      return !isIP(host) && byName(host, port) && !isPrivate(address);
    },
  };
}

/** Without brackets, without the dot at the end, in lower case. */
export const nameOf = (host: string): string =>
  host
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
    .toLowerCase();

/** An IPv4 address in IPv6's clothes is the IPv4 address. */
function plain(address: string): string {
  const [, dotted] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  if (dotted !== undefined) return dotted;
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(address) ?? [];
  if (high === undefined || low === undefined) return address;
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return `${a >> 8}.${a & 255}.${b >> 8}.${b & 255}`;
}

const matches = ({ text, suffix }: { text: string; suffix: boolean }, host: string): boolean =>
  suffix ? host.endsWith(`.${text}`) : host === text;

function ruleOf(entry: string): Rule | null {
  const [, host = '', port] =
    /^(\[[^\]]+\](?:\/\d+)?|[^:]+|[0-9a-fA-F:.]+(?:\/\d+)?)(?::(\d{1,5}))?$/.exec(entry) ?? [];
  const ports = port === undefined ? PORTS_DEFAULT : [Number(port)];
  if (ports.some((one) => one < 1 || one > 65_535)) return null;
  const block = blockOf(host.replace(/^\[([^\]]+)\]/, '$1'));
  if (block !== null) return { ports, name: null, block };
  const [, star, text = ''] =
    /^(\*\.)?((?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.?)+)$/i.exec(host) ?? [];
  // Digits and dots alone are an address that is not one.
  if (text === '' || /^[\d.]+$/.test(text) || text.includes('..')) return null;
  return { ports, name: { text: nameOf(text), suffix: star !== undefined }, block: null };
}

function blockOf(text: string): BlockList | null {
  const [, address = '', bits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const version = isIP(address);
  if (version === 0) return null;
  const whole = version === 4 ? 32 : 128;
  const length = bits === undefined ? whole : Number(bits);
  if (length > whole) return null;
  const block = new BlockList();
  block.addSubnet(address, length, version === 4 ? 'ipv4' : 'ipv6');
  return block;
}

function blocks(texts: readonly string[]): BlockList {
  const all = new BlockList();
  for (const text of texts) {
    const [address = '', bits] = text.split('/');
    all.addSubnet(address, Number(bits), isIP(address) === 4 ? 'ipv4' : 'ipv6');
  }
  return all;
}

function inBlock(block: BlockList, address: string): boolean {
  const version = isIP(address);
  return version !== 0 && block.check(address, version === 4 ? 'ipv4' : 'ipv6');
}
