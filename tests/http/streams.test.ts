/** Server-sent events: nothing lost, nothing twice, and nothing left behind. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { frameText } from '../../src/http/sse.ts';
import { type House, house, problemOf, until } from './world.ts';

interface Told {
  readonly id: string | null;
  readonly event: string;
  readonly data: string;
}

/** A client of one stream: what it was sent, taken apart as the standard says. */
async function follow(on: House, path: string, headers: Record<string, string> = {}) {
  const leaving = new AbortController();
  const response = await on.get(path, {
    headers: { accept: 'text/event-stream', ...headers },
    signal: leaving.signal,
  });
  const told: Told[] = [];
  const client = { response, told, comments: 0, isOver: false, leave: () => leaving.abort() };
  const take = (block: string) => {
    const lines = block.split('\n');
    const of = (name: string) =>
      lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
    if (lines[0]?.startsWith(':')) client.comments += 1;
    else told.push({ id: of('id')[0] ?? null, event: of('event')[0] ?? '', data: of('data').join('\n') });
  };
  const reading = async () => {
    let rest = '';
    const decoder = new TextDecoder();
    for await (const part of response.body ?? []) {
      const blocks = (rest + decoder.decode(part, { stream: true })).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) take(block);
    }
  };
  void reading()
    .catch(() => {})
    .finally(() => {
      client.isOver = true;
    });
  return client;
}

describe('a stream of events', () => {
  let on: House;
  beforeAll(async () => {
    // 8 seconds of quiet are 40 ms here.
    on = await house({ speed: 200 });
  });
  afterAll(() => on.remove());

  test('[W14] begins now, tells each event once and in order, with ids that are taken up again', async () => {
    on.desks.events.happen('task.before');
    const first = await follow(on, '/api/v1/events');
    expect(first.response.headers.get('content-type')).toBe('text/event-stream');
    await until('the watch', () => on.desks.events.watchers === 1);
    for (let i = 0; i < 40; i++) on.desks.events.happen(`task.e${i}`);
    await until('forty', () => first.told.length === 40);
    expect(first.told.map(({ event }) => event)).toEqual(Array.from({ length: 40 }, (_, i) => `task.e${i}`));
    expect(JSON.parse(first.told[0]?.data ?? '')).toMatchObject({ id: 2, event_type: 'task.e0' });
    first.leave();
    const last = first.told[9]?.id as string;
    on.desks.events.happen('task.missed');
    const second = await follow(on, '/api/v1/events?follow=true', { 'last-event-id': last });
    await until('the rest', () => second.told.at(-1)?.event === 'task.missed');
    expect(second.told.map(({ event }) => event)).toEqual([
      ...Array.from({ length: 30 }, (_, i) => `task.e${i + 10}`),
      'task.missed',
    ]);
    second.leave();
    await until('no watch', () => on.desks.events.watchers === 0);
  });

  test('[W14] is one from the beginning after 0, and pages hold the same', async () => {
    const stream = await follow(on, '/api/v1/events?follow=true&after=0');
    const page = (await (await on.get('/api/v1/events?limit=3')).json()) as {
      events: { id: number }[];
      last_event_id: number;
    };
    expect(page.events.map(({ id }) => id)).toEqual([1, 2, 3]);
    expect(page.last_event_id).toBe(3);
    await until('the first', () => stream.told.length > 2);
    expect(stream.told.slice(0, 3).map(({ id }) => id)).toEqual(['1', '2', '3']);
    stream.leave();
    const end = await (await on.get('/api/v1/events?after=9999')).json();
    expect(end).toEqual({ events: [], last_event_id: 9999 });
  });

  test('[W14] of an id that is none is a problem, not a stream', async () => {
    for (const path of ['/api/v1/events', '/api/v1/sessions/s0/stream']) {
      on.desks.sessions.add('s0');
      for (const id of ['x', '-1', '1.5', '9007199254740993']) {
        const response = await on.get(path, {
          headers: { accept: 'text/event-stream', 'last-event-id': id },
        });
        expect([path, id, (await problemOf(response)).status]).toEqual([path, id, 400]);
      }
    }
  });

  test('[W15] says something while there is nothing to say, and still tells what comes', async () => {
    const stream = await follow(on, '/api/v1/events');
    await until('comments', () => stream.comments > 3);
    on.desks.events.happen('task.after_quiet');
    await until('the event', () => stream.told.length === 1);
    expect(stream.told[0]?.event).toBe('task.after_quiet');
    stream.leave();
  });

  test('[W15] is left by the server once the client has left', async () => {
    const streams = await Promise.all([1, 2, 3].map(() => follow(on, '/api/v1/events')));
    await until('three watches', () => on.desks.events.watchers === 3);
    for (const stream of streams) stream.leave();
    await until('no watch', () => on.desks.events.watchers === 0);
  });

  test('[W14] of a frame is one frame, whatever is in it', () => {
    const text = frameText({ id: '1\n2', event: 'a\r\nb', data: 'x\r\ny\rz\n' });
    expect(text).toBe('id: 1 2\nevent: a  b\ndata: x\ndata: y\ndata: z\ndata: \n\n');
  });
});

