/**
 * The one stream to the server: registration, heartbeats, and what both sides have to say about sessions.
 *
 * It comes back by itself, with a backoff that doubles and is jittered; nothing about sessions is lost
 * meanwhile, for they are not here. A server that does not speak our additions (RegistrationAck.config
 * without
 * `agentic.acks`) gets only what the original protocol has.
 */

import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { create } from '@bufbuild/protobuf';
import {
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  credentials,
  logVerbosity,
  Metadata,
  type ServiceError,
  setLogVerbosity,
} from '@grpc/grpc-js';
import { CHANNEL_FEATURE, CHANNEL_KEY } from '../proto/channel.ts';
import {
  type AgentMessage,
  AgentMessageSchema,
  AgentRegistrationSchema,
  AgentStatus,
  HeartbeatSchema,
  type ManagementMessage,
  MetricsSchema,
  type OutputChunk,
  SessionReportSchema,
} from '../proto/gen/agent_pb.ts';
import { isOutputStream } from '../proto/output.ts';
import { agentService } from '../proto/service.ts';
import * as facts from './facts.ts';
import { type Identity, identity } from './identity.ts';
import { tlsMaterial } from './keys.ts';
import type { Log } from './log.ts';
import type { Options } from './options.ts';
import { type OutputChannel, openOutput } from './output.ts';
import type { Outlet } from './session.ts';
import type { Sessions } from './sessions.ts';

export const FEATURES = `offsets,started,stdin-acks,terminal-state,${CHANNEL_FEATURE}`;

const BACKOFF_FIRST_MS = 200;
const BACKOFF_MAX_MS = 30_000;
/** A server on this machine is no crowd's: whoever waits for its restart wants the agent at once. */
const BACKOFF_MAX_NEAR_MS = 2_000;
const near = /^(unix:|localhost:|127\.|\[::1\])/;
/** A link that was lost sooner does not count as a success. */
const GOOD_AFTER_MS = 3_000;
const ACCEPT_WITHIN_MS = 15_000;
/** What the server may say at once. */
const MESSAGE_BYTES_MAX = 16 << 20;
const LOOK_EVERY_MS = 50;

type Call = ClientDuplexStream<AgentMessage, ManagementMessage>;

export interface Shutdown {
  readonly reason: string;
  readonly graceMs: number;
}

export interface LinkOptions {
  readonly options: Options;
  readonly sessions: Sessions;
  readonly log: Log;
  readonly onShutdown: (shutdown: Shutdown) => void;
}

export interface Link {
  /** Drops the stream and connects anew at once. */
  renew(): void;
  /** Says goodbye and ends. */
  close(): Promise<void>;
}

export function link(given: LinkOptions): Link {
  const { log } = given;
  setLogVerbosity(logVerbosity.NONE);
  let isClosed = false;
  let connection: Connection | null = null;
  let wake = () => {};
  const { options } = given;
  const own = options.identity && {
    options: options.identity,
    log,
    running: () => given.sessions.running,
    changeOver: () => connection?.drop('there is a new certificate'),
  };
  const certified = own && identity(own);
  const backoffMaxMs = near.test(given.options.target.address) ? BACKOFF_MAX_NEAR_MS : BACKOFF_MAX_MS;
  const over = (async () => {
    for (let backoffMs = BACKOFF_FIRST_MS; !isClosed; ) {
      const startedAt = Date.now();
      const why = (await certified?.ready()) ?? null;
      if (isClosed) break;
      connection = why === null ? connect(given, certified) : never(why);
      const { reason, hurry } = await connection.over;
      connection = null;
      if (isClosed) break;
      if (hurry || Date.now() - startedAt > GOOD_AFTER_MS) backoffMs = BACKOFF_FIRST_MS;
      const waitMs = hurry ? 0 : Math.round(backoffMs * (0.5 + Math.random() / 2));
      log('warn', 'no link to the server', { reason, again_in_ms: waitMs });
      await Promise.race([Bun.sleep(waitMs), new Promise<void>((resolve) => (wake = resolve))]);
      backoffMs = Math.min(backoffMs * 2, backoffMaxMs);
    }
  })();
  return {
    renew() {
      connection?.drop('asked to register again');
      wake();
    },
    async close() {
      isClosed = true;
      connection?.end();
      wake();
      await over;
    },
  };
}

