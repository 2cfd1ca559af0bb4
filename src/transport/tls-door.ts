/**
 * gRPC for agents elsewhere: TLS 1.3, and nobody gets through without a certificate under our roots.
 *
 * As on the Unix socket, every connection gets a server of its own, which knows who is at the other end. What
 * we show and whom we trust is changed without touching what is open. A connection ends when its identity is
 * revoked and when its certificate expires. A socket that one instance alone sees is such a door too.
 */
import { createServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { type Server, ServerCredentials } from '@grpc/grpc-js';
import { onlyUriOf } from '../../proto/spiffe.ts';
import type { Audited, ShownCertificate } from '../certificates.ts';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import type { Origin } from './identity.ts';

export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  /** Roots of client certificates. */
  readonly ca: string;
}

export interface Address {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

/** A Unix socket, of one instance. */
export interface Place {
  readonly path: string;
  /** Nobody else comes in there; `from` is what the audit log calls it. */
  readonly only: { readonly spiffeId: string; readonly from: string };
  readonly socketsMax: number;
}

export interface TlsOptions {
  current(): TlsMaterial;
  /** Returns how to stop. */
  watch(listener: (material: TlsMaterial) => void): () => void;
  readonly audited: Audited;
}

export interface TlsDoor {
  /** Null: it is no port. */
  readonly port: number | null;
  /** Ends what is open for an id, once its streams have had their word. Returns how many. */
  cut(spiffeId: string): number;
  close(): Promise<void>;
}

interface Behind {
  readonly make: (origin: Origin) => Server;
  readonly clock: Clock;
  readonly log: Log;
}

const SOCKETS_MAX = 12_000;
/** Of which those that have not shown a certificate yet. */
const HANDSHAKES_MAX = 256;
const HANDSHAKE_MS = 10_000;
/** How long a stream's last word may take to get out. */
const LAST_WORD_MS = 250;

interface Open {
  readonly server: Server;
  readonly certificate: ShownCertificate;
}

/** Throws Failure('already-exists') when the port is taken. */
export async function tlsDoor(
  options: TlsOptions & (Address | Place),
  { make, clock, log }: Behind,
): Promise<TlsDoor> {
  const { only = null, socketsMax = SOCKETS_MAX } = 'path' in options ? options : {};
  const open = new Map<TLSSocket, Open>();
  const fromOf = (socket?: TLSSocket) => only?.from ?? socket?.remoteAddress ?? 'unknown';
  const crowd = () => (open.size >= socketsMax ? `${socketsMax} connections are open` : null);
  const refused = (from: string, reason: string, spiffeId: string | null = null) =>
    options.audited.tell({
      what: 'connection.refused',
      outcome: 'denied',
      actor: from,
      spiffeId,
      details: { reason },
    });
  const secure = ({ cert, key, ca }: TlsMaterial) => ({
    cert,
    key,
    ca,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.3' as const,
    ALPNProtocols: ['h2'],
  });
  const door = createServer({ ...secure(options.current()), handshakeTimeout: HANDSHAKE_MS });
  const shaking = handshakes(door, Math.min(socketsMax, HANDSHAKES_MAX));
  door.on('tlsClientError', (thrown: NodeJS.ErrnoException, socket: TLSSocket) => {
    refused(fromOf(socket), reasonOf(thrown));
    socket?.destroy();
  });
  door.on('secureConnection', (socket: TLSSocket) => {
    socket.on('error', () => socket.destroy());
    const from = fromOf(socket);
    const certificate = certificateOf(socket);
    const why = faultOf(certificate, only?.spiffeId ?? null) ?? crowd();
    if (!certificate || why !== null) {
      refused(from, why ?? '', certificate?.spiffeId);
      return void socket.destroy();
    }
    const server = make({ kind: 'certificate', certificate });
    open.set(socket, { server, certificate });
    const expire = () => {
      refused(from, 'the certificate has expired', certificate.spiffeId);
      socket.destroy();
    };
    const timer = clock.setTimeout(expire, certificate.until - clock.now());
    socket.on('close', () => {
      clock.clearTimeout(timer);
      open.delete(socket);
      server.forceShutdown();
    });
    server.createConnectionInjector(ServerCredentials.createInsecure()).injectConnection(socket);
  });
  const stop = options.watch((material) => {
    try {
      door.setSecureContext(secure(material));
    } catch (thrown) {
      log.error('server certificate not shown', { why: String(thrown) });
    }
  });
  await listening(door, options);
  return {
    port: 'path' in options ? null : (door.address() as { readonly port: number }).port,
    cut(spiffeId) {
      const found = [...open].filter(([, { certificate }]) => certificate.spiffeId === spiffeId);
      for (const [socket] of found) clock.setTimeout(() => socket.destroy(), LAST_WORD_MS);
      return found.length;
    },
    async close() {
      stop();
      door.close();
      shaking.end();
      for (const [socket, { server }] of open) {
        server.forceShutdown();
        socket.destroy();
      }
    },
  };
}

/** Bounds how many connections have begun and not yet shown who they are. */
function handshakes(door: TlsServer, max: number) {
  const begun = new Set<{ destroy(): unknown }>();
  door.on('connection', (socket) => {
    if (begun.size >= max) return void socket.destroy();
    begun.add(socket);
    socket.on('close', () => begun.delete(socket));
    socket.on('error', () => begun.delete(socket));
  });
  // In Bun it is the same object as before.
  door.on('secureConnection', (socket: TLSSocket) => void begun.delete(socket));
  return {
    end() {
      for (const socket of begun) socket.destroy();
    },
  };
}

function faultOf(certificate: ShownCertificate | null, only: string | null): string | null {
  if (certificate === null) return 'the certificate names no one id';
  return only === null || certificate.spiffeId === only ? null : `the certificate is not of ${only}`;
}

function certificateOf(socket: TLSSocket): ShownCertificate | null {
  const x509 = socket.authorized ? socket.getPeerX509Certificate() : undefined;
  const spiffeId = onlyUriOf(x509?.subjectAltName);
  if (!x509 || spiffeId === null) return null;
  const { serialNumber, validFrom, validTo } = x509;
  return {
    spiffeId,
    serial: serialNumber.toUpperCase(),
    from: Date.parse(validFrom),
    until: Date.parse(validTo),
  };
}

const reasons: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate is of another authority',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate is of another authority',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is its own authority',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate is of another authority',
  CERT_SIGNATURE_FAILURE: 'the certificate was not signed by its authority',
  CERT_HAS_EXPIRED: 'the certificate has expired',
  CERT_NOT_YET_VALID: 'the certificate is not good yet',
  INVALID_PURPOSE: 'the certificate is not for clients',
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'no certificate was shown',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it spoke no TLS',
};

const reasonOf = ({ code, message }: NodeJS.ErrnoException): string => reasons[code ?? ''] ?? code ?? message;

async function listening(door: TlsServer, at: Address | Place): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const fail = (thrown: NodeJS.ErrnoException) => {
      const isTaken = thrown.code === 'EADDRINUSE' || /in use/i.test(thrown.message);
      const where = 'path' in at ? at.path : `${at.host}:${at.port}`;
      const other = 'path' in at ? 'AGENTIC_DATA_DIR to another directory' : ELSEWHERE;
      const what = `${where}, for agents with certificates,`;
      const why = isTaken
        ? `${what} is taken: end what uses it, or set ${other}`
        : `${what} cannot be used: ${thrown.message}; end what uses it, or set ${other}`;
      reject(new Failure(isTaken ? 'already-exists' : 'bad-input', why));
    };
    const heard = () => {
      door.off('error', fail);
      door.on('error', () => {});
      resolve();
    };
    door.once('error', fail);
    if ('path' in at) door.listen(at.path, heard);
    else door.listen(at.port, at.host, heard);
  });
}

const ELSEWHERE = 'AGENTIC_GRPC_TLS_LISTEN to another address, or to "off"';
