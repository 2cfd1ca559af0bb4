/**
 * One listening port. A new certificate takes a new listener: Bun's own reload goes on showing the old one.
 * The new one opens in the turn in which the old one stops; what is open on the old stays open on it.
 */
import type { Server } from 'bun';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import type { SocketData } from './conversation.ts';
import { problemOf, problemResponse } from './problem.ts';
import type { Pair } from './self-signed.ts';

export interface ListenerOptions {
  readonly hostname: string;
  /** 0: any free one. */
  readonly port: number;
  /** For the message when it is taken. */
  readonly purpose: string;
  readonly tls: Pair | null;
  readonly serve: (request: Request, server: Server<SocketData>) => Promise<Response | undefined>;
  readonly websocket: unknown;
  readonly log: Log;
}

export interface Listener {
  readonly port: number;
  renew(tls: Pair): void;
  /** Resolves when nothing is open any more; `isNow` cuts it off. */
  stop(isNow: boolean): Promise<void>;
}

/** Throws Failure('already-exists') for a port that is taken. */
export function listener(options: ListenerOptions): Listener {
  const { hostname, purpose, serve, websocket, log } = options;
  const open = (port: number, tls: Pair | null): Server<SocketData> =>
    Bun.serve<SocketData>({
      hostname,
      port,
      ...(tls ? { tls: { cert: tls.cert, key: tls.key } } : {}),
      fetch: serve,
      websocket: websocket as never,
      // Ours is told as a problem document; this one would only cut the connection.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      idleTimeout: 120,
      error: () => problemResponse(problemOf(new Error('at the door')), '/'),
    });
  let newest: Server<SocketData>;
  try {
    newest = open(options.port, options.tls);
  } catch (thrown) {
    throw taken(thrown, `${hostname}:${options.port}`, purpose);
  }
  const port = newest.port ?? 0;
  let shown = options.tls;
  /** Those that listen no more and have something open still. */
  const ending = new Map<Server<SocketData>, Promise<void>>();
  const end = (server: Server<SocketData>): void => {
    ending.set(
      server,
      server.stop().finally(() => ending.delete(server)),
    );
  };
  return {
    port,
    renew(tls) {
      end(newest);
      try {
        newest = open(port, tls);
        shown = tls;
      } catch (thrown) {
        log.error('the new certificate cannot be shown; the old one is', { port, why: String(thrown) });
        newest = open(port, shown);
      }
    },
    async stop(isNow) {
      if (isNow) {
        for (const server of [newest, ...ending.keys()]) void server.stop(true);
      } else await Promise.all([newest.stop(), ...ending.values()]);
    },
  };
}

function taken(thrown: unknown, address: string, purpose: string): Failure {
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  const isTaken = (thrown as { code?: unknown }).code === 'EADDRINUSE' || /in use/i.test(why);
  const cure = 'end what uses it, or set LISTEN_ADDR to another address (127.0.0.1:0 takes any free ports)';
  if (isTaken) return new Failure('already-exists', `${address}, for ${purpose}, is taken: ${cure}`);
  return new Failure('bad-input', `cannot listen on ${address} for ${purpose}: ${why}; ${cure}`);
}