describe('the logs of a task', () => {
  let on: House;
  beforeAll(async () => {
    on = await house();
    on.desks.tasks.add({ id: 't1' });
  });
  afterAll(() => on.remove());

  test('[W14] are told from the beginning or from an id, and end with the task', async () => {
    const { tasks } = on.desks;
    tasks.log({ id: '1', event: 'stdout', data: 'one\ntwo' });
    tasks.log({ id: '2', event: 'progress', data: '{}' });
    const live = await follow(on, '/api/v1/tasks/t1/logs');
    await until('two', () => live.told.length === 2);
    expect(live.told[0]).toEqual({ id: '1', event: 'stdout', data: 'one\ntwo' });
    const left = await follow(on, '/api/v1/tasks/t1/logs');
    left.leave();
    await until('left', () => on.calls.includes('logs were left'));
    tasks.log({ id: '3', event: 'completed', data: '{}' });
    await until('the end', () => live.isOver);
    expect(live.told.map(({ event }) => event)).toEqual(['stdout', 'progress', 'completed']);
    const resumed = await follow(on, '/api/v1/tasks/t1/logs', { 'last-event-id': '2' });
    await until('the end again', () => resumed.isOver);
    expect(resumed.told.map(({ id }) => id)).toEqual(['3']);
    const query = await follow(on, '/api/v1/tasks/t1/logs?after=1');
    await until('the end once more', () => query.isOver);
    expect(query.told.map(({ id }) => id)).toEqual(['2', '3']);
  });

  test('[W14] that fail on the way say so as an event, and end', async () => {
    const tasks = on.desks.tasks as { logs: unknown };
    const logs = tasks.logs;
    tasks.logs = async function* () {
      yield { id: '1', event: 'stdout', data: 'one' };
      throw new TypeError('the vault is at /secret');
    };
    const stream = await follow(on, '/api/v1/tasks/t1/logs');
    await until('the end', () => stream.isOver);
    tasks.logs = logs;
    expect(stream.told.map(({ event }) => event)).toEqual(['stdout', 'error']);
    expect(stream.told[1]?.data).toContain('bug');
    expect(stream.told[1]?.data).not.toContain('vault');
  });
});

describe('the output of a session', () => {
  let on: House;
  beforeAll(async () => {
    on = await house();
  });
  afterAll(() => on.remove());

  const textOf = (told: readonly Told[]): string =>
    told
      .filter(({ event }) => event === 'output')
      .map(({ data }) => Buffer.from((JSON.parse(data) as { data_base64: string }).data_base64, 'base64'))
      .join('');

  test('[W16] comes from any offset on, as it is said, until the session has ended', async () => {
    const { sessions } = on.desks;
    sessions.add('s1');
    sessions.say('s1', 'hello ');
    const whole = await follow(on, '/api/v1/sessions/s1/stream');
    await until('what was said', () => textOf(whole.told) === 'hello ');
    sessions.say('s1', 'world');
    await until('what is said', () => textOf(whole.told) === 'hello world');
    const last = whole.told.find(({ event }) => event === 'output')?.id as string;
    sessions.end('s1', 3);
    await until('the end', () => whole.isOver);
    expect(whole.told.at(-1)).toMatchObject({ event: 'session_end', id: '11' });
    expect(JSON.parse(whole.told.at(-1)?.data ?? '')).toEqual({ exit_code: 3, reason: 'it exited' });
    const rest = await follow(on, '/api/v1/sessions/s1/stream', { 'last-event-id': last });
    await until('the end of the rest', () => rest.isOver);
    expect(textOf(rest.told)).toBe('hello world'.slice(Number(last)));
    const from = await follow(on, '/api/v1/sessions/s1/stream?from=8');
    await until('the end from 8', () => from.isOver);
    expect(textOf(from.told)).toBe('rld');
  });

  test('[W16] is the same bytes when there are many of them', async () => {
    const { sessions } = on.desks;
    sessions.add('s2');
    const said = Array.from({ length: 20_000 }, (_, i) => `line ${i}\r\n`).join('');
    const stream = await follow(on, '/api/v1/sessions/s2/stream');
    for (let at = 0; at < said.length; at += 5_000) sessions.say('s2', said.slice(at, at + 5_000));
    sessions.end('s2', 0);
    await until('the end', () => stream.isOver);
    expect(Bun.hash(textOf(stream.told))).toBe(Bun.hash(said));
  });

  test('[W16] can be read in pieces, and searched as text', async () => {
    const { sessions } = on.desks;
    sessions.add('s3');
    sessions.say('s3', '\x1b[31mRed alert\x1b[0m\r\nnothing\r\nred again');
    const piece = await on.get('/api/v1/sessions/s3/output?from=5&max=3');
    expect([await piece.text(), piece.headers.get('x-offset'), piece.headers.get('x-next-offset')]).toEqual([
      'Red',
      '5',
      '8',
    ]);
    const end = await on.get('/api/v1/sessions/s3/output?from=9999');
    expect([end.status, await end.text()]).toEqual([200, '']);
    const found = (await (await on.get('/api/v1/sessions/s3/transcript?q=RED')).json()) as {
      items: { text: string }[];
      next_offset: number | null;
    };
    expect(found.items.map(({ text }) => text)).toEqual(['Red alert', 'red again']);
    expect(found.next_offset).toBeNull();
  });
});

