/** Places of instances: made, found again, limited and dropped. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { silentLog } from '../../src/log.ts';
import { leaveTask, pointToTask } from '../../src/share/current.ts';
import { probeQuota } from '../../src/share/quota.ts';
import { beginRun, currentRun, endRun, noteCommand, pruneRuns, writeSession } from '../../src/share/runs.ts';
import { type Agentshare, agentshare } from '../../src/share/store.ts';
import { codeOf, pieces } from './ground.ts';

const ID = '01920000-0000-7000-8000-00000000000a';
const OTHER = '01920000-0000-7000-8000-00000000000b';
const MIB = 1024 * 1024;
let dir: string;
let share: Agentshare;

const opened = async (quotaBytes = 10 * MIB): Promise<Agentshare> => {
  const made = agentshare({
    root: join(dir, 'agentshare'),
    quotaBytes,
    globalQuotaBytes: 0,
    clock: systemClock,
    log: silentLog,
  });
  await made.open();
  return made;
};
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'share-store-'));
  share = await opened();
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const prepare = (on = share, instanceId = ID) =>
  on.prepare({ instanceId, name: 'web-1', owner: null, isSameUser: false });
const modeOf = (path: string): string => (statSync(path).mode & 0o7777).toString(8);
const signal = new AbortController().signal;

test('[F1] a place is made once, and found with what is in it by a second call and another server', async () => {
  const mounts = await prepare();
  const { inbox, facts, base } = share.layout.place(ID);
  expect(mounts.map(({ name, target, readOnly }) => [name, target, readOnly])).toEqual([
    ['global', '/mnt/global', true],
    ['inbox', '/mnt/inbox', false],
    ['outbox', '/mnt/outbox', false],
    ['workspace', '/workspace', false],
  ]);
  for (const { source } of mounts) expect(statSync(source).isDirectory()).toBe(true);
  writeFileSync(join(inbox, 'note'), 'kept');
  const remembered = readFileSync(facts, 'utf8');
  expect(await prepare()).toEqual(mounts);
  expect(await prepare(await opened())).toEqual(mounts);
  expect(readFileSync(facts, 'utf8')).toBe(remembered);
  expect(readFileSync(join(inbox, 'note'), 'utf8')).toBe('kept');
  expect(readdirSync(base).sort()).toEqual(['inbox', 'outbox', 'share.json', 'staging', 'workspace']);
});

test('[F1] half of a place is completed, whichever half it is', async () => {
  await prepare();
  const place = share.layout.place(ID);
  for (const path of [place.inbox, place.outbox, place.workspace, place.staging, place.facts]) {
    rmSync(path, { recursive: true });
    await prepare();
    expect(existsSync(path)).toBe(true);
  }
  writeFileSync(place.facts, '{"version":1,"instan');
  await prepare();
  expect(await share.facts(ID)).toMatchObject({ instanceId: ID, name: 'web-1' });
});

test('[F1] a link where a directory of ours should be is refused, and nothing is made behind it', async () => {
  await prepare();
  const place = share.layout.place(ID);
  mkdirSync(join(dir, 'elsewhere'));
  for (const path of [place.inbox, place.base]) {
    rmSync(path, { recursive: true });
    symlinkSync(join(dir, 'elsewhere'), path);
    expect(await codeOf(prepare())).toBe('runtime-failed');
    expect(readdirSync(join(dir, 'elsewhere'))).toEqual([]);
    rmSync(path);
  }
  expect(await codeOf(prepare(share, '../../x'))).toBe('bad-input');
});

test('[F1] what holds something stays at the end of its instance, unless its removal is asked for', async () => {
  await prepare();
  const { base, outbox } = share.layout.place(ID);
  writeFileSync(join(outbox, 'result'), '42');
  expect(await share.drop(ID, false)).toBe('kept');
  expect(readFileSync(join(outbox, 'result'), 'utf8')).toBe('42');
  await prepare(share, OTHER);
  expect((await share.all()).map(({ instanceId }) => instanceId)).toEqual([ID, OTHER]);
  expect(readdirSync(share.layout.place(OTHER).outbox)).toEqual([]);
  chmodSync(outbox, 0o500);
  expect(await share.drop(ID, true)).toBe('removed');
  expect(existsSync(base)).toBe(false);
  expect(await share.drop(ID, true)).toBe('absent');
});

test('[F1] a place in which there is nothing of anybody goes with its instance', async () => {
  await prepare();
  const { base, outbox, workspace, inbox } = share.layout.place(ID);
  mkdirSync(join(inbox, 'empty', 'dirs'), { recursive: true });
  await pointToTask({ workspace, task: 't1', target: '/x/t1' });
  await beginRun(outbox, facts('2026-11-26T09:30:00.000Z'));
  expect(await share.drop(ID, false)).toBe('removed');
  expect(existsSync(base)).toBe(false);
});

test('[F2] nobody else of the host enters, and the leaves are the user’s that the instance has', async () => {
  const { root, instances } = share.layout;
  await share.prepare({
    instanceId: ID,
    name: 'web-1',
    owner: { uid: 10_001, gid: 10_001 },
    isSameUser: false,
  });
  const { base, inbox, outbox } = share.layout.place(ID);
  for (const path of [root, instances, base]) expect(modeOf(path)).toBe('700');
  const isRoot = process.getuid?.() === 0;
  for (const path of [inbox, outbox]) {
    expect(modeOf(path)).toBe(isRoot ? '755' : '777');
    expect(statSync(path).uid).toBe(isRoot ? 10_001 : (process.getuid?.() ?? 0));
  }
});

test('[F11] what a killed server left half written is removed by the next one', async () => {
  await prepare();
  const { staging } = share.layout.place(ID);
  writeFileSync(join(staging, 'half'), 'x');
  writeFileSync(join(share.layout.globalStaging, 'half'), 'x');
  await opened();
  expect([...readdirSync(staging), ...readdirSync(share.layout.globalStaging)]).toEqual([]);
});

test('[F3] the first global has its directories, and a later one is left as it is', async () => {
  const { global } = share.layout;
  expect(readdirSync(global).sort()).toEqual(['configs', 'content', 'prompts', 'scripts', 'tools']);
  expect(modeOf(global)).toBe('755');
  rmSync(join(global, 'content'), { recursive: true });
  await opened();
  expect(readdirSync(global)).toHaveLength(4);
});

test('[F15] a file system without project quotas says what is missing, and usage is measured instead', async () => {
  const memory = await probeQuota('/dev/shm');
  expect(memory.works ? '' : memory.reason).toContain('project quotas need ext4 or xfs');
  await prepare();
  const here = await probeQuota(share.layout.root);
  if (!here.works) {
    expect(share.quotaReason()).toBe(here.reason);
    expect(here.reason.length).toBeGreaterThan(10);
  }
  expect((await opened(0)).quotaReason()).toBeNull();
  const use = await share.measure(ID, signal);
  expect(use).toMatchObject({ limitBytes: 10 * MIB, isHigh: false, isWhole: true });
});

test('[F15] a limit that is only measured refuses what comes by us, and removes nothing', async () => {
  await prepare();
  const { outbox } = share.layout.place(ID);
  writeFileSync(join(outbox, 'big'), Buffer.alloc(9 * MIB, 1));
  expect(await share.measure(ID, signal)).toMatchObject({ isHigh: true });
  if ((await share.measure(ID, signal))?.enforcedBy === 'routes') {
    expect(await codeOf((async () => share.admit(ID, 2 * MIB))())).toBe('over-quota');
    share.admit(ID, MIB / 2);
    share.wrote(ID, MIB / 2);
    expect(await codeOf((async () => share.admit(ID, MIB))())).toBe('over-quota');
  }
  writeFileSync(join(outbox, 'more'), Buffer.alloc(4 * MIB, 1));
  expect((await share.measure(ID, signal))?.usedBytes).toBeGreaterThan(13 * MIB);
  expect(statSync(join(outbox, 'big')).size).toBe(9 * MIB);
});

test('[F16] storage that was high is so until there is clearly room again', async () => {
  await prepare();
  const { outbox } = share.layout.place(ID);
  const at = async (mib: number) => {
    writeFileSync(join(outbox, 'big'), Buffer.alloc(mib * MIB, 1));
    return (await share.measure(ID, signal))?.isHigh;
  };
  expect([await at(8.5), await at(9.2), await at(8.5), await at(7)]).toEqual([false, true, true, false]);
});

const link = () => ({
  workspace: share.layout.place(ID).workspace,
  task: 'task-1',
  target: '/data/tasks/task-1',
});

test('[F17] the link to the task is put and taken back, as often as that is asked', async () => {
  await prepare();
  const { workspace } = link();
  const { readlinkSync } = await import('node:fs');
  for (let i = 0; i < 2; i++) expect(await pointToTask(link())).toBe(true);
  expect(readlinkSync(join(workspace, 'current'))).toBe('tasks/task-1');
  expect(readlinkSync(join(workspace, 'tasks', 'task-1'))).toBe('/data/tasks/task-1');
  await pointToTask({ ...link(), task: 'task-2', target: '/data/tasks/task-2' });
  await leaveTask(link());
  expect(readlinkSync(join(workspace, 'current'))).toBe('tasks/task-2');
  await leaveTask({ ...link(), task: 'task-2', target: '/data/tasks/task-2' });
  await leaveTask(link());
  expect(readdirSync(workspace)).toEqual(['tasks']);
  expect(readdirSync(join(workspace, 'tasks'))).toEqual([]);
});

test('[F17] what an instance puts in the way of the link is left, and leads nowhere', async () => {
  await prepare();
  const { workspace } = link();
  writeFileSync(join(workspace, 'current'), 'mine');
  expect(await pointToTask(link())).toBe(false);
  expect(readFileSync(join(workspace, 'current'), 'utf8')).toBe('mine');
  mkdirSync(join(dir, 'outside'));
  rmSync(join(workspace, 'tasks'), { recursive: true });
  symlinkSync(join(dir, 'outside'), join(workspace, 'tasks'));
  expect(await pointToTask(link())).toBe(false);
  expect(readdirSync(join(dir, 'outside'))).toEqual([]);
});

const facts = (started_at: string) => ({
  agent_id: 'web-1',
  instance_id: ID,
  hostname: 'h',
  started_at,
  ended_at: null,
  reason: null,
});

test('[F18] a run is begun, written to and ended, and another server goes on with it', async () => {
  await prepare();
  const { outbox } = share.layout.place(ID);
  expect(await currentRun(outbox)).toBeNull();
  const run = (await beginRun(outbox, facts('2026-11-26T09:30:05.123Z'))) as string;
  expect(run).toBe('run-20261126-093005');
  expect(await currentRun(outbox)).toBe(run);
  await noteCommand(outbox, run, 'one');
  await noteCommand(outbox, run, 'two');
  await writeSession(outbox, run, { session: 's1', pieces: texts('half') });
  await writeSession(outbox, run, { session: 's1', pieces: texts('all ', 'of it') });
  await endRun(outbox, run, { ended_at: '2026-11-26T09:31:00.000Z', reason: 'stopped' });
  await endRun(outbox, run, { ended_at: 'later', reason: 'again' });
  const at = (name: string) => readFileSync(join(outbox, 'runs', 'current', name), 'utf8');
  expect(at('commands.log')).toBe('one\ntwo\n');
  expect(at('sessions/s1.log')).toBe('all of it');
  expect(JSON.parse(at('metadata.json'))).toMatchObject({ run_id: run, reason: 'stopped' });
  expect(await currentRun(outbox)).toBeNull();
  expect(await beginRun(outbox, facts('2026-11-26T09:30:05.999Z'))).toBe(`${run}-2`);
});

async function* texts(...all: string[]): AsyncGenerator<string> {
  for await (const piece of pieces(...all)) yield Buffer.from(piece).toString();
}

test('[F18] what an instance puts in the place of a log is not written through, and stops nothing', async () => {
  await prepare();
  const { outbox } = share.layout.place(ID);
  const run = (await beginRun(outbox, facts('2026-11-26T09:30:05.123Z'))) as string;
  const secret = join(dir, 'secret');
  writeFileSync(secret, 'mine');
  const inRun = (name: string) => join(outbox, 'runs', run, name);
  symlinkSync(secret, inRun('commands.log'));
  await noteCommand(outbox, run, 'evil');
  symlinkSync(dir, inRun('sessions'));
  await writeSession(outbox, run, { session: 'secret', pieces: texts('evil') });
  rmSync(inRun('metadata.json'));
  symlinkSync(secret, inRun('metadata.json'));
  await endRun(outbox, run, { ended_at: 'now', reason: null });
  rmSync(join(outbox, 'runs'), { recursive: true });
  symlinkSync(dir, join(outbox, 'runs'));
  expect(await beginRun(outbox, facts('2026-11-26T09:30:05.123Z'))).toBeNull();
  await pruneRuns(share.layout.place(ID), Date.now() + 1_000);
  expect(readFileSync(secret, 'utf8')).toBe('mine');
  expect(readdirSync(dir).sort()).toEqual(['agentshare', 'secret']);
});

test('[F18] old runs are removed, and never the one that goes on', async () => {
  await prepare();
  const { outbox } = share.layout.place(ID);
  const names: string[] = [];
  for (const second of ['01', '02', '03']) {
    names.push((await beginRun(outbox, facts(`2026-11-26T09:30:${second}.000Z`))) as string);
  }
  mkdirSync(join(outbox, 'runs', 'mine'));
  expect(await pruneRuns(share.layout.place(ID), Date.now() - 60_000)).toBe(0);
  expect(await pruneRuns(share.layout.place(ID), Date.now() + 60_000)).toBe(2);
  expect(readdirSync(join(outbox, 'runs')).sort()).toEqual(['current', 'mine', names[2] as string]);
});
