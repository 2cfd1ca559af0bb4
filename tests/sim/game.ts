/**
 * A seeded world: tasks run, screens ask, people answer and cancel, effects succeed, fail and die of bugs,
 * the clock jumps, the journal goes away, and the server is killed with or without its last batch. One random
 * step at a time, every invariant looked at after each.
 */
import type { ChildSpec, Told } from '../../src/actors/port.ts';
import { Failure } from '../../src/failure.ts';
import type { MemoryJournal } from '../../src/journal/memory.ts';
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
import { turn, type World, world } from '../actors/world.ts';
import { invariants } from './invariants.ts';
import { random } from './random.ts';

const STEPS = 40;

const child = (kind: ActorKind, id: string, input: object, parent: string | null): ChildSpec => ({
  id: `${kind}:${id}`,
  kind,
  input,
  restart: 'on-failure',
  graceMs: 1_000,
  parent,
});

export interface Play {
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

export interface PlayOptions {
  readonly journal?: MemoryJournal | undefined;
  readonly trace?: Trace | undefined;
}

type Trace = (at: number, actor: string, event: string, state: string) => void;

/** Plays one schedule. Throws an Error that names the seed, the steps and the invariant that did not hold. */
export async function play(seed: number, { journal, trace }: PlayOptions = {}): Promise<readonly string[]> {
  const game: Play = { w: world(journal), pick: random(seed), log: [], promised: [], made: 0 };
  const names = Object.keys(moves);
  let seen = 0;
  let kept = 0;
  /** Everything after a kill and at the end; else what has happened since the last look. */
  const check = async (isWhole: boolean) => {
    const { w, promised } = game;
    const touched = new Set((await w.journal.feed(isWhole ? 0 : seen, 1_000)).map(({ actor }) => actor));
    const changed = w.fleet.specs().filter(({ id }) => isWhole || touched.has(id));
    const looked = { w, isWhole, promised: isWhole ? promised : promised.slice(kept), changed };
    for (const [name, holds] of Object.entries(invariants)) {
      const wrong = await holds(looked);
      if (wrong) throw new Error(`${name}: ${wrong}`);
    }
    seen = await w.journal.cursor();
    kept = promised.length;
  };
  const tell = (w: World) =>
    trace &&
    w.fleet.watch(({ entry, view }) =>
      trace(w.clock.now(), entry.actor, entry.event.type, (view as { state?: string } | null)?.state ?? ''),
    );
  try {
    tell(game.w);
    for (let i = 0; i < STEPS; i++) {
      // Work goes on most of the time; catastrophes are for spice.
      const name =
        game.pick(3) > 0
          ? ['submit', 'done', 'done', 'ask', 'answer', 'settle', 'wait'][game.pick(7)]
          : names[game.pick(names.length)];
      game.log.push(name as string);
      trace?.(game.w.clock.now(), '—', name as string, '');
      const { w } = game;
      await moves[name as string]?.(game);
      if (game.w !== w) tell(game.w);
      await turn();
      if (!game.w.journal.knobs.away) await check(name === 'kill');
    }
    game.w.journal.knobs.away = null;
    game.w.clock.increment(1_000);
    await game.w.settle();
    await check(true);
    if (game.w.fatal.length > 0) throw new Error(`fatal: ${game.w.fatal[0]}`);
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new Error(`${why} (seed ${seed}: ${game.log.join(' ')})`, { cause: thrown });
  }
  return game.w.fleet.specs().map(({ id, live }) => `${id.split(':')[0]} ${live ? 'live' : 'ended'}`);
}