interface Connection {
  readonly over: Promise<{ readonly reason: string; readonly hurry: boolean }>;
  drop(reason: string): void;
  end(): void;
}

/** A certificate, and by which name to know the server; read anew every time, for it is renewed. */
function secured({ target }: Options): { credentials: ChannelCredentials; options: object } {
  if (!target.tls) return { credentials: credentials.createInsecure(), options: {} };
  const { ca, cert, key, serverName } = tlsMaterial(target.tls);
  // Also because the name of a TLS server may not be an address.
  const options = { 'grpc.ssl_target_name_override': serverName, 'grpc.default_authority': serverName };
  return { credentials: credentials.createSsl(ca, key, cert), options };
}

const never = (reason: string): Connection => ({
  over: Promise.resolve({ reason, hurry: false }),
  drop() {},
  end() {},
});

function metadata({ agentId, instanceId, secretFile }: Options): Metadata {
  const meta = new Metadata();
  meta.set('x-agent-id', agentId);
  if (instanceId) meta.set('x-agent-instance-id', instanceId);
  // Read anew every time: an instance that was made anew has a new secret.
  if (secretFile) meta.set('authorization', `Bearer ${readFileSync(secretFile, 'utf8').trim()}`);
  return meta;
}

function open(options: Options): { client: Client; call: Call } {
  const security = secured(options);
  const client = new Client(options.target.address, security.credentials, {
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.max_send_message_length': -1,
    'grpc.enable_retries': 0,
    'grpc.use_local_subchannel_pool': 1,
    ...security.options,
  });
  const { path, requestSerialize, responseDeserialize } = agentService.connect;
  const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata(options));
  return { client, call };
}

function connect(
  { options, sessions, log, onShutdown }: LinkOptions,
  certified: Identity | null,
): Connection {
  const over = Promise.withResolvers<{ reason: string; hurry: boolean }>();
  let opened: { client: Client; call: Call };
  try {
    opened = open(options);
  } catch (thrown) {
    return never(thrown instanceof Error ? thrown.message : String(thrown));
  }
  const { client, call } = opened;
  let outlet: (Outlet & { drained(): void }) | null = null;
  let pulse: ReturnType<typeof beat> | null = null;
  let channel: OutputChannel | null = null;
  let isFinished = false;
  const patience = setTimeout(() => finish('the server did not answer the registration'), ACCEPT_WITHIN_MS);
  const finish = (reason: string, hurry = false) => {
    isFinished = true;
    clearTimeout(patience);
    pulse?.stop();
    certified?.over();
    if (outlet) sessions.detach(outlet);
    outlet = null;
    channel?.close();
    call.cancel();
    client.close();
    over.resolve({ reason, hurry });
  };
  const send = (payload: AgentMessage['payload']) => call.write(create(AgentMessageSchema, { payload }));
  /** What the server says next waits: output that it asks for goes the one way or the other, never both. */
  const settle = async (config: Readonly<Record<string, string>>, seconds: number) => {
    const ticket = config[CHANNEL_KEY];
    call.pause();
    const events = {
      heard: (payload: ManagementMessage['payload']) => void sessions.take(payload),
      drained: () => sessions.wake(),
      lost: (reason: string) => finish(reason),
    };
    const opened = ticket ? await openOutput(options.target.address, ticket, events) : null;
    if (isFinished) return opened?.close();
    channel = opened;
    outlet = outletOf(call, { acks: config['agentic.acks'] === '1', sessions, channel });
    sessions.attach(outlet);
    pulse = beat({ options, sessions, send, seconds });
    certified?.live(client);
    log('info', 'registered', {
      server: options.target.address,
      acks: outlet.acks,
      output_channel: channel !== null,
      heartbeat_seconds: seconds,
    });
    call.resume();
  };
  call.on('error', ({ details, message, code }: ServiceError) => finish(`${details || message} (${code})`));
  call.on('end', () => finish('the server ended the stream'));
  call.on('drain', () => outlet?.drained());
  call.on('data', ({ payload }: ManagementMessage) => {
    switch (payload.case) {
      case 'registrationAck': {
        const { accepted, message, config, heartbeatIntervalSeconds } = payload.value;
        if (!accepted) return finish(`the server refused: ${message}`);
        clearTimeout(patience);
        const seconds =
          options.heartbeatSeconds ?? (heartbeatIntervalSeconds > 0 ? heartbeatIntervalSeconds : 5);
        return void settle(config, seconds);
      }
      case 'sessionQuery': {
        const { reportAll, sessionIds } = payload.value;
        const found = sessions.report(reportAll ? [] : sessionIds);
        const timestampMs = BigInt(Date.now());
        const report = create(SessionReportSchema, {
          agentId: options.agentId,
          sessions: found,
          timestampMs,
        });
        return void send({ case: 'sessionReport', value: report });
      }
      case 'shutdown':
        return onShutdown({
          reason: payload.value.reason,
          graceMs: payload.value.gracePeriodSeconds * 1_000,
        });
      case 'config':
        Object.assign(options.childEnv, payload.value.config);
        return;
      default:
        sessions.take(payload);
    }
  });
  send({ case: 'registration', value: registration(options) });
  return {
    over: over.promise,
    drop: (reason) => finish(reason, true),
    end() {
      pulse?.say(AgentStatus.SHUTTING_DOWN);
      call.end();
      // The server closes its half; if it does not, we do.
      setTimeout(() => finish('closed'), 500);
    },
  };
}

