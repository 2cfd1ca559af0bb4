/**
 * A seeded world: tasks run, screens ask, people answer and cancel, effects succeed, fail and die of bugs,
 * the clock jumps, the journal goes away, and the server is killed with or without its last batch.
 * Goal: the invariants below hold whatever the order. A failure prints its seed; pin it below with a line
 * saying what it was. Method: one random step at a time, everything checked after each.
 */
import { expect, test } from 'bun:test';
import type { ChildSpec, Told } from '../../src/actors/port.ts';
import { fold, remember } from '../../src/actors/step.ts';
import { Failure } from '../../src/failure.ts';
import type { ActorKind } from '../../src/journal.ts';
import {
  collected,
  handle,
  hitlInput,
  place,
  sessionInput,
  staged,
  taskInput,
  run as toRun,
} from '../actors/inputs.ts';
import { machines, turn, type World, world } from '../actors/world.ts';
import { random } from './random.ts';

/** Seeds that once failed. */
const pinned: readonly number[] = [];
const SEEDS = 300;
const STEPS = 40;

const child = (kind: ActorKind, id: string, input: object, parent: string | null): ChildSpec => ({
  id: `${kind}:${id}`,
  kind,
  input,
  restart: 'on-failure',
  graceMs: 1_000,
  parent,
});

interface Play {
  w: World;
  readonly pick: (below: number) => number;
  readonly log: string[];
  /** What callers were promised: actor and event. */
  readonly promised: { actor: string; type: string }[];
  made: number;
}

const outcomes: Readonly<Record<string, (n: number) => unknown>> = {
  stage: () => staged,
  acquire: () => place,
  prepare: (n) => ({ ...toRun, session: { ...sessionInput, id: `s${n}`, task: `t${n}` } }),
  collect: () => collected,
  create: () => handle,
  start: () => handle,
};

const live = (play: Play, kind: ActorKind) =>
  play.w.fleet
    .specs()
    .filter((s) => s.kind === kind && s.live)
    .map(({ id }) => id);
const one = <T>(play: Play, from: readonly T[]): T | undefined => from[play.pick(Math.max(1, from.length))];

/** Sends as a door does: what resolves is a promise that must hold for ever. */
function command(play: Play, actor: string | undefined, event: Told & object) {
  if (!actor) return;
  const { promised } = play;
  play.w.fleet.send(actor, event).then(
    (changed) => {
      if (changed) promised.push({ actor, type: event.type });
    },
    () => {},
  );
}

const moves: Readonly<Record<string, (play: Play) => void | Promise<void>>> = {
  submit(play) {
    const n = ++play.made;
    const { fleet, clock } = play.w;
    const spec = child('task', `t${n}`, { ...taskInput, id: `t${n}`, createdAt: clock.now() }, null);
    fleet.start(spec, clock.now()).then(
      () => play.promised.push({ actor: spec.id, type: 'born' }),
      () => {},
    );
  },
  ask(play) {
    const session = one(play, live(play, 'session'));
    const context =
      session && (play.w.fleet.context(session) as { id: string; task: string; hitl: string | null });
    if (!context || context.hitl) return;
    const n = ++play.made;
    const now = play.w.clock.now();
    const input = {
      ...hitlInput,
      id: `h${n}`,
      session: context.id,
      task: context.task,
      askedAt: now,
      expiresAt: now + 5_000,
    };
    play.w.fleet.start(child('hitl', `h${n}`, input, session), now).catch(() => {});
  },
  answer(play) {
    const at = play.w.clock.now();
    const answer = { text: null, option: '1', by: 'ada', at };
    command(play, one(play, live(play, 'hitl')), { type: 'answer', at, answer } as Told);
  },
  cancel(play) {
    command(play, one(play, live(play, 'task')), {
      type: 'cancel',
      at: play.w.clock.now(),
      reason: 'x',
    } as Told);
  },
  exit(play) {
    const session = one(play, live(play, 'session'));
    if (session)
      play.w.fleet.note(session, {
        type: 'session.exited',
        at: play.w.clock.now(),
        exitCode: 0,
        error: '',
      } as Told);
  },
  link(play) {
    const type = play.pick(2) === 0 ? 'link.lost' : 'link.up';
    for (const session of live(play, 'session')) play.w.fleet.note(session, { type, at: play.w.clock.now() });
  },
  done(play) {
    const asked = one(play, play.w.asked);
    return asked?.done(outcomes[asked.port]?.(Number(asked.actor.replace(/\D/g, ''))));
  },
  fail(play) {
    return one(play, play.w.asked)?.fail(new Failure('runtime-failed', 'bad luck'));
  },
  bug(play) {
    return play.pick(4) === 0 ? one(play, play.w.asked)?.fail(new TypeError('a bug')) : undefined;
  },
  wait(play) {
    play.w.clock.increment(play.pick(2_000));
  },
  settle: (play) => play.w.settle(),
  away(play) {
    play.w.journal.knobs.away = play.w.journal.knobs.away ? null : 'unplugged';
  },
  async kill(play) {
    play.w = await play.w.crash(play.pick(2) === 0 ? 'kept' : 'lost');
  },
};

