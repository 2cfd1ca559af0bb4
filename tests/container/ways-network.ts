/** Ways out by the network: an isolated instance has none, one with an allowlist only a proxy. */
import { probe, rooms, SITE, type Way, type World } from './way.ts';

type From = 'isolated' | 'allowlist' | 'full';

const way = (from: From, tries: string, sees: RegExp, script: (world: World) => string): Way => ({
  family: 'network',
  from,
  tries,
  sees,
  run: (world) => world.inside(rooms[from], script(world)),
});

const control = (...words: Parameters<typeof way>): Way => ({ ...way(...words), isControl: true });

const unreachable = /^refused (ENETUNREACH|EADDRNOTAVAIL)$/;
const nobody = /^refused ECONNREFUSED$/;

/** By perl, which git brings along: a system call or an ioctl, and the name of its error. */
const perl = (code: string): string =>
  `perl -MErrno -MSocket -e '${code} print $r ? "done" : "refused ", $r ? "" : (grep { $!{$_} } keys %!)[0]'`;

const throughProxy = (...lines: readonly string[]) => probe('http', '127.0.0.1', 3128, ...lines);
const asModel = (line: string, key: string) =>
  probe('http', '127.0.0.1', 3129, line, 'host: x', `x-api-key: ${key}`, 'anthropic-version: 2023-06-01');

const isolated: readonly Way[] = [
  control(
    'full',
    'another address of this machine, from the full network',
    /^connected HTTP\/1\.1 200[\s\S]*a site/,
    ({ ports }) => probe('http', SITE, ports.site, 'GET / HTTP/1.1', 'host: x'),
  ),
  control('isolated', 'a port of its own loopback that is open', /^connected/, () =>
    probe('tcp', '127.0.0.1', 3129),
  ),
  way('isolated', 'another address of this machine', unreachable, ({ ports }) =>
    probe('tcp', SITE, ports.site),
  ),
  way('isolated', 'the bridge address of this machine', unreachable, ({ bridge, ports }) =>
    probe('tcp', bridge, ports.site),
  ),
  way('isolated', 'an address elsewhere', unreachable, () => probe('tcp', '192.0.2.1', 443)),
  way('isolated', 'an IPv6 address elsewhere', unreachable, () => probe('tcp', '2001:db8::1', 443)),
  way('isolated', 'the metadata of a cloud', unreachable, () => probe('tcp', '169.254.169.254', 80)),
  way('isolated', 'the metadata of a cloud, by IPv6', unreachable, () => probe('tcp', 'fd00:ec2::254', 80)),
  way('isolated', 'the server’s HTTP port, by the loopback', nobody, ({ ports }) =>
    probe('tcp', '127.0.0.1', ports.http),
  ),
  way('isolated', 'the server’s port for agents, by the loopback', nobody, ({ ports }) =>
    probe('tcp', '127.0.0.1', ports.grpc),
  ),
  way('isolated', 'the model gateway’s port on this machine', nobody, ({ ports }) =>
    probe('tcp', '127.0.0.1', ports.gateway),
  ),
  way('isolated', 'the port for enrolment', nobody, ({ ports }) => probe('tcp', '127.0.0.1', ports.enrol)),
  way('isolated', 'the server’s HTTP port, by the bridge', unreachable, ({ bridge, ports }) =>
    probe('tcp', bridge, ports.http),
  ),
  way('isolated', 'a name', /^refused (EAI_AGAIN|ENOTFOUND)$/, () => probe('lookup', 'example.org')),
  way('isolated', 'a name server, by UDP', unreachable, () => probe('udp', '192.0.2.53', 53)),
  way('isolated', 'a name server, by TCP', unreachable, () => probe('tcp', '192.0.2.53', 53)),
  way('isolated', 'the engine’s own name server', nobody, () => probe('tcp', '127.0.0.11', 53)),
  way('isolated', 'another instance', unreachable, ({ freeAddress, ports }) =>
    probe('tcp', freeAddress, ports.site),
  ),
  way('isolated', 'an abstract Unix socket of this machine', nobody, () => probe('unix', '@ways-out')),
  way('isolated', 'a multicast', unreachable, () => probe('udp', '224.0.0.251', 5353)),
  way('isolated', 'a raw socket', /^refused EPERM$/, () => perl('$r = socket(my $s, 2, 3, 1);')),
  way('isolated', 'a packet socket', /^refused EPERM$/, () => perl('$r = socket(my $s, 17, 3, 768);')),
  way('isolated', 'a socket to the hypervisor', /^refused EPERM$/, () =>
    perl('$r = socket(my $s, 40, 1, 0);'),
  ),
  way('isolated', 'an address for its interface', /^refused EPERM$/, () =>
    perl(
      'socket(my $s, 2, 2, 0) or die; my $q = pack("Z16 S n a4 x8", "lo", 2, 0, inet_aton("10.9.9.9")); $r = ioctl($s, 0x8916, $q);',
    ),
  ),
];