describe('a command that is followed', () => {
  let on: House;
  beforeAll(async () => {
    on = await house();
  });
  afterAll(() => on.remove());
  const exec = (body: object, headers = {}, signal?: AbortSignal) =>
    on.get('/api/v1/agents/local/exec', {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      ...(signal ? { signal } : {}),
    });

  test('[W17] is answered whole, or as events when they are asked for', async () => {
    const answer = await (await exec({ command: 'cat', stdin: 'in' })).json();
    expect(answer).toMatchObject({ exit_code: 3, stdout: 'in', stderr: 'err\n', truncated: false });
    const flood = (await (await exec({ command: 'flood' })).json()) as { stdout: string; truncated: boolean };
    expect([flood.stdout.length, flood.truncated]).toEqual([1 << 20, true]);
    const events = await (await exec({ command: 'cat' }, { accept: 'text/event-stream' })).text();
    expect([...events.matchAll(/^event: (.*)$/gm)].map(([, name]) => name)).toEqual([
      'stdout',
      'stderr',
      'completed',
    ]);
    const away = await on.post('/api/v1/agents/other/exec', { command: 'cat' });
    expect(await problemOf(away)).toMatchObject({ status: 502, code: 'agent-gone' });
    expect(away.headers.get('retry-after')).toBe('2');
  });

  for (const accept of ['application/json', 'text/event-stream']) {
    test(`[W17] is ended when whoever asked for ${accept} leaves`, async () => {
      on.calls.length = 0;
      const leaving = new AbortController();
      const answer = exec({ command: 'wait' }, { accept }, leaving.signal).catch(() => null);
      await until('the command', () => on.calls.some((call) => call.startsWith('exec local wait')));
      leaving.abort();
      await answer;
      await until('its end', () => on.calls.includes('exec was left'));
    });
  }
});

describe('the end of the server', () => {
  test('[W18] ends every stream and socket, waits for what is open, and then listens no more', async () => {
    const on = await house();
    on.desks.sessions.add('s1');
    const streams = await Promise.all([
      follow(on, '/api/v1/events'),
      follow(on, '/api/v1/sessions/s1/stream'),
    ]);
    const socket = new WebSocket(`${on.wsUrl}/ws/sessions/s1/attach`);
    const gone = new Promise<number>((resolve) => {
      socket.onclose = ({ code }) => resolve(code);
    });
    await new Promise((resolve) => {
      socket.onmessage = resolve;
    });
    const slow = Promise.withResolvers<void>();
    const instances = on.desks.instances as { start: unknown };
    let isAsked = false;
    instances.start = async () => {
      isAsked = true;
      await slow.promise;
      return { name: 'slow' };
    };
    const open = on.post('/api/v1/instances/local/start');
    await until('both', () => on.desks.events.watchers === 1 && isAsked);
    const closing = on.doors.close(60_000);
    for (const stream of streams) await until('the end of a stream', () => stream.isOver);
    expect(await gone).toBe(1001);
    slow.resolve();
    expect(await (await open).json()).toEqual({ name: 'slow' });
    await closing;
    await expect(on.get('/healthz')).rejects.toThrow();
    await on.remove();
  });

  test('[W18] does not wait for longer than its grace', async () => {
    const on = await house();
    const instances = on.desks.instances as { start: unknown };
    let isAsked = false;
    instances.start = () => {
      isAsked = true;
      return new Promise(() => {});
    };
    const open = on.post('/api/v1/instances/local/start').catch(() => null);
    await until('the request', () => isAsked);
    await on.doors.close(20);
    expect(await open).toBeNull();
    await on.remove();
  });
});
