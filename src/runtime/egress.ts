/**
 * The way out of an instance that has an allowlist: an HTTP proxy of ours on a Unix socket, one an instance.
 *
 * The instance has no network at all, only this socket, so there is nothing to go round it by. Names are
 * resolved here; what is asked for must be on the list, the address that is connected to must be one it may
 * have, and is looked at once more when the connection stands. CONNECT and plain HTTP, one request a
 * connection. What is inside TLS is not looked at.
 */

import { lookup } from 'node:dns/promises';
import { chmod, rm } from 'node:fs/promises';
import { connect, createServer, isIP, type Server, type Socket } from 'node:net';
import type { Clock } from '../clock.ts';
import { Failure, failures } from '../failure.ts';
import { type AllowRules, allowRules, nameOf } from './egress-rules.ts';

/** Of one instance at one time. */
const CONNECTIONS_MAX = 256;
const HEAD_BYTES_MAX = 32 << 10;
const HEAD_MS = 15_000;
const CONNECT_MS = 15_000;
/** Refusals of one instance that are logged in that time; of more only how many. */
const LOGGED_MAX = 20;
const LOGGED_MS = 60_000;
/** Addresses of one name that are tried. */
const ADDRESSES_MAX = 4;

export interface EgressOptions {
  readonly clock: Clock;
  readonly log: (message: string) => void;
  /** All addresses of a name. */
  readonly resolve?: (name: string) => Promise<readonly string[]>;
}

export interface EgressDoors {
  /** Listens there with this list; a second call finds it, and takes the new list. */
  open(instance: string, path: string, allow: readonly string[]): Promise<void>;
  close(instance: string): Promise<void>;
}

interface Door {
  rules: AllowRules;
  readonly path: string;
  readonly server: Server;
  readonly open: Set<Socket>;
}

const byName = async (name: string): Promise<readonly string[]> =>
  (await lookup(name, { all: true, verbatim: true })).map(({ address }) => address);

export function egressDoors({ clock, log, resolve = byName }: EgressOptions): EgressDoors {
  const doors = new Map<string, Door>();
  const close = async (instance: string) => {
    const door = doors.get(instance);
    if (!door) return;
    doors.delete(instance);
    door.server.close();
    for (const socket of door.open) socket.destroy();
    await rm(door.path, { force: true });
  };
  return {
    async open(instance, path, allow) {
      const rules = allowRules(allow);
      const known = doors.get(instance);
      if (known?.path === path) {
        known.rules = rules;
        return;
      }
      await close(instance);
      const open = new Set<Socket>();
      const tell = seldom(clock, (message) => log(`instance ${instance}: not let out: ${message}`));
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        socket.on('error', () => socket.destroy());
        if (open.size >= CONNECTIONS_MAX)
          return void refuse(socket, 'over-quota', `${CONNECTIONS_MAX} connections are open`);
        open.add(socket);
        socket.on('close', () => open.delete(socket));
        serve(socket, { clock, resolve, rules: door.rules }).catch((thrown) => {
          const { code, message } =
            thrown instanceof Failure ? thrown : { code: 'runtime-failed' as const, message: String(thrown) };
          tell(message);
          refuse(socket, code, message);
        });
      });
      const door: Door = { rules, path, server, open };
      doors.set(instance, door);
      await rm(path, { force: true });
      await new Promise<void>((done, fail) => {
        server.once('error', fail);
        server.listen(path, () => done());
      });
      // Its directory is private outside; inside it is for everybody.
      await chmod(path, 0o666);
    },
    close,
  };
}

/** An instance must not fill the log of its host. */
function seldom(clock: Clock, log: (message: string) => void): (message: string) => void {
  let [since, told] = [clock.now(), 0];
  return (message) => {
    const now = clock.now();
    if (now - since >= LOGGED_MS) {
      if (told > LOGGED_MAX) log(`${told - LOGGED_MAX} more, which were not logged`);
      [since, told] = [now, 0];
    }
    told += 1;
    if (told <= LOGGED_MAX) log(message);
  };
}

