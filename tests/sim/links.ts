/**
 * Links cranked by hand: what either side says waits until the game delivers it, so that a link can be cut in
 * the middle of a call. The server's half behaves as src/transport does: one thing at a time and in order,
 * the loss told once and last, a newer link supersedes the older one.
 */
import type { AgentLink, AgentListener, Launch, ReconcilePlan, Typing } from '../../src/agent-link.ts';
import { Failure } from '../../src/failure.ts';
import type { AgentId, SessionId } from '../../src/ids.ts';
import type { FakeAgent, Outlet, Said, Told } from './agents.ts';
import type { Owner } from './time.ts';

/** The server that a link leads to. */
export interface House extends Owner {
  readonly listener: AgentListener;
  /** Links that this server holds for open, by agent. */
  readonly open: Map<string, HandLink>;
}

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (why: Failure) => void;
}

/** What is looked at when an agent's report was taken. */
export type OnReported = (link: HandLink, sessions: readonly SessionId[]) => void;

export class HandLink implements AgentLink, Outlet {
  readonly agent: AgentId;
  readonly instanceId: string;
  readonly features: ReadonlySet<string> = new Set(['offsets', 'started', 'stdin-acks', 'terminal-state']);
  readonly proven = { kind: 'secret' } as const;
  readonly peer: FakeAgent;
  readonly house: House;
  /** On their way. */
  readonly up: Said[] = [];
  readonly down: Told[] = [];
  /** The agent's half is open. */
  isJoined = true;
  /** The server has taken its end. */
  isGone = false;
  /** It takes something that must be durable before the next. */
  isBusy = false;
  #turn: Promise<void> | null = null;
  #early: Told[] | null = [];
  readonly #waiting = new Map<string, Set<Waiting>>();
  readonly #onReported: OnReported;

