/** From where a request may come, on HTTP and on WebSockets, and where the server may listen. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { httpDoors } from '../../src/http/doors.ts';
import { type House, house, problemOf, raw, tokens, world } from './world.ts';

let on: House;
beforeAll(async () => {
  on = await house({ options: { allowedHosts: ['Agents.Example.org'] } });
  on.desks.sessions.add('s1');
});
afterAll(() => on.remove());

const upgrade =
  'Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

const http = (port: number, headers: string) => raw(port, `GET /api/v1/agents HTTP/1.1\r\n${headers}\r\n`);
const ws = (port: number, headers: string) =>
  raw(port, `GET /ws/sessions/s1/attach HTTP/1.1\r\n${headers}${upgrade}\r\n`);

/** The status of each way in, at both ports. */
async function statuses(headers: (port: number) => string): Promise<string> {
  const { httpPort, wsPort } = on.doors;
  const answers = await Promise.all(
    [httpPort, wsPort].flatMap((port) => [http(port, headers(port)), ws(port, headers(port))]),
  );
  for (const answer of answers) {
    if (answer.includes(' 403 ')) expect(answer).toContain('application/problem+json');
  }
  return answers.map((answer) => answer.split(' ')[1]).join(' ');
}

const REFUSED = '403 403 403 403';
const LET_IN = '200 101 200 101';

describe('a request', () => {
  test('[W10] is refused when it names another host, as after DNS rebinding', async () => {
    const names = [
      'evil.example',
      '127.0.0.1.evil.example',
      'localhost.evil.example',
      '10.0.0.1',
      'x127.0.0.1',
    ];
    for (const name of names) {
      expect([name, await statuses((port) => `Host: ${name}:${port}\r\n`)]).toEqual([name, REFUSED]);
    }
  });

  test('[W10] is let in by the names of the loopback and those that are configured', async () => {
    for (const name of ['127.0.0.1', 'localhost', 'LOCALHOST', '[::1]', 'agents.example.org', '127.1.2.3']) {
      expect([name, await statuses((port) => `Host: ${name}:${port}\r\n`)]).toEqual([name, LET_IN]);
    }
    expect(await statuses(() => 'Host: agents.example.org\r\n')).toBe(LET_IN);
  });

  test('[W11] of a page of another site is refused', async () => {
    const strange = [
      'http://evil.example',
      'null',
      'file://',
      'https://127.0.0.1.evil.example',
      'http://127.0.0.1:1',
      'http://127.0.0.1',
      'garbage',
      'http://evil.example:PORT',
    ];
    for (const origin of strange) {
      const found = await statuses(
        (port) => `Host: 127.0.0.1:${port}\r\nOrigin: ${origin.replace('PORT', String(port))}\r\n`,
      );
      expect([origin, found]).toEqual([origin, REFUSED]);
    }
    const neighbour =
      on.doors.httpPort + 1 === on.doors.wsPort ? on.doors.httpPort - 1 : on.doors.httpPort + 1;
    const near = (port: number) => `Host: 127.0.0.1:${port}\r\nOrigin: http://127.0.0.1:${neighbour}\r\n`;
    expect(await statuses(near)).toBe(REFUSED);
  });

  test('[W11] of our own page is let in, at either port and behind a proxy', async () => {
    const { httpPort } = on.doors;
    const own = (port: number) => `Host: 127.0.0.1:${port}\r\nOrigin: http://127.0.0.1:${httpPort}\r\n`;
    expect(await statuses(own)).toBe(LET_IN);
    const proxied = () => 'Host: agents.example.org\r\nOrigin: https://agents.example.org\r\n';
    expect(await statuses(proxied)).toBe(LET_IN);
  });

  test('[W11] of a page of another site changes nothing, not even without a body', async () => {
    const response = await on.post('/api/v1/instances/local/stop', undefined, {
      origin: 'http://evil.example',
    });
    expect((await problemOf(response)).code).toBe('forbidden');
    expect(on.calls).toEqual([]);
  });
});

describe('listening', () => {
  const refused = async (options: object, withTokens: boolean): Promise<string> => {
    const other = await world({ options });
    try {
      if (withTokens) await tokens(other.access);
      const doors = await httpDoors(other);
      await doors.close(100);
      return 'opened';
    } catch (thrown) {
      return String(thrown);
    } finally {
      await other.remove();
    }
  };

  test('[W12] where others could come in takes operator tokens, and TLS in front', async () => {
    const everywhere = { httpHost: '0.0.0.0' };
    expect(await refused(everywhere, false)).toContain('would let anybody in');
    expect(await refused({ httpHost: '::' }, false)).toContain('would let anybody in');
    expect(await refused({ ...everywhere, behindProxy: true }, false)).toContain('would let anybody in');
    expect(await refused({ behindProxy: true }, false)).toContain('would let anybody in');
    expect(await refused(everywhere, true)).toContain('TLS');
    expect(await refused({ ...everywhere, behindProxy: true }, true)).toBe('opened');
    expect(await refused({ httpHost: 'localhost' }, false)).toBe('opened');
  });

  test('[W12] lets nobody in once the last token is revoked', async () => {
    const open = await world({ options: { httpHost: '0.0.0.0', behindProxy: true } });
    const { view, token } = await open.access.create({ name: 'ada', role: 'admin', expiresInMs: null });
    const doors = await httpDoors(open);
    const ask = (headers: Record<string, string> = {}) =>
      fetch(`http://127.0.0.1:${doors.httpPort}/api/v1/whoami`, { headers });
    try {
      expect((await ask()).status).toBe(401);
      expect((await ask({ authorization: `Bearer ${token}` })).status).toBe(200);
      await open.access.revoke(view.id);
      const problem = await problemOf(await ask());
      expect([problem.status, problem.detail.includes('no operator tokens any more')]).toEqual([401, true]);
    } finally {
      await doors.close(100);
      await open.remove();
    }
  });

  test('[W13] on a port that is taken says which, what for, and what to do', async () => {
    for (const [port, purpose] of [
      ['httpPort', 'the dashboard and the API'],
      ['wsPort', 'WebSockets'],
    ] as const) {
      const taken = on.doors.httpPort;
      const said = await refused({ [port]: taken }, false);
      expect(said).toContain(`127.0.0.1:${taken}`);
      expect(said).toContain(purpose);
      expect(said).toContain('LISTEN_ADDR');
    }
    expect(await refused({ httpHost: '192.0.2.1', behindProxy: true }, true)).toContain('cannot listen on');
  });

  test('[W13] on the first port is given up when the second is taken', async () => {
    const other = await world();
    const free = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response() });
    const port = free.port as number;
    await free.stop(true);
    const options = { ...other.options, httpPort: port, wsPort: on.doors.wsPort };
    await expect(httpDoors({ ...other, options })).rejects.toMatchObject({ code: 'already-exists' });
    const again = await httpDoors({ ...other, options: { ...options, wsPort: 0 } });
    expect(again.httpPort).toBe(port);
    await again.close(100);
    await other.remove();
  });
});
