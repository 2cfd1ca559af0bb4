/**
 * A server that remembers in Redis: the same life, seen from outside, and with Redis killed in the middle.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HitlView, TaskView } from '../../src/views.ts';
import { type RedisServer, redisServer } from '../journal/redis-server.ts';
import { question, taskOf } from './ground.ts';
import { type House, openHouse, root, until } from './house.ts';

const doc = readFileSync(join(root, 'docs', 'redis.md'), 'utf8');
const example = (name: string): string =>
  new RegExp(`<!-- ${name} -->\\s+\`\`\`sh\\n([^]*?)\`\`\``).exec(doc)?.[1] ?? '';

let redis: RedisServer;
let house: House;
/** Where `redis-cli` is our Redis', as in the document it is that of the machine. */
let bin: string;

beforeAll(async () => {
  redis = await redisServer();
  house = await openHouse('redis', { REDIS_URL: `unix://${redis.path}` });
  bin = join(house.dir, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'redis-cli'), `#!/bin/sh\nexec ${Bun.which('redis-cli')} -s ${redis.path} "$@"\n`);
  chmodSync(join(bin, 'redis-cli'), 0o755);
}, 60_000);
afterAll(async () => {
  await house?.close();
  await redis?.close();
}, 30_000);

const env = () => ({ PATH: `${bin}:${process.env['PATH']}` });

async function submit(): Promise<string> {
  const body = readFileSync(join(root, 'examples', 'ask.yaml'), 'utf8');
  const headers = { 'content-type': 'application/yaml' };
  const response = await fetch(`${house.url()}/api/v1/tasks`, { method: 'POST', headers, body });
  expect(response.status).toBe(202);
  return ((await response.json()) as { task_id: string }).task_id;
}

const answer = (asked: HitlView): Promise<HitlView> =>
  house.post(`hitl/${asked.hitl_id}/respond`, { text: 'y' });

const ended = (id: string): Promise<TaskView> =>
  until('the task to end', async () => {
    const task = await taskOf(house, id);
    return ['COMPLETED', 'FAILED', 'CANCELLED'].includes(task.state) ? task : null;
  });

const journalFile = (): boolean => Bun.spawnSync(['test', '-e', join(house.dataDir, 'journal.db')]).success;

test('[J20] the monitor of docs/redis.md follows a task from its submission to its end', async () => {
  const script = example('monitor');
  // What does something: without the first line, comments and what only closes.
  expect(
    script.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length,
  ).toBeLessThanOrEqual(10);
  const id = await submit();
  const monitor = Bun.spawn(['sh', '-c', script, 'monitor', `task:${id}`], { env: env(), stdout: 'pipe' });
  let said = '';
  const listening = (async () => {
    for await (const bytes of monitor.stdout) said += Buffer.from(bytes).toString();
  })();
  const asked = await question(house, id);
  // It tells where the task is when it looks; what is answered at once it may not see waiting.
  await until('the monitor to tell that it waits', () => said.includes('running.waiting'));
  await answer(asked);
  expect((await ended(id)).state).toBe('COMPLETED');
  expect(await monitor.exited).toBe(0);
  await listening;
  const states = said.trim().split('\n');
  expect(states.every((line) => line.startsWith(`task:${id} `))).toBe(true);
  const words = states.map((line) => line.split(' ')[1]);
  expect(words).toContain('running.waiting');
  expect(words.at(-1)).toBe('completed');
  expect(journalFile()).toBe(false);
}, 60_000);

test('[J20] every other example of docs/redis.md finds what it says', async () => {
  const lines = example('run').trim().split('\n');
  expect(lines).toHaveLength(6);
  for (const line of lines) {
    const { stdout, exitCode } = Bun.spawnSync(['sh', '-c', line], { env: env() });
    expect(exitCode).toBe(0);
    const said = stdout.toString().trim();
    expect(`${line}: ${said}`).toMatch(/instance:local|task:|running|born|-0|\d{4}-\d\d-/);
    expect(said).not.toContain('ERR');
  }
  const keys = new Set(
    redis
      .cli('keys', '*')
      .split('\n')
      .map((key) => key.replace(/:(task|hitl|session|agent|instance)\b.*/, '')),
  );
  expect([...keys].toSorted()).toEqual(
    [
      'agentic:actor',
      'agentic:actors',
      'agentic:ended',
      'agentic:ended-since',
      'agentic:lease',
      'agentic:lease:beat',
      'agentic:live',
      'agentic:log',
      'agentic:meta',
      'agentic:events',
    ].toSorted(),
  );
});

test('[E7] Redis is killed while a task asks: reads go on, promises are refused, and all goes on by itself', async () => {
  const id = await submit();
  const asked = await question(house, id);
  await redis.kill();
  await until('it not to be ready', async () => (await fetch(`${house.url()}/readyz`)).status === 503);
  const refused = await fetch(`${house.url()}/api/v1/tasks/${id}/cancel`, { method: 'POST' });
  expect(refused.status).toBe(503);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await taskOf(house, id)).state).toBe('RUNNING');
  await redis.start();
  await until('it to be ready', async () => (await fetch(`${house.url()}/readyz`)).status === 200);
  await answer(asked);
  expect((await ended(id)).state).toBe('COMPLETED');
}, 60_000);

test('[E7] the server is killed while a task asks, and the next one finds it all in Redis', async () => {
  const id = await submit();
  const asked = await question(house, id);
  await house.kill9();
  await house.start();
  await answer(await house.get<HitlView>(`hitl/${asked.hitl_id}`));
  expect((await ended(id)).state).toBe('COMPLETED');
  const { journal } = await house.get<{ journal: { kind: string } }>('health');
  expect(journal.kind).toBe('redis');
}, 90_000);

test('[E9] every actor in Redis is what its entries say', () => {
  const script = join(root, 'scripts', 'actor-verify.ts');
  const env = { PATH: process.env['PATH'] ?? '', REDIS_URL: `unix://${redis.path}` };
  const { exitCode, stdout } = Bun.spawnSync([process.execPath, script], { env });
  expect(stdout.toString()).toMatch(/^\d+ actors \(\d+ live, \d+ archived\), \d+ entries, 0 differences\n$/);
  expect(exitCode).toBe(0);
});
