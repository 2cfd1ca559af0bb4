/** Looking into the life of actors, over a real fleet whose effects the test answers. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { ChildSpec, Told } from '../../src/actors/port.ts';
import { hitlInput } from '../actors/inputs.ts';
import { type House, house, problemOf, tokens } from './world.ts';

let on: House;
const hitl = (id: string): ChildSpec => ({
  id: `hitl:${id}`,
  kind: 'hitl',
  input: { ...hitlInput, id },
  restart: 'on-failure',
  graceMs: 1_000,
  parent: 'session:s1',
});
const answer = { text: null, option: '1', by: 'ada', at: 200 };

beforeAll(async () => {
  on = await house();
  const { fleet, asked, settle } = on.life;
  await fleet.start(hitl('h1'), 100);
  await fleet.start(hitl('h2'), 110);
  await fleet.send('hitl:h1', { type: 'answer', at: 200, answer } as Told);
  await settle();
  await asked.find(({ actor }) => actor === 'hitl:h1')?.done();
});
afterAll(() => on.remove());

const get = async <T>(path: string): Promise<T> => {
  const response = await on.get(`/api/v1/actors${path}`);
  expect(response.status).toBe(200);
  return (await response.json()) as T;
};

interface Summary {
  readonly id: string;
  readonly state: unknown;
  readonly seq: number;
  readonly live: boolean;
}

test('[W35] every actor is listed, newest first, by kind and life, page after page', async () => {
  const list = async (query: string) => {
    const { actors, next } = await get<{ actors: Summary[]; next: string | null }>(query);
    return [actors.map(({ id, state, live }) => [id, state, live]), next];
  };
  const [one, two] = [
    ['hitl:h1', 'answered', false],
    ['hitl:h2', 'open', true],
  ];
  expect(await list('')).toEqual([[two, one], null]);
  expect(await list('?live=true')).toEqual([[two], null]);
  expect(await list('?kind=task')).toEqual([[], null]);
  expect(await list('?limit=1')).toEqual([[two], 'hitl:h2']);
  expect(await list('?limit=1&before=hitl:h2')).toEqual([[one], 'hitl:h1']);
  expect(await problemOf(await on.get('/api/v1/actors?before=nope'))).toMatchObject({
    status: 400,
    detail: 'before "nope" is no actor; give what `next` was in the last answer',
  });
});

test('[W44] a task, session or question is looked up before it is said not to be there', async () => {
  on.recalled.length = 0;
  for (const path of [
    '/api/v1/tasks/a',
    '/api/v1/tasks/b/logs',
    '/api/v1/sessions/c/screen',
    '/api/v1/hitl/d',
  ])
    expect((await problemOf(await on.get(path))).status).toBe(404);
  const upgrade = { connection: 'upgrade', upgrade: 'websocket' };
  await on.get('/ws/sessions/e/attach', { headers: upgrade });
  expect(on.recalled).toEqual(['task:a', 'task:b', 'session:c', 'hitl:d', 'session:e']);
});

test('[W36] an actor is shown whole, with its log; its id may be written with a colon or without', async () => {
  const [plain, encoded] = [await get<object>('/hitl:h1'), await get<object>('/hitl%3Ah1')];
  expect(plain).toEqual(encoded);
  expect(plain).toMatchObject({ id: 'hitl:h1', parent: 'session:s1', seq: 3, version: 1, children: [] });
  const { entries } = await get<{ entries: { seq: number; type: string; timestamp: string }[] }>(
    '/hitl:h1/log',
  );
  expect(entries.map(({ seq, type }) => [seq, type])).toEqual([
    [1, 'born'],
    [2, 'answer'],
    [3, 'xstate.done.actor.deliver'],
  ]);
  expect(entries[1]?.timestamp).toBe('1970-01-01T00:00:00.200Z');
  const { entries: rest } = await get<{ entries: { seq: number }[] }>('/hitl:h1/log?from=2&limit=1');
  expect(rest.map(({ seq }) => seq)).toEqual([2]);
});

test('[W37] its state after any entry is recomputed, and what changed between two is told by path', async () => {
  const states = await Promise.all(
    [1, 2, 3].map((seq) => get<{ value: unknown; live: boolean; ports: object }>(`/hitl:h1/at/${seq}`)),
  );
  expect(states.map(({ value, live, ports }) => [value, live, Object.keys(ports)])).toEqual([
    ['open', true, ['alarm']],
    ['answering', true, ['deliver']],
    ['answered', false, []],
  ]);
  expect(states[0]).toMatchObject({ context: { answer: null }, view: { state: 'open' } });
  type Changes = { from: number; to: number; changes: { path: string; from: unknown; to: unknown }[] };
  const last = await get<Changes>('/hitl:h1/diff');
  expect([last.from, last.to]).toEqual([2, 3]);
  expect(last.changes).toContainEqual({ path: 'value', from: 'answering', to: 'answered' });
  const whole = await get<Changes>('/hitl:h1/diff?from=1&to=2');
  expect(whole.changes.map(({ path }) => path)).toContain('context.answer');
  expect(whole.changes).toContainEqual({ path: 'value', from: 'open', to: 'answering' });
  expect((await get<Changes>('/hitl:h1/diff?from=2&to=2')).changes).toEqual([]);
});

test('[W37] what is not there is named with what is', async () => {
  const problem = async (path: string) => {
    const { status, detail } = await problemOf(await on.get(`/api/v1/actors${path}`));
    return `${status} ${detail}`;
  };
  expect(await problem('/task:nobody')).toBe('404 there is no actor "task:nobody"; see GET /api/v1/actors');
  expect(await problem('/hitl:h1/at/4')).toContain('404 hitl:h1 has entries from 1 to 3');
  expect(await problem('/hitl:h1/at/zero')).toContain('400 seq "zero"');
  expect(await problem('/hitl:h1/at/1e1')).toContain('400 seq "1e1" is not a whole number from 1 on');
  expect(await problem('/hitl:h1/diff?from=3&to=1')).toContain('400 from 3 is after to 1');
  expect(await problem('?kind=ghost')).toContain('400');
});

test('[W36] lists are for viewers, lives for operators', async () => {
  const own = await house();
  const token = await tokens(own.access);
  const status = async (path: string, role: 'viewer' | 'operator') =>
    (await own.get(path, { headers: { authorization: `Bearer ${token[role]}` } })).status;
  await own.life.fleet.start(hitl('h1'), 100);
  expect(await status('/api/v1/actors', 'viewer')).toBe(200);
  for (const path of ['', '/log', '/at/1', '/diff']) {
    expect(await status(`/api/v1/actors/hitl:h1${path}`, 'viewer')).toBe(403);
    expect(await status(`/api/v1/actors/hitl:h1${path}`, 'operator')).toBe(200);
  }
  await own.remove();
});
