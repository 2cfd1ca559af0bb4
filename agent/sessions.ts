/**
 * The sessions of this agent, and what the server says about them.
 *
 * They live whether there is a link or not: nothing here ends a session but its own process, its timeout, or
 * the server's word. A command whose id is known is not started again.
 */

import { mkdirSync } from 'node:fs';
import { create } from '@bufbuild/protobuf';
import {
  type ActiveSession,
  type CommandRequest,
  type ManagementMessage,
  type SessionReconcile,
  SessionReconcileAckSchema,
  SessionStartedSchema,
  StdinAckSchema,
  type StdinChunk,
  TerminalStateSchema,
} from '../proto/gen/agent_pb.ts';
import type { Log } from './log.ts';
import { type Outlet, type Place, Session } from './session.ts';

/** After a burst of output the next one waits so long, so that a flood travels in large pieces. */
const BATCH_MS = 2;
/**
 * A terminal is looked at so long after it last stirred; the last look catches what changes without a sound.
 */
const LOOKS_MS = [80, 300, 1_000, 3_000];
/** A server that acknowledges has so long to ask for the output of a session that has ended. */
const RESUME_WAIT_MS = 5_000;

export class Sessions {
  readonly #agentId: string;
  readonly #place: Place;
  readonly #log: Log;
  readonly #all = new Map<string, Session>();
  #outlet: Outlet | null = null;
  #isPumping = false;
  #pumpedAt = 0;

  constructor(agentId: string, place: Place, log: Log) {
    this.#agentId = agentId;
    this.#place = place;
    this.#log = log;
    if (place.spoolDiskBytes > 0) mkdirSync(place.spoolDir, { recursive: true, mode: 0o700 });
  }

