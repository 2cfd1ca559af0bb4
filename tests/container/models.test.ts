/**
 * The real Claude Code in containers without a network: it reaches its model by the gateway alone, with a
 * virtual key, and asks its person as it does anywhere.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HitlView, SessionView } from '../../src/views.ts';
import { artifacts, end, made, question, repository, scriptedModel, sessionOf } from '../e2e/ground.ts';
import { type House, until } from '../e2e/house.ts';
import type { ModelServer } from '../model-server/server.ts';
import { inside } from './ground.ts';
import { closeRooms, containersOf, openRooms } from './rooms.ts';

const realKey = 'sk-ant-real-5b20de-must-not-be-seen-in-a-container';
const secret = 'what-a-task-may-read-and-nothing-may-keep';
const dir = mkdtempSync(join(tmpdir(), 'e2e-rooms-'));

let house: House;
let model: ModelServer;
let origin: string;

beforeAll(async () => {
  origin = repository(dir);
  model = scriptedModel({ key: realKey });
  const keyFile = join(dir, 'real-key');
  writeFileSync(keyFile, `${realKey}\n`, { mode: 0o600 });
  house = await openRooms('rooms', {
    AGENTIC_ANTHROPIC_BASE_URL: model.url,
    AGENTIC_ANTHROPIC_API_KEY: `file:${keyFile}`,
    AGENTIC_GATEWAY_LISTEN: '127.0.0.1:0',
    TASK_ROOM_SECRET: secret,
  });
}, 60_000);
afterAll(async () => {
  if (house) {
    await closeRooms(house);
  }
  await model?.stop();
  rmSync(dir, { recursive: true, force: true });
}, 90_000);

const containers = () => containersOf(house);

async function submit(mode: 'headless' | 'interactive', prompt: string): Promise<string> {
  const manifest = {
    metadata: { name: prompt },
    repository: { url: origin, branch: 'main' },
    agent: { tool: 'claude', mode, prompt, model: 'sonnet', runtime: 'container' },
    vm: { cpus: 2, memory: '2G' },
    gateway: 'on',
    lifecycle: { timeout: '5m', artifact_patterns: ['*.txt', '*.md'] },
  };
  return (await house.post<{ task_id: string }>('tasks', { manifest })).task_id;
}

/** The container of the one task that runs. */
async function handle() {
  const [there] = await containers();
  return { version: 1, runtime: 'container' as const, name: 'task', container: there?.Id ?? '' };
}

test('[V14] [V1] headless Claude Code works without a network, and its real key is nowhere inside', async () => {
  const id = await submit('headless', 'Please count the lines of notes.txt.');
  const task = await end(house, id, model);
  expect(task).toMatchObject({ state: 'COMPLETED', error: null });
  expect(new TextDecoder().decode((await artifacts(house, id)).get('report.md'))).toBe(made['report.md']);
  expect(model.faults()).toEqual([]);
  const used = model.requests.flatMap(({ usage }) => usage ?? []);
  expect(used.length).toBeGreaterThan(2);
  expect(task.usage?.requests).toBe(used.length);
  await until('its container to be gone', async () => (await containers()).length === 0);
}, 180_000);

test('[V14] [E2] what interactive Claude Code asks in a container is answered from outside', async () => {
  const id = await submit('interactive', 'Please start the release notes of 1.0.');
  const asked = await question(house, id);
  expect(asked).toMatchObject({ state: 'open', kind: 'choice', source: 'screen', task_id: id });
  const found = await inside(
    await handle(),
    'cat /proc/net/route | wc -l; cat /proc/[0-9]*/environ | tr "\\0" "\\n"; env; ls /opt/agentic/credentials',
  );
  expect(found.output).toContain('ANTHROPIC_BASE_URL=http://127.0.0.1:3129');
  expect(found.output).toMatch(/ANTHROPIC_AUTH_TOKEN=agk_[\w-]{43}/);
  expect(found.output).not.toContain(realKey);
  expect(found.output.split('\n')[0]).toBe('1');
  const yes = asked.options.find((option) => /^yes$/i.test(option.label.trim()));
  await house.post<HitlView>(`hitl/${asked.hitl_id}/respond`, { option: yes?.id });
  expect(await end(house, id, model)).toMatchObject({ state: 'COMPLETED', error: null });
  expect(model.faults()).toEqual([]);
}, 180_000);

test('[V14] a key is good only by the socket of its own instance', async () => {
  for (const name of ['left', 'right'])
    await house.post('instances', { name, runtime: 'container', image: 'base' });
  for (const name of ['left', 'right'])
    await until(`${name} to be ready`, async () => {
      const agent = await house.get<{ state: string }>(`agents/${name}`).catch(() => null);
      return agent?.state === 'ready';
    });
  const opened = await house.post<SessionView>('agents/left/sessions', {
    command: 'bash',
    args: ['-c', 'echo "key $ANTHROPIC_AUTH_TOKEN"; sleep 600'],
  });
  const key = await until('its key', async () => {
    const { bytes } = await house.bytes(`sessions/${opened.session_id}/output`);
    return /key (agk_[\w-]{43})/.exec(Buffer.from(bytes).toString())?.[1];
  });
  const ask = async (name: string) => {
    const head = `GET /v1/models HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Bearer ${key}\\r\\nConnection: close\\r\\n\\r\\n`;
    const args = ['-c', `exec 3<>/dev/tcp/127.0.0.1/3129; printf '${head}' >&3; timeout 10 head -1 <&3`];
    const body = { command: 'bash', args, timeout_seconds: 30 };
    return (await house.post<{ stdout: string }>(`agents/${name}/exec`, body)).stdout;
  };
  expect(await ask('right')).toContain(' 401 ');
  expect(await ask('left')).not.toContain(' 401 ');
}, 120_000);

test('[V11] a secret as a file is in memory inside, for its session', async () => {
  const script =
    'stat -f -c %T "$TASK_ROOM_SECRET_FILE" > "$AGENTIC_ARTIFACTS/where.txt"; ' +
    'wc -c < "$TASK_ROOM_SECRET_FILE" > "$AGENTIC_ARTIFACTS/size.txt"; echo "$TASK_ROOM_SECRET_FILE" > "$AGENTIC_ARTIFACTS/name.txt"';
  const manifest = {
    metadata: { name: 'Read a file' },
    agent: { tool: 'command', command: 'bash', args: ['-c', script], instance: 'right' },
    secrets: [{ name: 'TASK_ROOM_SECRET', source: 'env', deliver: 'file' }],
  };
  const { task_id: id } = await house.post<{ task_id: string }>('tasks', { manifest });
  const task = await end(house, id, model);
  expect(task).toMatchObject({ state: 'COMPLETED' });
  const got = await artifacts(house, id);
  const text = (name: string) => new TextDecoder().decode(got.get(name)).trim();
  const session = (await sessionOf(house, id)).session_id;
  expect([text('where.txt'), text('size.txt'), text('name.txt')]).toEqual([
    'tmpfs',
    String(secret.length),
    `/opt/agentic/secrets/${session}/TASK_ROOM_SECRET`,
  ]);
  await until('it to be gone', async () => {
    const body = { command: 'ls', args: ['/opt/agentic/secrets'], timeout_seconds: 30 };
    return (await house.post<{ stdout: string }>('agents/right/exec', body)).stdout.trim() === '';
  });
}, 120_000);
