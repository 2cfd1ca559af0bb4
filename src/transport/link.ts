/**
 * One connected agent, as the house calls it.
 *
 * What waits for the agent's word is rejected with `agent-gone` when the stream ends. An agent that does not
 * read is cut off once too much waits for it; nothing is lost by that, because it comes back and is told
 * again.
 */
import { create } from '@bufbuild/protobuf';
import { type ServerDuplexStream, status } from '@grpc/grpc-js';
import { CHANNEL_INPUT_FEATURE } from '../../proto/channel.ts';
import {
  type AgentMessage,
  CommandRequestSchema,
  type ManagementMessage,
  OutputAckSchema,
  PtyControlSchema,
  ResultAckSchema,
  type SessionReconcileAck,
  SessionReconcileSchema,
  type SessionStarted,
  ShutdownSignalSchema,
  type StdinAck,
  type StdinChunk,
  StdinChunkSchema,
} from '../../proto/gen/agent_pb.ts';
import type { AgentLink, Launch, Proven, ReconcileOutcome, ReconcilePlan, Typing } from '../agent-link.ts';
import { type Clock, sleep } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { AgentId, SessionId } from '../ids.ts';
import { commandOf, message } from './messages.ts';
import type { Channel } from './output.ts';

export type AgentStream = ServerDuplexStream<AgentMessage, ManagementMessage>;

export interface LinkFacts {
  readonly agent: AgentId;
  readonly instanceId: string;
  readonly features: ReadonlySet<string>;
  readonly proven: Proven;
  readonly clock: Clock;
  /** What may wait to be sent to one agent. */
  readonly unsentBytesMax: number;
  /** Ends the stream, with the failure's own status unless another is given. */
  readonly cut: (failure: Failure, code?: status) => void;
}

/** Beyond the grace that a reconcile gives, how long its outcome may take. */
const OUTCOME_MS = 15_000;

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
}

interface Reconciling extends Waiting {
  readonly kill: readonly string[];
}

/** About as much as a launch takes on the wire. */
function lengthOf({ command, args, env }: Launch): number {
  const texts = [command, ...args, ...Object.entries(env).flat()];
  return texts.reduce((sum, text) => sum + text.length, 0);
}

export class Link implements AgentLink {
  readonly agent: AgentId;
  readonly instanceId: string;
  readonly features: ReadonlySet<string>;
  readonly proven: Proven;
  readonly #stream: AgentStream;
  readonly #facts: LinkFacts;
  readonly #waiting = new Map<string, Set<Waiting>>();
  readonly #reconciling: Reconciling[] = [];
  #unsentBytes = 0;
  /** Said before the agent was welcomed, when it could not answer yet; null: it is. */
  #early: ManagementMessage['payload'][] | null = [];
  #gone: Failure | null = null;
  #channel: Channel | null = null;
  /** The way of typed input for as long as this link lives: on two ways one piece might overtake another. */
  #inputBy: 'stream' | 'channel' | null = null;

  constructor(stream: AgentStream, facts: LinkFacts) {
    this.agent = facts.agent;
    this.instanceId = facts.instanceId;
    this.features = facts.features;
    this.proven = facts.proven;
    this.#stream = stream;
    this.#facts = facts;
    stream.on('drain', () => {
      this.#unsentBytes = 0;
    });
  }

  async launch(launch: Launch, signal: AbortSignal): Promise<void> {
    const value = create(CommandRequestSchema, commandOf(launch));
    const bytes = lengthOf(launch);
    if (!this.features.has('started')) return this.#send({ case: 'command', value }, bytes);
    const started = this.#answer<SessionStarted>(`start:${launch.session}`, signal);
    this.#send({ case: 'command', value }, bytes);
    const { error } = await started;
    if (error) throw new Failure('runtime-failed', `${launch.command} could not be started: ${error}`);
  }

  async type(session: SessionId, bytes: Uint8Array, { key, signal }: Typing): Promise<void> {
    const data = { commandId: session, data: bytes, ...(key === null ? {} : { key }) };
    const value = create(StdinChunkSchema, data);
    if (key === null || !this.features.has('stdin-acks')) return this.#input(value);
    const written = this.#answer<StdinAck>(`stdin:${session}:${key}`, signal);
    this.#input(value);
    const ack = await written;
    if (!ack.written)
      throw new Failure('undeliverable', `the agent could not type into session ${session}: ${ack.error}`);
  }

  closeStdin(session: SessionId): void {
    this.#ifThere(() => this.#input(create(StdinChunkSchema, { commandId: session, eof: true })));
  }

