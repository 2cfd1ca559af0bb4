/** Every error of every door is a problem document that says what to do. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Clock } from '../../src/clock.ts';
import { Failure, type FailureCode, failures } from '../../src/failure.ts';
import { rateLimit } from '../../src/http/gate.ts';
import { problemOf as problemFor } from '../../src/http/problem.ts';
import { type House, house, problemOf, raw } from './world.ts';

let on: House;
beforeAll(async () => {
  on = await house();
});
afterAll(() => on.remove());

describe('an error', () => {
  test('[W1] of a body that is not valid names each field and its fault', async () => {
    const problem = await problemOf(
      await on.post('/api/v1/instances', { name: '', lables: {}, labels: { a: 1 } }),
    );
    expect(problem).toMatchObject({ status: 400, code: 'bad-input', instance: '/api/v1/instances' });
    expect(problem.faults?.map(({ path }) => path).sort()).toEqual(['labels.a', 'lables', 'name']);
    for (const { message } of problem.faults ?? []) expect(message).not.toBe('');
    const lables = problem.faults?.find(({ path }) => path === 'lables');
    expect(lables?.message).toContain('spelling');
  });

  test('[W1] of a query that is not valid names the parameter', async () => {
    for (const query of ['limit=none', 'limit=0', 'limit=1.5', 'offset=-1', 'limit=']) {
      const problem = await problemOf(await on.get(`/api/v1/tasks?${query}`));
      expect([query, problem.status, problem.faults?.[0]?.path]).toEqual([
        query,
        400,
        query.split('=')[0] as string,
      ]);
    }
    const problem = await problemOf(await on.get('/api/v1/hitl?state=closed'));
    expect(problem).toMatchObject({ status: 400, faults: [{ path: 'state' }] });
    const follow = await problemOf(await on.get('/api/v1/events?follow=maybe'));
    expect(follow).toMatchObject({ status: 400, faults: [{ path: 'follow' }] });
  });

  test('[W1] of a missing body names what is missing', async () => {
    const problem = await problemOf(await on.post('/api/v1/instances'));
    expect(problem).toMatchObject({ status: 400, faults: [{ path: 'name' }] });
  });

  test('[W1] of malformed JSON is a 400 that says so', async () => {
    for (const body of ['{"name":', '{name: 1}', '\u0000', '[1,']) {
      const problem = await problemOf(await on.post('/api/v1/instances', body));
      expect(problem).toMatchObject({ status: 400, code: 'bad-input' });
      expect(problem.detail).toContain('not JSON');
    }
    const list = await problemOf(await on.post('/api/v1/instances', '[]'));
    expect(list.status).toBe(400);
  });

  test('[W1] of a desk is told with its code, status, faults and when to try again', async () => {
    const instances = on.desks.instances as { start: unknown };
    const start = instances.start;
    for (const [code, { http, retry }] of Object.entries(failures) as [
      FailureCode,
      (typeof failures)[FailureCode],
    ][]) {
      instances.start = async () => {
        throw new Failure(code, `of ${code}`, { faults: [{ path: 'a.b', message: 'is wrong' }] });
      };
      const response = await on.post('/api/v1/instances/local/start');
      expect(response.headers.get('retry-after')).toBe(retry ? '2' : null);
      expect(response.headers.get('www-authenticate')).toBe(code === 'unauthenticated' ? 'Bearer' : null);
      const problem = await problemOf(response);
      expect(problem).toMatchObject({
        status: http,
        code,
        detail: `of ${code}`,
        faults: [{ path: 'a.b', message: 'is wrong' }],
      });
    }
    instances.start = start;
  });

  test('[W1] that is a bug is logged and not told', async () => {
    const instances = on.desks.instances as { start: unknown };
    const start = instances.start;
    instances.start = () => {
      throw new TypeError('the vault is at /secret');
    };
    const response = await on.post('/api/v1/instances/local/start');
    instances.start = start;
    const problem = await problemOf(response);
    expect(problem).toMatchObject({ status: 500, code: 'bug' });
    expect(JSON.stringify(problem)).not.toContain('vault');
    expect(on.errors.join('\n')).toContain('the vault is at /secret');
  });

  test('[W2] of a place that is not there is a 404', async () => {
    for (const path of ['/nowhere', '/api/v1/nothing', '/ws/sessions/a/other', '/api/v1']) {
      expect(await problemOf(await on.get(path))).toMatchObject({
        status: 404,
        code: 'not-found',
        instance: path,
      });
    }
    for (const path of ['agents/x', 'instances/x', 'sessions/x', 'tasks/x', 'hitl/x', 'sessions/x/screen']) {
      const problem = await problemOf(await on.get(`/api/v1/${path}`));
      expect([path, problem.status]).toEqual([path, 404]);
    }
  });

  test('[W2] of another method is a 405 that lists those that do', async () => {
    const cases: [string, string, string][] = [
      ['PUT', '/api/v1/instances', 'GET, HEAD, POST'],
      ['DELETE', '/api/v1/agents', 'GET, HEAD'],
      ['GET', '/api/v1/instances/local/start', 'POST'],
      ['PATCH', '/api/v1/tasks/t0', 'DELETE, GET, HEAD'],
      ['POST', '/docs', 'GET, HEAD'],
      ['POST', '/api/v1/tasks/t0/artifacts/a/b.txt', 'GET, HEAD'],
      ['OPTIONS', '/api/v1/agents', 'GET, HEAD'],
      ['HEAD', '/api/v1/instances/local/start', 'POST'],
      ['POST', '/', 'GET, HEAD'],
    ];
    for (const [method, path, allow] of cases) {
      const response = await on.get(path, { method });
      expect([method, path, response.status]).toEqual([method, path, 405]);
      expect(response.headers.get('allow')?.split(', ').sort().join(', ')).toBe(allow);
      if (method !== 'HEAD') expect((await problemOf(response)).code).toBe('method-not-allowed');
    }
  });

  test('[W3] of a body that is too large is a 413, said or not said beforehand', async () => {
    const big = JSON.stringify({ name: 'x'.repeat(2 << 20) });
    expect((await problemOf(await on.post('/api/v1/instances', big))).code).toBe('too-large');
    const chunks = async function* () {
      for (let i = 0; i < 64; i++) yield Buffer.alloc(64 << 10, 'x');
    };
    const response = await fetch(`${on.url}/api/v1/instances`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: chunks() as never,
    });
    expect((await problemOf(response)).code).toBe('too-large');
  });

  test('[W3] of a content type that is not understood is a 415 that names one that is', async () => {
    for (const type of ['text/plain', 'application/xml', 'multipart/form-data; boundary=x']) {
      const problem = await problemOf(
        await on.post('/api/v1/instances', '{"name":"a"}', { 'content-type': type }),
      );
      expect(problem).toMatchObject({ status: 415, code: 'unsupported-media-type' });
      expect(problem.detail).toContain('application/json');
    }
    const xml = await on.post('/api/v1/tasks', '<a/>', { 'content-type': 'application/xml' });
    expect(await problemOf(xml)).toMatchObject({ status: 415 });
    const merge = await on.post('/api/v1/instances', '{"name":"merge"}', {
      'content-type': 'application/merge-patch+json',
    });
    expect(merge.status).toBe(201);
  });

  test('[W1] of a path that is not UTF-8 is a 400', async () => {
    const answer = await raw(
      on.doors.httpPort,
      `GET /api/v1/agents/%ff%fe HTTP/1.1\r\nHost: 127.0.0.1:${on.doors.httpPort}\r\n\r\n`,
    );
    expect(answer).toStartWith('HTTP/1.1 400');
    expect(answer).toContain('application/problem+json');
    const socket = await raw(
      on.doors.httpPort,
      `GET /ws/sessions/%ff/attach HTTP/1.1\r\nHost: 127.0.0.1:${on.doors.httpPort}\r\n` +
        'Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    expect(socket).toStartWith('HTTP/1.1 400');
    expect(on.errors.filter((line) => line.startsWith('a bug at the door'))).toEqual([]);
  });
});

describe('too many requests', () => {
  test('[W4] from one address are a 429 that says when to come back', async () => {
    const busy = await house({
      options: { limits: { rate: { perSecond: 1, burst: 3 } } },
    });
    try {
      const answers = await Promise.all(Array.from({ length: 5 }, () => busy.get('/healthz')));
      const late = answers.filter(({ status }) => status === 429);
      expect(late).toHaveLength(2);
      expect(Number(late[0]?.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
      expect((await problemOf(late[0] as Response)).code).toBe('over-quota');
      busy.clock.skip(3_000);
      expect((await busy.get('/healthz')).status).toBe(200);
    } finally {
      await busy.remove();
    }
  });
});

test('[W4] a clock that is set back shuts nobody out', () => {
  let now = 1_000_000;
  const clock: Clock = { now: () => now, setTimeout: () => null, clearTimeout() {} };
  const slowDown = rateLimit(clock, { perSecond: 1, burst: 3 });
  slowDown('ada');
  now -= 3_600_000;
  slowDown('ada');
  slowDown('ada');
  expect(() => slowDown('ada')).toThrow('slow down');
  now += 1_000;
  slowDown('ada');
});

test('[O21] a disk that is full is named', () => {
  for (const code of ['ENOSPC', 'EDQUOT', 'SQLITE_FULL'])
    expect(problemFor(Object.assign(new Error('full'), { code }))).toMatchObject({
      status: 503,
      detail: expect.stringContaining('disk of the server is full'),
      headers: { 'retry-after': '30' },
    });
  expect(problemFor(Object.assign(new Error('x'), { code: 'EIO' })).status).toBe(500);
  expect(problemFor(null).status).toBe(500);
});

describe('HEAD', () => {
  test('[W5] answers as GET does, without the body', async () => {
    for (const path of [
      '/healthz',
      '/',
      '/openapi.json',
      '/docs',
      '/metrics',
      '/api/v1/agents',
      '/api/v1/agents/x',
    ]) {
      const get = await on.get(path);
      const head = await on.get(path, { method: 'HEAD' });
      expect([path, head.status, head.headers.get('content-type')]).toEqual([
        path,
        get.status,
        get.headers.get('content-type'),
      ]);
      expect(await head.text()).toBe('');
      // A length that is not known is not told; it is not 0.
      expect(head.headers.get('content-length')).toBeNull();
    }
  });

  test('[W5] of a stream ends at once, and leaves it', async () => {
    const head = await on.get('/api/v1/events?follow=true', { method: 'HEAD' });
    expect(head.headers.get('content-type')).toBe('text/event-stream');
    expect(await head.text()).toBe('');
    expect(on.desks.events.watchers).toBe(0);
  });
});
