/** Writes the logs of runs (share/runs.ts) as instances and their sessions come and go. */
import type { Change } from '../actors/fleet.ts';
import type { InstanceContext } from '../actors/instance.ts';
import { rfc3339 } from '../clock.ts';
import type { SessionId } from '../ids.ts';
import { beginRun, currentRun, endRun, noteCommand, type RunEnd, writeSession } from '../share/runs.ts';
import type { Agentshare } from '../share/store.ts';
import type { InstanceView, SessionView } from '../views.ts';
import type { House } from './house.ts';

/** Of one instance, waiting to be written; what comes then is left out, and that is told. */
const WAITING_MAX = 1_000;

interface Keeping {
  readonly house: House;
  readonly share: Agentshare;
  readonly hostname: string;
  /** By instance: what is being written, one after the other. */
  readonly turns: Map<string, { last: Promise<unknown>; waiting: number }>;
  /** Instances that were running when last heard of. */
  readonly running: Set<string>;
}

/** Returns how to stop. */
export function keepRuns(house: House, share: Agentshare, hostname: string): () => void {
  const running = (house.fleet.views('instance') as InstanceView[])
    .filter(({ state }) => state === 'running')
    .map(({ name }) => name);
  const keeping: Keeping = { house, share, hostname, turns: new Map(), running: new Set(running) };
  return house.fleet.watch((change) => {
    if (change.entry.kind === 'instance') instanceChanged(keeping, change.view as InstanceView);
    if (change.entry.kind === 'session') sessionChanged(keeping, change);
  });
}

function instanceChanged(keeping: Keeping, { name, instance_id, state, reason }: InstanceView): void {
  const { running, house } = keeping;
  if (state === 'running' && !running.has(name)) {
    running.add(name);
    inTurn(keeping, name, async () => {
      const outbox = outboxOf(keeping, instance_id);
      const before = await currentRun(outbox);
      const now = rfc3339(house.clock.now());
      if (before !== null) await endRun(outbox, before, { ended_at: now, reason: 'it was started again' });
      await begin(keeping, { name, instanceId: instance_id });
    });
  }
  if (state !== 'running' && running.delete(name)) {
    const end: RunEnd = { ended_at: rfc3339(house.clock.now()), reason: reason ?? state };
    inTurn(keeping, name, async () => {
      const outbox = outboxOf(keeping, instance_id);
      const run = await currentRun(outbox);
      if (run !== null) await endRun(outbox, run, end);
    });
  }
}

const outboxOf = ({ share }: Keeping, instanceId: string): string => share.layout.place(instanceId).outbox;

interface Runner {
  readonly name: string;
  readonly instanceId: string;
}

const begin = (keeping: Keeping, { name, instanceId }: Runner): Promise<string | null> =>
  beginRun(outboxOf(keeping, instanceId), {
    agent_id: name,
    instance_id: instanceId,
    hostname: keeping.hostname,
    started_at: rfc3339(keeping.house.clock.now()),
    ended_at: null,
    reason: null,
  });

function sessionChanged(keeping: Keeping, { entry, view }: Change): void {
  const { house } = keeping;
  const session = view as SessionView;
  const { agent_id: name, session_id: id } = session;
  const spec = (house.fleet.context(`instance:${name}`) as InstanceContext | null)?.spec;
  if (!spec) return;
  const at = rfc3339(entry.at);
  const isStart = entry.event.type === 'xstate.done.actor.launch';
  const isEnd = !house.fleet.isLive(entry.actor);
  if (!isStart && !isEnd) return;
  const outbox = outboxOf(keeping, spec.instanceId);
  inTurn(keeping, name, async () => {
    const run = (await currentRun(outbox)) ?? (await begin(keeping, { name, instanceId: spec.instanceId }));
    if (run === null) return;
    if (isStart) {
      const words = [session.command, ...session.args].map(quoted).join(' ');
      return await noteCommand(outbox, run, `[${at}] [${id}] ${words}`);
    }
    const ms = Date.parse(session.ended_at ?? at) - Date.parse(session.created_at);
    const how = session.exit_code ?? session.state;
    await noteCommand(outbox, run, `[${at}] [${id}] EXIT ${how} (${ms} ms)`);
    const pieces = await house.recordings.text(id as SessionId).catch(() => null);
    if (pieces !== null) await writeSession(outbox, run, { session: id, pieces });
  });
}

/** One line, whatever it holds. */
const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word.slice(0, 2_000));

function inTurn({ house, turns }: Keeping, name: string, write: () => Promise<unknown>): void {
  const turn = turns.get(name) ?? { last: Promise.resolve(), waiting: 0 };
  if (turn.waiting >= WAITING_MAX) {
    house.log.warn('the log of a run misses something: too much waits to be written', { instance: name });
    return;
  }
  turns.set(name, turn);
  turn.waiting += 1;
  const done = turn.last.then(write).catch((thrown) => {
    house.log.warn('the log of a run is not written', { instance: name, why: String(thrown) });
  });
  turn.last = done;
  void done.then(() => {
    turn.waiting -= 1;
    if (turn.waiting === 0) turns.delete(name);
  });
}
