/**
 * A whole server with instances in containers: a task, a command, a kill of the server, a lost journal, and
 * an allowlist.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { InstanceView, SessionView, TaskView } from '../../src/views.ts';
import { type House, until } from '../e2e/house.ts';
import { closeRooms, containersOf, openRooms } from './rooms.ts';

let house: House;
beforeAll(async () => {
  house = await openRooms('container');
}, 60_000);
afterAll(async () => {
  if (house) await closeRooms(house);
}, 90_000);

const instances = async () => (await house.get<{ instances: InstanceView[] }>('instances')).instances;
const containers = () => containersOf(house);
const ready = (name: string) =>
  until(
    `${name} to be ready`,
    async () => (await house.get<{ state: string }>(`agents/${name}`).catch(() => null))?.state === 'ready',
    { seen: () => house.log() },
  );
const exec = async (name: string, script: string) => {
  const body = { command: 'bash', args: ['-c', script], timeout_seconds: 60 };
  return await house.post<{ exit_code: number; stdout: string; stderr: string }>(`agents/${name}/exec`, body);
};

test('[R27] a command task runs in a container, and its artifacts and patch come back', async () => {
  const made = await house.post<InstanceView>('instances', {
    name: 'walled',
    runtime: 'container',
    image: 'base',
    limits: { cpus: 1, memory_bytes: 1_073_741_824, processes: 512 },
  });
  expect(made).toMatchObject({ name: 'walled', runtime: 'container' });
  await ready('walled');
  const { walls } = await house.get<InstanceView>('instances/walled');
  expect(walls?.limits).toMatchObject({ cpus: 1, memory_bytes: 1_073_741_824, processes: 512 });
  const script =
    'id -u > "$AGENTIC_ARTIFACTS/who.txt"; pwd > "$AGENTIC_ARTIFACTS/where.txt"; echo made > made.txt; git status --short';
  const { task_id: id } = await house.post<{ task_id: string }>('tasks', {
    metadata: { name: 'In a container' },
    agent: { tool: 'command', mode: 'headless', command: 'bash', args: ['-c', script], instance: 'walled' },
  });
  const done = await until(
    'the task to end',
    async () => {
      const task = await house.get<TaskView>(`tasks/${id}`);
      return /completed|failed|cancelled/i.test(task.state) && task;
    },
    { seen: () => house.log() },
  );
  expect(done).toMatchObject({ state: 'COMPLETED' });
  const artifact = async (name: string) =>
    Buffer.from((await house.bytes(`tasks/${id}/artifacts/${name}`)).bytes).toString();
  expect(await artifact('who.txt')).toBe('10001\n');
  expect(await artifact('where.txt')).toContain(`/agentshare/tasks/${id}/inbox`);
  expect(await artifact('changes.patch')).toContain('+made');
}, 120_000);

test('[R27] it goes on when the server is killed, and its agent comes back to the next one', async () => {
  const [before] = await containers();
  await exec('walled', 'echo kept > ~/kept.txt');
  await house.kill9();
  await house.start();
  await ready('walled');
  expect((await exec('walled', 'cat ~/kept.txt')).stdout.trim()).toBe('kept');
  expect((await containers()).map(({ Id }) => Id)).toEqual([before?.Id ?? '']);
}, 120_000);

test('[R27] its network side may be killed: its sessions and the container go on, and nobody is left unreaped', async () => {
  const [before] = await containers();
  const counting = await house.post<SessionView>('agents/walled/sessions', {
    command: 'bash',
    args: ['-c', 'for i in $(seq 40); do echo "line $i"; sleep 0.1; done; sleep 600'],
    session_name: 'counting',
  });
  const sides = "ps -eo pid=,ppid=,stat=,args= | grep -- '[-]-network-side'";
  const first = (await exec('walled', sides)).stdout.trim().split(/\s+/);
  await exec('walled', `kill -KILL ${first[0]}`).catch(() => null);
  await until('another network side', async () => {
    const next = await exec('walled', sides).catch(() => null);
    const [pid, parent] = next?.stdout.trim().split(/\s+/) ?? [];
    return pid && pid !== first[0] && parent === first[1];
  });
  await until('its last line', async () => {
    const { bytes } = await house.bytes(`sessions/${counting.session_id}/output`);
    const lines = Buffer.from(bytes).toString().split('\r\n').slice(0, -1);
    expect(lines).toEqual(lines.map((_, i) => `line ${i + 1}`));
    return lines.length === 40;
  });
  // Whoever loses its parent becomes the first process's child, which is neither a shell nor Bun.
  await exec('walled', 'setsid bash -c "sleep 0.1 & exit" &');
  await until('whoever ended to be reaped', async () => {
    const everybody = (await exec('walled', 'ps -eo stat=,args=')).stdout.trim().split('\n');
    return everybody.every((line) => !line.startsWith('Z') && !line.includes('sleep 0.1'));
  });
  expect((await exec('walled', 'ps -p 1 -o comm=')).stdout.trim()).toBe('tini');
  expect((await containers()).map(({ Id }) => Id)).toEqual([before?.Id ?? '']);
}, 60_000);

test('[R27] without its journal a server adopts the container that is there', async () => {
  const [before] = await instances();
  await house.kill9();
  for (const name of readdirSync(house.dataDir))
    if (name.startsWith('journal.db')) rmSync(join(house.dataDir, name));
  await house.start({ AGENTIC_JOURNAL_ANEW: '1' });
  const [after] = await instances();
  expect([after?.name, after?.runtime, after?.instance_id]).toEqual([
    'walled',
    'container',
    before?.instance_id ?? '',
  ]);
  await ready('walled');
  expect((await exec('walled', 'cat ~/kept.txt')).stdout.trim()).toBe('kept');
}, 120_000);

test('[R28] with an allowlist an instance reaches what is on it through the proxy, and nothing else', async () => {
  // An address that is on this host's loopback, and no loopback address.
  const site = Bun.serve({
    hostname: '203.0.113.10',
    port: 0,
    fetch: ({ url }) => new Response(`saw ${new URL(url).pathname}`),
  });
  const other = Bun.serve({ hostname: '203.0.113.10', port: 0, fetch: () => new Response('never') });
  try {
    await house.post('instances', {
      name: 'guided',
      runtime: 'container',
      network: {
        mode: 'allowlist',
        allow: [`203.0.113.10:${site.port}`, `127.0.0.1:${site.port}`, '169.254.169.254'],
      },
    });
    await ready('guided');
    const ask = (line: string) =>
      exec(
        'guided',
        `exec 3<>/dev/tcp/127.0.0.1/3128; printf '${line}\\r\\nHost: x\\r\\n\\r\\n' >&3; timeout 10 cat <&3`,
      );
    const get = (url: string) => ask(`GET ${url} HTTP/1.1`);
    expect((await get(`http://203.0.113.10:${site.port}/here`)).stdout).toContain('saw /here');
    expect((await get(`http://203.0.113.10:${other.port}/`)).stdout).toContain('is not on this instance');
    expect((await get(`http://127.0.0.1:${site.port}/`)).stdout).toContain('HTTP/1.1 403');
    expect((await get('http://169.254.169.254/latest/meta-data')).stdout).toContain('HTTP/1.1 403');
    expect((await ask('CONNECT example.org:443 HTTP/1.1')).stdout).toContain('HTTP/1.1 403');
    const direct = `timeout 5 bash -c 'exec 3<>/dev/tcp/203.0.113.10/${site.port}'`;
    expect((await exec('guided', direct)).exit_code).not.toBe(0);
    // By git, which knows of the proxy by its environment.
    const { stderr } = await exec('guided', `git ls-remote http://203.0.113.10:${other.port}/x.git`);
    expect(stderr).toContain('403');
  } finally {
    await site.stop(true);
    await other.stop(true);
  }
}, 120_000);

test('[R29] what could never be made here is refused at once, by field', async () => {
  const post = async (body: object) => {
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    };
    const response = await fetch(new URL('api/v1/instances', `${house.url()}/`), init);
    return { status: response.status, text: await response.text() };
  };
  const wrong = { name: 'wrong', runtime: 'container' };
  expect(await post({ ...wrong, network: { mode: 'allowlist', allow: ['a b'] } })).toMatchObject({
    status: 400,
  });
  expect((await post({ ...wrong, image: 'nowhere' })).text).toContain('images:build nowhere');
  expect(await post({ ...wrong, limits: { disk_bytes: 1 } })).toMatchObject({ status: 400 });
  expect((await post({ name: 'wrong', runtime: 'host', limits: { cpus: 1 } })).text).toContain(
    'not enforced on the host',
  );
  expect((await instances()).map(({ name }) => name).sort()).toEqual(['guided', 'walled']);
}, 60_000);
