/**
 * One `Connect` stream, from its registration to its end.
 *
 * The first message registers; the id in it, the id in the metadata and the id that the transport proves must
 * be one. What an agent says is taken in its order: while something it said is being made durable, the stream
 * waits, and so does the news that it is over. A newer stream of the same agent supersedes the older one.
 */
import { create } from '@bufbuild/protobuf';
import { Metadata, status } from '@grpc/grpc-js';
import { CHANNEL_FEATURE, CHANNEL_KEY } from '../../proto/channel.ts';
import {
  type AgentMessage,
  type AgentRegistration,
  type OutputChunk,
  RegistrationAckSchema,
  SessionQuerySchema,
} from '../../proto/gen/agent_pb.ts';
import { isOutputStream } from '../../proto/output.ts';
import type { AgentListener } from '../agent-link.ts';
import type { Clock } from '../clock.ts';
import { Failure, failures } from '../failure.ts';
import type { AgentId, SessionId } from '../ids.ts';
import type { Log } from '../log.ts';
import { type Origin, proofOf, provenBy } from './identity.ts';
import { type AgentStream, Link } from './link.ts';
import {
  featuresOf,
  heartbeatOf,
  message,
  metricsOf,
  registrationOf,
  reportedOf,
  resultOf,
  whole,
} from './messages.ts';
import type { Guest, OutputDoor } from './output.ts';

export interface Limits {
  /** How long a stream may take to register. */
  readonly registerMs: number;
  readonly agentsMax: number;
  /** Streams that have not registered yet; those on the sockets of instances are counted for each of them. */
  readonly unregisteredMax: number;
  readonly unregisteredOfGuestMax: number;
  /** One message from an agent. */
  readonly messageBytesMax: number;
  readonly unsentBytesMax: number;
}

export interface Serving {
  readonly listener: AgentListener;
  readonly heartbeatSeconds: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Limits;
  readonly links: Map<AgentId, Link>;
  /** Each with the agent whose way in it is; null: a door that all share. */
  readonly unregistered: Map<AgentStream, string | null>;
  /** Null: output comes on the stream. */
  readonly output: OutputDoor | null;
  /** False once the server is closing: nothing of what happens then is told to the house. */
  isOpen: boolean;
}

export const statusOf = (thrown: unknown): { code: number; details: string; metadata: Metadata } => {
  const metadata = new Metadata();
  if (!(thrown instanceof Failure))
    return { code: status.INTERNAL, details: 'this is a bug of the server; see its log', metadata };
  metadata.set('agentic-code', thrown.code);
  return { code: failures[thrown.code].grpc, details: thrown.message, metadata };
};

