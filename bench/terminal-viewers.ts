/**
 * Viewers in a process of their own, so that what they cost is not the server's.
 *
 * Each counts what it gets and acknowledges it as the dashboard does; the first also computes its checksum. A
 * stalled viewer does its handshake and never reads again.
 */
import { connect, type Socket } from 'node:net';
import { crc32 } from 'node:zlib';
import { nowMs } from './terminal-figures.ts';

export interface Watched {
  bytes: number;
  skips: number;
  skippedBytes: number;
  /** Null for a viewer that computes none. */
  crc: number | null;
  lastAt: number;
}

export type Order =
  | {
      readonly do: 'open';
      readonly ws: string;
      readonly session: string;
      readonly count: number;
      readonly stalled: number;
    }
  | { readonly do: 'exit' };
export type Said =
  | { readonly said: 'open' }
  | { readonly said: 'over'; readonly viewers: readonly Watched[] };

const ACK_EVERY_BYTES = 128 << 10;
const OUTPUT = 1;

const say = (said: Said) => process.send?.(said);
const urlOf = (ws: string, session: string) => `${ws}/ws/sessions/${session}/attach?role=observer&from=0`;

function watch(
  url: string,
  isChecked: boolean,
): { readonly open: Promise<void>; readonly over: Promise<Watched> } {
  const watched: Watched = { bytes: 0, skips: 0, skippedBytes: 0, crc: isChecked ? 0 : null, lastAt: 0 };
  const open = Promise.withResolvers<void>();
  const over = Promise.withResolvers<Watched>();
  const socket = new WebSocket(url);
  socket.binaryType = 'nodebuffer' as BinaryType;
  let acked = 0;
  const ack = (offset: number) => {
    acked = offset;
    socket.send(JSON.stringify({ type: 'ack', offset }));
  };
  const output = (frame: Buffer) => {
    watched.lastAt = nowMs();
    const offset = Number(frame.readBigUInt64BE(1));
    if (frame[0] !== OUTPUT) return ack(offset);
    const bytes = frame.subarray(9);
    watched.bytes += bytes.length;
    if (watched.crc !== null) watched.crc = crc32(bytes, watched.crc);
    const end = offset + bytes.length;
    if (end - acked >= ACK_EVERY_BYTES) ack(end);
  };
  socket.onmessage = ({ data }: MessageEvent<string | Buffer>) => {
    if (typeof data !== 'string') return output(data);
    const message = JSON.parse(data) as { type: string; from: number; to: number };
    if (message.type === 'hello') open.resolve();
    if (message.type === 'skipped') {
      watched.skips += 1;
      watched.skippedBytes += message.to - message.from;
    }
    if (message.type === 'closed') {
      over.resolve(watched);
      socket.close();
    }
  };
  socket.onclose = () => over.reject(new Error('a viewer was cut off'));
  return { open: open.promise, over: over.promise };
}

/** Opened by hand, because a WebSocket cannot be told not to read. */
function stall(url: string): Promise<Socket> {
  const { hostname, port, pathname, search, host } = new URL(url);
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ host: hostname, port: Number(port) });
  const lines = [
    `GET ${pathname}${search} HTTP/1.1`,
    `Host: ${host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
  ];
  socket.write(
    `${[...lines, 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: c3RhbGxlZC1mb3ItZXZlcg=='].join('\r\n')}\r\n\r\n`,
  );
  socket.once('data', () => {
    socket.pause();
    resolve(socket);
  });
  socket.on('error', reject);
  return promise;
}

async function run({ ws, session, count, stalled }: Extract<Order, { do: 'open' }>): Promise<void> {
  const url = urlOf(ws, session);
  const viewers = Array.from({ length: count - stalled }, (_, i) => watch(url, i === 0));
  await Promise.all(viewers.map(({ open }) => open));
  const idle = await Promise.all(Array.from({ length: stalled }, () => stall(url)));
  say({ said: 'open' });
  const watched = await Promise.all(viewers.map(({ over }) => over));
  for (const socket of idle) socket.destroy();
  say({ said: 'over', viewers: watched });
}

if (import.meta.main) {
  process.on('message', (order: Order) => {
    if (order.do === 'exit') process.exit(0);
    void run(order);
  });
  process.on('disconnect', () => process.exit(0));
}
