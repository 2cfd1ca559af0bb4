/**
 * Claude Code at a terminal asks for leave; a person gives it over REST, also across the death of the server.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HitlView, SessionView } from '../../src/views.ts';
import type { ModelServer } from '../model-server/server.ts';
import {
  apiKey,
  artifacts,
  end,
  expectedPatch,
  question,
  releaseNotes,
  repository,
  scriptedModel,
  sessionOf,
  submit,
  taskOf,
} from './ground.ts';
import { type House, openHouse, until } from './house.ts';

const dir = mkdtempSync(join(tmpdir(), 'e2e-interactive-'));
let house: House;
let model: ModelServer;
let origin: string;

beforeAll(async () => {
  origin = repository(dir);
  model = scriptedModel();
  house = await openHouse('interactive', { ANTHROPIC_API_KEY: apiKey });
}, 60_000);
afterAll(async () => {
  await house?.close();
  await model?.stop();
  rmSync(dir, { recursive: true, force: true });
}, 30_000);

const begin = (name: string): Promise<string> =>
  submit(house, {
    name,
    mode: 'interactive',
    prompt: 'Please start the release notes of 1.0.',
    origin,
    model,
    patterns: ['notes/**'],
  });

/** Without the mark that blinks beside what Claude is at. */
const screenOf = async (session: string): Promise<string> =>
  (await house.get<{ text: string }>(`sessions/${session}/screen`)).text.replace(/^[● ] /gm, '  ');

async function allow(asked: HitlView): Promise<void> {
  const yes = asked.options.find((option) => /^yes$/i.test(option.label.trim()));
  const after = await house.post<HitlView>(`hitl/${asked.hitl_id}/respond`, { option: yes?.id });
  expect(['answering', 'answered']).toContain(after.state);
}

async function expectMade(id: string): Promise<void> {
  const task = await end(house, id, model);
  expect(task).toMatchObject({ state: 'COMPLETED', error: null, hitl_id: null });
  const got = await artifacts(house, id);
  expect(new TextDecoder().decode(got.get('notes/1.0/README.md'))).toBe('# Release 1.0\n');
  expect(new TextDecoder().decode(got.get('changes.patch'))).toBe(
    expectedPatch(mkdtempSync(join(dir, 'p-')), origin, releaseNotes),
  );
  expect(model.faults()).toEqual([]);
}

/** Below Claude Code's mascot, which winks now and then. */
const conversation = (screen: string) => screen.slice(screen.indexOf('❯ '));

test('[E2] what Claude Code asks stands in the list with its three options, and an option lets it go on', async () => {
  const id = await begin('Ask');
  const asked = await question(house, id);
  expect(asked).toMatchObject({ state: 'open', kind: 'choice', source: 'screen', task_id: id });
  expect(asked.prompt).toContain('Do you want to proceed?');
  expect(asked.options).toHaveLength(3);
  expect(await taskOf(house, id)).toMatchObject({
    state: 'RUNNING',
    waiting_for_human: true,
    hitl_id: asked.hitl_id,
  });
  expect(await screenOf(asked.session_id)).toContain('Do you want to proceed?');
  await allow(asked);
  await expectMade(id);
  const answered = await house.get<HitlView>(`hitl/${asked.hitl_id}`);
  expect(answered).toMatchObject({ state: 'answered', failure: null });
}, 120_000);

test('[E3] after kill -9 of the server the task, its terminal and its question are there, and the answer completes it', async () => {
  const id = await begin('Survive');
  const asked = await question(house, id);
  const before = await sessionOf(house, id);
  const screen = await screenOf(asked.session_id);
  await house.kill9();
  await house.start();
  const back = await until('the terminal is live again', async () => {
    const session = await house.get<SessionView>(`sessions/${before.session_id}`);
    return session.state === 'live' ? session : null;
  });
  expect(back).toMatchObject({ session_id: before.session_id, task_id: id });
  expect(await taskOf(house, id)).toMatchObject({
    state: 'RUNNING',
    attempt: 1,
    session_id: before.session_id,
  });
  expect(await question(house, id)).toMatchObject({
    hitl_id: asked.hitl_id,
    prompt: asked.prompt,
    options: asked.options,
  });
  expect(conversation(await screenOf(asked.session_id))).toBe(conversation(screen));
  await allow(asked);
  await expectMade(id);
}, 180_000);