export function serveAgent(serving: Serving, stream: AgentStream, origin: Origin): void {
  const { clock, limits, log, unregistered } = serving;
  let link: Link | null = null;
  let isOver = false;
  /** What was said while something before it is being made durable. */
  let turn: Promise<void> | null = null;
  const waiting: AgentMessage[] = [];

  const over = (reason: string) => {
    if (isOver) return;
    isOver = true;
    clock.clearTimeout(patience);
    unregistered.delete(stream);
    serving.output?.withdraw(guest);
    if (!link) return;
    const lost = link;
    lost.end(reason);
    if (serving.links.get(lost.agent) === lost) serving.links.delete(lost.agent);
    const tell = () => {
      if (serving.isOpen) serving.listener.lost(lost, reason);
    };
    // Were it told before the house holds the agent for connected, it would be held for that for ever.
    if (turn === null) tell();
    else turn.then(tell, tell);
  };
  const fail = (thrown: unknown, code?: status) => {
    if (isOver) return;
    if (!(thrown instanceof Failure))
      log.error('agent stream ended by a bug', { agent: link?.agent, why: String(thrown) });
    else if (link && thrown.code === 'over-quota')
      log.warn('agent cut off', { agent: link.agent, why: thrown.message });
    const told = statusOf(thrown);
    over(told.details);
    stream.emit('error', code === undefined ? told : { ...told, code });
  };
  const patience = clock.setTimeout(
    () => fail(new Failure('timed-out', 'no registration came')),
    limits.registerMs,
  );

  const guest: Guest = {
    said(said) {
      if (isOver || !link) return;
      if (!isOutputStream(said.payload.case))
        throw new Failure('bad-input', 'only output may come by the output channel');
      told({ listener: serving.listener, link, fail }, said.payload);
    },
    opened: (channel) => (link && !isOver ? link.opened(channel) : channel.close()),
    broken: (why) => fail(why),
  };

  const take = (said: AgentMessage): Promise<void> | null => {
    if (link) return told({ listener: serving.listener, link, fail }, said.payload);
    if (said.payload.case !== 'registration')
      throw new Failure('bad-input', 'the first message must be the registration');
    const registration = said.payload.value;
    return admit({ serving, stream, origin, fail }, registration).then(
      async (admitted) => {
        if (isOver) return;
        clock.clearTimeout(patience);
        unregistered.delete(stream);
        link = admitted;
        const door = origin.kind === 'unix' && link.features.has(CHANNEL_FEATURE) ? serving.output : null;
        await welcome(serving, stream, { link, registration, ticket: door?.invite(guest) ?? null });
      },
      (thrown) => {
        if (!isOver) refuse(stream, thrown);
        throw thrown;
      },
    );
  };
  const drain = () => {
    turn = null;
    try {
      while (!isOver && turn === null && waiting.length > 0)
        turn = inTurn(take(waiting.shift() as AgentMessage));
    } catch (thrown) {
      fail(thrown);
    }
    if (turn === null && !isOver) stream.resume();
  };
  const inTurn = (work: Promise<void> | null) => work?.then(drain, (thrown) => fail(thrown)) ?? null;

  if (!serving.isOpen) return fail(new Failure('busy', 'the server is shutting down'));
  if (serving.links.size >= limits.agentsMax)
    return fail(new Failure('over-quota', `${limits.agentsMax} agents are connected`));
  const door = doorOf(origin);
  if (isCrowded(serving, door)) return fail(new Failure('over-quota', 'too many streams wait to register'));
  unregistered.set(stream, door);
  stream.on('data', (said: AgentMessage) => {
    if (isOver) return;
    waiting.push(said);
    if (turn !== null) return void stream.pause();
    drain();
  });
  stream.on('end', () => {
    over('the agent ended the stream');
    stream.end();
  });
  stream.on('cancelled', () => over('the stream was cut'));
  stream.on('error', (thrown: Error) => over(thrown.message));
  stream.on('close', () => over('the connection was lost'));
}

/** Whose way in it is, where it is known from the connection; null: whoever comes shares it. */
const doorOf = (origin: Origin): string | null => {
  if (origin.kind === 'guest') return origin.agent;
  return origin.kind === 'certificate' ? origin.certificate.spiffeId : null;
};

/** A hostile instance can only keep itself out. */
function isCrowded({ unregistered, limits }: Serving, door: string | null): boolean {
  let waiting = 0;
  for (const one of unregistered.values()) if (one === door) waiting += 1;
  return waiting >= (door === null ? limits.unregisteredMax : limits.unregisteredOfGuestMax);
}

interface Admitting {
  readonly serving: Serving;
  readonly stream: AgentStream;
  readonly origin: Origin;
  readonly fail: (thrown: unknown, code?: status) => void;
}

const first = (stream: AgentStream, name: string): string => String(stream.metadata.get(name)[0] ?? '');

