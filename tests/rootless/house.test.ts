/**
 * A whole server that is not root, whose engine is not either: nobody in it is more than an ordinary user of
 * this machine. Who works inside has another user outside, which the server may neither become nor give
 * anything to.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AuditPage } from '../../src/audit.ts';
import type { Probe } from '../../src/runtime.ts';
import type { HitlView, InstanceView } from '../../src/views.ts';
import { closeRooms, containersOf, openRooms } from '../container/rooms.ts';
import { artifacts, end, question, releaseNotes, repository, scriptedModel } from '../e2e/ground.ts';
import { type House, until } from '../e2e/house.ts';
import type { ModelServer } from '../model-server/server.ts';

const realKey = 'sk-ant-real-71c0aa-must-not-be-seen-by-a-subordinate';
const dir = mkdtempSync(join(tmpdir(), 'e2e-rootless-'));
let house: House;
let model: ModelServer;

beforeAll(async () => {
  model = scriptedModel({ key: realKey });
  const keyFile = join(dir, 'real-key');
  writeFileSync(keyFile, `${realKey}\n`, { mode: 0o600 });
  // No variable names the engine: it is where a rootless one has its socket.
  house = await openRooms('rootless', {
    DOCKER_HOST: '',
    XDG_RUNTIME_DIR: process.env['XDG_RUNTIME_DIR'] ?? '',
    AGENTIC_ANTHROPIC_BASE_URL: model.url,
    AGENTIC_ANTHROPIC_API_KEY: `file:${keyFile}`,
    AGENTIC_GATEWAY_LISTEN: '127.0.0.1:0',
  });
}, 60_000);
afterAll(async () => {
  if (house) await closeRooms(house);
  await model?.stop();
  rmSync(dir, { recursive: true, force: true });
}, 90_000);

const place = (...more: string[]) => join(house.dataDir, 'instances', 'walled', ...more);
const agentState = async (name: string) =>
  (await house.get<{ state: string }>(`agents/${name}`).catch(() => null))?.state;
const exec = async (script: string) => {
  const body = { command: 'bash', args: ['-c', script], timeout_seconds: 60 };
  return await house.post<{ exit_code: number; stdout: string; stderr: string }>('agents/walled/exec', body);
};

test('[C23] the probe says that the engine is rootless, and what nothing enforces', async () => {
  expect(process.getuid?.()).not.toBe(0);
  const { probes } = await house.get<{ probes: Probe[] }>('instances/probes');
  const probe = probes.find(({ runtime }) => runtime === 'container');
  expect(probe?.available).toBe(true);
  expect(probe?.reasons.join('\n')).toContain('rootless');
  expect(probe?.reasons.join('\n')).toContain('users inside are other users outside');
  const unenforced = (probe?.unenforced ?? []).map(({ what }) => what);
  expect(unenforced).not.toContain('users');
  // On cgroup v1 no limit can be set without root: then asking for one is refused, each by its name.
  for (const [what, limit] of [
    ['cpus', { cpus: 1 }],
    ['memory', { memory_bytes: 1_073_741_824 }],
    ['processes', { processes: 512 }],
    ['disk', { disk_bytes: 1_073_741_824 }],
  ] as const) {
    if (!unenforced.some((one) => one === what)) continue;
    const body = JSON.stringify({ name: 'limited', runtime: 'container', limits: limit });
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body };
    const refused = await fetch(new URL('api/v1/instances', `${house.url()}/`), init);
    expect([refused.status, await refused.text()]).toEqual([501, expect.stringContaining(what)]);
  }
  expect(unenforced).toContain('disk');
}, 60_000);

test('[C24] an agent enrols by certificate, as a user who is another one outside', async () => {
  await house.post<InstanceView>('instances', { name: 'walled', runtime: 'container' });
  await until('it to be ready', async () => (await agentState('walled')) === 'ready', {
    seen: () => house.log(),
  });
  const { walls } = await house.get<InstanceView>('instances/walled');
  expect(walls?.network).toMatchObject({ mode: 'isolated' });
  const ids = await exec('id -u; stat -c %u ~ /opt/agentic/identity; ls /opt/agentic/credentials');
  expect(ids.stdout.trim().split('\n')).toEqual(['10001', '10001', '10001', 'agent.env', 'ca.pem']);
  const { uid, gid } = lstatSync(place('home'));
  // Neither the one inside, nor ours, nor anybody's.
  for (const id of [uid, gid]) {
    expect([0, 10_001, process.getuid?.(), process.getgid?.()]).not.toContain(id);
    expect(id).toBeGreaterThan(10_001);
  }
  expect(() => readFileSync(place('identity', 'key.pem'))).toThrow('EACCES');
  const { records } = await house.get<AuditPage>('audit?limit=1000');
  const issued = records
    .map((one) => JSON.stringify(one))
    .filter((one) => one.includes('certificate.issued'));
  expect(issued).toHaveLength(1);
}, 120_000);

test('[C24] what a task leaves behind is collected, whatever modes its user gave it', async () => {
  const script =
    'id -u > "$AGENTIC_ARTIFACTS/who.txt"; mkdir -m 0700 "$AGENTIC_ARTIFACTS/own"; echo mine > "$AGENTIC_ARTIFACTS/own/shut.txt"; ' +
    'chmod 000 "$AGENTIC_ARTIFACTS/own/shut.txt"; chmod 0500 "$AGENTIC_ARTIFACTS/own"; echo made > made.txt; ' +
    'mkdir -p ~/cache/deep; touch ~/cache/deep/x; chmod 0500 ~/cache/deep; chmod 0 ~/cache';
  const { task_id: id } = await house.post<{ task_id: string }>('tasks', {
    metadata: { name: 'In a rootless container' },
    agent: { tool: 'command', mode: 'headless', command: 'bash', args: ['-c', script], instance: 'walled' },
  });
  expect(await end(house, id, model)).toMatchObject({ state: 'COMPLETED', error: null });
  const got = await artifacts(house, id);
  const text = (name: string) => new TextDecoder().decode(got.get(name));
  expect([text('who.txt'), text('own/shut.txt')]).toEqual(['10001\n', 'mine\n']);
  expect(text('changes.patch')).toContain('+made');
  // What is left of it there are the orders that it was given.
  expect(readdirSync(place('shares', id))).toEqual(['TASK.md']);
}, 120_000);

test('[C24] a killed server finds it again, and destroying it leaves nothing of it', async () => {
  const { instance_id: id } = await house.get<InstanceView>('instances/walled');
  await house.kill9();
  await house.start();
  await until('it to be back', async () => (await agentState('walled')) === 'ready', {
    seen: () => house.log(),
  });
  const kept = await exec('mkdir "$AGENTSHARE_OUTBOX/kept" && touch "$AGENTSHARE_OUTBOX/kept/y"');
  expect(kept.exit_code).toBe(0);
  const share = join(house.dataDir, 'agentshare', 'instances', id);
  expect(lstatSync(join(share, 'outbox', 'kept', 'y')).uid).toBe(lstatSync(place('home')).uid);
  const gone = await fetch(new URL('api/v1/instances/walled?storage=delete', `${house.url()}/`), {
    method: 'DELETE',
  });
  expect(gone.ok).toBe(true);
  await until(
    'it to be gone',
    async () => (await house.get<InstanceView>('instances/walled')).state === 'destroyed',
    { seen: () => house.log() },
  );
  expect(readdirSync(join(house.dataDir, 'instances'))).not.toContain('walled');
  expect(readdirSync(join(house.dataDir, 'agentshare', 'instances'))).not.toContain(id);
  expect(await containersOf(house)).toEqual([]);
}, 120_000);

test('[C25] Claude Code works in it: what it needs in its home is put there by the user inside', async () => {
  const manifest = {
    metadata: { name: 'Release notes' },
    repository: { url: repository(dir), branch: 'main' },
    agent: {
      tool: 'claude',
      mode: 'interactive',
      prompt: 'Please start the release notes of 1.0.',
      model: 'sonnet',
      instance: 'author',
    },
    gateway: 'on',
    lifecycle: { timeout: '5m', artifact_patterns: ['**/*.md'] },
  };
  await house.post<InstanceView>('instances', { name: 'author', runtime: 'container', image: 'claude' });
  const { task_id: id } = await house.post<{ task_id: string }>('tasks', { manifest });
  const asked = await question(house, id);
  const yes = asked.options.find((option) => /^yes$/i.test(option.label.trim()));
  await house.post<HitlView>(`hitl/${asked.hitl_id}/respond`, { option: yes?.id });
  const task = await end(house, id, model);
  expect(task).toMatchObject({ state: 'COMPLETED', error: null });
  const [[name, text] = []] = Object.entries(releaseNotes);
  expect(new TextDecoder().decode((await artifacts(house, id)).get(name ?? ''))).toBe(text ?? '');
  expect(model.faults()).toEqual([]);
  const used = model.requests.flatMap(({ usage }) => usage ?? []);
  expect(task.usage?.requests).toBe(used.length);
}, 240_000);
