/** The binary WebSocket of a terminal, over the real terminals. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Terminal, Viewer } from '../../src/terminal.ts';
import { client, typed } from './socket.ts';
import { type House, house, raw, tokens, until } from './world.ts';

let on: House;
let open: House;
let held: Awaited<ReturnType<typeof tokens>>;
beforeAll(async () => {
  open = await house();
  on = await house();
  held = await tokens(on.access);
});
afterAll(async () => {
  await on.remove();
  await open.remove();
});

const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
const at = (id: string, query = '') => `${open.wsUrl}/ws/sessions/${id}/attach${query}`;

describe('attach', () => {
  test('[W19] says hello, shows the screen, and then every byte as it comes', async () => {
    open.desks.sessions.add('a1');
    open.desks.sessions.say('a1', 'before\r\n');
    const viewer = client(at('a1'));
    const hello = await viewer.told('hello');
    expect(viewer.messages[0]).toBe(hello);
    expect(hello).toMatchObject({ session_id: 'a1', cols: 80, rows: 24, state: 'live', next_offset: 8 });
    expect(hello['viewer_id']).toBeString();
    await until('a screen', () => viewer.frames.length > 0);
    const screen = viewer.frames[0] as Buffer;
    expect([screen[0], screen.readUInt16BE(9), screen.readUInt16BE(11)]).toEqual([2, 80, 24]);
    expect(screen.subarray(13).toString()).toContain('before');
    open.desks.sessions.say('a1', 'after');
    await until('output', () => viewer.output() === 'after');
    const replay = client(at('a1', '?from=0'));
    await until('all of it', () => replay.output() === 'before\r\nafter');
    open.desks.sessions.end('a1', 7);
    expect(await viewer.told('closed')).toMatchObject({ exit_code: 7, reason: 'it exited' });
    await replay.told('closed');
    const late = client(at('a1', '?from=0'));
    await late.told('closed');
    expect(late.output()).toBe('before\r\nafter');
    expect(late.messages.filter(({ type }) => type === 'closed')).toHaveLength(1);
    for (const one of [viewer, replay, late]) one.socket.close();
  });

  test('[W20] only the controller types, resizes and signals; an observer is told and stays', async () => {
    const { sessions } = open.desks;
    sessions.add('a2');
    const controller = client(at('a2', '?role=controller'));
    await controller.told('role', ({ role }) => role === 'controller');
    const observer = client(at('a2', '?role=controller'));
    await observer.told('role', ({ role }) => role === 'observer');
    for (const message of [
      typed('x'),
      { type: 'resize', cols: 9, rows: 9 },
      { type: 'signal', signal: 'INT' },
    ]) {
      observer.messages.length = 0;
      observer.say(message);
      expect(await observer.told('error')).toMatchObject({ code: 'forbidden' });
    }
    controller.say(typed('ls\r'));
    await until('input', () => sessions.typed.get('a2') === 'ls\r');
    controller.say({ type: 'resize', cols: 100, rows: 30 });
    expect(await observer.told('resize')).toMatchObject({ cols: 100, rows: 30 });
    controller.say({ type: 'signal', signal: 'SIGINT' });
    await until('the signal', () => open.calls.includes('signal a2 SIGINT by local'));
    observer.say({ type: 'control', action: 'take' });
    await controller.told('role', ({ role }) => role === 'observer');
    observer.say(typed('pwd'));
    await until('input of the other', () => sessions.typed.get('a2') === 'ls\rpwd');
    controller.messages.length = 0;
    controller.say(typed('no'));
    await controller.told('error');
    expect(sessions.typed.get('a2')).toBe('ls\rpwd');
    for (const one of [controller, observer]) one.socket.close();
    await until('nobody', () => sessions.plane.find('a2' as never)?.members().observers.length === 0);
  });

  test('[W20] what cannot be understood is told as an error, and the connection stays', async () => {
    open.desks.sessions.add('a3');
    const controller = client(at('a3', '?role=controller'));
    await controller.told('role');
    const nonsense = [
      '{',
      '[]',
      '"x"',
      { type: 'dance' },
      { type: 'resize', cols: 0, rows: 1 },
      { type: 'resize', cols: '80', rows: 24 },
      { type: 'control', action: 'seize' },
      { type: 'signal', signal: 'nonsense' },
      new Uint8Array([9, 1]),
      new Uint8Array(0),
    ];
    for (const message of nonsense) {
      controller.messages.length = 0;
      controller.say(message);
      expect(await controller.told('error')).toMatchObject({ code: 'bad-input' });
    }
    expect(controller.code).toBeNull();
    open.desks.sessions.change('a3', { state: 'exited' });
    controller.messages.length = 0;
    controller.say(typed('late'));
    expect(await controller.told('error')).toMatchObject({ code: 'wrong-state' });
    controller.say({ type: 'screen' });
    controller.socket.close();
    expect(open.errors).toEqual([]);
  });

  test('[W20] a token that may only look cannot control, not even later', async () => {
    on.desks.sessions.add('b1');
    const url = `${on.wsUrl}/ws/sessions/b1/attach`;
    const refused = client(`${url}?role=controller`, bearer(held.viewer));
    await until('the refusal', () => refused.code !== null);
    const viewer = client(url, bearer(held.viewer));
    await viewer.told('role');
    viewer.say({ type: 'control', action: 'take' });
    expect(await viewer.told('error')).toMatchObject({ code: 'forbidden' });
    viewer.messages.length = 0;
    viewer.say(typed('x'));
    expect(await viewer.told('error')).toMatchObject({ code: 'forbidden' });
    expect(on.desks.sessions.typed.get('b1')).toBeUndefined();
    viewer.socket.close();
  });

  test('[W21] takes a token by header, subprotocol or access_token, and none that is not known', async () => {
    on.desks.sessions.add('b2');
    const url = `${on.wsUrl}/ws/sessions/b2/attach`;
    const ways = [
      client(url, bearer(held.viewer)),
      client(`${url}?access_token=${held.viewer}`),
      client(url, { protocols: [`bearer.${held.viewer}`] }),
      client(url, { protocols: ['terminal', `bearer.${held.operator}`] }),
    ];
    for (const way of ways) await way.told('hello');
    expect(ways[2]?.protocol()).toBe(`bearer.${held.viewer}`);
    for (const way of ways) way.socket.close();
    const strangers = [
      client(url),
      client(`${url}?access_token=asb_x`),
      client(url, { protocols: ['bearer.asb_x'] }),
    ];
    for (const stranger of strangers) {
      await until('the refusal', () => stranger.code !== null);
      expect(stranger.messages).toEqual([]);
    }
  });

  test('[W21] is refused by a problem before it begins', async () => {
    const head =
      'Host: 127.0.0.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
    open.desks.sessions.add('a4');
    const cases: [string, string][] = [
      ['/ws/sessions/none/attach', '404'],
      ['/ws/sessions/a4/attach?role=king', '400'],
      ['/ws/sessions/a4/attach?from=-1', '400'],
      ['/ws/sessions/a4/attach?from=x', '400'],
      ['/ws/sessions/a4/watch', '404'],
    ];
    for (const [path, status] of cases) {
      const answer = await raw(open.doors.httpPort, `GET ${path} HTTP/1.1\r\n${head}`);
      expect([path, answer.split(' ')[1]]).toEqual([path, status]);
      expect(answer).toContain('application/problem+json');
    }
    expect((await open.get('/ws/sessions/a4/attach')).status).toBe(400);
    expect((await on.get('/ws/sessions/b1/attach')).status).toBe(401);
  });

  test('[W21] ends when its token is revoked', async () => {
    on.desks.sessions.add('b3');
    const { token, view } = await on.access.create({ name: 'guest', role: 'operator', expiresInMs: null });
    const guest = client(`${on.wsUrl}/ws/sessions/b3/attach?role=controller`, bearer(token));
    const other = client(`${on.wsUrl}/ws/sessions/b3/attach`, bearer(held.viewer));
    await guest.told('role');
    await other.told('role');
    const revoked = await on.get(`/api/v1/tokens/${view.id}`, { method: 'DELETE', ...bearer(held.admin) });
    expect(revoked.status).toBe(204);
    await until('its end', () => guest.code !== null);
    expect(guest.code).toBe(1008);
    expect(other.code).toBeNull();
    other.socket.close();
  });
});

describe('a viewer that does not read', () => {
  /** The most that waited on a connection, as the terminal is told. */
  function watched(terminal: Terminal, most: { bytes: number }): Terminal {
    return new Proxy(terminal, {
      get(target, name) {
        if (name !== 'attach') {
          const value = Reflect.get(target, name) as unknown;
          return typeof value === 'function' ? value.bind(target) : value;
        }
        return (viewer: Viewer, options: never) => {
          const send = (frame: Uint8Array) => {
            const waiting = viewer.send(frame);
            most.bytes = Math.max(most.bytes, waiting);
            return waiting;
          };
          return target.attach({ ...viewer, send }, options);
        };
      },
    });
  }

  test('[W22] costs its budget, is skipped forward, and sees the newest screen when it reads again', async () => {
    const { sessions } = open.desks;
    sessions.add('slow');
    const most = { bytes: 0 };
    const desk = sessions as { terminal: (id: string) => Promise<Terminal | null> };
    const original = desk.terminal;
    desk.terminal = async (id) => watched((await original(id)) as Terminal, most);
    const socket = connect(open.doors.wsPort, '127.0.0.1');
    let got = '';
    socket.on('data', (part) => {
      got += part.toString('latin1');
      if (got.includes('"hello"')) socket.pause();
    });
    socket.write(
      `GET /ws/sessions/slow/attach HTTP/1.1\r\nHost: 127.0.0.1:${open.doors.wsPort}\r\n` +
        'Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    await until('hello', () => got.includes('"hello"'));
    desk.terminal = original;
    const quick = client(at('slow'));
    await quick.told('role');
    const line = `${'x'.repeat(70)}\r\n`.repeat(1_000);
    for (let i = 0; i < 400; i++) {
      sessions.say('slow', line);
      if (i % 20 === 0) await Bun.sleep(0);
    }
    sessions.say('slow', 'the newest line');
    await until('the quick one', () => Buffer.concat(quick.frames.slice(-4)).includes('the newest line'));
    expect(most.bytes).toBeGreaterThan(0);
    expect(most.bytes).toBeLessThan(4 << 20);
    got = '';
    socket.removeAllListeners('data');
    socket.on('data', (part) => {
      got = (got + part.toString('latin1')).slice(-1_000_000);
    });
    socket.resume();
    await until('the newest line', () => got.includes('the newest line'));
    expect(got).toContain('"skipped"');
    socket.destroy();
    quick.socket.close();
    // The terminal writes its screen down on its own time; the directory stays until it has.
    const names = () => readdirSync(join(open.dir, 'recordings', 'slow'));
    await until('the screen on disk', () => names().some((name) => name.endsWith('.screen')));
    await until('nothing half written', () => !names().some((name) => name.endsWith('.new')));
  }, 30_000);
});