  /** Sessions whose process runs. */
  get running(): number {
    return [...this.#all.values()].filter(({ hasEnded }) => !hasEnded).length;
  }

  /** The server has accepted us. */
  attach(outlet: Outlet): void {
    this.#outlet = outlet;
    for (const session of this.#all.values()) {
      session.lastState = '';
      if (!outlet.acks) session.flow(0);
    }
    if (outlet.acks) setTimeout(() => this.#sendUnasked(outlet), RESUME_WAIT_MS).unref();
    this.#wake();
  }

  detach(outlet: Outlet): void {
    if (this.#outlet !== outlet) return;
    this.#outlet = null;
    for (const session of this.#all.values()) session.hold();
  }

  /** The outlet can take more. */
  wake(): void {
    this.#wake();
  }

  report(ids: readonly string[]): ActiveSession[] {
    const acks = this.#outlet?.acks ?? false;
    return (
      [...this.#all.values()]
        // What has ended and is not acknowledged is still ours; a server without acknowledgements takes it
        // for alive.
        .filter((session) => (acks || !session.hasEnded) && (ids.length === 0 || ids.includes(session.id)))
        .map((session) => session.report())
    );
  }

  /** True when the message was about sessions. */
  take({ case: what, value }: ManagementMessage['payload']): boolean {
    switch (what) {
      case 'command':
        this.#launch(value);
        return true;
      case 'stdin':
        void this.#type(value);
        return true;
      case 'ptyControl': {
        const session = this.#all.get(value.commandId);
        if (value.action.case === 'resize') session?.resize(value.action.value.cols, value.action.value.rows);
        if (value.action.case === 'signal') session?.signal(value.action.value.signalNumber);
        return true;
      }
      case 'sessionReconcile':
        void this.#reconcile(value);
        return true;
      case 'outputAck': {
        const session = this.#all.get(value.commandId);
        if (value.resume) session?.flow(Number(value.offset));
        else session?.acknowledge(Number(value.offset));
        this.#wake();
        return true;
      }
      case 'resultAck':
        this.#forget(value.commandId);
        return true;
      default:
        return false;
    }
  }

  /** Ends all of them; resolves when they are gone or the grace is over. */
  async endAll(graceMs: number): Promise<void> {
    await Promise.all([...this.#all.values()].map((session) => session.end(graceMs)));
  }

  /** Resolves once every session is acknowledged, or after a while. */
  async settled(withinMs: number): Promise<void> {
    const deadline = Date.now() + withinMs;
    while (this.#all.size > 0 && this.#outlet && Date.now() < deadline) await Bun.sleep(20);
  }

  /** Tells the server how terminals are set, at first and when their output has settled. Call it often. */
  look(): void {
    const outlet = this.#outlet;
    if (!outlet?.acks) return;
    const now = Date.now();
    for (const session of this.#all.values()) {
      const quiet = now - session.stirredAt;
      const isSettling = quiet >= (LOOKS_MS[0] as number) && quiet <= (LOOKS_MS.at(-1) as number) + 500;
      // A server that knows nothing of it yet is told at once, however long it has been quiet.
      if (!isSettling && session.lastState !== '') continue;
      const state = session.terminalState();
      if (!state) continue;
      const { echo, canonical, foreground, reading } = state;
      const told = JSON.stringify(state);
      if (told === session.lastState) continue;
      session.lastState = told;
      const facts = {
        commandId: session.id,
        echo,
        canonical,
        foreground,
        ...(reading === null ? {} : { reading }),
      };
      outlet.send({ case: 'terminalState', value: create(TerminalStateSchema, facts) });
    }
  }

  #launch(request: CommandRequest): void {
    const known = this.#all.get(request.commandId);
    const session = known ?? new Session(request, this.#place, () => this.#stirred(session));
    let error = '';
    if (!known) {
      this.#all.set(session.id, session);
      error = session.launch();
      if (this.#outlet) session.flow(0);
      const { command, allocatePty } = request;
      this.#log(error ? 'warn' : 'info', error ? 'command not started' : 'command started', {
        command_id: session.id,
        command,
        pty: allocatePty,
        pid: session.pid,
        ...(error ? { error } : {}),
      });
    }
    if (this.#outlet?.acks) {
      const startedAtMs = BigInt(session.startedAt);
      const facts = {
        commandId: session.id,
        sessionId: request.sessionId,
        pid: session.pid,
        startedAtMs,
        error,
      };
      this.#outlet.send({ case: 'sessionStarted', value: create(SessionStartedSchema, facts) });
    }
    this.#wake();
  }

  async #type({ commandId, data, eof, key }: StdinChunk): Promise<void> {
    const session = this.#all.get(commandId);
    const outlet = this.#outlet;
    let error = session ? '' : `there is no session ${commandId}`;
    try {
      if (data.length > 0) await session?.type(data, key);
      if (eof) session?.closeInput();
    } catch (thrown) {
      error = thrown instanceof Error ? thrown.message : String(thrown);
    }
    if (error) this.#log('warn', 'input not written', { command_id: commandId, error });
    if (key === undefined || !outlet?.acks || outlet !== this.#outlet) return;
    const value = create(StdinAckSchema, { commandId, key, written: error === '', error });
    outlet.send({ case: 'stdinAck', value });
  }

  async #reconcile(plan: SessionReconcile): Promise<void> {
    const kill = new Set(plan.killSessionIds);
    if (plan.killUnrecognized) {
      for (const id of this.#all.keys()) if (!plan.keepSessionIds.includes(id)) kill.add(id);
    }
    const outlet = this.#outlet;
    const failed: string[] = [];
    const killed: string[] = [];
    await Promise.all(
      [...kill].map(async (id) => {
        const isGone = (await this.#all.get(id)?.end(plan.gracePeriodSeconds * 1_000)) ?? true;
        (isGone ? killed : failed).push(id);
      }),
    );
    if (!outlet || outlet !== this.#outlet) return;
    const kept = [...this.#all.keys()].filter((id) => !kill.has(id));
    const value = create(SessionReconcileAckSchema, {
      agentId: this.#agentId,
      killedSessionIds: killed,
      keptSessionIds: kept,
      failedToKill: failed,
      timestampMs: BigInt(Date.now()),
    });
    outlet.send({ case: 'sessionReconcileAck', value });
  }

  #forget(id: string): void {
    const session = this.#all.get(id);
    if (!session?.hasEnded) return;
    session.forget();
    this.#all.delete(id);
  }

  /** The server did not ask for what is left of them: it does not know them, and is told how they ended. */
  #sendUnasked(outlet: Outlet): void {
    if (this.#outlet !== outlet) return;
    for (const session of this.#all.values()) if (session.hasEnded) session.sendResult(outlet);
  }

  /** The first bytes of a session after its rest go at once; a flood goes in batches. */
  #stirred(session: Session): void {
    const isRested = performance.now() - session.sentAt >= BATCH_MS;
    if (isRested && this.#outlet?.isOpen()) session.pump(this.#outlet);
    if (this.#isPumping) return;
    if (performance.now() - this.#pumpedAt >= BATCH_MS) return this.#pump();
    this.#isPumping = true;
    setTimeout(() => {
      this.#isPumping = false;
      this.#pump();
    }, BATCH_MS);
  }

  #wake(): void {
    if (!this.#isPumping) this.#pump();
  }

  /** Round about all sessions, so that a flood on one does not keep another waiting. */
  #pump(): void {
    const outlet = this.#outlet;
    if (!outlet) return;
    this.#isPumping = true;
    try {
      let waiting = [...this.#all.values()];
      while (waiting.length > 0 && outlet.isOpen())
        waiting = waiting.filter((session) => session.pump(outlet));
    } finally {
      this.#isPumping = false;
      this.#pumpedAt = performance.now();
    }
    if (outlet.acks) return;
    for (const session of [...this.#all.values()])
      if (session.hasEnded && session.isDone) this.#forget(session.id);
  }
}
