/**
 * The listeners of the model gateway: an address on the loopback, the same one after a restart, and a Unix
 * socket in a private directory that can be handed into instances elsewhere. Both want a virtual key.
 */
import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Server } from 'bun';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import { troubled } from './dialect.ts';
import type { Forward } from './forward.ts';

export interface GatewayDoor {
  readonly listen: { readonly host: string; readonly port: number };
  /** Where the port is remembered when any free one is wanted: tools that run know only that one. */
  readonly portFile: string;
  /** Null: none, as where its path would be too long. */
  readonly socketPath: string | null;
  readonly forward: Forward;
  readonly clock: Clock;
  readonly log: Log;
}

export interface GatewayServer {
  readonly port: number;
  /** Without a slash at its end. */
  readonly url: string;
  /**
   * A socket for sessions of the one agent of this name, in a directory that only its instance sees. A second
   * call finds it.
   */
  openGuest(agent: string, path: string): Promise<void>;
  closeGuest(agent: string): Promise<void>;
  /** Takes nothing new, waits for answers that are under way, then cuts them off. */
  close(graceMs: number): Promise<void>;
}

type Place = { readonly hostname: string; readonly port: number } | { readonly unix: string };

interface Guest {
  readonly path: string;
  readonly server: Server<undefined>;
  closeFront(): Promise<void>;
}

/** Connections of one instance at one time: requests of several sessions, and those that tools keep open. */
const GUEST_SOCKETS_MAX = 128;

/** Throws Failure('already-exists') for an address that is taken. */
export async function gatewayServer(door: GatewayDoor): Promise<GatewayServer> {
  const { listen, socketPath, clock, log } = door;
  const tcp = await onLoopback(door);
  const port = tcp.port ?? 0;
  if (listen.port === 0) await remember(door.portFile, port);
  const unix = socketPath === null ? null : await onSocket(door, { path: socketPath });
  const guests = new Map<string, Guest>();
  const closeGuest = async (agent: string) => {
    const known = guests.get(agent);
    guests.delete(agent);
    await known?.server.stop(true);
    await known?.closeFront();
  };
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
  return {
    port,
    url: `http://${host}:${port}`,
    async openGuest(agent, path) {
      if (guests.get(agent)?.path === path) return;
      await closeGuest(agent);
      const behind = `${dirname(path)}.in`;
      const server = await onSocket(door, { path: behind, agent });
      guests.set(agent, { path, server, closeFront: await front(path, behind) });
    },
    closeGuest,
    async close(graceMs) {
      const servers = [tcp, ...(unix ? [unix] : []), ...[...guests.values()].map(({ server }) => server)];
      const timer = clock.setTimeout(() => {
        log.warn('answers of models were cut off at the end; tools ask again');
        for (const server of servers) void server.stop(true);
      }, graceMs);
      await Promise.all(servers.map((server) => server.stop()));
      clock.clearTimeout(timer);
      if (socketPath !== null) await rm(socketPath, { force: true });
      for (const agent of [...guests.keys()]) await closeGuest(agent);
    },
  };
}

/** `agent`: whose keys alone are good here; null: anybody's. */
function open(place: Place, { forward, log }: GatewayDoor, agent: string | null = null): Server<undefined> {
  const fetch = async (request: Request, server: Server<undefined>): Promise<Response> => {
    // A model may think for a long time, and a human longer.
    server.timeout(request, 0);
    return await forward(request, agent);
  };
  const error = (thrown: Error): Response => {
    log.error('a bug in the gateway', { why: thrown.message, stack: thrown.stack });
    return troubled('anthropic', 'upstream', 'a bug in the gateway; the log of the server has it');
  };
  // Ours is told in the caller's own words; this limit would only cut the connection.
  const options = { fetch, error, maxRequestBodySize: Number.MAX_SAFE_INTEGER };
  return 'unix' in place
    ? Bun.serve({ unix: place.unix, ...options })
    : Bun.serve({ hostname: place.hostname, port: place.port, idleTimeout: 120, ...options });
}

async function onLoopback(door: GatewayDoor): Promise<Server<undefined>> {
  const { host, port } = door.listen;
  const at = (wanted: number) => open({ hostname: host, port: wanted }, door);
  try {
    if (port !== 0) return at(port);
  } catch (thrown) {
    const cure = 'end what uses it, or set AGENTIC_GATEWAY_LISTEN to another address on the loopback';
    throw new Failure('already-exists', `${host}:${port}, for the model gateway, cannot be had: ${cure}`, {
      cause: thrown,
    });
  }
  const before = Number(await readFile(door.portFile, 'utf8').catch(() => '0'));
  try {
    return at(Number.isInteger(before) && before > 0 && before < 65_536 ? before : 0);
  } catch {
    door.log.warn('the port of the model gateway is taken now; tools that run will not find it', { before });
    return at(0);
  }
}

async function remember(path: string, port: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(`${path}.new`, `${port}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
}

/**
 * What an instance sees of its socket. The server behind it takes any number of connections, each a
 * descriptor of this process; here they are bounded. `behind`: beside the directory that the instance sees.
 */
async function front(path: string, behind: string): Promise<() => Promise<void>> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    if (open.size >= GUEST_SOCKETS_MAX) return void socket.destroy();
    open.add(socket);
    const inner = connect({ path: behind, allowHalfOpen: true });
    inner.on('error', () => inner.destroy());
    // What was answered already is still on its way to a slow reader.
    inner.on('close', () => socket.writableEnded || socket.destroy());
    socket.on('close', () => {
      open.delete(socket);
      inner.destroy();
    });
    socket.pipe(inner);
    inner.pipe(socket);
  });
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await rm(path, { force: true });
  await new Promise<void>((done, fail) => {
    server.once('error', fail);
    server.listen(path, () => done());
  });
  // Its directory keeps everybody out but the instance, whose user is another than ours.
  await chmod(path, 0o666);
  return async () => {
    server.close();
    for (const socket of open) socket.destroy();
    for (const one of [path, behind]) await rm(one, { force: true });
  };
}

interface SocketWish {
  readonly path: string;
  readonly agent?: string;
}

async function onSocket(door: GatewayDoor, { path, agent }: SocketWish): Promise<Server<undefined>> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  // A killed server leaves it behind. That no other server has it, the journal's lock has seen to.
  await rm(path, { force: true });
  const server = open({ unix: path }, door, agent ?? null);
  await chmod(path, 0o600);
  return server;
}
