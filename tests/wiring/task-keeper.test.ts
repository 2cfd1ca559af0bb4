/** Which directories of tasks are kept, and what a task may have put into them. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SimulatedClock } from 'xstate';
import { rfc3339 } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import { jsonLog } from '../../src/log.ts';
import { layoutIn, makeRoot } from '../../src/share/layout.ts';
import type { TaskView } from '../../src/views.ts';
import type { House } from '../../src/wiring/house.ts';
import { taskDesk } from '../../src/wiring/task-desk.ts';
import { keepTaskDirs, removeOldTasks } from '../../src/wiring/task-keeper.ts';
import { taskEffects } from '../../src/wiring/tasks.ts';
import { taskView } from '../http/views.ts';
import { until } from './rig.ts';

const DAY_MS = 86_400_000;
const NOW = Date.parse('2026-11-26T12:00:00Z');
const never = new AbortController().signal;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'task-keeper-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

interface Known extends Partial<TaskView> {
  readonly daysAgo?: number;
  readonly live?: boolean;
  /** In the journal only. */
  readonly archived?: boolean;
}

/** A house that remembers these tasks, each of which has directories. */
async function ground(tasks: Readonly<Record<string, Known | null>>, env: Record<string, string> = {}) {
  const clock = new SimulatedClock();
  clock.increment(NOW);
  const config = readConfig({ AGENTIC_DATA_DIR: dir, ...env }, dir, dir);
  const layout = layoutIn(config.agentshare.root);
  await makeRoot(layout);
  const said: string[] = [];
  const knobs = { away: false };
  const of = (actor: string) => tasks[actor.slice('task:'.length)] ?? null;
  const seen = (actor: string) => {
    const task = of(actor);
    if (task === null) return null;
    const { daysAgo, live: _, archived: __, ...given } = task;
    const ended_at = daysAgo === undefined ? null : rfc3339(NOW - daysAgo * DAY_MS);
    return taskView({ id: actor.slice('task:'.length), ended_at, ...given });
  };
  const fleet = {
    isLive: (actor: string) => of(actor)?.live ?? false,
    async recall(actor: string) {
      if (knobs.away) throw new Error('the journal is away');
      return seen(actor);
    },
    view: (actor: string) => (of(actor)?.archived ? null : seen(actor)),
  };
  const log = jsonLog({ clock, level: 'info', write: (line) => void said.push(line) });
  const house = { ...nothing, clock, config, log, fleet, share: { layout } } as unknown as House;
  for (const id of Object.keys(tasks)) {
    for (const leaf of ['inbox', 'outbox']) mkdirSync(join(layout.tasks, id, leaf), { recursive: true });
    writeFileSync(join(layout.tasks, id, 'outbox', 'result'), id);
  }
  return { house, layout, said, knobs, clock, left: () => readdirSync(layout.tasks).sort() };
}
const nothing = { tallies: new Map(), runtimes: new Map() };

test('[F23] directories of tasks that ended too long ago are removed, and no others', async () => {
  const on = await ground({
    completed: { state: 'COMPLETED', daysAgo: 31 },
    failed: { state: 'FAILED', daysAgo: 400, archived: true },
    cancelled: { state: 'CANCELLED', daysAgo: 31 },
    young: { state: 'COMPLETED', daysAgo: 29 },
    preserved: { state: 'FAILED_PRESERVED', daysAgo: 400 },
    alive: { state: 'RUNNING', live: true },
    // Its name was used again: what is remembered of the one before does not count.
    again: { state: 'COMPLETED', daysAgo: 400, live: true },
    stranger: null,
  });
  writeFileSync(join(on.layout.tasks, 'a file'), 'of nobody');
  expect(await removeOldTasks(on.house, never)).toEqual({ removed: 3, unknown: 1 });
  expect(on.left()).toEqual(['a file', 'again', 'alive', 'preserved', 'stranger', 'young']);
  expect(readFileSync(join(on.layout.tasks, 'young', 'outbox', 'result'), 'utf8')).toBe('young');
});

