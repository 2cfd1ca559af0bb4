/** Effects of the house game: those that are played, and what is looked at whenever one runs. */
import type { Effect, Kinds } from '../../src/actors/kinds.ts';
import { type EffectScope, listening, type Told } from '../../src/actors/port.ts';
import { noTally, type Run } from '../../src/actors/task-ports.ts';
import { type Clock, sleep } from '../../src/clock.ts';
import { Failure } from '../../src/failure.ts';
import type { AgentId, SessionId, TaskId } from '../../src/ids.ts';
import type { ActorKind } from '../../src/journal.ts';
import type { House } from '../../src/wiring/house.ts';
import { endSession } from '../../src/wiring/sessions.ts';
import type { Ledger } from './ledger.ts';

interface World {
  readonly ledger: Ledger;
  readonly pick: (below: number) => number;
  readonly chance: (oneIn: number) => boolean;
  bugs: number;
  next(prefix: string): string;
  found(wrong: string): void;
}

/** A server whose effects are looked at. */
export interface Watched {
  readonly world: World;
  readonly house: House;
  readonly clock: Clock;
  readonly opened: Set<string>;
  readonly given: Map<string, number>;
}

/** What a tool needs of disk and git is played; what a task needs of agents and instances is real. */
export function taskEffects(server: Watched, wired: Kinds): Readonly<Record<string, Effect>> {
  const { world, house, clock } = server;
  const takes = async ({ signal }: EffectScope) => {
    const ms = world.pick(3) > 0 ? 0 : world.pick(600);
    if (ms > 0) await sleep(clock, ms, signal);
  };
  const effects = {
    async stage(_: unknown, scope: EffectScope) {
      await takes(scope);
      if (world.chance(15)) throw new Failure('staging-failed', 'the remote hung up');
      return { workDir: '/work', baseCommit: null };
    },
    async prepare(input: { task: TaskId; attempt: number; place: { agent: AgentId } }, scope: EffectScope) {
      await takes(scope);
      return toRun(world, input, clock.now());
    },
    follow: () => listening,
    async collect({ run, exitCode, failure }: { run: Run; exitCode: number | null; failure: unknown }) {
      await endSession(house, run.session.id, { graceMs: 1_000, reason: 'its task is over' });
      const isWell = failure === null && exitCode === 0;
      const why = isWell ? null : { code: 'runtime-failed', message: `exit code ${exitCode}` };
      return { failure: why, exitCode, summary: null, tally: noTally };
    },
  };
  return { ...wired.task.effects, ...(effects as unknown as Readonly<Record<string, Effect>>) };
}

type Placed = {
  readonly task: TaskId;
  readonly attempt: number;
  readonly place: { readonly agent: AgentId };
};

function toRun(world: World, { task, attempt, place }: Placed, createdAt: number): Run {
  const isHeadless = Number(task.slice(1)) % 3 === 0;
  return {
    session: {
      id: world.next('s') as SessionId,
      agent: place.agent,
      task,
      name: `task-${task}-${attempt}`,
      type: isHeadless ? 'headless' : 'interactive',
      command: 'work',
      args: [],
      workingDir: '/work',
      env: {},
      cols: 80,
      rows: 24,
      timeoutSeconds: 0,
      stdin: isHeadless ? 'closed' : 'open',
      createdAt,
    },
    launch: { follow: {}, stdin: isHeadless ? 'go' : null },
  };
}

type Runs = (input: unknown, scope: EffectScope & { send?(event: Told): void }) => unknown;

/** Looks on at every effect: whether it may run, and what it gives while its port is open. */
export function watched(server: Watched, kinds: Kinds): Kinds {
  const { world, given, opened } = server;
  const give = (actor: string, type: string) =>
    void given.set(`${actor} ${type}`, (given.get(`${actor} ${type}`) ?? 0) + 1);
  const look = (port: string, effect: Runs): Runs => {
    return (input, scope) => {
      const { actor, signal } = scope;
      opened.add(`${actor} ${port}`);
      if (!isDurable(world, actor, port)) world.found(`[S2] ${port} of ${actor} runs and is not durable`);
      const send = (event: Told) => {
        if (!signal.aborted) give(actor, event.type);
        scope.send?.(event);
      };
      if (world.bugs > 0 && port !== 'alarm' && port !== 'follow' && port !== 'watch') {
        world.bugs -= 1;
        throw new TypeError('a bug');
      }
      const outcome = effect(input, { ...scope, send });
      if (!(outcome instanceof Promise)) return outcome;
      return outcome.then(
        (output) => {
          if (!signal.aborted) give(actor, `xstate.done.actor.${port}`);
          return output;
        },
        (thrown) => {
          if (!signal.aborted) give(actor, `xstate.error.actor.${port}`);
          throw thrown;
        },
      );
    };
  };
  const all = Object.entries(kinds).map(([kind, logic]) => {
    const effects = Object.entries(logic.effects).map(([port, effect]) => [port, look(port, effect as Runs)]);
    return [kind, { ...logic, effects: Object.fromEntries(effects) }];
  });
  return Object.fromEntries(all) as Record<ActorKind, Kinds[ActorKind]>;
}

function isDurable({ ledger }: World, actor: string, port: string): boolean {
  const snapshot = ledger.of(actor)?.record?.snapshot as
    | { ports: Record<string, { src: string }> }
    | undefined;
  return snapshot !== undefined && Object.values(snapshot.ports).some(({ src }) => src === port);
}
