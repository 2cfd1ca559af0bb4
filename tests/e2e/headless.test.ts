/**
 * A task from its manifest to its artifacts: real server, real agent binary, real git, the real Claude Code.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ModelServer } from '../model-server/server.ts';
import {
  apiKey,
  artifacts,
  end,
  expectedPatch,
  made,
  picture,
  repository,
  scriptedModel,
  submit,
} from './ground.ts';
import { type House, openHouse } from './house.ts';

const dir = mkdtempSync(join(tmpdir(), 'e2e-headless-'));
let house: House;
let model: ModelServer;

beforeAll(async () => {
  model = scriptedModel();
  house = await openHouse('headless', { ANTHROPIC_API_KEY: apiKey });
}, 60_000);
afterAll(async () => {
  await house?.close();
  await model?.stop();
  rmSync(dir, { recursive: true, force: true });
}, 30_000);

test('[E1] a headless task clones its repository, and hands out what Claude Code made, byte for byte', async () => {
  const origin = repository(dir);
  const patterns = ['*.txt', '*.md', 'images/copy.bin'];
  const prompt = 'Please count the lines of notes.txt.';
  const id = await submit(house, { name: 'Count', mode: 'headless', prompt, origin, model, patterns });
  const task = await end(house, id, model);
  expect(task).toMatchObject({ state: 'COMPLETED', error: null, exit_code: 0 });
  expect(task.summary).toBe('The lines are counted: see report.md.');
  expect(task.progress.tool_calls).toBe(2);
  expect(task.progress.input_tokens).toBeGreaterThan(0);
  expect(model.faults()).toEqual([]);

  const got = await artifacts(house, id);
  const files = { ...made, 'images/copy.bin': picture };
  for (const [name, content] of Object.entries(files))
    expect(got.get(name)).toEqual(Uint8Array.from(Buffer.from(content)));
  expect(new TextDecoder().decode(got.get('changes.patch'))).toBe(expectedPatch(dir, origin, files));
  expect([...got.keys()].sort()).toContain('summary.md');
}, 120_000);

test('[E1] nothing of the key is in what the server wrote or tells', async () => {
  const search = Bun.spawnSync(['grep', '-rlF', apiKey, house.dataDir]);
  expect({ found: search.stdout.toString(), code: search.exitCode }).toEqual({ found: '', code: 1 });
  expect(house.log()).not.toContain(apiKey);
});
