/**
 * The house game: the real fleet, machines and wiring over a fake runtime, fake agents on links cranked by
 * hand, simulated time and a journal that is slow, away, and loses what it had not acknowledged. Random steps
 * first, every invariant looked at after each; then all is healed, time passes, and everything must come to
 * its end.
 */
import type { TaskContext } from '../../src/actors/task-ports.ts';
import type { HitlView, InstanceView, SessionView, TaskView } from '../../src/views.ts';
import { type Breaks, type Game, HouseWorld, type Server, type Tell } from './house.ts';
import { invariants, sameLength, sameVerdict, type Verdicts, whole } from './house-invariants.ts';
import { answer, desksOf, moves, prelude, usual } from './moves.ts';

const STEPS = 60;
/**
 * So often everybody does what there is to do before what has not ended is stuck, and so long between: longer
 * and longer, because a task waits a quarter of an hour for its instance.
 */
const ROUNDS_MAX = 300;
const roundMs = (round: number): number => (round < 60 ? 1_000 : 20_000);

export interface PlayOptions {
  readonly breaks?: Breaks;
  readonly trace?: Tell;
}

/**
 * Plays one schedule; what became of its actors, such as `task COMPLETED`. Throws an Error that names the
 * invariant that did not hold, the seed and the steps.
 */
export async function playHouse(
  seed: number,
  { breaks, trace }: PlayOptions = {},
): Promise<readonly string[]> {
  const w = new HouseWorld(seed, breaks, trace ?? null);
  const game: Game = { w, answered: [] };
  const verdicts: Verdicts = new Map();
  const log: string[] = [];
  try {
    await w.boot();
    const names = Object.keys(moves);
    for (let i = 0; i < STEPS; i++) {
      const any = w.pick(6) > 0 ? usual[w.pick(usual.length)] : names[w.pick(names.length)];
      const name = (prelude[i] ?? any) as string;
      log.push(name);
      w.tell('—', name);
      await moves[name]?.(game, w.server as Server);
      // A kill may come in the middle of what a step has set off.
      await w.drain(w.pick(4) === 0 ? w.pick(3) : undefined);
      await check(game, verdicts);
    }
    log.push('heal');
    w.tell('—', 'heal');
    await heal(game, verdicts);
    throwIf(await whole(game));
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new Error(`${why} (house, seed ${seed}: ${log.join(' ')})`, { cause: thrown });
  }
  return endsOf(w.server as Server);
}

function throwIf(wrong: string | null): void {
  if (wrong) throw new Error(wrong);
}

async function check(game: Game, verdicts: Verdicts): Promise<void> {
  const { w } = game;
  throwIf(w.wrong[0] ?? null);
  for (const [name, holds] of Object.entries(invariants)) {
    const wrong = holds(game);
    if (wrong) throw new Error(`${name}: ${wrong}`);
  }
  throwIf(sameVerdict(game, verdicts));
  if (w.journal.knobs.away === null) throwIf(await sameLength(game));
  w.ledger.touched.clear();
}

// ── The end ─────────────────────────────────────────────────────────────────

/** Everything is well, everybody does what there is to do, and time passes. */
async function heal(game: Game, verdicts: Verdicts): Promise<void> {
  const { w } = game;
  w.isCalm = true;
  w.bugs = 0;
  Object.assign(w.journal.knobs, { away: null, beforeWrite: null, beforeAck: null });
  let stuck: string | null = null;
  for (let round = 0; round < ROUNDS_MAX; round++) {
    for (const link of w.links) if (!link.isJoined) link.over('nothing was heard of it');
    for (const agent of w.agents) if (w.linkOf(agent) === null) w.connect(agent);
    await crankAll(game);
    stuck = isStuck(game);
    if (stuck === null && round > 10) break;
    const server = w.server as Server;
    for (const { hitl_id, state } of desksOf(server).questions.list({ state: 'open' }))
      if (state === 'open') answer(game, server, hitl_id);
    mend(server);
    // What asks nobody has done its work.
    for (const agent of w.agents)
      for (const { deed, asking, launch } of agent.running)
        if (asking === null && launch.command === 'work') agent.exit(deed.session, 0);
    await crankAll(game);
    await check(game, verdicts);
    await w.advance(roundMs(round));
  }
  if (stuck) throw new Error(`[S16] all is well, and everything comes to its end: ${stuck}`);
  await check(game, verdicts);
  throwIf(agreed(game));
}