  resize(session: SessionId, cols: number, rows: number): void {
    const action = { case: 'resize', value: { cols, rows } } as const;
    this.#sendIfThere({
      case: 'ptyControl',
      value: create(PtyControlSchema, { commandId: session, action }),
    });
  }

  signal(session: SessionId, number: number): void {
    const action = { case: 'signal', value: { signalNumber: number } } as const;
    this.#sendIfThere({
      case: 'ptyControl',
      value: create(PtyControlSchema, { commandId: session, action }),
    });
  }

  ackOutput(session: SessionId, offset: number, resume: boolean): void {
    if (!this.features.has('offsets')) return;
    if (this.#channel && !resume) return this.#channel.acknowledge(session, offset);
    const value = create(OutputAckSchema, { commandId: session, offset: BigInt(offset), resume });
    this.#sendIfThere({ case: 'outputAck', value });
  }

  ackResult(session: SessionId): void {
    if (!this.features.has('offsets')) return;
    this.#sendIfThere({ case: 'resultAck', value: create(ResultAckSchema, { commandId: session }) });
  }

  async reconcile(plan: ReconcilePlan): Promise<ReconcileOutcome> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const waiting: Reconciling = { kill: plan.kill, resolve, reject };
    const value = create(SessionReconcileSchema, {
      keepSessionIds: [...plan.keep],
      killSessionIds: [...plan.kill],
      killUnrecognized: plan.killUnrecognized,
      gracePeriodSeconds: plan.graceSeconds,
    });
    this.#send({ case: 'sessionReconcile', value }, 0);
    this.#reconciling.push(waiting);
    const stop = new AbortController();
    const late = sleep(this.#facts.clock, plan.graceSeconds * 1_000 + OUTCOME_MS, stop.signal).then(
      () => reject(new Failure('timed-out', `agent ${this.agent} did not say what became of its sessions`)),
      () => {},
    );
    try {
      const ack = (await promise) as SessionReconcileAck;
      return { killed: ack.killedSessionIds, kept: ack.keptSessionIds, failed: ack.failedToKill };
    } finally {
      stop.abort();
      await late;
      const at = this.#reconciling.indexOf(waiting);
      if (at >= 0) this.#reconciling.splice(at, 1);
    }
  }

  shutdown(reason: string, graceSeconds: number): void {
    const value = create(ShutdownSignalSchema, { reason, gracePeriodSeconds: graceSeconds });
    this.#sendIfThere({ case: 'shutdown', value });
  }

  /** The agent's answers. */
  started(value: SessionStarted): void {
    this.#settle(`start:${value.commandId}`, value);
  }

  typed(value: StdinAck): void {
    this.#settle(`stdin:${value.commandId}:${value.key}`, value);
  }

  /** Outcomes carry no name of their plan: it is the oldest plan whose sessions are all in it. */
  reconciled(value: SessionReconcileAck): void {
    const told = new Set([...value.killedSessionIds, ...value.failedToKill]);
    this.#reconciling.find(({ kill }) => kill.every((id) => told.has(id)))?.resolve(value);
  }

  /** The agent has been acknowledged: what the house said meanwhile follows. */
  welcomed(): void {
    const early = this.#early ?? [];
    this.#early = null;
    this.#unsentBytes = 0;
    for (const payload of early) this.#send(payload, 0);
  }

  /** Output comes by a channel of its own from now on. */
  opened(channel: Channel): void {
    if (this.#gone) return channel.close();
    this.#channel?.close();
    this.#channel = channel;
  }

  /** The stream is over: whoever waits is told. */
  end(reason: string): void {
    if (this.#gone) return;
    this.#channel?.close();
    this.#gone = new Failure('agent-gone', `the link to agent ${this.agent} was lost: ${reason}`);
    for (const waiters of this.#waiting.values()) for (const { reject } of waiters) reject(this.#gone);
    for (const { reject } of this.#reconciling) reject(this.#gone);
    this.#waiting.clear();
  }

  /** A newer stream of this agent has come; it has the house's ear now. */
  supersede(): void {
    const failure = new Failure('cancelled', 'superseded by a newer connection of the same agent');
    this.#facts.cut(failure, status.ABORTED);
  }

  /** The house wants this agent gone. */
  cut(reason: Failure): void {
    this.#facts.cut(reason);
  }

  /** Ends the stream kindly. */
  close(): void {
    if (!this.#gone) this.#stream.end();
  }

  /** Whether the stream is over. */
  get isGone(): boolean {
    return this.#gone !== null;
  }

  /** Throws at once when there is nothing to wait for. */
  #answer<T>(name: string, signal?: AbortSignal): Promise<T> {
    if (this.#gone) throw this.#gone;
    signal?.throwIfAborted();
    const waiters = this.#waiting.get(name) ?? new Set();
    this.#waiting.set(name, waiters);
    const answer = new Promise<T>((resolve, reject) => {
      const give = () => done(() => reject(signal?.reason));
      const waiting: Waiting = {
        resolve: (value) => done(() => resolve(value as T)),
        reject: (reason) => done(() => reject(reason)),
      };
      const done = (how: () => void) => {
        signal?.removeEventListener('abort', give);
        waiters.delete(waiting);
        if (waiters.size === 0 && this.#waiting.get(name) === waiters) this.#waiting.delete(name);
        how();
      };
      waiters.add(waiting);
      signal?.addEventListener('abort', give, { once: true });
    });
    answer.catch(() => {}); // Whoever asked may have failed before it came to wait.
    return answer;
  }

  #settle(name: string, value: unknown): void {
    for (const { resolve } of [...(this.#waiting.get(name) ?? [])]) resolve(value);
  }

  /** Throws as `#send`. */
  #input(value: StdinChunk): void {
    if (this.#gone) throw this.#gone;
    const channel = this.features.has(CHANNEL_INPUT_FEATURE) ? this.#channel : null;
    this.#inputBy ??= channel ? 'channel' : 'stream';
    if (this.#inputBy === 'channel') this.#channel?.type(value);
    else this.#send({ case: 'stdin', value }, value.data.length);
  }

  /** Throws Failure('agent-gone') when the stream is over. */
  #send(payload: ManagementMessage['payload'], bytes: number): void {
    if (this.#gone) throw this.#gone;
    if (this.#early) this.#early.push(payload);
    else if (this.#stream.write(message(payload))) return;
    this.#unsentBytes += bytes + 64;
    if (this.#unsentBytes <= this.#facts.unsentBytesMax) return;
    const failure = new Failure(
      'over-quota',
      `agent ${this.agent} does not read; ${this.#unsentBytes} bytes wait for it`,
    );
    this.#facts.cut(failure);
    throw failure;
  }

  /** For what the agent will be told again after a reconnect, or what is of no use then. */
  #sendIfThere(payload: ManagementMessage['payload']): void {
    this.#ifThere(() => this.#send(payload, 0));
  }

  #ifThere(send: () => void): void {
    try {
      if (!this.#gone) send();
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
    }
  }
}
