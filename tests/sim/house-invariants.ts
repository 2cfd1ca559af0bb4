/** What must hold after every step of the house game, with the rule of SPEC.md that it is of. */

import { isDeepStrictEqual } from 'node:util';
import type { AgentContext } from '../../src/actors/agent.ts';
import type { HitlContext } from '../../src/actors/hitl.ts';
import { machines } from '../../src/actors/machines.ts';
import type { SessionContext } from '../../src/actors/session.ts';
import { fold, remember } from '../../src/actors/step.ts';
import type { TaskContext } from '../../src/actors/task-ports.ts';
import type { ActorKind, ActorRecord } from '../../src/journal.ts';
import type { Game, HouseWorld } from './house.ts';
import { everything, type Life } from './ledger.ts';

type Wrong = string | null;

interface Kept<C> {
  readonly value: string | Readonly<Record<string, unknown>>;
  readonly context: C;
}

const kept = <C>(record: ActorRecord): Kept<C> => record.snapshot as Kept<C>;
const stateOf = (record: ActorRecord): string => {
  const { value } = kept(record);
  return typeof value === 'string' ? value : (Object.keys(value)[0] ?? '');
};

function* of(w: HouseWorld, kind: ActorKind): Generator<ActorRecord & { life: Life }> {
  for (const life of w.ledger.lives.values()) if (life.record?.kind === kind) yield { ...life.record, life };
}

const record = (w: HouseWorld, actor: string): ActorRecord | null => w.ledger.of(actor)?.record ?? null;

/** Verdicts that were durable, by task and attempt. */
export type Verdicts = Map<string, string>;

/** Everything is as it is durable: nothing waits to be written. */
const isAtRest = ({ ledger, defers, server }: HouseWorld): boolean =>
  ledger.pending === 0 && defers.length === 0 && server?.fleet.away() === null;

export const invariants: Readonly<Record<string, (game: Game) => Wrong>> = {
  '[H1] an open question is known to its session, and to a task that runs'({ w }) {
    for (const { actor, live, snapshot } of of(w, 'hitl')) {
      const { id, session, task } = (snapshot as Kept<HitlContext>).context;
      const holder = record(w, `session:${session}`);
      const isKnown = holder !== null && kept<SessionContext>(holder).context.hitl === id;
      if (live && !isKnown) return `${actor} is open and its session does not know it`;
      if (!live && isKnown && holder?.live) return `${actor} is over and its session holds it for open`;
      const work = task && record(w, `task:${task}`);
      if (!live || !work || stateOf(work) !== 'running') continue;
      if (kept<TaskContext>(work).context.hitl !== id)
        return `${actor} is open and its task does not know it`;
    }
    return null;
  },

  '[H2] the first answer stands'({ w, answered }) {
    const first = new Map<string, string>();
    for (const { hitl, by } of answered) {
      const other = first.get(hitl);
      if (other) return `hitl:${hitl} took the answers of ${other} and ${by}`;
      first.set(hitl, by);
      const life = record(w, `hitl:${hitl}`);
      if (!life) return `hitl:${hitl} is gone, and with it the answer of ${by}`;
      const stands = kept<HitlContext>(life).context.answer?.by;
      if (stands !== by) return `hitl:${hitl} has the answer of ${stands}, and ${by} was promised`;
    }
    return null;
  },

  '[H3] an answer is typed at most once for its question'({ w }) {
    const wanted = new Map<string, number>();
    for (const { snapshot } of of(w, 'hitl')) {
      const { session, options, answer } = (snapshot as Kept<HitlContext>).context;
      const keys = options.find(({ id }) => id === answer?.option)?.keys;
      if (keys) wanted.set(`${session} ${keys}`, (wanted.get(`${session} ${keys}`) ?? 0) + 1);
    }
    for (const { session, typed } of w.deeds.values()) {
      for (const keys of new Set(typed)) {
        const times = typed.filter((one) => one === keys).length;
        const most = keys === 'go' ? 1 : (wanted.get(`${session} ${keys}`) ?? 0);
        if (times > most)
          return `${JSON.stringify(keys)} reached ${session} ${times} times, for ${most} answers`;
      }
    }
    return null;
  },

  '[H4] no question outlives its deadline'({ w }) {
    if (!w.server || !isAtRest(w)) return null;
    for (const hitl of of(w, 'hitl')) {
      const { expiresAt } = kept<HitlContext>(hitl).context;
      if (stateOf(hitl) === 'open' && expiresAt !== null && expiresAt < w.time.now)
        return `${hitl.actor} should have expired ${w.time.now - expiresAt} ms ago`;
    }
    return null;
  },

  '[L5] no task runs longer than its timeout'({ w }) {
    if (!w.server || !isAtRest(w)) return null;
    for (const task of of(w, 'task')) {
      const { deadlineAt } = kept<TaskContext>(task).context;
      if (stateOf(task) === 'running' && deadlineAt !== null && deadlineAt < w.time.now)
        return `${task.actor} should have ended ${w.time.now - deadlineAt} ms ago`;
    }
    return null;
  },

  '[L1] what was made for a task is released before it has ended'({ w }) {
    for (const { actor, live, snapshot } of of(w, 'task')) {
      if (live) continue;
      const { id, run } = (snapshot as Kept<TaskContext>).context;
      for (const agent of of(w, 'agent')) {
        if (agent.live && kept<AgentContext>(agent).context.task === id)
          return `${actor} is over and ${agent.actor} is reserved for it`;
      }
      const session = run && record(w, `session:${run.session.id}`);
      if (session?.live && kept<SessionContext>(session).context.ending === null)
        return `${actor} is over and ${session.actor} runs on`;
    }
    return null;
  },

  '[L2] a task that was cancelled has its verdict'({ w }) {
    for (const actor of w.ledger.touched) {
      const life = w.ledger.of(actor);
      if (life?.record?.kind !== 'task' || !w.ledger.has(actor, 'cancel')) continue;
      if (kept<TaskContext>(life.record).context.verdict === null) return `${actor} goes on`;
    }
    return null;
  },

  '[P1] a task that runs has its agent for itself'({ w }) {
    for (const task of of(w, 'task')) {
      const { id, place } = kept<TaskContext>(task).context;
      const agent = place && record(w, `agent:${place.agent}`);
      if (!task.live || !agent?.live || !['ready', 'running'].includes(stateOf(task))) continue;
      const holder = kept<AgentContext>(agent).context.task;
      if (holder !== id)
        return `${task.actor} is on ${agent.actor}, which ${holder ?? 'nobody'} has reserved`;
    }
    return null;
  },

  '[N1] a session whose agent is away is detached'({ w }) {
    const { server } = w;
    for (const view of (server?.fleet.views('session') ?? []) as {
      state: string;
      agent_id: string;
      session_id: string;
    }[]) {
      if (view.state === 'live' && !server?.house.links.has(view.agent_id as never))
        return `${view.session_id} is live and ${view.agent_id} is away`;
    }
    return null;
  },

  '[N3] what is recorded of a session is what it said, in order and without a hole'({ w }) {
    for (const [session, { text, gapBytes }] of w.disk) {
      if (gapBytes > 0) return `${gapBytes} bytes of ${session} are missing`;
      if (!(w.deeds.get(session)?.said ?? '').startsWith(text))
        return `${session} has bytes that it never said`;
    }
    return null;
  },

  '[N7] a session is started once'({ w }) {
    for (const { session, starts } of w.deeds.values())
      if (starts > 1) return `${session} was started ${starts} times`;
    return null;
  },

  '[N4] only what is over or was asked to end is ended'({ w }) {
    for (const { session, wasEnded } of w.deeds.values()) {
      const known = record(w, `session:${session}`);
      if (wasEnded && !known) return `${session} was ended and nobody knows it`;
      if (wasEnded && known?.live && kept<SessionContext>(known).context.ending === null)
        return `${session} was ended and nobody asked for it`;
    }
    return null;
  },

  '[I1] an instance has one process at most'({ w }) {
    for (const [name, { processes }] of w.runtimes.made)
      if (processes.length > 1) return `${name} has ${processes.length} processes`;
    return null;
  },
};