async function checkInvariants({ w, promised }: Play): Promise<void> {
  const { journal, fleet } = w;
  for (const { actor, type } of promised) {
    const entries = await journal.history(actor, 1, 1_000);
    if (!entries.some(({ event }) => event.type === type))
      throw new Error(`promised ${type} of ${actor} is gone`);
  }
  for (const { id, kind, live } of fleet.specs()) {
    const entries = await journal.history(id, 1, 1_000);
    if (entries.some(({ seq }, i) => seq !== i + 1)) throw new Error(`${id} has a hole in its log`);
    const kept = await journal.record(id);
    if (kept && JSON.stringify(kept.snapshot) !== JSON.stringify(remember(fold(machines[kind], entries)))) {
      throw new Error(`${id} is not what its log folds to`);
    }
    if (kind !== 'hitl' || !live) continue;
    const { session, id: mine } = fleet.context(id) as { session: string; id: string };
    const holder = fleet.context(`session:${session}`) as { hitl: string | null } | null;
    if (holder?.hitl !== mine) throw new Error(`${id} is open and its session does not know it`);
  }
}

async function play(seed: number): Promise<readonly string[]> {
  const game: Play = { w: world(), pick: random(seed), log: [], promised: [], made: 0 };
  const names = Object.keys(moves);
  try {
    for (let i = 0; i < STEPS; i++) {
      // Work goes on most of the time; catastrophes are for spice.
      const name =
        game.pick(3) > 0
          ? ['submit', 'done', 'done', 'ask', 'answer', 'settle', 'wait'][game.pick(7)]
          : names[game.pick(names.length)];
      game.log.push(name as string);
      await moves[name as string]?.(game);
      await turn();
      if (!game.w.journal.knobs.away) await checkInvariants(game);
    }
    game.w.journal.knobs.away = null;
    game.w.clock.increment(1_000);
    await game.w.settle();
    await checkInvariants(game);
    if (game.w.fatal.length > 0) throw new Error(`fatal: ${game.w.fatal[0]}`);
  } catch (thrown) {
    throw new Error(`seed ${seed}: ${game.log.join(' ')}`, { cause: thrown });
  }
  return game.w.fleet.specs().map(({ id, live }) => `${id.split(':')[0]} ${live ? 'live' : 'ended'}`);
}

test('[S12] whatever the order, what was promised is there and every actor is what its log folds to', async () => {
  const ends = new Map<string, number>();
  for (const seed of [...pinned, ...Array.from({ length: SEEDS }, (_, i) => i + 1)]) {
    for (const end of await play(seed)) ends.set(end, (ends.get(end) ?? 0) + 1);
  }
  // The world must be rich enough for the checks to mean something.
  for (const end of ['task live', 'task ended', 'session live', 'session ended', 'hitl live', 'hitl ended']) {
    expect(ends.get(end) ?? 0).toBeGreaterThan(10);
  }
}, 30_000);
