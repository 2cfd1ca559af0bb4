/** A fleet over a memory journal and a hand-cranked clock, whose effects tests answer. */
import { SimulatedClock } from 'xstate';
import { agentMachine, agentView } from '../../src/actors/agent.ts';
import { alarm } from '../../src/actors/alarm.ts';
import { type Fleet, fleet } from '../../src/actors/fleet.ts';
import { hitlMachine, hitlView } from '../../src/actors/hitl.ts';
import { instanceMachine } from '../../src/actors/instance.ts';
import { instanceView } from '../../src/actors/instance-view.ts';
import type { Effect, Kind, Kinds } from '../../src/actors/kinds.ts';
import type { EffectScope } from '../../src/actors/port.ts';
import { listening } from '../../src/actors/port.ts';
import { sessionMachine, sessionView } from '../../src/actors/session.ts';
import { taskMachine } from '../../src/actors/task.ts';
import { taskView } from '../../src/actors/task-view.ts';
import { type Fate, type MemoryJournal, memoryJournal } from '../../src/journal/memory.ts';
import { silentLog } from '../../src/log.ts';

/** An effect that was asked for and waits for the test to say how it went. */
export interface Asked {
  readonly actor: string;
  readonly port: string;
  readonly input: unknown;
  readonly signal: AbortSignal;
  done(output?: unknown): Promise<void>;
  fail(thrown: unknown): Promise<void>;
}

export interface World {
  readonly fleet: Fleet;
  readonly journal: MemoryJournal;
  readonly clock: SimulatedClock;
  /** Effects that run now. */
  readonly asked: Asked[];
  readonly fatal: unknown[];
  /** Lets everything that is due happen. */
  settle(): Promise<void>;
  /** Ends this server as a kill would and starts the next on what the journal has. */
  crash(unacknowledged?: Fate): Promise<World>;
}

export const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

const promised: Readonly<Record<keyof Kinds, readonly string[]>> = {
  instance: ['create', 'start', 'stop', 'destroy'],
  agent: [],
  session: ['launch', 'end'],
  task: ['stage', 'acquire', 'prepare', 'collect', 'windUp'],
  hitl: ['deliver'],
};

const called: Readonly<Record<keyof Kinds, readonly string[]>> = {
  instance: ['watch'],
  agent: [],
  session: [],
  task: ['follow'],
  hitl: [],
};

export function world(journal = memoryJournal(), clock = new SimulatedClock()): World {
  const asked: Asked[] = [];
  const fatal: unknown[] = [];
  const settle = async () => {
    for (let i = 0; i < 8; i++) await turn();
  };
  const asks =
    (port: string) =>
    (input: unknown, { actor, signal }: EffectScope) =>
      new Promise<unknown>((resolve, reject) => {
        const drop = () => void asked.splice(asked.indexOf(mine) >>> 0, 1);
        const mine: Asked = {
          actor,
          port,
          input,
          signal,
          done: (output) => {
            drop();
            resolve(output);
            return settle();
          },
          fail: (thrown) => {
            drop();
            reject(thrown);
            return settle();
          },
        };
        asked.push(mine);
        signal.addEventListener('abort', () => asked.includes(mine) && drop(), { once: true });
      });
  const kind = (name: keyof Kinds, machine: unknown, view: unknown): Kind => ({
    machine: machine as Kind['machine'],
    migrations: [],
    version: 1,
    view: view as Kind['view'],
    effects: {
      alarm: alarm(clock) as Effect,
      ...Object.fromEntries(promised[name].map((port) => [port, asks(port) as Effect])),
      ...Object.fromEntries(called[name].map((port) => [port, (() => listening) as Effect])),
    },
  });
  const kinds: Kinds = {
    instance: kind('instance', instanceMachine, instanceView),
    agent: kind('agent', agentMachine, agentView),
    session: kind('session', sessionMachine, sessionView),
    task: kind('task', taskMachine, taskView),
    hitl: kind('hitl', hitlMachine, hitlView),
  };
  const root = fleet({
    clock,
    journal,
    kinds,
    log: silentLog,
    defer: setImmediate,
    fatal: (thrown) => fatal.push(thrown),
  });
  return {
    fleet: root,
    journal,
    clock,
    asked,
    fatal,
    settle,
    async crash(unacknowledged: Fate = 'lost') {
      const next = world(journal.crash(unacknowledged), clock);
      await next.fleet.restore();
      await next.settle();
      return next;
    },
  };
}

/** What the world was told of every machine, for tests that fold. */
export const machines = {
  instance: instanceMachine,
  agent: agentMachine,
  session: sessionMachine,
  task: taskMachine,
  hitl: hitlMachine,
} as const;
