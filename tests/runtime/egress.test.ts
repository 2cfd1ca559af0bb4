/** The proxy of an allowlist: its rules, and the proxy itself on a real socket. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { type EgressDoors, egressDoors } from '../../src/runtime/egress.ts';
import { allowRules, isPrivate } from '../../src/runtime/egress-rules.ts';

const asks = (entries: readonly string[], host: string, port = 443): boolean => {
  try {
    allowRules(entries).ask(host, port);
    return true;
  } catch {
    return false;
  }
};

describe('what is on the list', () => {
  test('[R28] a name is itself, and with a star what is below it; without a port it is 80 and 443', () => {
    expect(asks(['example.org'], 'example.org')).toBe(true);
    expect(asks(['example.org'], 'EXAMPLE.org.', 80)).toBe(true);
    for (const other of ['a.example.org', 'example.org.evil.net', 'notexample.org', 'example.or'])
      expect(asks(['example.org'], other)).toBe(false);
    expect(asks(['example.org'], 'example.org', 22)).toBe(false);
    expect(asks(['*.example.org:8443'], 'a.b.example.org', 8443)).toBe(true);
    expect(asks(['*.example.org:8443'], 'example.org', 8443)).toBe(false);
    expect(asks(['example.org', '*'], 'anything.net')).toBe(false);
  });

  test('[R28] an address is allowed by address and not by name, also a private one, never one of this host', () => {
    expect(asks(['10.1.0.0/16:5432'], '10.1.9.9', 5432)).toBe(true);
    expect(asks(['10.1.0.0/16:5432'], '10.2.0.1', 5432)).toBe(false);
    expect(asks(['2001:db8::/32'], '2001:db8::7')).toBe(true);
    expect(asks(['*.example.org'], '93.184.216.34')).toBe(false);
    for (const never of ['127.0.0.1', '0.0.0.0', '169.254.169.254', '::1', '::ffff:127.0.0.1'])
      expect(asks(['0.0.0.0/0', '::/0'], never)).toBe(false);
  });

  test('[R28] the metadata of a cloud and forms with an IPv4 address inside are not for anybody', () => {
    const rules = allowRules(['*.example.org', '0.0.0.0/0', '::/0']);
    const metadata = ['100.100.100.200', '168.63.129.16', '192.0.0.192', 'fd00:ec2::254', 'fd20:ce::254'];
    const carrying = ['::7f00:1', '::ffff:0:7f00:1', '64:ff9b:1::7f00:1', '2001:0:1::1', '2002:7f00:1::'];
    for (const never of [...metadata, ...carrying])
      expect([never, rules.mayConnect('a.example.org', 443, never)]).toEqual([never, false]);
    expect(rules.mayConnect('a.example.org', 443, '2606:2800:220:1::1')).toBe(true);
  });

  test('[R28] a name does not lead to a private address, whatever the address is written like', () => {
    const rules = allowRules(['example.org', '10.9.9.9']);
    const leads = (address: string) => rules.mayConnect('example.org', 443, address);
    expect(leads('93.184.216.34')).toBe(true);
    for (const inside of [
      '10.0.0.1',
      '192.168.1.1',
      '172.16.0.1',
      '100.64.0.1',
      'fd00::1',
      'fe80::1',
      '::ffff:10.0.0.1',
      '::ffff:a9fe:a9fe',
      '64:ff9b::a00:1',
    ])
      expect([inside, leads(inside), isPrivate(inside)]).toEqual([inside, false, true]);
    // The operator has written this one.
    expect(leads('10.9.9.9')).toBe(true);
  });

  test('[R29] what is no entry is named by its place', () => {
    const { faults } = allowRules([
      'ok.org',
      'a b',
      '1.2.3.4/33',
      '999.1.1.1',
      'x:99999',
      'a..b',
      '',
      '*',
      'http://x',
      '1.2.3.4/1e1',
      '1.2.3.4/ 8',
      '1.2.3.4/24/8',
    ]);
    expect(faults.map(({ path }) => path)).toEqual(
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map((i) => `network.allow[${i}]`),
    );
  });
});

describe('the proxy', () => {
  let dir: string;
  let doors: EgressDoors;
  let names: Record<string, string[]>;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'egress-'));
    names = {};
    const resolve = async (name: string) => names[name] ?? [];
    doors = egressDoors({ clock: systemClock, log: () => {}, resolve });
  });
  afterEach(async () => {
    await doors.close('web-1');
    rmSync(dir, { recursive: true, force: true });
  });

  const say = async (text: string): Promise<string> => {
    let heard = '';
    await new Promise<void>((done) => {
      const socket = connect(join(dir, 's'), () => socket.write(text));
      socket.on('data', (bytes) => {
        heard += bytes.toString();
      });
      socket.on('error', () => done());
      socket.on('close', () => done());
    });
    return heard;
  };
  const status = async (text: string): Promise<string> =>
    /^HTTP\/1\.1 (\d+)/.exec(await say(text))?.[1] ?? '';

  test('[R28] refuses what is not on the list, what resolves inwards, and what is no request', async () => {
    names = { 'inward.org': ['127.0.0.1', '10.0.0.1'], 'nowhere.org': [] };
    await doors.open('web-1', join(dir, 's'), ['inward.org', 'nowhere.org', '*.sub.org']);
    expect(await status('CONNECT other.org:443 HTTP/1.1\r\n\r\n')).toBe('403');
    expect(await status('CONNECT inward.org:443 HTTP/1.1\r\n\r\n')).toBe('403');
    expect(await status('GET http://inward.org/ HTTP/1.1\r\nhost: other\r\n\r\n')).toBe('403');
    expect(await status('CONNECT inward.org:22 HTTP/1.1\r\n\r\n')).toBe('403');
    expect(await status('CONNECT [::1]:443 HTTP/1.1\r\n\r\n')).toBe('403');
    expect(await status('GET / HTTP/1.1\r\nhost: inward.org\r\n\r\n')).toBe('400');
    expect(await status('GET ftp://inward.org/ HTTP/1.1\r\n\r\n')).toBe('400');
    expect(await status('nonsense\r\n\r\n')).toBe('400');
    expect(await status(`GET http://inward.org/ HTTP/1.1\r\nx: ${'y'.repeat(40_000)}`)).toBe('413');
  });

  test('[R28] who is refused holds nothing open here, though it never closes its own end', async () => {
    await doors.open('web-1', join(dir, 's'), []);
    const socket = connect({ path: join(dir, 's'), allowHalfOpen: true });
    const closed = new Promise<boolean>((done) => socket.on('error', () => done(true)));
    socket.write('nonsense\r\n\r\n');
    await new Promise((done) => socket.resume().on('end', done));
    // Who is still listened to may write for ever.
    const writing = setInterval(() => socket.write('x'), 5);
    expect(await closed).toBe(true);
    clearInterval(writing);
    socket.destroy();
  });

  test('[R28] who is refused again and again does not fill the log', async () => {
    const logged: string[] = [];
    const own = egressDoors({
      clock: systemClock,
      log: (line) => logged.push(line),
      resolve: async () => [],
    });
    await own.open('web-2', join(dir, 's'), []);
    for (let i = 0; i < 30; i++) expect(await status(`CONNECT n${i}.org:443 HTTP/1.1\r\n\r\n`)).toBe('403');
    expect(logged.length).toBe(20);
    expect(logged[0]).toContain('instance web-2: not let out: n0.org:443');
    await own.close('web-2');
  });

  test('[R28] a list that is opened again is the newer one, and a closed door is gone', async () => {
    names = { 'a.org': ['10.0.0.1'] };
    await doors.open('web-1', join(dir, 's'), []);
    expect(await say('CONNECT a.org:443 HTTP/1.1\r\n\r\n')).toContain('not on this instance');
    await doors.open('web-1', join(dir, 's'), ['a.org']);
    expect(await say('CONNECT a.org:443 HTTP/1.1\r\n\r\n')).toContain('may not go');
    await doors.close('web-1');
    expect(await say('CONNECT a.org:443 HTTP/1.1\r\n\r\n')).toBe('');
  });
});
