/**
 * Where an agent that has nothing but a one-time token gets its first certificate: HTTPS, one path.
 *
 * A listener of its own, because the caller can show no certificate yet and no operator's token ever. What we
 * show is the same certificate as on the gRPC port, and changes with it.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { t } from 'elysia';
import type { Register } from '../certificates.ts';
import { type Clock, rfc3339 } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import { type RateLimits, rateLimit } from './gate.ts';
import { type Problem, problemOf, problemResponse } from './problem.ts';
import { strict } from './route.ts';
import { checking } from './validation.ts';

export interface EnrolMaterial {
  readonly cert: string;
  readonly key: string;
}

export interface EnrolWorld {
  readonly register: Pick<Register, 'enrol'>;
  current(): EnrolMaterial;
  /** Returns how to stop. */
  watch(listener: (material: EnrolMaterial) => void): () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly rate?: RateLimits;
}

export interface EnrolAddress {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

/** A Unix socket that one instance alone sees. */
export interface EnrolPlace {
  readonly path: string;
}

export interface EnrolDoor {
  /** Null: it is no port. */
  readonly port: number | null;
  close(): void;
}

export const ENROL_PATH = '/api/v1/enrol';
const BODY_BYTES_MAX = 16 << 10;
const SOCKETS_MAX = 128;
/** By the socket of one instance. */
const GUEST_SOCKETS_MAX = 8;
/** From the first byte of a connection to its last. */
const CONNECTION_MS = 30_000;
/** A fleet behind one address may come at once. */
const rateDefault: RateLimits = { perSecond: 20, burst: 200 };

const body = strict({
  token: t.String({ minLength: 1, maxLength: 200 }),
  spiffe_id: t.String({ minLength: 1, maxLength: 400 }),
  csr_pem: t.String({ minLength: 1, maxLength: 8_192 }),
});

/** Throws Failure('already-exists') when the port is taken. */
export async function enrolDoor(world: EnrolWorld & (EnrolAddress | EnrolPlace)): Promise<EnrolDoor> {
  const { clock } = world;
  const socketsMax = 'path' in world ? GUEST_SOCKETS_MAX : SOCKETS_MAX;
  const answer = enrolling(world);
  const http = createServer((request, response) => void answer(request, response));
  const open = new Set<TLSSocket>();
  const secure = ({ cert, key }: EnrolMaterial) => ({ cert, key, minVersion: 'TLSv1.2' as const });
  const door = createTlsServer({
    ...secure(world.current()),
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: CONNECTION_MS,
  });
  door.on('tlsClientError', (_, socket: TLSSocket) => socket?.destroy());
  // In Bun it is the same object before its handshake and after.
  door.on('connection', (socket: TLSSocket) => {
    if (open.size >= socketsMax) return void socket.destroy();
    open.add(socket);
    const timer = clock.setTimeout(() => socket.destroy(), CONNECTION_MS);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      clock.clearTimeout(timer);
      open.delete(socket);
    });
  });
  door.on('secureConnection', (socket: TLSSocket) => {
    if (open.has(socket)) http.emit('connection', socket);
    else socket.destroy();
  });
  const stop = world.watch((material) => door.setSecureContext(secure(material)));
  await listening(door, world);
  return {
    port: 'path' in world ? null : (door.address() as { readonly port: number }).port,
    close() {
      stop();
      door.close();
      for (const socket of open) socket.destroy();
    },
  };
}

function listening(door: TlsServer, at: EnrolAddress | EnrolPlace): Promise<void> {
  return new Promise((resolve, reject) => {
    door.once('error', (thrown: NodeJS.ErrnoException) => {
      const isTaken = thrown.code === 'EADDRINUSE' || /in use/i.test(thrown.message);
      const cure = 'end what uses it, or set AGENTIC_ENROL_LISTEN to another address, or to "off"';
      const what = `${'path' in at ? at.path : `${at.host}:${at.port}`}, for agents that enrol,`;
      const why = isTaken
        ? `${what} is taken: ${cure}`
        : `${what} cannot be used: ${thrown.message}; ${cure}`;
      reject(new Failure(isTaken ? 'already-exists' : 'bad-input', why));
    });
    if ('path' in at) door.listen(at.path, () => resolve());
    else door.listen(at.port, at.host, () => resolve());
  });
}

const onlyPost: Problem = {
  status: 405,
  code: 'method-not-allowed',
  title: 'That method is not for this',
  detail: `${ENROL_PATH} takes POST`,
  headers: { allow: 'POST' },
};

type Taking = (request: IncomingMessage, register: EnrolWorld['register']) => Promise<Response>;

const check = checking('body', body);

const enrol: Taking = async (request, register) => {
  const { token, spiffe_id: spiffeId, csr_pem: csr } = check(await jsonOf(request)) as typeof body.static;
  const made = await register.enrol({ token, spiffeId, csr }, addressOf(request));
  const { certificatePem: certificate_pem, caPem: ca_pem, until } = made;
  const not_after = rfc3339(until);
  return Response.json({ spiffe_id: made.spiffeId, certificate_pem, ca_pem, not_after }, { status: 201 });
};

/** Everything there is here. */
const routes: ReadonlyMap<string, Taking> = new Map([[`POST ${ENROL_PATH}`, enrol]]);
export const enrolRoutes: readonly string[] = [...routes.keys()];

const addressOf = (request: IncomingMessage): string => request.socket.remoteAddress ?? 'unknown';

function enrolling({ register, clock, log, rate = rateDefault }: EnrolWorld) {
  const slowDown = rateLimit(clock, rate);
  const answered = async (request: IncomingMessage): Promise<Response> => {
    slowDown(addressOf(request));
    const take = routes.get(`${request.method} ${request.url}`);
    if (take) return await take(request, register);
    if (request.url === ENROL_PATH) return problemResponse(onlyPost, ENROL_PATH);
    throw new Failure('not-found', `there is only POST ${ENROL_PATH} here`);
  };
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const told = await answered(request).catch((thrown: unknown) => {
      if (!(thrown instanceof Failure)) log.error('a bug behind enrolment', { why: String(thrown) });
      return problemResponse(problemOf(thrown), ENROL_PATH);
    });
    const text = await told.text();
    const headers = { ...Object.fromEntries(told.headers), 'cache-control': 'no-store', connection: 'close' };
    response.writeHead(told.status, { ...headers, 'content-length': Buffer.byteLength(text) });
    response.end(text);
  };
}

async function jsonOf(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX) throw new Failure('too-large', `a body has at most ${BODY_BYTES_MAX} bytes`);
    parts.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8')) as unknown;
  } catch (thrown) {
    throw new Failure('bad-input', `the body is not JSON: ${(thrown as Error).message}`);
  }
}
