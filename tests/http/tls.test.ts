/** TLS for HTTP and WebSockets: whose certificate, for which names, and how it changes while we listen. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import type { TlsWish } from '../../src/config.ts';
import { type Certificate, certificate } from '../../src/http/certificate.ts';
import { httpDoors } from '../../src/http/doors.ts';
import { selfSigned } from '../../src/http/self-signed.ts';
import { silentLog } from '../../src/log.ts';
import { client } from './socket.ts';
import { fastClock, tokens, until, world } from './world.ts';

const DAY_MS = 86_400_000;
let dir: string;
let clock: ReturnType<typeof fastClock>;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tls-'));
  clock = fastClock();
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const make = (wish: TlsWish, names: string[] = []): Promise<Certificate> =>
  certificate({ wish, dir: join(dir, 'made'), names, clock, log: silentLog });

/** An operator's own pair, in two files. */
function files(name: string): Extract<TlsWish, { kind: 'files' }> {
  const now = clock.now();
  const pair = selfSigned({ names: [name, '127.0.0.1'], from: now - DAY_MS, until: now + 90 * DAY_MS });
  const wish = { kind: 'files', cert: join(dir, 'own.crt'), key: join(dir, 'own.key') } as const;
  writeFileSync(wish.cert, pair.cert);
  writeFileSync(wish.key, pair.key);
  return wish;
}

/** The names on the certificate that is shown, once it was verified. */
const shownAt = (port: number, ca: string, servername = 'localhost'): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, ca, servername }, () => {
      resolve(String(socket.getPeerCertificate().subjectaltname));
      socket.end();
    });
    socket.on('error', reject);
  });

