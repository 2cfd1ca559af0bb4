/**
 * Files between a person and an instance, over a server that is killed, by a real agent on the host runtime.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readOnlyBy } from '../../src/runtime/host-shares.ts';
import type { InstanceView, StorageEntryView, TaskView } from '../../src/views.ts';
import { taskOf } from './ground.ts';
import { type House, openHouse, until } from './house.ts';

const OUTBOX = 'storage/instances/local/outbox';
const INBOX = 'storage/instances/local/inbox';
let house: House;
beforeAll(async () => {
  house = await openHouse('share', { AGENTSHARE_QUOTA_MB: '20' });
}, 60_000);
afterAll(() => house?.close(), 30_000);

const at = (path: string) => `${house.url()}/api/v1/${path}`;
const call = (method: string, path: string, body?: string | Uint8Array) =>
  fetch(at(path), { method, ...(body === undefined ? {} : { body: body as string }) });
const textOf = async (path: string) => await (await call('GET', path)).text();
const namesIn = async (path: string): Promise<string[]> =>
  (await house.get<{ entries: StorageEntryView[] }>(path)).entries.map(({ name }) => name);
const local = () => house.get<InstanceView>('instances/local');
const running = () => until('the instance to run', async () => (await local()).state === 'running');

async function submit(line: string): Promise<string> {
  const task = await house.post<{ task_id: string }>('tasks', {
    version: '1',
    kind: 'Task',
    metadata: { name: 'Share' },
    agent: { tool: 'command', instance: 'local', command: 'sh', args: ['-c', line] },
  });
  return task.task_id;
}

const reached = (id: string, state: string): Promise<TaskView> =>
  until(`task ${id} to be ${state}`, async () => {
    const task = await taskOf(house, id);
    return task.state === state ? task : null;
  });

const hostile = [
  'echo evil > "$AGENTSHARE_GLOBAL/tools/greet"',
  'echo "readlink $(readlink "$AGENTSHARE_WORKSPACE/current")"',
  'sh "$AGENTSHARE_GLOBAL/tools/greet"',
  'cat "$HOME/inbox/orders/one.txt"',
  'cd "$AGENTSHARE_OUTBOX"',
  'ln -s /etc etc; ln -s /etc/passwd passwd; ln "$HOME/../handle.json" hard; mkfifo pipe; mkdir real; echo inner > real/passwd',
  // A directory and a link that change places as fast as they can, until it is told to stop.
  'echo started > started',
  'n=0; while [ ! -e stop ]; do mv real door; mv door real; ln -s /etc door; rm door; n=$((n+1)); echo $n > count.new; mv count.new count; done',
  'echo finished > finished',
].join('; ');

test('[F19, F5, F6, F7, F17, F18, F3] a task works with its files while the server is killed, and nothing leads out', async () => {
  expect((await call('PUT', 'storage/global?path=tools/greet&executable=true', 'echo hello')).status).toBe(
    201,
  );
  expect((await call('PUT', `${INBOX}?path=orders/one.txt&parents=true`, 'the orders')).status).toBe(201);
  const id = await submit(hostile);
  await reached(id, 'RUNNING');
  await until('the task to be at work', async () => (await namesIn(OUTBOX)).includes('count'));
  const passwd = readFileSync('/etc/passwd', 'utf8');
  for (let i = 0; i < 300; i++) {
    for (const path of ['door/passwd', 'real/passwd', 'passwd', 'etc/passwd', 'hard', 'pipe']) {
      const answer = await call('GET', `${OUTBOX}/_download?path=${path}`);
      const text = await answer.text();
      expect(text).not.toContain(passwd);
      if (answer.status === 200) expect(text).toBe('inner\n');
    }
  }
  await house.kill9();
  const counted = () => Number(readFileSync(join(outbox(), 'count'), 'utf8'));
  const before = counted();
  // It works on without a server, and what it wrote is there.
  await until('the task to work on', () => counted() > before);
  await house.start();
  expect(Number(await textOf(`${OUTBOX}/_download?path=count`))).toBeGreaterThan(before);
  await call('PUT', `${OUTBOX}?path=stop`, 'now');
  await reached(id, 'COMPLETED');
  expect(await textOf(`${OUTBOX}/_download?path=finished`)).toBe('finished\n');
  expect(await namesIn('storage/instances/local/workspace')).not.toContain('current');
  await sees(id);
}, 120_000);

/** What the task saw, as the log of its run tells. */
async function sees(id: string): Promise<void> {
  const session = (await taskOf(house, id)).session_id;
  const log = () => call('GET', `${OUTBOX}/_download?path=runs/${run()}/sessions/${session}.log`);
  const said = await until('the log of the session', async () => {
    const answer = await log();
    const text = await answer.text();
    return answer.status === 200 && text;
  });
  expect(said).toContain(`readlink tasks/${id}`);
  expect(said).toContain('the orders');
  if (readOnlyBy().how === 'mount') expect(said).toContain('hello');
  const commands = await textOf(`${OUTBOX}/_download?path=runs/${run()}/commands.log`);
  expect(commands).toContain(`[${session}] sh -c`);
  expect(commands).toContain(`[${session}] EXIT 0`);
}

