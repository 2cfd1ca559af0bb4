/**
 * The gRPC doors: loopback TCP, a Unix socket whose callers the kernel names, and TLS with client
 * certificates.
 *
 * grpc-js tells nobody which socket a call came by, so every connection on the Unix socket and on TLS gets a
 * server of its own, which knows its peer. Instances that see a socket of their own come by that.
 */

import { logVerbosity, Server, ServerCredentials, type sendUnaryData, setLogVerbosity } from '@grpc/grpc-js';
import { channelPath } from '../../proto/channel.ts';
import type { RenewCertificateResponse } from '../../proto/gen/agent_pb.ts';
import { agentService } from '../../proto/service.ts';
import { spiffeIdOf } from '../../proto/spiffe.ts';
import type { Register } from '../certificates.ts';
import { type Clock, sleep } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { AgentId } from '../ids.ts';
import { type Limits, type Serving, serveAgent, statusOf } from './connect.ts';
import { type ExecCall, type ExecDoor, serveExec } from './exec.ts';
import { type GuestTls, guestDoors } from './guests.ts';
import type { Origin } from './identity.ts';
import type { AgentStream } from './link.ts';
import { outputDoor } from './output.ts';
import { type RenewCall, serveRenew } from './renew.ts';
import { type Address, type TlsOptions, tlsDoor } from './tls-door.ts';
import { unixDoor } from './unix-door.ts';

export interface AgentServerOptions
  extends ExecDoor,
    Pick<Serving, 'listener' | 'heartbeatSeconds' | 'clock'> {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Null: no Unix socket. What is there is replaced: the journal's lock says that nobody else uses it. */
  readonly socketPath: string | null;
  /** Null, or not given: no TLS. */
  readonly tls?: (TlsOptions & Address) | null;
  /** For sockets of instances, also where no port has TLS. Null, or not given: secrets only. */
  readonly guests?: Omit<GuestTls, 'trustDomain'> | null;
  readonly certificates?: Pick<Register, 'renew' | 'trustDomain'> | null;
  readonly limits?: Partial<Limits>;
}

export interface AgentServer {
  readonly port: number;
  readonly socketPath: string | null;
  /** Null: no TLS. */
  readonly tlsPort: number | null;
  /**
   * Ends what an agent, or the instance of an id, holds open, with the reason. Returns how many there were.
   */
  cut(who: { readonly agent: string; readonly instanceId: string }, reason: Failure): number;
  /**
   * A socket for the one agent of this name, in a directory that only its instance sees. No commands by it,
   * and who is at the other end proves itself by more than being there: with `instanceId` by TLS and a
   * certificate of that instance, else by its secret. A second call finds it.
   */
  openGuest(agent: string, path: string, instanceId?: string | null): Promise<void>;
  closeGuest(agent: string): Promise<void>;
  /** New streams and commands are refused from now on. */
  stopAccepting(): void;
  /** Ends every stream; agents keep what they have and come back. */
  close(graceMs: number): Promise<void>;
}

const limitsDefault: Limits = {
  registerMs: 10_000,
  agentsMax: 10_000,
  unregisteredMax: 64,
  unregisteredOfGuestMax: 8,
  messageBytesMax: 4 << 20,
  unsentBytesMax: 16 << 20,
};

