/**
 * What the wiring shares: the fleet, the links, the data plane, and what is observed beside the actors.
 *
 * Telemetry is not life: heartbeats, metrics and byte counts are kept here, last value wins, and are gone
 * with the process. Everything that must outlive it is an actor's.
 */

import type { AgentContext } from '../actors/agent.ts';
import type { Fleet } from '../actors/fleet.ts';
import type { SessionContext } from '../actors/session.ts';
import type { Tally, TaskContext } from '../actors/task-ports.ts';
import type { AgentLink, HeartbeatFacts, MetricFacts } from '../agent-link.ts';
import { type Clock, sleep } from '../clock.ts';
import type { Config } from '../config.ts';
import { Failure } from '../failure.ts';
import type { AgentId, HitlId, SessionId, TaskId } from '../ids.ts';
import type { Log } from '../log.ts';
import type { Recordings } from '../recordings.ts';
import type { Runtime, RuntimeKind } from '../runtime.ts';
import type { Agentshare } from '../share/store.ts';
import type { AskedOnScreen, Terminals } from '../terminal.ts';
import type { Credentials } from './proofs.ts';

export interface Telemetry {
  heartbeat: HeartbeatFacts | null;
  metrics: MetricFacts | null;
  /** By our clock. */
  seenAt: number;
}

export interface House extends Observed {
  readonly clock: Clock;
  readonly log: Log;
  readonly config: Config;
  readonly fleet: Fleet;
  readonly terminals: Terminals;
  readonly recordings: Recordings;
  readonly runtimes: ReadonlyMap<RuntimeKind, Runtime>;
  /** Null: instances have no storage of their own. */
  readonly share: Agentshare | null;
  readonly credentials: Credentials;
}

/** What is known beside the actors, and gone with the process. */
export interface Observed {
  /** Connected agents. */
  readonly links: Map<AgentId, AgentLink>;
  readonly telemetry: Map<AgentId, Telemetry>;
  /**
   * What each live screen asks now; null: nothing; absent: it has not been judged yet, as after a restart.
   */
  readonly asked: Map<SessionId, AskedOnScreen | null>;
  /** Answers that may not be written down, until they are typed. */
  readonly unwritten: Map<HitlId, string>;
  /** How running tasks get on. */
  readonly tallies: Map<TaskId, Tally>;
  readonly signals: Signals;
}

/** At the start. */
export const nothingObserved = (): Observed => ({
  links: new Map(),
  telemetry: new Map(),
  asked: new Map(),
  unwritten: new Map(),
  tallies: new Map(),
  signals: signals(),
});

/** Facts that several parts wait for. */
export type Fact =
  | `link:${string}`
  | `recorded:${string}`
  | `asked:${string}`
  | `changed:${string}`
  | `ended:${string}`;

export interface Signals {
  tell(fact: Fact): void;
  /** Calls back at every telling. Returns how to stop. */
  on(fact: Fact, listener: () => void): () => void;
}

export function signals(): Signals {
  const listeners = new Map<Fact, Set<() => void>>();
  return {
    tell(fact) {
      for (const listener of [...(listeners.get(fact) ?? [])]) listener();
    },
    on(fact, listener) {
      const mine = listeners.get(fact) ?? new Set();
      listeners.set(fact, mine);
      mine.add(listener);
      return () => {
        mine.delete(listener);
        if (mine.size === 0 && listeners.get(fact) === mine) listeners.delete(fact);
      };
    },
  };
}

export interface Wait<T> {
  readonly fact: Fact;
  /** The value once it is there, null until then. Looked at now and after each telling of the fact. */
  readonly look: () => T | null;
  /** Null: as long as it takes. */
  readonly withinMs: number | null;
  readonly signal?: AbortSignal;
  readonly late: () => Failure;
}

/** Waits for a fact, without polling. */
export async function until<T>(
  { clock, signals }: Pick<House, 'clock' | 'signals'>,
  wait: Wait<T>,
): Promise<T> {
  const now = wait.look();
  if (now !== null) return now;
  const stop = new AbortController();
  const signal = wait.signal ? AbortSignal.any([wait.signal, stop.signal]) : stop.signal;
  return await new Promise<T>((resolve, reject) => {
    const off = signals.on(wait.fact, () => {
      try {
        const value = wait.look();
        if (value === null) return;
        resolve(value);
      } catch (thrown) {
        reject(thrown);
      }
      stop.abort();
    });
    const give = () => {
      off();
      if (wait.signal?.aborted) reject(wait.signal.reason);
    };
    signal.addEventListener('abort', give, { once: true });
    if (signal.aborted) return give();
    if (wait.withinMs === null) return;
    sleep(clock, wait.withinMs, signal).then(
      () => {
        stop.abort();
        reject(wait.late());
      },
      () => {},
    );
  });
}

/** The link of an agent, waited for a while: after a restart agents take a moment to come back. */
export function linkOf(
  house: House,
  agent: AgentId,
  { withinMs, signal }: { withinMs: number; signal?: AbortSignal },
) {
  return until(house, {
    fact: `link:${agent}`,
    look: () => house.links.get(agent) ?? null,
    withinMs,
    late: () => new Failure('agent-gone', `agent ${agent} is not connected`),
    ...(signal ? { signal } : {}),
  });
}

/** A link that was lost may be listed for a moment yet. */
const RELINK_MS = 50;

/**
 * Does something over an agent's link, and again over its next one when that is lost meanwhile: for what has
 * a name by which the agent knows that it was done. Throws Failure('agent-gone') when none comes in time.
 */
export async function overLink<T>(
  house: House,
  to: { readonly agent: AgentId; readonly withinMs: number; readonly signal: AbortSignal },
  work: (link: AgentLink) => Promise<T>,
): Promise<T> {
  const { clock } = house;
  const { agent, signal } = to;
  for (const deadline = clock.now() + to.withinMs; ; ) {
    const link = await linkOf(house, agent, { withinMs: Math.max(0, deadline - clock.now()), signal });
    try {
      return await work(link);
    } catch (thrown) {
      const isGone = thrown instanceof Failure && thrown.code === 'agent-gone';
      if (!isGone || signal.aborted || clock.now() >= deadline) throw thrown;
      await sleep(clock, RELINK_MS, signal);
    }
  }
}

export const sessionOf = ({ fleet }: House, id: string) =>
  fleet.context(`session:${id}`) as SessionContext | null;
export const taskOf = ({ fleet }: House, id: string) => fleet.context(`task:${id}`) as TaskContext | null;
export const agentOf = ({ fleet }: House, id: string) => fleet.context(`agent:${id}`) as AgentContext | null;

/** Live sessions of an agent, oldest first. */
export function sessionsOf(house: House, agent: string): SessionContext[] {
  return house.fleet
    .children(`agent:${agent}`)
    .flatMap(({ id }) => (house.fleet.context(id) as SessionContext | null) ?? []);
}

/** The state a session actor is in: `starting`, `live`, `detached`, … */
export function stateOf(house: House, actor: string): string | null {
  return (house.fleet.view(actor) as { state?: string } | null)?.state ?? null;
}