const places = () => join(house.dataDir, 'agentshare', 'instances');
const outbox = () => join(places(), readdirSync(places())[0] as string, 'outbox');
/** The one that began first. */
const run = (): string =>
  readdirSync(join(outbox(), 'runs'))
    .filter((name) => name.startsWith('run-'))
    .sort()[0] as string;

test('[F16] storage that is nearly used up is an alert in the log, in the metrics and on the instance', async () => {
  const put = await call('PUT', `${INBOX}?path=big`, new Uint8Array(19 * 1_024 * 1_024).fill(1));
  expect(put.status).toBe(201);
  expect(await house.get<object>(`${INBOX}/_usage`)).toMatchObject({ high: true });
  expect((await local()).storage).toMatchObject({ high: true, limit_bytes: 20 * 1_024 * 1_024 });
  expect(await textOf('../../metrics')).toContain('agentic_alerts{alert="storage_high"} 1');
  expect((await call('PUT', `${INBOX}?path=more`, new Uint8Array(2 << 20))).status).toBe(429);
  await call('DELETE', `${INBOX}?path=big`);
  expect(await house.get<object>(`${INBOX}/_usage`)).toMatchObject({ high: false });
  const { entries } = await house.get<{ entries: { type: string }[] }>('actors/instance:local/log?limit=100');
  const told = entries.map(({ type }) => type).filter((type) => type.startsWith('storage.'));
  expect(told).toEqual(['storage.high', 'storage.relieved']);
}, 60_000);

test('[F1, F18] files stay over a restart and a reprovision, and after the end of the instance', async () => {
  await call('POST', 'instances/local/restart');
  await running();
  await call('POST', 'instances/local/reprovision');
  await until('the instance to be made anew', async () => (await local()).state !== 'running');
  await running();
  expect(await textOf(`${INBOX}/_download?path=orders/one.txt`)).toBe('the orders');
  const { instance_id: id } = await local();
  await until('three runs', async () => (await namesIn(`${OUTBOX}?path=runs`)).length === 4);
  await call('DELETE', 'instances/local');
  await until('its storage to be kept', async () => (await textOf('storage/kept')).includes(id));
  await house.post('instances', { name: 'local', runtime: 'host' });
  await running();
  expect(await namesIn(INBOX)).toEqual([]);
  expect(await textOf(`storage/instances/${id}/inbox/_download?path=orders/one.txt`)).toBe('the orders');
  const second = await local();
  await call('PUT', `${INBOX}?path=note`, 'x');
  expect((await call('DELETE', 'instances/local?storage=delete')).status).toBe(200);
  await until('the storage to be removed', () => !readdirSync(places()).includes(second.instance_id));
  expect(readdirSync(places())).toEqual([id]);
}, 60_000);
