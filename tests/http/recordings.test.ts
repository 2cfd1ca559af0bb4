/** Recordings by HTTP: listed, scrubbed, taken home, searched, removed. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { SessionId } from '../../src/ids.ts';
import { type House, house, problemOf, tokens } from './world.ts';

let on: House;
beforeAll(async () => {
  on = await house();
});
afterAll(() => on.remove());

const json = async <T>(path: string): Promise<T> => {
  const answer = await on.get(path);
  expect([path, answer.status]).toEqual([path, 200]);
  return (await answer.json()) as T;
};

interface Listed {
  readonly session_id: string;
  readonly agent_id: string | null;
  readonly live: boolean;
  readonly output_bytes: number;
  readonly size_bytes: number;
  readonly duration_ms: number;
  readonly gaps: { readonly count: number; readonly bytes: number };
  readonly cols: number | null;
  readonly first_at: string;
  readonly cast_url: string;
  readonly screen_url: string;
}

interface Page {
  readonly recordings: readonly Listed[];
  readonly next: string | null;
}

/** As their ids tell, one begins a minute after the other. */
const idOf = (n: number) => `0192${String(1000 + n)}-0000-7000-8000-00000000000${n % 10}`;

describe('the list of recordings', () => {
  beforeAll(() => {
    const { sessions } = on.desks;
    for (let n = 0; n < 7; n++) {
      sessions.add(idOf(n), { agent_id: n % 2 ? 'odd' : 'even', task_id: n === 3 ? 't3' : null });
      sessions.say(idOf(n), `said by ${n}\r\nNeedle ${n}\r\n`);
      if (n < 4) sessions.end(idOf(n), 0);
    }
    // Nobody remembers this one.
    const forgotten = sessions.plane.open('forgotten' as SessionId, { cols: 30, rows: 5, pty: true });
    forgotten.output('stdout', Buffer.from('a forgotten word'), 0);
    forgotten.output('stdout', Buffer.from(', later'), 100);
    forgotten.ended(0, 'it exited');
    sessions.plane.release('forgotten' as SessionId);
  });

  test('[W38] comes in pages, newest first, with what each holds', async () => {
    const ids: string[] = [];
    let before = '';
    for (let pages = 0; ; pages++) {
      const { recordings, next }: Page = await json(`/api/v1/recordings?limit=3${before}`);
      expect(recordings.length).toBeLessThanOrEqual(3);
      ids.push(...recordings.map(({ session_id }) => session_id));
      if (next === null) break;
      before = `&before=${encodeURIComponent(next)}`;
      expect(pages).toBeLessThan(5);
    }
    expect(ids).toEqual(['forgotten', ...[6, 5, 4, 3, 2, 1, 0].map(idOf)]);
    const { recordings }: Page = await json('/api/v1/recordings');
    const [first, second] = recordings;
    expect(first).toMatchObject({ live: false, agent_id: null, cols: 30, output_bytes: 23 });
    expect(first?.gaps).toEqual({ count: 1, bytes: 84 });
    expect(second).toMatchObject({ live: true, agent_id: 'even', cols: 80, gaps: { count: 0, bytes: 0 } });
    expect(second?.size_bytes).toBeGreaterThan(second?.output_bytes ?? 0);
  });

  test('[W38] goes on after one that is removed meanwhile, and not after one that never was', async () => {
    const { sessions } = on.desks;
    sessions.add('gone');
    sessions.end('gone', 0);
    const removal = { at: 1, by: 'ada', reason: 'a test' };
    await sessions.plane.recordings.remove('gone' as SessionId, removal);
    const rest: Page = await json('/api/v1/recordings?before=gone');
    expect(rest.recordings.map(({ session_id }) => session_id)).toEqual(
      ['forgotten', ...[6, 5, 4, 3, 2, 1, 0].map(idOf)].filter((id) => id < 'gone'),
    );
    expect(await problemOf(await on.get('/api/v1/recordings?before=x'))).toMatchObject({
      status: 400,
      detail: 'before "x" is none; give what `next` was in the last answer',
    });
  });

  test('[W38] is told by agent and by task', async () => {
    const odd: Page = await json('/api/v1/recordings?agent=odd');
    expect(odd.recordings.map(({ session_id }) => session_id)).toEqual([5, 3, 1].map(idOf));
    const ofTask: Page = await json('/api/v1/recordings?task=t3');
    expect(ofTask.recordings.map(({ session_id }) => session_id)).toEqual([idOf(3)]);
  });

  test('[W38] leads to one with its marks, its screen and its files, also when nobody remembers the session', async () => {
    const one = await json<{ marks: object[]; next_mark_offset: null }>(
      '/api/v1/sessions/forgotten/recording',
    );
    expect(one.marks).toMatchObject([
      { kind: 'resize', offset: 0, cols: 30, rows: 5 },
      { kind: 'gap', offset: 16, bytes: 84 },
      { kind: 'end', offset: 107, exit_code: 0, reason: 'it exited' },
    ]);
    expect(one.next_mark_offset).toBeNull();
    const screen = await json<object>('/api/v1/sessions/forgotten/screen?offset=999');
    expect(screen).toMatchObject({
      text: 'a forgotten word, later',
      offset: 107,
      gaps: { count: 1, bytes: 84 },
    });
    expect(await json<object>('/api/v1/sessions/forgotten/screen')).toEqual(screen);
    expect((await problemOf(await on.get('/api/v1/sessions/never/screen'))).status).toBe(404);
    expect((await problemOf(await on.get('/api/v1/sessions/forgotten/stream'))).detail).toContain('.txt');
    expect(await (await on.get('/api/v1/sessions/forgotten/recording.txt')).text()).toContain(
      '84 bytes missing',
    );
    expect((await problemOf(await on.get('/api/v1/sessions/never/recording'))).status).toBe(404);
  });

  test('[W41] all are searched, newest first, in steps that go on', async () => {
    interface Found {
      readonly items: readonly { session_id: string; text: string; at: string; screen_url: string }[];
      readonly next: string | null;
    }
    const found: string[] = [];
    let before = '';
    for (let steps = 0; ; steps++) {
      const page: Found = await json(`/api/v1/recordings/search?q=NEEDLE&limit=2${before}`);
      found.push(...page.items.map(({ text }) => text));
      for (const { screen_url, text } of page.items) {
        const screen = await json<{ text: string }>(screen_url);
        expect(screen.text.endsWith(text)).toBe(true);
      }
      if (page.next === null) break;
      before = `&before=${encodeURIComponent(page.next)}`;
      expect(steps).toBeLessThan(6);
    }
    expect(found).toEqual([6, 5, 4, 3, 2, 1, 0].map((n) => `Needle ${n}`));
    const odd: Found = await json('/api/v1/recordings/search?q=needle&agent=odd');
    expect(odd.items.map(({ text }) => text)).toEqual(['Needle 5', 'Needle 3', 'Needle 1']);
    const never: Found = await json('/api/v1/recordings/search?q=needle&to=2001-01-01T00:00:00Z');
    expect(never).toEqual({ items: [], next: null });
    const later: Found = await json('/api/v1/recordings/search?q=needle&from=2001-01-01T00:00:00Z');
    expect(later.items).toHaveLength(7);
    for (const query of ['q=n', 'q=needle&from=yesterday', 'q=needle&before=x', 'q=needle&before=never@0']) {
      expect((await problemOf(await on.get(`/api/v1/recordings/search?${query}`))).status).toBe(400);
    }
    const [from, to] = ['2026-01-02T00:00:00Z', '2026-01-01T00:00:00Z'];
    const backwards = await on.get(`/api/v1/recordings/search?q=needle&from=${from}&to=${to}`);
    expect(await problemOf(backwards)).toMatchObject({
      status: 400,
      detail: `from ${from} is after to ${to}; give the earlier one as from`,
    });
  });
});

