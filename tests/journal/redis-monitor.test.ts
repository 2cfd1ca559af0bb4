/** The monitor of docs/redis.md where nothing is to be followed; tests/e2e/redis.test.ts follows a task. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { redisJournal } from '../../src/journal/redis.ts';
import type { Journal } from '../../src/journal.ts';
import { silentLog } from '../../src/log.ts';
import { entry, record } from '../contracts/journal.ts';
import { type RedisServer, redisServer } from './redis-server.ts';
import { until } from './writing.ts';

const doc = readFileSync(join(import.meta.dir, '..', '..', 'docs', 'redis.md'), 'utf8');
const script = /<!-- monitor -->\s+```sh\n([\s\S]*?)```/.exec(doc)?.[1] ?? '';

let redis: RedisServer;
let journal: Journal;
let bin: string;
/** Each call of redis-cli and of sleep, as the monitor makes them. */
let calls: string;
const monitors: Bun.Subprocess[] = [];

beforeAll(async () => {
  redis = await redisServer();
  const lost = (why: Error) => {
    throw why;
  };
  const options = { url: redis.url, prefix: 'agentic', clock: systemClock, log: silentLog, onLost: lost };
  journal = await redisJournal(options);
  bin = mkdtempSync(join(tmpdir(), 'monitor-'));
  calls = join(bin, 'calls');
  const program = (name: string, words: string) => {
    const path = join(bin, name);
    const noted = `echo "${name} $1" >>${calls}`;
    writeFileSync(path, `#!/bin/sh\n${noted}\nexec ${Bun.which(name)} ${words} "$@"\n`);
    chmodSync(path, 0o755);
  };
  program('redis-cli', `-s ${redis.path}`);
  program('sleep', '');
}, 60_000);
afterEach(async () => {
  for (const monitor of monitors.splice(0)) {
    monitor.kill('SIGKILL');
    await monitor.exited;
  }
});
afterAll(async () => {
  await journal?.close();
  await redis?.close();
  rmSync(bin, { recursive: true, force: true });
}, 30_000);

function follow(actor: string) {
  writeFileSync(calls, '');
  const env = { PATH: `${bin}:${process.env['PATH']}` };
  const command = ['sh', '-c', script, 'monitor', actor];
  const monitor = Bun.spawn(command, { env, stdout: 'pipe', stderr: 'ignore' });
  monitors.push(monitor);
  const said = new Response(monitor.stdout).text();
  return async () => ({ code: await monitor.exited, said: await said });
}

async function ends(actor: string): Promise<void> {
  const ended = record(actor, 1, { live: false, snapshot: { value: 'completed' } });
  await journal.append({ entries: [entry(actor, 1)], records: [ended] });
}

test('[J20] the monitor of docs/redis.md says that there is no such task', async () => {
  expect(await follow('task:nobody')()).toEqual({ code: 1, said: 'task:nobody is not known\n' });
}, 60_000);

test('[J20] the monitor of docs/redis.md says how an archived task ended', async () => {
  await ends('task:old');
  expect(await journal.archive(['task:old'])).toBe(1);
  expect(await follow('task:old')()).toEqual({ code: 0, said: 'task:old completed\n' });
}, 60_000);

test('[J20] the monitor of docs/redis.md pauses while Redis is away, and goes on when it is back', async () => {
  await ends('task:late');
  await redis.kill();
  const end = follow('task:late');
  const made = () => readFileSync(calls, 'utf8').trim().split('\n');
  await until(() => made().length >= 6, 'three rounds');
  expect(made().slice(0, 6)).toEqual([
    'sleep 0',
    ...['redis-cli -e', 'sleep 1', 'redis-cli -e', 'sleep 1', 'redis-cli -e'],
  ]);
  await redis.start();
  expect(await end()).toEqual({ code: 0, said: 'task:late completed\n' });
}, 60_000);
