/**
 * WebSockets: `attach`, the bytes of a terminal as they are, and `orchestrate`, its screen as JSON for
 * programs.
 *
 * One connection is one viewer. A connection that does not read costs its budget and nobody else.
 */
import type { Server, ServerWebSocket } from 'bun';
import { type Caller, demand } from '../access.ts';
import { Failure } from '../failure.ts';
import { newId } from '../ids.ts';
import { attached } from './attach.ts';
import type { Connecting, SocketData, SocketDoor } from './conversation.ts';
import { orchestrated } from './orchestrate.ts';
import { problemOf } from './problem.ts';
import { noteOf, type Seen } from './seen.ts';

/** Connections at once, of all kinds. */
const SOCKETS_MAX = 512;
/** One message from a client. */
export const MESSAGE_BYTES_MAX = 1 << 20;

const kinds = { attach: attached, orchestrate: orchestrated } as const;

/** Every place that is a WebSocket, as a pattern. */
export const socketPaths = Object.keys(kinds).map((kind) => `/ws/sessions/:id/${kind}`);

const path = new RegExp(`^/ws/sessions/([^/]+)/(${Object.keys(kinds).join('|')})$`);

export const isSocketPath = (pathname: string): boolean => path.test(pathname);

export function sockets(door: SocketDoor) {
  const open = new Set<ServerWebSocket<SocketData>>();
  return {
    get count() {
      return open.size;
    },
    /** Null: it is a conversation now. */
    async upgrade(
      request: Request,
      server: Server<SocketData>,
      { enter, seen }: Coming,
    ): Promise<Response | null> {
      const at = door.clock.now();
      const url = new URL(request.url);
      const [, session = '', kind] = path.exec(url.pathname) ?? [];
      seen.route = `/ws/sessions/:id/${kind}`;
      const admit = enter();
      seen.caller = admit();
      const { caller } = seen;
      if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') {
        throw new Failure('bad-input', `${url.pathname} speaks WebSocket; connect with ws://`);
      }
      if (open.size >= SOCKETS_MAX)
        throw new Failure('over-quota', `${SOCKETS_MAX} WebSockets are open; close some`);
      const connecting = await checked(door, { url, session: decoded(session), caller, seen });
      if (connecting.role === 'controller') {
        await door.audit.ready();
        const ms = door.clock.now() - at;
        await door.audit.note(noteOf(seen, { method: 'GET', status: 101, ms }));
      }
      const make = kinds[kind as keyof typeof kinds];
      const data: SocketData = {
        open: (socket) => make(door, connecting, socket),
        admit,
        conversation: null,
      };
      const named = (request.headers.get('sec-websocket-protocol') ?? '')
        .split(',')
        .map((word) => word.trim());
      // A browser wants one of the protocols it named confirmed, and gets back the one it sent.
      const protocol = named.find((word) => word.startsWith('bearer.'));
      const headers = protocol === undefined ? {} : { headers: { 'sec-websocket-protocol': protocol } };
      if (server.upgrade(request, { data, ...headers })) return null;
      throw new Failure('bad-input', 'that is no WebSocket handshake');
    },
    handlers: {
      maxPayloadLength: MESSAGE_BYTES_MAX,
      // Paced by us: a viewer that does not read is skipped forward long before.
      backpressureLimit: 64 << 20,
      closeOnBackpressureLimit: true,
      perMessageDeflate: false,
      idleTimeout: 120,
      sendPings: true,
      open(socket: ServerWebSocket<SocketData>) {
        open.add(socket);
        socket.data.conversation = socket.data.open(socket);
      },
      message(socket: ServerWebSocket<SocketData>, message: string | Buffer) {
        if (!isWelcome(socket)) return;
        try {
          socket.data.conversation?.message(message);
        } catch (thrown) {
          if (!(thrown instanceof Failure)) door.log.error('a bug in a WebSocket', { why: String(thrown) });
          const { code, detail } = problemOf(thrown);
          socket.send(JSON.stringify({ type: 'error', code, message: detail }));
        }
      },
      drain(socket: ServerWebSocket<SocketData>) {
        socket.data.conversation?.drained();
      },
      close(socket: ServerWebSocket<SocketData>) {
        open.delete(socket);
        socket.data.conversation?.closed();
      },
    },
    /** Ends those of callers who are not let in any more. */
    recheck() {
      for (const socket of [...open]) isWelcome(socket);
    },
    close() {
      for (const socket of [...open]) socket.close(1001, 'the server is going away; come back');
    },
  };
}

function isWelcome(socket: ServerWebSocket<SocketData>): boolean {
  try {
    socket.data.admit();
    return true;
  } catch (thrown) {
    socket.close(1008, problemOf(thrown).detail.slice(0, 100));
    return false;
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Failure('bad-input', 'the session in the path is not percent-encoded UTF-8');
  }
}

interface Coming {
  /** Throws for whoever is not let in; what it gives, for whoever is not any more. */
  readonly enter: () => () => Caller;
  readonly seen: Seen;
}

interface Asked {
  readonly seen: Seen;
  readonly url: URL;
  readonly session: string;
  readonly caller: Caller;
}

async function checked(
  { sessions, recall }: SocketDoor,
  { url, session, caller, seen }: Asked,
): Promise<Connecting> {
  const role = url.searchParams.get('role') ?? 'observer';
  if (role !== 'observer' && role !== 'controller') {
    throw new Failure('bad-input', `role "${role}" is neither observer nor controller`);
  }
  seen.params = { id: session, role };
  demand(caller, role === 'controller' ? 'operator' : 'viewer');
  const text = url.searchParams.get('from');
  const from = text === null || text === '' ? null : Number(text);
  if (from !== null && (!Number.isSafeInteger(from) || from < 0)) {
    throw new Failure('bad-input', `from "${text}" is not an offset`);
  }
  await recall(`session:${session}`);
  if (!sessions.find(session))
    throw new Failure('not-found', `there is no session "${session}"; see GET /api/v1/sessions`);
  const terminal = await sessions.terminal(session);
  if (!terminal) throw new Failure('not-found', `session "${session}" has no terminal and no recording`);
  return { id: newId(), session, caller, seen, role, from, terminal };
}
