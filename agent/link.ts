/**
 * The one stream to the server: registration, heartbeats, and what both sides have to say about sessions,
 * which is handed on as it is.
 *
 * It comes back by itself, with a backoff that doubles and is jittered; nothing about sessions is lost
 * meanwhile, for they are not here but with the holder. A server that does not speak our additions
 * (RegistrationAck.config without `agentic.acks`) gets only what the original protocol has.
 */

import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
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
import { CHANNEL_FEATURE, CHANNEL_INPUT_FEATURE, CHANNEL_KEY } from '../proto/channel.ts';
import {
  type AgentMessage,
  AgentMessageSchema,
  AgentRegistrationSchema,
  AgentStatus,
  HeartbeatSchema,
  type ManagementMessage,
  ManagementMessageSchema,
  MetricsSchema,
} from '../proto/gen/agent_pb.ts';
import { agentService } from '../proto/service.ts';
import * as facts from './facts.ts';
import { type Identity, identity } from './identity.ts';
import { tlsMaterial } from './keys.ts';
import type { Log } from './log.ts';
import type { Options } from './options.ts';

const CHANNEL_FEATURES = `${CHANNEL_FEATURE},${CHANNEL_INPUT_FEATURE}`;
export const FEATURES = `offsets,started,stdin-acks,terminal-state,${CHANNEL_FEATURES}`;

const BACKOFF_FIRST_MS = 200;
const BACKOFF_MAX_MS = 30_000;
/** A server on this machine is no crowd's: whoever waits for its restart wants the agent at once. */
const BACKOFF_MAX_NEAR_MS = 2_000;
const near = /^(unix:|localhost:|127\.|\[::1\])/;
/** A link that was lost sooner does not count as a success. */
const GOOD_AFTER_MS = 3_000;
const ACCEPT_WITHIN_MS = 15_000;
/** How often it is looked for a new token while nothing else is to be done. */
const LOOK_MS = 1_000;
/** How long the server may take to close its half. */
const CLOSE_MS = 500;
/** What the server may say at once. */
const MESSAGE_BYTES_MAX = 16 << 20;

/** What the server said, as it was sent, and what it means. */
interface Heard {
  readonly bytes: Buffer;
  readonly payload: ManagementMessage['payload'];
}

type Call = ClientDuplexStream<Uint8Array, Heard>;

/** A link that the server has accepted, for the holder. */
export interface Sink {
  /** An AgentMessage, which the sink keeps. False: it is kept, and `drained` will be called. */
  say(message: Buffer): boolean;
  /** The output channel of this link is over. */
  lost(reason: string): void;
  /** More may be heard. */
  goOn(): void;
}

/** Who has the sessions. */
export interface Holder {
  /** Sessions whose process runs. */
  readonly running: number;
  /** True when output goes by a channel; also resolves when it is detached meanwhile. */
  attach(
    offer: { readonly acks: boolean; readonly ticket: string | null; readonly address: string },
    to: Sink,
  ): Promise<boolean>;
  /** The sink takes no more. */
  detach(): void;
  /** A ManagementMessage. False: enough, until the sink is told to go on. */
  hear(message: Uint8Array): boolean;
  /** What the sink kept has been sent. */
  drained(): void;
}

export interface LinkOptions {
  readonly options: Options;
  readonly holder: Holder;
  readonly log: Log;
}

export interface Link {
  /** Drops the stream and connects anew at once. */
  renew(): void;
  /** Sends what was said and ends; `goodbye`: the agent ends as well. */
  close(goodbye: boolean): Promise<void>;
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
    running: () => given.holder.running,
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
      await rest(waitMs, new Promise<void>((resolve) => (wake = resolve)), certified);
      backoffMs = Math.min(backoffMs * 2, backoffMaxMs);
    }
  })();
  return {
    renew() {
      connection?.drop('asked to register again');
      wake();
    },
    async close(goodbye) {
      isClosed = true;
      connection?.end(goodbye);
      wake();
      await over;
    },
  };
}

/** Over before its time when it is woken, or when there is a new token to begin with. */
async function rest(waitMs: number, woken: Promise<void>, certified: Identity | null): Promise<void> {
  const early = woken.then(() => true);
  for (let leftMs = waitMs; leftMs > 0; leftMs -= LOOK_MS) {
    if (await Promise.race([early, Bun.sleep(Math.min(leftMs, LOOK_MS))])) return;
    if (certified?.hasNewToken()) return;
  }
}