interface Ways {
  readonly acks: boolean;
  readonly sessions: Sessions;
  readonly channel: OutputChannel | null;
}

function outletOf(call: Call, { acks, sessions, channel }: Ways): Outlet & { drained(): void } {
  let isOpen = true;
  return {
    acks,
    isOpen: () => (channel ? channel.isOpen() : isOpen),
    send(payload) {
      if (channel && isOutputStream(payload.case))
        return channel.send(payload.case, payload.value as OutputChunk);
      if (!call.write(create(AgentMessageSchema, { payload }))) isOpen = false;
    },
    drained() {
      isOpen = true;
      sessions.wake();
    },
  };
}

function registration({ agentId, instanceId, profile, loadout, home }: Options) {
  return create(AgentRegistrationSchema, {
    agentId,
    instanceId,
    ipAddress: facts.ipAddress(),
    hostname: hostname(),
    profile,
    loadout,
    labels: {
      'agentic.features': FEATURES,
      ...(profile ? { profile } : {}),
      ...(loadout ? { loadout } : {}),
    },
    system: facts.system(),
    aiwgFrameworks: facts.frameworks(home),
  });
}

interface Beating {
  readonly options: Options;
  readonly sessions: Sessions;
  readonly send: (payload: AgentMessage['payload']) => void;
  readonly seconds: number;
}

/** Heartbeats and metrics, and a look at the terminals in between. */
function beat({ options, sessions, send, seconds }: Beating) {
  const cpu = facts.cpuMeter();
  const say = (status: AgentStatus | null) => {
    const now = { agentId: options.agentId, timestampMs: BigInt(Date.now()) };
    const setup = facts.setup(options.setup);
    const memory = facts.memory();
    const disk = facts.disk(options.home);
    const cpuPercent = cpu();
    const running = sessions.running;
    const own = running > 0 ? AgentStatus.BUSY : AgentStatus.READY;
    const heartbeat = create(HeartbeatSchema, {
      ...now,
      status: status ?? (setup.isReady ? own : AgentStatus.PROVISIONING),
      cpuPercent,
      memoryUsedBytes: BigInt(memory.used),
      uptimeSeconds: BigInt(facts.uptimeSeconds()),
      setupStatus: setup.status,
      setupProgressJson: setup.progressJson,
    });
    send({ case: 'heartbeat', value: heartbeat });
    const metrics = create(MetricsSchema, {
      ...now,
      cpuPercent,
      memoryUsedBytes: BigInt(memory.used),
      memoryTotalBytes: BigInt(memory.total),
      diskUsedBytes: BigInt(disk.used),
      diskTotalBytes: BigInt(disk.total),
      loadAvg: facts.loads(),
      custom: { sessions: BigInt(running), [`memory_scope_${memory.scope}`]: 1n },
    });
    send({ case: 'metrics', value: metrics });
  };
  say(null);
  const beats = setInterval(() => say(null), seconds * 1_000);
  const looks = setInterval(() => sessions.look(), LOOK_EVERY_MS);
  return {
    say,
    stop() {
      clearInterval(beats);
      clearInterval(looks);
    },
  };
}