const gateway: readonly Way[] = [
  control('isolated', 'the model gateway, with its key', /^connected HTTP\/1\.1 200/, ({ virtualKey }) =>
    asModel('GET /v1/models HTTP/1.1', virtualKey.cell),
  ),
  way('isolated', 'a path of the gateway that is none', /^connected HTTP\/1\.1 404/, ({ virtualKey }) =>
    asModel('GET /v1/../admin HTTP/1.1', virtualKey.cell),
  ),
  way(
    'isolated',
    'another host through the gateway',
    /^connected HTTP\/1\.1 404(?![\s\S]*a site)/,
    ({ virtualKey, ports }) => asModel(`GET http://${SITE}:${ports.site}/ HTTP/1.1`, virtualKey.cell),
  ),
  way(
    'isolated',
    'a tunnel through the gateway',
    /^connected HTTP\/1\.1 4\d\d(?![\s\S]*a site)/,
    ({ virtualKey, ports }) => asModel(`CONNECT ${SITE}:${ports.site} HTTP/1.1`, virtualKey.cell),
  ),
];

const forbidden = /^connected HTTP\/1\.1 403[\s\S]*x-agentic-code: forbidden/;

const proxied: readonly Way[] = [
  control(
    'allowlist',
    'what is on the allowlist, through the proxy',
    /^connected HTTP\/1\.1 200[\s\S]*a site/,
    ({ ports }) => throughProxy(`GET http://${SITE}:${ports.site}/ HTTP/1.1`, 'host: x'),
  ),
  way('allowlist', 'what is on the allowlist, not through the proxy', unreachable, ({ ports }) =>
    probe('tcp', SITE, ports.site),
  ),
  way('allowlist', 'another port of what is on it', forbidden, ({ ports }) =>
    throughProxy(`GET http://${SITE}:${ports.closed}/ HTTP/1.1`, 'host: x'),
  ),
  way('allowlist', 'a tunnel to what is not on it', forbidden, () =>
    throughProxy('CONNECT example.org:443 HTTP/1.1', 'host: x'),
  ),
  way('allowlist', 'this machine’s loopback, though it is on it', forbidden, ({ ports }) =>
    throughProxy(`GET http://127.0.0.1:${ports.http}/ HTTP/1.1`, 'host: x'),
  ),
  way('allowlist', 'a name of this machine’s loopback, though it is on it', forbidden, ({ ports }) =>
    throughProxy(`CONNECT localhost:${ports.http} HTTP/1.1`, 'host: x'),
  ),
  way('allowlist', 'this machine’s loopback in IPv6’s clothes', forbidden, ({ ports }) =>
    throughProxy(`CONNECT [::ffff:127.0.0.1]:${ports.http} HTTP/1.1`, 'host: x'),
  ),
  way('allowlist', 'this machine’s loopback as one number', forbidden, ({ ports }) =>
    throughProxy(`CONNECT 2130706433:${ports.http} HTTP/1.1`, 'host: x'),
  ),
  way('allowlist', 'the metadata of a cloud, though it is on it', forbidden, () =>
    throughProxy('GET http://169.254.169.254/latest/meta-data HTTP/1.1', 'host: x'),
  ),
  way('allowlist', 'the bridge address, which is not on it', forbidden, ({ bridge, ports }) =>
    throughProxy(`GET http://${bridge}:${ports.http}/ HTTP/1.1`, 'host: x'),
  ),
  way(
    'allowlist',
    'a second request behind one that is allowed',
    /^connected HTTP\/1\.1 200[\s\S]*a site(?![\s\S]*the server)/,
    ({ ports }) =>
      throughProxy(
        `GET http://${SITE}:${ports.site}/ HTTP/1.1`,
        'host: x',
        '',
        `GET http://127.0.0.1:${ports.http}/the-server HTTP/1.1`,
        'host: x',
      ),
  ),
];

export const networkWays: readonly Way[] = [...isolated, ...gateway, ...proxied];