  constructor(peer: FakeAgent, house: House, onReported: OnReported) {
    this.peer = peer;
    this.house = house;
    this.agent = peer.name as AgentId;
    this.instanceId = '';
    this.#onReported = onReported;
    const older = house.open.get(peer.name);
    house.open.set(peer.name, this);
    older?.over('superseded by a newer connection');
    const registration = {
      agent: this.agent,
      instanceId: '',
      hostname: 'box',
      ipAddress: '',
      profile: '',
      loadout: '',
      labels: {},
      system: null,
      frameworks: [],
    };
    this.#inTurn(async () => {
      await house.listener.connected(this, registration);
      if (!this.isGone) this.#welcome();
    });
  }

  // ── Delivery ──────────────────────────────────────────────────────────────

  get canUp(): boolean {
    return this.house.isAlive && !this.isGone && !this.isBusy && this.up.length > 0;
  }

  get canDown(): boolean {
    return this.isJoined && this.down.length > 0;
  }

  /** The server takes the next thing that the agent said. */
  crankUp(): Said | null {
    if (!this.canUp) return null;
    const said = this.up.shift() as Said;
    this.#hear(said);
    return said;
  }

  /** The agent takes the next thing that the server said. */
  crankDown(): Told | null {
    if (!this.canDown) return null;
    const told = this.down.shift() as Told;
    this.peer.take(told, this);
    return told;
  }

  /** Both halves fall apart; the server may learn of it later, by `over`. */
  cut(): void {
    this.isJoined = false;
    this.up.length = 0;
    this.down.length = 0;
    this.peer.detach(this);
  }

  /** The server learns that the link is over: whoever waits is told, then the house. */
  over(reason: string): void {
    if (this.isGone) return;
    this.cut();
    this.isGone = true;
    const gone = new Failure('agent-gone', `the link to agent ${this.agent} was lost: ${reason}`);
    for (const waiters of this.#waiting.values()) for (const { reject } of waiters) reject(gone);
    this.#waiting.clear();
    if (this.house.open.get(this.agent) === this) this.house.open.delete(this.agent);
    const tell = () => {
      if (this.house.isAlive) this.house.listener.lost(this, reason);
    };
    if (this.#turn === null) tell();
    else this.#turn.then(tell, tell);
  }

  // ── Outlet: the agent speaks ──────────────────────────────────────────────

  say(said: Said): void {
    if (this.isJoined) this.up.push(said);
  }

  #hear(said: Said): void {
    const { listener } = this.house;
    switch (said.say) {
      case 'report': {
        const ids = said.sessions.map(({ session }) => session);
        return this.#inTurn(async () => {
          await listener.reported(this, said.sessions);
          if (this.house.isAlive) this.#onReported(this, ids);
        });
      }
      case 'output': {
        const { session, offset, text } = said;
        return listener.output(this, session, { stream: 'stdout', bytes: Buffer.from(text), offset });
      }
      case 'result': {
        const { session, exitCode, bytes } = said;
        const result = { session, exitCode, error: '', durationMs: 1, outputBytes: bytes };
        listener.result(this, result).catch((thrown) => this.#fail(thrown));
        return;
      }
      case 'started':
        return this.#settle(`start:${said.session}`, said.error && new Failure('runtime-failed', said.error));
      case 'typed': {
        const name = `type:${said.session}:${said.key}`;
        return this.#settle(name, said.error && new Failure('undeliverable', said.error));
      }
      case 'ended':
        return this.#settle(`end:${said.killed.join()}`, '');
    }
  }

  #inTurn(work: () => Promise<void>): void {
    this.isBusy = true;
    this.#turn = work().then(
      () => {
        this.#turn = null;
        this.isBusy = false;
      },
      (thrown) => {
        this.#turn = null;
        this.#fail(thrown);
      },
    );
  }

  /** What cannot be taken ends the stream; a bug is told to nobody but the game. */
  #fail(thrown: unknown): void {
    if (!this.house.isAlive) return;
    if (!(thrown instanceof Failure)) throw thrown;
    this.over(thrown.message);
  }

  // ── AgentLink: the server speaks ──────────────────────────────────────────

  launch(launch: Launch, signal: AbortSignal): Promise<void> {
    return this.#call(`start:${launch.session}`, { tell: 'launch', launch }, signal);
  }

  type(session: SessionId, bytes: Uint8Array, { key, signal }: Typing): Promise<void> {
    const told = { tell: 'type', session, text: Buffer.from(bytes).toString(), key } as const;
    if (key !== null) return this.#call(`type:${session}:${key}`, told, signal);
    return this.isGone ? Promise.reject(this.#lost()) : Promise.resolve(this.#send(told));
  }

  reconcile({ kill }: ReconcilePlan): Promise<{ killed: SessionId[]; kept: []; failed: [] }> {
    const told = { tell: 'end', sessions: kill } as const;
    return this.#call(`end:${kill.join()}`, told).then(() => ({ killed: [...kill], kept: [], failed: [] }));
  }

  closeStdin(session: SessionId): void {
    this.#send({ tell: 'eof', session });
  }

  ackOutput(session: SessionId, offset: number, resume: boolean): void {
    this.#send({ tell: 'ack', session, offset, resume });
  }

  ackResult(session: SessionId): void {
    this.#send({ tell: 'forget', session });
  }

  resize(): void {}
  signal(): void {}
  shutdown(): void {}

  /** What the house said before the agent was welcomed follows. */
  #welcome(): void {
    const early = this.#early ?? [];
    this.#early = null;
    for (const told of [{ tell: 'welcome' } as const, ...early]) this.#send(told);
  }

  #lost = () => new Failure('agent-gone', `the link to agent ${this.agent} was lost`);

  #send(told: Told): void {
    if (this.isJoined && !this.isGone && this.house.isAlive) (this.#early ?? this.down).push(told);
  }

  async #call(name: string, told: Told, signal?: AbortSignal): Promise<void> {
    if (this.isGone) throw this.#lost();
    signal?.throwIfAborted();
    this.#send(told);
    const waiters = this.#waiting.get(name) ?? new Set();
    this.#waiting.set(name, waiters);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting = { resolve, reject };
    waiters.add(waiting);
    const give = () => reject(signal?.reason);
    signal?.addEventListener('abort', give, { once: true });
    try {
      await promise;
    } finally {
      signal?.removeEventListener('abort', give);
      waiters.delete(waiting);
    }
  }

  #settle(name: string, failure: Failure | ''): void {
    for (const { resolve, reject } of [...(this.#waiting.get(name) ?? [])]) {
      if (failure) reject(failure);
      else resolve();
    }
  }
}