/** The first verdict stands [L3], over the whole schedule. */
export function sameVerdict({ w }: Game, verdicts: Verdicts): Wrong {
  for (const actor of w.ledger.touched) {
    const found = record(w, actor);
    if (found?.kind !== 'task') continue;
    const { attempt, verdict } = kept<TaskContext>(found).context;
    const before = verdicts.get(`${actor} ${attempt}`);
    if (before && before !== verdict)
      return `[L3] the first verdict stands: ${actor} was ${before}, now ${verdict}`;
    if (verdict) verdicts.set(`${actor} ${attempt}`, verdict);
  }
  return null;
}

/**
 * After a kill and at the end: what was acknowledged is there, and every life folds to what is remembered.
 */
export async function whole({ w }: Pick<Game, 'w'>): Promise<Wrong> {
  const entries = await everything(w.journal);
  const there = new Map<string, typeof entries>();
  for (const entry of entries) there.set(entry.actor, [...(there.get(entry.actor) ?? []), entry]);
  for (const [actor, life] of w.ledger.lives) {
    const mine = there.get(actor) ?? [];
    for (const [i, { event, seq }] of life.entries.entries()) {
      if (mine[i]?.seq !== seq || mine[i]?.event.type !== event.type)
        return `[S1] what was promised is in the journal: ${event.type} of ${actor} is gone`;
    }
  }
  for (const [actor, mine] of there) {
    const known = await w.journal.record(actor);
    const isRow = mine.every(({ seq }, i) => seq === i + 1);
    if (!isRow) return `[S9] no entry is missing: ${actor} has a hole in its log`;
    if (known?.seq !== mine.length)
      return `[S9] every actor is what its log folds to: ${actor} is at ${known?.seq}`;
    // What was looked at before and has not changed since is not folded again.
    if (w.folded.get(actor) === known.seq) continue;
    w.folded.set(actor, known.seq);
    const { machine } = machines[known.kind];
    const folded = JSON.parse(JSON.stringify(remember(fold(machine, mine))));
    if (!isDeepStrictEqual(folded, known.snapshot))
      return `[S9] every actor is what its log folds to: ${actor} is something else`;
  }
  return null;
}

/** After a kill the ledger learns what was kept although nobody had been told. */
export async function relearn({ w }: Pick<Game, 'w'>): Promise<Wrong> {
  const wrong = await whole({ w });
  if (wrong) return wrong;
  w.ledger.lives.clear();
  const entries = await everything(w.journal);
  w.ledger.take(entries, []);
  for (const actor of w.ledger.lives.keys()) {
    const found = await w.journal.record(actor);
    if (found) w.ledger.take([], [found]);
  }
  return null;
}

/** Nobody but this server has written. */
export async function sameLength({ w }: Game): Promise<Wrong> {
  if (!isAtRest(w)) return null;
  let known = 0;
  for (const { entries } of w.ledger.lives.values()) known += entries.length;
  const there = await w.journal.cursor();
  return there === known ? null : `[J16] nobody else writes: ${there} entries are there, ${known} are ours`;
}