/** Throws Failure('already-exists') when the port is taken. */
export async function agentServer(options: AgentServerOptions): Promise<AgentServer> {
  const { listener, heartbeatSeconds, clock, log, host } = options;
  const limits = { ...limitsDefault, ...options.limits };
  // What goes wrong is told to whoever asked, and logged by us.
  setLogVerbosity(logVerbosity.NONE);
  const { messageBytesMax, unsentBytesMax } = limits;
  const output =
    options.socketPath === null
      ? null
      : await outputDoor({
          path: channelPath(options.socketPath),
          clock,
          log,
          messageBytesMax,
          unsentBytesMax,
        });
  const serving: Serving = {
    listener,
    heartbeatSeconds,
    clock,
    log,
    limits,
    links: new Map(),
    unregistered: new Map(),
    output,
    isOpen: true,
  };
  const make = (origin: Origin) => {
    const server = new Server({
      'grpc.max_receive_message_length': limits.messageBytesMax,
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 10_000,
      'grpc.keepalive_permit_without_calls': 1,
    });
    server.addService(agentService as never, handlers(serving, options, origin) as never);
    return server;
  };
  const tcp = make({ kind: 'plain' });
  const undo = async (thrown: unknown): Promise<never> => {
    await output?.close();
    tcp.forceShutdown();
    throw thrown;
  };
  const port = await bound(tcp, host, options.port).catch(undo);
  const unix =
    options.socketPath === null ? null : await unixDoor(options.socketPath, { make, log }).catch(undo);
  const tls = options.tls
    ? await tlsDoor(options.tls, { make, clock, log }).catch(async (thrown) => {
        await unix?.close();
        return await undo(thrown);
      })
    : null;
  const trustDomain = options.certificates?.trustDomain ?? null;
  const guestTls = options.guests && trustDomain !== null ? { ...options.guests, trustDomain } : null;
  const guests = guestDoors({ make, tls: guestTls, clock, log });
  return {
    port,
    socketPath: options.socketPath,
    openGuest: (agent, path, instanceId = null) => guests.open(agent, path, instanceId),
    closeGuest: (agent) => guests.close(agent),
    tlsPort: tls?.port ?? null,
    cut({ agent, instanceId }, reason) {
      const link = serving.links.get(agent as AgentId);
      link?.cut(reason);
      const id = trustDomain === null ? null : spiffeIdOf(trustDomain, instanceId);
      const connections = id === null ? 0 : (tls?.cut(id) ?? 0) + guests.cut(agent, id);
      return Math.max(connections, link ? 1 : 0);
    },
    stopAccepting() {
      serving.isOpen = false;
    },
    async close(graceMs) {
      serving.isOpen = false;
      for (const link of serving.links.values()) link.close();
      await gone(serving, clock, graceMs);
      await tls?.close();
      await unix?.close();
      await guests.closeAll();
      await output?.close();
      tcp.forceShutdown();
    },
  };
}

/** Streams take a moment to end by themselves. */
async function gone({ links }: Serving, clock: Clock, graceMs: number): Promise<void> {
  for (let waited = 0; links.size > 0 && waited < graceMs; waited += 20) await sleep(clock, 20);
}

const handlers = (serving: Serving, options: AgentServerOptions, origin: Origin) => {
  const closing = () => new Failure('busy', 'the server is shutting down');
  const renewing = { certificates: options.certificates ?? null, log: serving.log };
  return {
    connect: (stream: AgentStream) => serveAgent(serving, stream, origin),
    exec: (call: ExecCall) => {
      if (origin.kind === 'guest')
        return void call.emit(
          'error',
          statusOf(new Failure('forbidden', 'an instance may run nothing in others')),
        );
      if (serving.isOpen) return serveExec(options, call, origin);
      call.emit('error', statusOf(closing()));
    },
    renewCertificate: (call: RenewCall, answer: sendUnaryData<RenewCertificateResponse>) => {
      if (serving.isOpen) return serveRenew(renewing, { call, origin }, answer);
      answer(statusOf(closing()), null);
    },
  };
};

async function bound(server: Server, host: string, port: number): Promise<number> {
  const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  try {
    return await new Promise((resolve, reject) => {
      server.bindAsync(address, ServerCredentials.createInsecure(), (error, at) =>
        error ? reject(error) : resolve(at),
      );
    });
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    const taken = /EADDRINUSE|already in use/i.test(why);
    const cure = 'end what uses it, or set LISTEN_ADDR to another address (127.0.0.1:0 takes any free ports)';
    throw new Failure(
      taken ? 'already-exists' : 'bad-input',
      taken
        ? `port ${port} on ${host}, for agents, is taken: ${cure}`
        : `cannot listen for agents on ${address}: ${why}; ${cure}`,
    );
  }
}