interface Connection {
  readonly over: Promise<{ readonly reason: string; readonly hurry: boolean }>;
  drop(reason: string): void;
  end(goodbye: boolean): void;
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
  const asIs = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const heard = (bytes: Buffer): Heard => ({
    bytes,
    payload: fromBinary(ManagementMessageSchema, bytes).payload,
  });
  const { path } = agentService.connect;
  const call = client.makeBidiStreamRequest(path, asIs, heard, metadata(options));
  return { client, call };
}

function connect({ options, holder, log }: LinkOptions, certified: Identity | null): Connection {
  const over = Promise.withResolvers<{ reason: string; hurry: boolean }>();
  let opened: { client: Client; call: Call };
  try {
    opened = open(options);
  } catch (thrown) {
    return never(thrown instanceof Error ? thrown.message : String(thrown));
  }
  const { client, call } = opened;
  let pulse: ReturnType<typeof beat> | null = null;
  let isFinished = false;
  const patience = setTimeout(() => finish('the server did not answer the registration'), ACCEPT_WITHIN_MS);
  const finish = (reason: string, hurry = false) => {
    if (isFinished) return;
    isFinished = true;
    clearTimeout(patience);
    pulse?.stop();
    certified?.over();
    holder.detach();
    call.cancel();
    client.close();
    over.resolve({ reason, hurry });
  };
  const send = (payload: AgentMessage['payload']) =>
    call.write(toBinary(AgentMessageSchema, create(AgentMessageSchema, { payload })));
  const sink: Sink = {
    say: (message) => call.write(message),
    lost: (reason) => finish(reason),
    goOn: () => call.resume(),
  };
  /** What the server says next waits until the holder knows which way output goes. */
  const settle = async (config: Readonly<Record<string, string>>, seconds: number) => {
    call.pause();
    const acks = config['agentic.acks'] === '1';
    const ticket = config[CHANNEL_KEY] ?? null;
    const { address } = options.target;
    const isChannel = await holder.attach({ acks, ticket, address }, sink);
    if (isFinished) return;
    pulse = beat({ options, holder, send, seconds });
    certified?.live(client);
    log('info', 'registered', {
      server: address,
      acks,
      output_channel: isChannel,
      heartbeat_seconds: seconds,
    });
    call.resume();
  };
  call.on('error', ({ details, message, code }: ServiceError) => finish(`${details || message} (${code})`));
  call.on('end', () => finish('the server ended the stream'));
  call.on('drain', () => holder.drained());
  call.on('data', ({ bytes, payload }: Heard) => {
    if (isFinished) return;
    if (payload.case !== 'registrationAck') {
      if (!holder.hear(bytes)) call.pause();
      return;
    }
    const { accepted, message, config, heartbeatIntervalSeconds } = payload.value;
    if (!accepted) return finish(`the server refused: ${message}`);
    clearTimeout(patience);
    const seconds = options.heartbeatSeconds ?? (heartbeatIntervalSeconds > 0 ? heartbeatIntervalSeconds : 5);
    void settle(config, seconds);
  });
  send({ case: 'registration', value: registration(options) });
  return {
    over: over.promise,
    drop: (reason) => finish(reason, true),
    end(goodbye) {
      if (goodbye) pulse?.say(AgentStatus.SHUTTING_DOWN);
      call.end();
      // The server closes its half; if it does not, we do.
      setTimeout(() => finish('closed'), CLOSE_MS);
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
  readonly holder: Holder;
  readonly send: (payload: AgentMessage['payload']) => unknown;
  readonly seconds: number;
}

/** Heartbeats and metrics. */
function beat({ options, holder, send, seconds }: Beating) {
  const cpu = facts.cpuMeter();
  const say = (status: AgentStatus | null) => {
    const now = { agentId: options.agentId, timestampMs: BigInt(Date.now()) };
    const setup = facts.setup(options.setup);
    const memory = facts.memory();
    const disk = facts.disk(options.home);
    const cpuPercent = cpu();
    const { running } = holder;
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
  return { say, stop: () => clearInterval(beats) };
}
