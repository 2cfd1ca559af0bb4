/** What an agent tells of its machine. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { cpuMeter, setup } from '../../agent/facts.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'facts-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('processor time is told once there is enough of it to tell, and is what was used', async () => {
  const percent = cpuMeter();
  expect(percent()).toBe(0);
  const until = performance.now() + 600;
  while (performance.now() < until);
  const busy = percent();
  // One core of ours, and whatever else this machine does.
  expect(busy).toBeGreaterThan(5);
  expect(busy).toBeLessThan(100 * cpus().length + 20);
  expect(percent()).toBe(busy);
});

test('hole B6: the step of the set-up is read, however its JSON is spaced', () => {
  const places = { isComplete: false, sentinel: join(dir, 'done'), progress: join(dir, 'progress.json') };
  const at = (text: string) => {
    writeFileSync(places.progress, text);
    return setup(places);
  };
  for (const text of [
    '{"current_step":"node"}',
    '{ "current_step": "node" }',
    '{\n"current_step" :\n"node"}',
  ])
    expect(at(text)).toEqual({ status: 'installing:node', progressJson: text, isReady: false });
  expect(at('{"current_st').status).toBe('provisioning');
  writeFileSync(places.sentinel, '');
  expect(at('{"current_step":"node","steps":{"node":"failed"}}').status).toBe('ready-with-errors');
  expect(at('{"current_step":""}')).toMatchObject({ status: 'ready', isReady: true });
});
