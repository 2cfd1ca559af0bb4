/**
 * gRPC on a Unix socket. Every connection gets a server of its own, which knows by the kernel's word who is
 * at the other end.
 */
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Socket, type Server as SocketServer } from 'node:net';
import { type Server, ServerCredentials } from '@grpc/grpc-js';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import type { Origin } from './identity.ts';
import { peerOf } from './peer.ts';

/** Connections at one time; each has a small server of its own. */
const SOCKETS_MAX = 1_024;

export interface UnixDoor {
  close(): Promise<void>;
}

interface Behind {
  readonly make: (origin: Origin) => Server;
  readonly log: Log;
  /** Of the socket; 0600 when absent. */
  readonly mode?: number;
  readonly socketsMax?: number;
}

/** Throws Failure('bad-input') where no socket can be. */
export async function unixDoor(
  path: string,
  { make, log, mode = 0o600, socketsMax = SOCKETS_MAX }: Behind,
): Promise<UnixDoor> {
  const open = new Map<Socket, Server>();
  const door = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    const peer = peerOf(socket);
    if (!peer || open.size >= socketsMax) {
      log.warn('connection turned away', { why: peer ? `${socketsMax} are open` : 'its peer is unknown' });
      return void socket.destroy();
    }
    const server = make({ kind: 'unix', peer });
    open.set(socket, server);
    socket.on('close', () => {
      open.delete(socket);
      server.forceShutdown();
    });
    server.createConnectionInjector(ServerCredentials.createInsecure()).injectConnection(socket);
  });
  try {
    await rm(path, { force: true });
    await listening(door, path);
    await chmod(path, mode);
  } catch (thrown) {
    door.close();
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    const cure = 'set AGENTIC_DATA_DIR to a directory of yours';
    throw new Failure('bad-input', `cannot listen for agents on ${path}: ${why}; ${cure}`, { cause: thrown });
  }
  return {
    async close() {
      door.close();
      for (const [socket, server] of open) {
        server.forceShutdown();
        socket.destroy();
      }
      await rm(path, { force: true });
    },
  };
}

function listening(door: SocketServer, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    door.once('error', reject);
    door.listen(path, () => resolve());
  });
}
