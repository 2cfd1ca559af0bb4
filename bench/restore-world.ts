/** The fleet of restore-fleet.ts over any journal: created, filled with life, restored, and told apart. */
import { alarm } from '../src/actors/alarm.ts';
import { type Fleet, fleet } from '../src/actors/fleet.ts';
import type { Effect, Kinds } from '../src/actors/kinds.ts';
import { machines } from '../src/actors/machines.ts';
import { type ChildSpec, listening, type Told } from '../src/actors/port.ts';
import type { OfTask } from '../src/actors/task-ports.ts';
import { systemClock } from '../src/clock.ts';
import type { ActorKind, Journal } from '../src/journal.ts';
import { silentLog } from '../src/log.ts';
import type { InstanceSpec } from '../src/runtime.ts';
import { createdAt, facts, type Plan, placeOf } from './restore-fleet.ts';

/** Started in one turn; a fleet refuses more than it may owe. */
const AT_ONCE = 1_000;
const FILL_MS = 300_000;

const never = () => new Promise(() => {});
const listen = () => listening;

/** Every port is opened and nothing comes of it. */
const mute: Readonly<Record<string, unknown>> = {
  ...Object.fromEntries(
    ['create', 'start', 'stop', 'destroy', 'launch', 'end', 'stage', 'acquire', 'prepare'].map((port) => [
      port,
      never,
    ]),
  ),
  ...{ collect: never, windUp: never, deliver: never, alarm: listen, watch: listen, follow: listen },
};

/** What the world says while all goes well. */
const willing: Readonly<Record<string, unknown>> = {
  ...mute,
  alarm: alarm(systemClock),
  create: async ({ spec }: { spec: InstanceSpec }) => ({
    version: 1,
    runtime: 'host',
    name: spec.name,
    instanceId: spec.instanceId,
    home: `/srv/agentic/instances/${spec.name}/home`,
    workingDir: `/srv/agentic/instances/${spec.name}/work`,
    profile: '',
    loadout: '',
    process: null,
  }),
  start: async ({ handle }: { handle: object }) => ({
    ...handle,
    process: { pid: 4_711, startedTicks: 123_456_789, boot: '0f6f2d34-8a7e-4a51-9a77-6a3d7e2f51c2' },
  }),
  launch: async () => {},
  stage: async ({ task }: OfTask) => ({ workDir: `/srv/agentic/tasks/${task}/work`, baseCommit: 'c0ffee' }),
  acquire: async ({ task }: OfTask) => ({ agent: placeOf(task).agent, made: false }),
  prepare: async ({ task }: OfTask) => ({
    session: placeOf(task).session,
    launch: { follow: { files: [], done: 'exit' }, stdin: null },
  }),
};

function kindsWith(effects: Readonly<Record<string, unknown>>): Kinds {
  const wired = Object.entries(machines).map(([kind, logic]) => [
    kind,
    { ...logic, effects: effects as Record<string, Effect> },
  ]);
  return Object.fromEntries(wired) as Kinds;
}

export const fleetOver = (journal: Journal, world: 'mute' | 'willing'): Fleet =>
  fleet({
    clock: systemClock,
    journal,
    kinds: kindsWith(world === 'mute' ? mute : willing),
    log: silentLog,
    defer: setImmediate,
    // What is written at once is large, and the disk or Redis may be somebody else's just now.
    limits: { promiseMs: FILL_MS },
    fatal: (thrown) => {
      throw thrown;
    },
  });

/** Takes every batch at once and forgets it. */
export function noJournal(): Journal {
  let cursor = 0;
  return {
    append: async ({ entries }) => {
      cursor += entries.length;
      return cursor;
    },
    live: async () => [],
    record: async () => null,
    records: async () => [],
    history: async () => [],
    feed: async () => [],
    cursor: async () => cursor,
    expired: async () => [],
    archive: async () => 0,
    trouble: () => null,
    close: async () => {},
  };
}

async function startAll(root: Fleet, specs: readonly ChildSpec[]): Promise<void> {
  for (let from = 0; from < specs.length; from += AT_ONCE)
    await Promise.all(specs.slice(from, from + AT_ONCE).map((spec) => root.start(spec, createdAt)));
}

/** Every actor is born, and that is durable; nothing else happens to it. */
export async function create(root: Fleet, { roots, ofTasks }: Plan): Promise<void> {
  await startAll(root, roots);
  await startAll(root, ofTasks);
}

/** Every actor lives as it would in a busy house. */
export async function fill(root: Fleet, { roots, agents, ofTasks }: Plan): Promise<void> {
  await startAll(root, roots);
  for (let from = 0; from < agents.length; from += AT_ONCE) {
    const at = createdAt + 5_000;
    await root.together(() => {
      for (const name of agents.slice(from, from + AT_ONCE))
        root.note(`agent:${name}`, { type: 'link.up', at, facts: facts(name), isSetUp: true } as Told);
    });
  }
  const wanted: Readonly<Record<string, string>> = { instance: 'running', agent: 'ready', session: 'live' };
  const isSettled = () =>
    ofTasks.every(({ id }) => root.isLive(id)) &&
    Object.entries(wanted).every(([kind, state]) =>
      (root.views(kind as ActorKind) as { state: string }[]).every((view) => view.state === state),
    );
  for (const end = Date.now() + FILL_MS; !isSettled(); await Bun.sleep(20))
    if (Date.now() > end) throw new Error('the fleet did not come to life');
  await root.together(() => {});
}

/**
 * Tells two fleets apart: every actor with its view, its newest entry, whether it lives, and its children.
 */
export function digest(root: Fleet): string {
  const actors = root.specs().toSorted((a, b) => (a.id < b.id ? -1 : 1));
  let sum = 0n;
  for (const { id, seq, live, parent } of actors) {
    const children = root.children(id).map((child) => child.id);
    sum = Bun.hash.xxHash64(JSON.stringify([id, seq, live, parent, children, root.view(id)]), sum);
  }
  return `${actors.length}:${sum.toString(16)}`;
}