/** Somebody may wait for an instance that does not run. */
function mend(server: Server): void {
  const { instances } = desksOf(server);
  for (const { name, state } of instances.list()) {
    if (state === 'crash-looping') instances.reset(name, 'ada').catch(() => {});
    if (state === 'stopped' || state === 'failed') instances.start(name, 'ada').catch(() => {});
  }
}

async function crankAll({ w }: Game): Promise<void> {
  await w.drain();
  for (let left = 1_000; left > 0; left--) {
    const ready = [...w.links].filter((link) => link.canUp || link.canDown);
    if (ready.length === 0) return;
    for (const link of ready) {
      w.crankUp(link);
      w.crankDown(link);
    }
    await w.drain();
  }
  w.found('[S16] a link never falls silent');
}

const resting = new Set(['running', 'stopped', 'failed', 'crash-looping', 'destroyed']);

/** What has not come to its end or its rest. */
function isStuck({ w }: Game): string | null {
  const { fleet } = w.server as Server;
  for (const { id, state } of fleet.views('task') as TaskView[])
    if (fleet.isLive(`task:${id}`)) return `task:${id} is ${state}`;
  for (const { hitl_id, state } of fleet.views('hitl') as HitlView[])
    if (state === 'open' || state === 'answering') return `hitl:${hitl_id} is ${state}`;
  for (const { name, state } of fleet.views('instance') as InstanceView[])
    if (!resting.has(state)) return `instance:${name} is ${state}`;
  for (const { session_id, state } of fleet.views('session') as SessionView[])
    if (state === 'starting' || state === 'detached') return `session:${session_id} is ${state}`;
  for (const agent of w.agents) {
    const { state } = (fleet.view(`agent:${agent.name}`) ?? {}) as { state?: string };
    if (state !== 'ready' && state !== 'busy') return `agent:${agent.name} is ${state ?? 'not known'}`;
  }
  return null;
}

/** At rest, what the server holds and what is really there are the same. */
function agreed({ w }: Game): string | null {
  const { fleet } = w.server as Server;
  for (const { name, state } of fleet.views('instance') as InstanceView[]) {
    const runs = w.runtimes.running(name) !== null;
    if (state === 'running' && !runs) return `[I2] what runs is started again: ${name} is running and is not`;
    if (state === 'destroyed' && w.runtimes.made.has(name)) continue;
    if (runs && (state === 'stopped' || state === 'crash-looping' || state === 'destroyed'))
      return `[I1] what runs is known: ${name} is ${state} and runs`;
  }
  const live = new Map(
    (fleet.views('session') as SessionView[])
      .filter(({ session_id }) => fleet.isLive(`session:${session_id}`))
      .map((view) => [view.session_id, view]),
  );
  for (const [id, { agent_id, state }] of live) {
    const deed = w.deeds.get(id);
    if (!deed?.isRunning)
      return `[N5] what does not run is over: ${id} of ${agent_id} is ${state} and does not run`;
  }
  for (const { session, agent, isRunning, exitCode, isLost, said } of w.deeds.values()) {
    const view = fleet.view(`session:${session}`) as SessionView | null;
    if (isRunning && !live.has(session)) return `[N4] what runs is known: ${session} runs on ${agent}`;
    if (exitCode === null || isLost || !view) continue;
    if (view.state === 'lost' && /came back without/.test(view.reason ?? ''))
      return `[N2] a session ends by its agent's word: ${session} ended with ${exitCode} and is lost: ${view.reason}`;
    const recorded = w.disk.get(session as never)?.text ?? '';
    if (view.state === 'exited' && recorded !== said)
      return `[N3] every byte is recorded: ${session} said ${said.length} bytes, ${recorded.length} are there`;
  }
  return null;
}

function endsOf({ fleet }: Server): string[] {
  const tasks = fleet.views('task') as TaskView[];
  const context = (id: string) => fleet.context(`task:${id}`) as TaskContext;
  return [
    ...tasks.map(({ id, state }) => `task ${state}${context(id).attempt > 1 ? ', tried again' : ''}`),
    ...(fleet.views('session') as SessionView[]).map(({ state }) => `session ${state}`),
    ...(fleet.views('hitl') as HitlView[]).map(({ state }) => `hitl ${state}`),
    ...(fleet.views('instance') as InstanceView[]).map(({ state }) => `instance ${state}`),
  ];
}
