/** The examples do what examples/README.md says of them. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readManifest } from '../../src/tasks/manifest.ts';
import type { HitlView } from '../../src/views.ts';
import { readScenario } from '../model-server/scenario.ts';
import { type ModelServer, startModelServer } from '../model-server/server.ts';
import { artifacts, end, question } from './ground.ts';
import { type House, openHouse, root } from './house.ts';

const example = (name: string): string => readFileSync(join(root, 'examples', name), 'utf8');
let house: House;
let model: ModelServer;

beforeAll(async () => {
  model = startModelServer(readScenario(JSON.parse(example('offline-model.json'))));
  house = await openHouse('examples');
}, 60_000);
afterAll(async () => {
  await house?.close();
  await model?.stop();
}, 30_000);

/** As the README's curl does it. */
async function submitted(yaml: string): Promise<string> {
  const init = { method: 'POST', headers: { 'content-type': 'application/yaml' }, body: yaml };
  const response = await fetch(`${house.url()}/api/v1/tasks`, init);
  expect(response.status).toBe(202);
  return ((await response.json()) as { task_id: string }).task_id;
}

const answer = (asked: HitlView, body: object): Promise<HitlView> =>
  house.post(`hitl/${asked.hitl_id}/respond`, body);

const textOf = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);

test('every manifest is one', () => {
  for (const name of ['ask.yaml', 'claude-offline.yaml', 'claude.yaml']) readManifest(example(name));
});

test('ask.yaml asks, and writes its greeting once it is answered', async () => {
  const id = await submitted(example('ask.yaml'));
  const asked = await question(house, id);
  expect(asked).toMatchObject({ kind: 'confirm', source: 'screen' });
  await answer(asked, { text: 'y' });
  expect(await end(house, id, model)).toMatchObject({ state: 'COMPLETED', error: null });
  expect(textOf((await artifacts(house, id)).get('greeting.txt'))).toBe('Hello from your sandbox.\n');
}, 90_000);

test('claude-offline.yaml asks twice and leaves three greetings', async () => {
  const id = await submitted(example('claude-offline.yaml').replace('http://127.0.0.1:8190', model.url));
  const first = await question(house, id);
  await answer(first, { option: first.options[0]?.id });
  const second = await question(house, id, first);
  expect(second.prompt).toContain('german.txt');
  await answer(second, { option: second.options[0]?.id });
  expect(await end(house, id, model)).toMatchObject({ state: 'COMPLETED', error: null });
  const got = await artifacts(house, id);
  expect(textOf(got.get('greetings/german.txt'))).toBe('Guten Tag!\n');
  expect(textOf(got.get('greetings/french.txt'))).toBe('Bonjour !\n');
  expect(model.faults()).toEqual([]);
}, 120_000);
