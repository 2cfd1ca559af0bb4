/**
 * gRPC for agents elsewhere: TLS 1.3, and nobody gets through without a certificate under our roots.
 *
 * As on the Unix socket, every connection gets a server of its own, which knows who is at the other end. What
 * we show and whom we trust is changed without touching what is open. A connection ends when its identity is
 * revoked and when its certificate expires.
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

export interface TlsOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  current(): TlsMaterial;
  /** Returns how to stop. */
  watch(listener: (material: TlsMaterial) => void): () => void;
  readonly audited: Audited;
}

export interface TlsDoor {
  readonly port: number;
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
export async function tlsDoor(options: TlsOptions, { make, clock, log }: Behind): Promise<TlsDoor> {
  const open = new Map<TLSSocket, Open>();
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
  const shaking = handshakes(door);
  door.on('tlsClientError', (thrown: NodeJS.ErrnoException, socket: TLSSocket) => {
    refused(socket?.remoteAddress ?? 'unknown', reasonOf(thrown));
    socket?.destroy();
  });
  door.on('secureConnection', (socket: TLSSocket) => {
    socket.on('error', () => socket.destroy());
    const from = socket.remoteAddress ?? 'unknown';
    const certificate = certificateOf(socket);
    if (!certificate || open.size >= SOCKETS_MAX) {
      refused(from, certificate ? `${SOCKETS_MAX} connections are open` : 'the certificate names no one id');
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
  const { port } = door.address() as { readonly port: number };
  return {
    port,
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
function handshakes(door: TlsServer) {
  const begun = new Set<{ destroy(): unknown }>();
  door.on('connection', (socket) => {
    if (begun.size >= HANDSHAKES_MAX) return void socket.destroy();
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
};

const reasonOf = ({ code, message }: NodeJS.ErrnoException): string => reasons[code ?? ''] ?? code ?? message;

async function listening(door: TlsServer, { host, port }: TlsOptions): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const fail = (thrown: NodeJS.ErrnoException) => {
      const isTaken = thrown.code === 'EADDRINUSE' || /in use/i.test(thrown.message);
      const cure = 'end what uses it, or set AGENTIC_GRPC_TLS_LISTEN to another address, or to "off"';
      const what = `${host}:${port}, for agents with certificates,`;
      const why = isTaken
        ? `${what} is taken: ${cure}`
        : `${what} cannot be used: ${thrown.message}; ${cure}`;
      reject(new Failure(isTaken ? 'already-exists' : 'bad-input', why));
    };
    door.once('error', fail);
    door.listen(port, host, () => {
      door.off('error', fail);
      door.on('error', () => {});
      resolve();
    });
  });
}