async function admit(
  { serving, stream, origin, fail }: Admitting,
  registration: AgentRegistration,
): Promise<Link> {
  const { listener, clock, limits } = serving;
  const { agentId, instanceId } = registration;
  const claimed = first(stream, 'x-agent-id');
  if (claimed !== '' && claimed !== agentId) {
    throw new Failure('forbidden', `the metadata says ${claimed} and the registration says ${agentId}`);
  }
  if (origin.kind === 'guest' && agentId !== origin.agent) {
    const whose = `this socket is for agent ${origin.agent}`;
    throw new Failure('forbidden', `${whose}, and the registration says ${agentId}`);
  }
  const instance = first(stream, 'x-agent-instance-id') || instanceId;
  if (instanceId !== '' && instance !== instanceId) {
    throw new Failure(
      'forbidden',
      `the metadata says instance ${instance} and the registration says ${instanceId}`,
    );
  }
  const proof = proofOf(stream.metadata, origin);
  await listener.admit(proof, agentId, instance);
  return new Link(stream, {
    agent: agentId as AgentId,
    instanceId: instance,
    features: featuresOf(registration),
    proven: provenBy(proof),
    clock,
    unsentBytesMax: limits.unsentBytesMax,
    cut: fail,
  });
}

interface Admitted {
  readonly link: Link;
  readonly registration: AgentRegistration;
  /** To the output channel; null: none for this one. */
  readonly ticket: string | null;
}

async function welcome(
  serving: Serving,
  stream: AgentStream,
  { link, registration, ticket }: Admitted,
): Promise<void> {
  const { links, listener, heartbeatSeconds } = serving;
  const older = links.get(link.agent);
  links.set(link.agent, link);
  older?.supersede();
  await listener.connected(link, registrationOf(registration));
  if (link.isGone) return;
  stream.write(
    message({
      case: 'registrationAck',
      value: create(RegistrationAckSchema, {
        accepted: true,
        message: 'Welcome to agentic-sandbox',
        heartbeatIntervalSeconds: heartbeatSeconds,
        config: { 'agentic.acks': '1', ...(ticket === null ? {} : { [CHANNEL_KEY]: ticket }) },
      }),
    }),
  );
  stream.write(message({ case: 'sessionQuery', value: create(SessionQuerySchema, { reportAll: true }) }));
  link.welcomed();
}

/** A refusal is said in the protocol's own words too, for agents that do not show a status. */
function refuse(stream: AgentStream, thrown: unknown): void {
  const { details } = statusOf(thrown);
  stream.write(
    message({
      case: 'registrationAck',
      value: create(RegistrationAckSchema, { accepted: false, message: details }),
    }),
  );
}

interface Telling extends Pick<Serving, 'listener'> {
  readonly link: Link;
  readonly fail: (thrown: unknown) => void;
}

/** Null: taken. A promise: what follows waits for it. */
function told(
  { listener, link, fail }: Telling,
  { case: what, value }: AgentMessage['payload'],
): Promise<void> | null {
  switch (what) {
    case 'stdout':
    case 'stderr':
    case 'log':
      if (value.data.length > 0) listener.output(link, value.streamId as SessionId, pieceOf(what, value));
      return null;
    case 'heartbeat':
      listener.heartbeat(link, heartbeatOf(value));
      return null;
    case 'metrics':
      listener.metrics(link, metricsOf(value));
      return null;
    case 'sessionReport':
      return listener.reported(link, value.sessions.map(reportedOf));
    case 'commandResult':
      // Not waited for: it may itself wait for output that is still to come.
      listener.result(link, resultOf(value)).catch((thrown) => fail(thrown));
      return null;
    case 'sessionStarted':
      link.started(value);
      return null;
    case 'stdinAck':
      link.typed(value);
      return null;
    case 'terminalState': {
      const { echo, canonical, foreground, reading } = value;
      listener.terminalState(link, value.commandId as SessionId, {
        echo,
        canonical,
        foreground,
        reading: reading ?? null,
      });
      return null;
    }
    case 'sessionReconcileAck':
      link.reconciled(value);
      return null;
    case 'registration':
      throw new Failure('bad-input', 'the agent is registered already; open a new stream to register again');
    default:
      return null; // Of a newer agent; what we do not know we do not need.
  }
}

const pieceOf = (stream: 'stdout' | 'stderr' | 'log', { data, offset }: OutputChunk) => ({
  stream,
  bytes: data,
  offset: offset === undefined ? null : whole(offset, 'offset'),
});