test('[F23] whatever a task left in its directories, nothing outside is touched', async () => {
  const on = await ground({ old: { state: 'COMPLETED', daysAgo: 31 }, link: { daysAgo: 31 } });
  const outside = join(dir, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'precious'), 'kept');
  const old = join(on.layout.tasks, 'old');
  symlinkSync(outside, join(old, 'outbox', 'out'));
  symlinkSync(join(outside, 'precious'), join(old, 'inbox', 'file'));
  symlinkSync('.', join(old, 'inbox', 'loop'));
  mkdirSync(join(old, 'inbox', ...Array.from({ length: 200 }, () => 'deep')), { recursive: true });
  mkdirSync(join(old, 'inbox', 'module', 'cache'), { recursive: true });
  writeFileSync(join(old, 'inbox', 'module', 'cache', 'x'), '');
  chmodSync(join(old, 'inbox', 'module', 'cache'), 0o555);
  Bun.spawnSync(['mkfifo', join(old, 'outbox', 'pipe')]);
  rmSync(join(on.layout.tasks, 'link'), { recursive: true });
  symlinkSync(outside, join(on.layout.tasks, 'link'));
  expect(await removeOldTasks(on.house, never)).toEqual({ removed: 1, unknown: 0 });
  expect(on.left()).toEqual(['link']);
  expect(readdirSync(on.layout.globalStaging)).toEqual([]);
  expect(readFileSync(join(outside, 'precious'), 'utf8')).toBe('kept');
});

test('[F23] it is looked at the start and every hour, and said; while the journal is away nothing goes', async () => {
  const on = await ground({
    old: { state: 'FAILED', daysAgo: 31 },
    soon: { state: 'FAILED', daysAgo: 29.9 },
  });
  on.knobs.away = true;
  const stop = keepTaskDirs(on.house);
  await until('a word on the journal', () => on.said.some((line) => line.includes('tried again in an hour')));
  expect(on.left()).toEqual(['old', 'soon']);
  on.knobs.away = false;
  await until('the first removal', () => {
    on.clock.increment(60_000);
    return !existsSync(join(on.layout.tasks, 'old'));
  });
  await until('the next one', () => {
    on.clock.increment(60_000);
    return !existsSync(join(on.layout.tasks, 'soon'));
  });
  await until('words on both', () => on.said.filter((line) => line.includes('"removed":1')).length === 2);
  stop();
});

test('[F23] 0 and off keep them for ever; 30 days are the default', async () => {
  const days = (env: Record<string, string>) => readConfig({ AGENTIC_DATA_DIR: dir, ...env }, dir, dir);
  expect(days({}).tasksKeepDays).toBe(30);
  for (const never of ['0', 'off']) expect(days({ AGENTIC_TASKS_KEEP_DAYS: never }).tasksKeepDays).toBe(0);
  expect(() => days({ AGENTIC_TASKS_KEEP_DAYS: 'never' })).toThrow('AGENTIC_TASKS_KEEP_DAYS');
  const on = await ground({ old: { state: 'FAILED', daysAgo: 4_000 } }, { AGENTIC_TASKS_KEEP_DAYS: 'off' });
  keepTaskDirs(on.house)();
  on.clock.increment(DAY_MS);
  expect(on.left()).toEqual(['old']);
});

test('[F23] who asks for artifacts that were removed is told so, and one that never had any is not', async () => {
  const on = await ground({
    old: { state: 'COMPLETED', daysAgo: 31 },
    idle: { state: 'CANCELLED', daysAgo: 1 },
  });
  const desk = taskDesk(on.house, async function* () {} as never);
  expect(await desk.artifacts('old')).toEqual([]);
  await removeOldTasks(on.house, never);
  rmSync(join(on.layout.tasks, 'idle'), { recursive: true });
  const told = { code: 'not-found', message: expect.stringContaining('kept for 30 days') };
  await expect(desk.artifacts('old')).rejects.toMatchObject(told);
  await expect(desk.artifact('old', 'x')).rejects.toMatchObject(told);
  expect(await desk.artifacts('idle')).toEqual([]);
});

test('[F24] a task that ends without being collected gets back what it lent to its instance', async () => {
  const on = await ground({ 't-1': { state: 'RUNNING', live: true } });
  const back: string[] = [];
  const runtime = { shares: { takeBack: async (_: unknown, path: string) => void back.push(path) } };
  const handle = { version: 1, runtime: 'container', name: 'box', instanceId: 'i-1' };
  const spec = { instanceId: '01a217ef-71f9-7145-b397-eed70e39967d' };
  const fleet = {
    ...on.house.fleet,
    context: (actor: string) => (actor === 'instance:box' ? { handle, spec } : null),
    views: () => [],
    isLive: () => false,
    note: () => true,
  };
  const house = { ...on.house, fleet, runtimes: new Map([['container', runtime]]) } as unknown as House;
  const input = { task: 't-1', place: { agent: 'box', made: false }, run: null, keep: false };
  await taskEffects(house).windUp(input as never, { signal: never } as never);
  expect(back).toEqual(['inbox', 'outbox'].map((leaf) => join(on.layout.tasks, 't-1', leaf)));
});