function refuse(socket: Socket, code: keyof typeof failures, message: string): void {
  const { http, title } = failures[code];
  const body = `agentic-sandbox: ${message}\n`;
  if (!socket.writable) return void socket.destroy();
  // Not left half open until the instance, which may never, closes its end too.
  socket.end(
    `HTTP/1.1 ${http} ${title}\r\ncontent-type: text/plain\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
      `x-agentic-code: ${code}\r\nconnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

interface Serving {
  readonly clock: Clock;
  readonly resolve: (name: string) => Promise<readonly string[]>;
  readonly rules: AllowRules;
}

async function serve(socket: Socket, serving: Serving): Promise<void> {
  const { head, rest } = await headOf(socket, serving.clock);
  const [line = '', ...fields] = head.split('\r\n');
  const [, method = '', target = '', version = ''] = /^([A-Z]+) (\S+) HTTP\/(1\.[01])$/.exec(line) ?? [];
  if (method === '') throw new Failure('bad-input', 'that is no HTTP request');
  const { host, port, path } = targetOf(method, target);
  serving.rules.ask(host, port);
  const upstream = await connected(serving, host, port);
  if (socket.destroyed) return void upstream.destroy();
  if (method === 'CONNECT') socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
  else upstream.write(request({ method, path, version, host, port }, fields));
  if (rest.length > 0) upstream.write(rest);
  for (const one of [socket, upstream]) one.on('error', () => one.destroy());
  socket.on('close', () => upstream.destroy());
  upstream.on('close', () => socket.destroy());
  socket.pipe(upstream);
  upstream.pipe(socket);
}

interface Line {
  readonly method: string;
  readonly path: string;
  readonly version: string;
  readonly host: string;
  readonly port: number;
}

/** To the server itself: what is for the proxy is left out, and there is no second request. */
function request({ method, path, version, host, port }: Line, fields: readonly string[]): string {
  const ours = /^(proxy-|connection:|keep-alive:|host:|upgrade:)/i;
  const kept = fields.filter((field) => !ours.test(field));
  const name = isIP(host) === 6 ? `[${host}]` : host;
  const lines = [`host: ${port === 80 ? name : `${name}:${port}`}`, 'connection: close', ...kept];
  return `${method} ${path} HTTP/${version}\r\n${lines.join('\r\n')}\r\n\r\n`;
}

function targetOf(method: string, target: string): { host: string; port: number; path: string } {
  try {
    const url = new URL(method === 'CONNECT' ? `connect://${target}` : target);
    const port = url.port === '' ? (method === 'CONNECT' ? 0 : 80) : Number(url.port);
    if ((method === 'CONNECT' || url.protocol === 'http:') && url.hostname !== '' && port > 0)
      return { host: nameOf(url.hostname), port, path: `${url.pathname}${url.search}` };
  } catch {
    // Said below.
  }
  throw new Failure('bad-input', `"${target.slice(0, 200)}" is nothing that this proxy can ask for`);
}

/** The head of the request, and what came after it. */
function headOf(socket: Socket, clock: Clock): Promise<{ head: string; rest: Buffer }> {
  return new Promise((resolve, reject) => {
    let got = Buffer.alloc(0);
    const over = (act: () => void) => {
      clock.clearTimeout(timer);
      socket.removeListener('data', onData);
      socket.removeListener('end', onEnd);
      socket.pause();
      act();
    };
    const onEnd = () => over(() => reject(new Failure('bad-input', 'the request was not whole')));
    const onData = (bytes: Buffer) => {
      got = Buffer.concat([got, bytes]);
      const end = got.indexOf('\r\n\r\n');
      if (end >= 0)
        over(() => resolve({ head: got.subarray(0, end).toString('latin1'), rest: got.subarray(end + 4) }));
      else if (got.length > HEAD_BYTES_MAX)
        over(() => reject(new Failure('too-large', 'the request is too long')));
    };
    const timer = clock.setTimeout(
      () => over(() => reject(new Failure('timed-out', 'no request came'))),
      HEAD_MS,
    );
    socket.on('data', onData);
    socket.on('end', onEnd);
  });
}

async function connected({ clock, resolve, rules }: Serving, host: string, port: number): Promise<Socket> {
  const addresses = isIP(host) ? [host] : await resolved(resolve, host);
  const allowed = addresses.filter((address) => rules.mayConnect(host, port, address));
  if (allowed.length === 0)
    throw new Failure('forbidden', `${host} is at ${addresses.join(', ')}, where an instance may not go`);
  let last: unknown;
  for (const address of allowed.slice(0, ADDRESSES_MAX)) {
    try {
      const socket = await dial(address, port, clock);
      // What stands is what counts.
      if (rules.mayConnect(host, port, socket.remoteAddress ?? '')) return socket;
      socket.destroy();
      last = new Error(`it led to ${socket.remoteAddress}`);
    } catch (thrown) {
      last = thrown;
    }
  }
  throw new Failure('runtime-failed', `${host}:${port}: ${last instanceof Error ? last.message : last}`);
}

async function resolved(
  resolve: (name: string) => Promise<readonly string[]>,
  host: string,
): Promise<readonly string[]> {
  try {
    return await resolve(host);
  } catch (thrown) {
    throw new Failure(
      'runtime-failed',
      `${host} has no address (${(thrown as { code?: string }).code ?? thrown})`,
    );
  }
}

function dial(address: string, port: number, clock: Clock): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, allowHalfOpen: true });
    const timer = clock.setTimeout(() => socket.destroy(new Error('it did not answer')), CONNECT_MS);
    socket.once('connect', () => {
      clock.clearTimeout(timer);
      resolve(socket);
    });
    socket.once('error', (error) => {
      clock.clearTimeout(timer);
      reject(error);
    });
  });
}