describe('the past of a session', () => {
  test('[W39] is shown at an offset and at a time', async () => {
    const { sessions } = on.desks;
    sessions.add('past');
    sessions.say('past', 'first');
    await Bun.sleep(30);
    sessions.say('past', '\x1b[2J\x1b[Hsecond');
    const { first_at } = await json<Listed>('/api/v1/sessions/past/recording');
    const shown = { text: 'first', offset: 5, gaps: { count: 0, bytes: 0 } };
    const at = (query: string) => json<{ at: string | null }>(`/api/v1/sessions/past/screen${query}`);
    expect(await at('?offset=5')).toMatchObject(shown);
    expect(await at('?at=15')).toMatchObject(shown);
    const then = new Date(Date.parse(first_at) + 15).toISOString();
    expect(Date.parse((await at(`?at=${then}`)).at ?? '')).toBeLessThanOrEqual(Date.parse(then));
    expect(await at(`?at=${then}`)).toMatchObject(shown);
    expect(await at('?at=9999')).toMatchObject({ text: 'second' });
    expect(await at('')).toMatchObject({ text: 'second', at: null, gaps: { count: 0, bytes: 0 } });
    const noDays = ['?at=2026-13-01T00:00:00Z', '?at=2026-02-30T12:00:00Z', '?at=2025-02-29T12:00:00Z'];
    for (const query of ['?at=soon', '?at=1&offset=1', '?offset=-1', ...noDays]) {
      expect((await problemOf(await on.get(`/api/v1/sessions/past/screen${query}`))).status).toBe(400);
    }
  });

  test('[W40] is taken home as a cast and as text, while it goes on', async () => {
    const { sessions } = on.desks;
    sessions.add('home', { agent_id: 'local', session_name: 'my work', command: 'vi', args: ['a'] });
    sessions.say('home', 'größe\r\n'.repeat(3_000));
    const cast = await on.get('/api/v1/sessions/home/recording.cast?idle_limit=1.5');
    expect(cast.headers.get('content-type')).toBe('application/x-asciicast');
    expect(cast.headers.get('content-disposition')).toBe(
      'attachment; filename="local-my_work-20260102T030405Z.cast"',
    );
    const [header = '', ...events] = (await cast.text()).trimEnd().split('\n');
    expect(JSON.parse(header)).toMatchObject({ version: 2, width: 80, title: 'my work', command: 'vi a' });
    expect(events.map((line) => JSON.parse(line)[2]).join('')).toBe('größe\r\n'.repeat(3_000));
    const text = await on.get('/api/v1/sessions/home/recording.txt');
    expect(text.headers.get('content-disposition')).toContain('.txt"');
    expect(await text.text()).toBe('größe\n'.repeat(3_000));
    const head = await on.get('/api/v1/sessions/home/recording.cast', { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
    expect(head.headers.get('content-length')).toBeNull();
    for (const [query, detail] of [
      ['from=x', 'from "x" is no time'],
      ['to=x', 'to "x" is no time'],
      ['from=2026-02-30T12:00:00Z', 'is no time'],
      ['idle_limit=0', 'idle_limit "0" is no time; give seconds, more than 0, such as 2 or 0.5'],
      ['idle_limit=-1', 'idle_limit "-1" is no time'],
      ['idle_limit=x', 'idle_limit "x" is no time'],
      ['from=5&to=1', 'from 5 is after to 1; give the earlier one as from'],
      ['from=5&to=2001-01-01T00:00:00Z', 'from 5 is after to 2001-01-01T00:00:00.000Z'],
      ['from=999999999', 'from 999999999 is after the end of the recording: it is '],
    ] as const) {
      const refused = await problemOf(await on.get(`/api/v1/sessions/home/recording.cast?${query}`));
      expect(refused).toMatchObject({ status: 400, detail: expect.stringContaining(detail) });
    }
  });

  test('[W40] is taken home from its very end, and what it says of its length is its length', async () => {
    const { sessions } = on.desks;
    sessions.add('short');
    sessions.say('short', 'one');
    await Bun.sleep(5);
    sessions.say('short', 'two');
    sessions.end('short', 0);
    const { duration_ms } = await json<Listed>('/api/v1/sessions/short/recording');
    const cast = (from: number) => on.get(`/api/v1/sessions/short/recording.cast?from=${from}`);
    expect((await cast(duration_ms)).status).toBe(200);
    const beyond = await problemOf(await cast(duration_ms + 1));
    expect(beyond.detail).toContain(`it is ${duration_ms} ms long`);
  });
});

describe('the removal of a recording', () => {
  let open: House;
  beforeAll(async () => {
    open = await house();
  });
  afterAll(() => open.remove());

  test('[W42] is for admins, of what has ended, and every read says so afterwards', async () => {
    const { sessions } = open.desks;
    sessions.add('s');
    sessions.say('s', 'a secret');
    const held = await tokens(open.access);
    const ask = (method: string, path: string, token: string) =>
      open.get(path, { method, headers: { authorization: `Bearer ${token}` } });
    const path = '/api/v1/sessions/s/recording';
    for (const token of [held.viewer, held.operator]) {
      expect((await problemOf(await ask('DELETE', path, token))).status).toBe(403);
    }
    expect(await problemOf(await ask('DELETE', path, held.admin))).toMatchObject({ code: 'wrong-state' });
    sessions.end('s', 0);
    const removed = await ask('DELETE', path, held.admin);
    expect(await removed.json()).toMatchObject({ session_id: 's', removed: { by: 'admin' } });
    for (const read of ['screen', 'screen?offset=1', 'output', 'transcript', 'stream', 'recording']) {
      const problem = await problemOf(await ask('GET', `/api/v1/sessions/s/${read}`, held.viewer));
      expect([read, problem.status, problem.detail]).toEqual([read, 404, expect.stringContaining('removed')]);
    }
    expect((await ask('GET', `${path}.cast`, held.viewer)).status).toBe(404);
    expect((await ask('GET', `${path}.txt`, held.viewer)).status).toBe(404);
    expect(await problemOf(await ask('DELETE', path, held.admin))).toMatchObject({ status: 404 });
  });
});