describe('a certificate that is made here', () => {
  test('[O10] is good for the loopback, the machine and the given names, private, and the same after a restart', async () => {
    const { shown } = await make({ kind: 'self-signed' }, [
      'agents.example.org',
      '10.1.2.3',
      'fd00::1:2',
      '0.0.0.0',
    ]);
    const parsed = new X509Certificate(shown.cert);
    for (const ip of ['127.0.0.1', '::1', '10.1.2.3', 'fd00::1:2'])
      expect([ip, parsed.checkIP(ip)]).toEqual([ip, ip]);
    for (const name of ['localhost', 'agents.example.org', hostname().toLowerCase()])
      expect([name, parsed.checkHost(name)]).toEqual([name, name]);
    expect(parsed.checkHost('evil.example')).toBeUndefined();
    expect(parsed.verify(parsed.publicKey)).toBe(true);
    expect(parsed.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(parsed.ca).toBe(false);
    expect(statSync(join(dir, 'made', 'key.pem')).mode & 0o777).toBe(0o600);
    expect((await make({ kind: 'self-signed' }, ['agents.example.org'])).shown.fingerprint).toBe(
      shown.fingerprint,
    );
    expect((await make({ kind: 'self-signed' }, ['another.example'])).shown.fingerprint).not.toBe(
      shown.fingerprint,
    );
  });

  test('[O11] is made anew before it ends, and when it broke', async () => {
    const made = await make({ kind: 'self-signed' });
    const first = made.shown.fingerprint;
    expect(await made.look()).toBeNull();
    clock.skip(370 * DAY_MS);
    const next = await made.look();
    expect(next?.fingerprint).not.toBe(first);
    expect(Date.parse(new X509Certificate(next?.cert ?? '').validTo)).toBeGreaterThan(
      clock.now() + 300 * DAY_MS,
    );
    writeFileSync(join(dir, 'made', 'key.pem'), 'broken');
    expect((await make({ kind: 'self-signed' })).shown.fingerprint).not.toBe(next?.fingerprint);
  });
});

describe("an operator's own certificate", () => {
  test('[O10] that cannot be used is named, with why', async () => {
    const wish = files('one.example');
    await expect(make({ ...wish, cert: join(dir, 'none') })).rejects.toThrow('ENOENT');
    writeFileSync(wish.cert, 'no certificate');
    await expect(make(wish)).rejects.toMatchObject({ code: 'bad-input' });
    const { key } = selfSigned({ names: ['x'], from: 0, until: 1 });
    files('one.example');
    writeFileSync(wish.key, key);
    await expect(make(wish)).rejects.toThrow('cannot be used');
  });

  test('[O11] is read again when its files change, and kept while they do not fit', async () => {
    const wish = files('one.example');
    const held = await make(wish);
    const first = held.shown.fingerprint;
    const { key } = selfSigned({ names: ['x'], from: 0, until: 1 });
    writeFileSync(wish.key, key);
    expect(await held.look()).toBeNull();
    expect(held.shown.fingerprint).toBe(first);
    files('two.example');
    expect((await held.look())?.fingerprint).not.toBe(first);
  });
});

describe('a server with TLS', () => {
  test('[O10, O11] speaks it at both ports, also beyond the loopback with tokens, and shows a new one without a restart', async () => {
    const wish = files('localhost');
    const tls = await make(wish);
    const on = await world({ options: { tls, httpHost: '0.0.0.0' } });
    await expect(httpDoors(on)).rejects.toThrow('would let anybody in');
    const held = await tokens(on.access);
    on.desks.sessions.add('s1');
    const doors = await httpDoors(on);
    try {
      const first = tls.shown.cert;
      const ask = (ca: string, headers: Record<string, string> = {}) =>
        fetch(`https://127.0.0.1:${doors.httpPort}/api/v1/whoami`, {
          headers: { authorization: `Bearer ${held.viewer}`, ...headers },
          tls: { ca },
        } as never);
      expect((await ask(first)).status).toBe(200);
      expect(await shownAt(doors.wsPort, first)).toContain('localhost');
      await expect(fetch(`http://127.0.0.1:${doors.httpPort}/`)).rejects.toThrow();
      expect((await ask(first)).headers.get('strict-transport-security')).toBeNull();
      const named = await ask(first, { host: 'agents.example.org' });
      expect(named.headers.get('strict-transport-security')).toBe('max-age=31536000');
      const watching = client(
        `wss://127.0.0.1:${doors.wsPort}/ws/sessions/s1/attach?access_token=${held.viewer}`,
        { tls: { ca: first } },
      );
      await watching.told('hello');
      files('localhost');
      const second = readFileSync(wish.cert, 'utf8');
      expect(second).not.toBe(first);
      await until('the new one is shown', () => tls.shown.cert === second);
      await shownAt(doors.httpPort, second);
      await shownAt(doors.wsPort, second);
      await expect(shownAt(doors.httpPort, first)).rejects.toThrow();
      // What was open goes on over it.
      on.desks.sessions.say('s1', 'still here');
      await until('output on the old connection', () => watching.output().includes('still here'));
      watching.socket.close();
    } finally {
      await doors.close(500);
      await on.remove();
    }
  }, 20_000);

  test('[O10] that is run says https where it says where it is, and the fingerprint', async () => {
    const data = join(dir, 'data');
    mkdirSync(data);
    const child = Bun.spawn([process.execPath, join(import.meta.dir, '..', '..', 'src', 'main.ts')], {
      env: {
        PATH: process.env['PATH'] ?? '',
        LISTEN_ADDR: '127.0.0.1:0',
        AGENTIC_DATA_DIR: data,
        AGENTIC_FIRST_INSTANCE: '',
        AGENTIC_TLS: 'self-signed',
      },
      stdout: 'pipe',
      stderr: 'ignore',
    });
    try {
      let said = '';
      for await (const bytes of child.stdout) {
        said += new TextDecoder().decode(bytes);
        if (said.includes('tls:')) break;
      }
      const { http, ws } = JSON.parse(readFileSync(join(data, 'server.json'), 'utf8')) as Record<
        string,
        string
      >;
      expect(said).toContain(`ready at ${http}`);
      expect([http?.slice(0, 8), ws?.slice(0, 6)]).toEqual(['https://', 'wss://']);
      const ca = readFileSync(join(data, 'secrets', 'tls', 'cert.pem'), 'utf8');
      expect(said).toContain(new X509Certificate(ca).fingerprint256);
      expect((await fetch(`${http}/healthz`, { tls: { ca } } as never)).status).toBe(200);
      expect(existsSync(join(data, 'audit'))).toBe(true);
    } finally {
      child.kill('SIGTERM');
      await child.exited;
    }
  }, 40_000);
});
