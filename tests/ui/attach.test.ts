/** A viewer's connection, over a real socket to a server played by hand. */
import { afterEach, expect, test } from 'bun:test';
import { type Attached, type AttachState, attach } from '../../ui/terminal/attach.ts';
import { until } from '../e2e/house.ts';

interface Peer {
  readonly asked: URLSearchParams[];
  readonly heard: string[];
  readonly sockets: Bun.ServerWebSocket<undefined>[];
  readonly stop: () => Promise<void>;
  readonly url: string;
}

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function openPeer(): Peer {
  const asked: URLSearchParams[] = [];
  const heard: string[] = [];
  const sockets: Bun.ServerWebSocket<undefined>[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch(request, self) {
      asked.push(new URL(request.url).searchParams);
      return self.upgrade(request) ? undefined : new Response('', { status: 400 });
    },
    websocket: {
      open: (socket) => void sockets.push(socket),
      message: (_, message) => void heard.push(String(message)),
    },
  });
  const peer = { asked, heard, sockets, stop: () => server.stop(true), url: `ws://127.0.0.1:${server.port}` };
  ends.push(peer.stop);
  return peer;
}

interface Viewer {
  readonly attached: Attached;
  readonly seen: string[];
  readonly states: AttachState[];
  /** Says that what was written has been shown. */
  readonly shown: (() => void)[];
}

function view({ url }: Peer): Viewer {
  const seen: string[] = [];
  const states: AttachState[] = [];
  const shown: (() => void)[] = [];
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const attached = attach({
    url: (role, from) => `${url}/?role=${role}${from === null ? '' : `&from=${from}`}`,
    sink: {
      screen: ({ cols, rows }, bytes, done) => {
        seen.push(`${cols}x${rows} ${text(bytes)}`);
        shown.push(done);
      },
      output: (bytes, done) => {
        seen.push(text(bytes));
        shown.push(done);
      },
      resize: () => {},
    },
    onState: (state) => states.push(state),
  });
  ends.push(() => attached.detach());
  return { attached, seen, states, shown };
}

function hello(role: string): string {
  const size = { cols: 80, rows: 24 };
  return JSON.stringify({
    type: 'hello',
    session_id: 's',
    viewer_id: 'v',
    role,
    state: 'live',
    next_offset: 0,
    ...size,
  });
}

function output(offset: number, text: string): Uint8Array {
  const frame = Buffer.alloc(9 + text.length);
  frame[0] = 1;
  frame.writeBigUInt64BE(BigInt(offset), 1);
  frame.write(text, 9);
  return frame;
}

const socketOf = (peer: Peer, at: number) => until(`socket ${at}`, () => peer.sockets[at]);

test('a viewer goes on where it was, with what it has left out, and asks for the control it had', async () => {
  const peer = openPeer();
  const viewer = view(peer);
  const first = await socketOf(peer, 0);
  first.send(hello('observer'));
  first.send(output(0, 'abc'));
  await until('it is live', () => viewer.seen.length === 1);
  viewer.attached.control('take');
  first.send('{"type":"role","role":"controller"}');
  await until('it controls', () => viewer.attached.state().role === 'controller');
  first.close();
  const second = await socketOf(peer, 1);
  expect(viewer.states.map(({ link, role }) => `${link} ${role}`)).toContain('lost observer');
  expect(peer.asked.map(String)).toEqual(['role=observer', 'role=controller&from=3']);
  second.send(hello('controller'));
  second.send(output(1, 'bcdef'));
  await until('the rest came', () => viewer.seen.length === 2);
  expect(viewer.seen).toEqual(['abc', 'def']);
});

test('what was not shown yet is not acknowledged', async () => {
  const peer = openPeer();
  const viewer = view(peer);
  const socket = await socketOf(peer, 0);
  socket.send(hello('observer'));
  socket.send(output(0, 'abc'));
  socket.send(output(3, 'def'));
  await until('both came', () => viewer.shown.length === 2);
  viewer.shown[0]?.();
  await until('the first is acknowledged', () => peer.heard.length > 0);
  expect(peer.heard).toEqual(['{"type":"ack","offset":3}']);
  viewer.shown[1]?.();
  await until('the second is, too', () => peer.heard.length > 1);
  expect(peer.heard[1]).toBe('{"type":"ack","offset":6}');
});

test('an observer sends no input, and what has ended is not asked for again', async () => {
  const peer = openPeer();
  const viewer = view(peer);
  const socket = await socketOf(peer, 0);
  socket.send(hello('observer'));
  await until('it is live', () => viewer.attached.state().link === 'live');
  viewer.attached.input(new Uint8Array([120]));
  viewer.attached.send({ type: 'screen' });
  await until('the peer heard', () => peer.heard.length > 0);
  expect(peer.heard).toEqual(['{"type":"screen"}']);
  socket.send('{"type":"closed","exit_code":3,"reason":null}');
  await until('it has ended', () => viewer.attached.state().link === 'ended');
  socket.close();
  await until('the socket is gone', () => socket.readyState === WebSocket.CLOSED);
  expect(viewer.attached.state()).toMatchObject({ link: 'ended', ended: { exitCode: 3, reason: null } });
  expect(peer.asked.length).toBe(1);
});
