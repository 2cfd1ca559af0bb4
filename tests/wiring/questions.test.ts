/** Questions between a screen and a human. */
import { afterEach, expect, test } from 'bun:test';
import { Failure } from '../../src/failure.ts';
import type { SessionId } from '../../src/ids.ts';
import { keysFor } from '../../src/terminal/asking-keys.ts';
import type { HitlView } from '../../src/views.ts';
import { hitlDesk } from '../../src/wiring/hitl.ts';
import { sessionDesk } from '../../src/wiring/sessions.ts';
import { type HandLink, onScreen, type Rig, rig, until } from './rig.ts';

let on: Rig;
afterEach(() => on.remove());

const wanted = {
  command: 'bash',
  args: [],
  workingDir: null,
  name: 'work',
  type: 'interactive' as const,
  env: {},
  cols: 80,
  rows: 24,
  timeoutSeconds: 0,
  stdin: 'open' as const,
};
const desk = () => hitlDesk(on.house, keysFor);
const all = () => desk().list({ state: 'all' });
const open = () => desk().list({ state: 'open' });
const state = (id: string) => (desk().find(id) as HitlView).state;

async function session(): Promise<{ id: SessionId; link: HandLink }> {
  on = await rig();
  const link = await on.connect('box');
  const { session_id: id } = await sessionDesk(on.house).create('box', wanted, 'ada');
  return { id: id as SessionId, link };
}

test('[H8] a question that vanishes from its screen is withdrawn', async () => {
  const { id } = await session();
  on.judge(id, onScreen('Go on?'));
  await on.settle();
  const [asked] = open();
  expect(asked).toMatchObject({ prompt: 'Go on?', session_id: id, source: 'screen' });
  on.judge(id, null);
  await on.settle();
  expect(state(asked?.hitl_id ?? '')).toBe('withdrawn');
  expect(open()).toEqual([]);
});

test('[H8] another question on the screen supersedes the one before', async () => {
  const { id } = await session();
  on.judge(id, onScreen('Go on?'));
  await on.settle();
  const [first] = open();
  on.judge(id, onScreen('Really?'));
  await on.settle();
  expect(state(first?.hitl_id ?? '')).toBe('superseded');
  expect(open().map(({ prompt }) => prompt)).toEqual(['Really?']);
});

test('the same question judged twice is one question', async () => {
  const { id } = await session();
  on.judge(id, onScreen('Go on?'));
  on.judge(id, onScreen('Go on?', { context: 'a clock ticked' }));
  await on.settle();
  expect(all()).toHaveLength(1);
});

test('nobody is asked what is in doubt', async () => {
  const { id } = await session();
  on.judge(id, onScreen('Go on?', { confidence: 0.84 }));
  await on.settle();
  expect(all()).toEqual([]);
});

test('an answer is typed under the key of its question, and holds once the screen has moved on', async () => {
  const { id, link } = await session();
  on.judge(id, onScreen('Go on?'));
  await on.settle();
  const [asked] = open();
  const hitl = asked?.hitl_id ?? '';
  await desk().answer(hitl, { option: 'yes' }, 'ada');
  await until('the keys', () => link.typed.length === 1);
  expect(link.typed).toEqual([{ session: id, text: 'y\r', key: hitl }]);
  expect(state(hitl)).toBe('answering');
  on.judge(id, null);
  await on.settle();
  expect(state(hitl)).toBe('answered');
});

test('[N7] an answer whose link is lost while it is typed is typed over the next one, under the same key', async () => {
  const { id, link } = await session();
  on.judge(id, onScreen('Go on?'));
  await on.settle();
  const hitl = open()[0]?.hitl_id ?? '';
  const cut = Promise.withResolvers<void>();
  link.type = () => cut.promise;
  await desk().answer(hitl, { option: 'yes' }, 'ada');
  await on.settle();
  on.listener.lost(link, 'cut');
  cut.reject(new Failure('agent-gone', 'the link was lost'));
  await on.settle();
  const second = await on.connect('box');
  await on.pass(100);
  await until('the keys', () => second.typed.length === 1);
  expect(second.typed).toEqual([{ session: id, text: 'y\r', key: hitl }]);
  on.judge(id, null);
  await on.settle();
  expect(state(hitl)).toBe('answered');
});

test('an answer that changes nothing on the screen is undeliverable, and says what is still asked', async () => {
  const { id } = await session();
  on.judge(id, onScreen('Go on?'));
  await on.settle();
  const hitl = open()[0]?.hitl_id ?? '';
  await desk().answer(hitl, { option: 'yes' }, 'ada');
  await on.settle();
  await on.pass(9_000);
  expect(desk().find(hitl)).toMatchObject({
    state: 'undeliverable',
    failure: { message: expect.stringContaining('Go on?') },
  });
});

test('[H7] the text of a secret is in no entry, record, view or log line', async () => {
  const { id, link } = await session();
  on.judge(id, onScreen('Password:', { kind: 'secret', options: [] }));
  await on.settle();
  const hitl = open()[0]?.hitl_id ?? '';
  await desk().answer(hitl, { text: 'correct horse' }, 'ada');
  await until('the keys', () => link.typed.length === 1);
  expect(link.typed[0]?.text).toBe('correct horse\r');
  on.judge(id, null);
  await on.settle();
  expect(state(hitl)).toBe('answered');
  const written = [
    await on.journal.feed(0, 1_000),
    await on.journal.records({ limit: 1_000 }),
    all(),
    on.log,
  ];
  expect(JSON.stringify(written)).not.toContain('correct horse');
  expect(JSON.stringify(written)).toContain(hitl);
});

test('[H7] a secret that was not typed before a crash must be given again', async () => {
  const { id } = await session();
  on.judge(id, onScreen('Password:', { kind: 'secret', options: [] }));
  await on.settle();
  const hitl = open()[0]?.hitl_id ?? '';
  on.listener.lost(on.house.links.get('box' as never) as HandLink, 'cut');
  await desk().answer(hitl, { text: 'correct horse' }, 'ada');
  on = await on.crash();
  await on.connect('box');
  on.judge(id, onScreen('Password:', { kind: 'secret', options: [] }));
  await on.settle();
  expect(desk().find(hitl)).toMatchObject({ state: 'undeliverable' });
  await on.settle();
  expect(open().map(({ prompt }) => prompt)).toEqual(['Password:']);
});
