/** What the doors note: each change, each refusal, who, from where, by which route, and how it ended. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { verifyAudit } from '../../src/audit/verify.ts';
import type { AuditRecord } from '../../src/audit.ts';
import { client } from './socket.ts';
import { type House, house, problemOf, tokens, until } from './world.ts';

let on: House;
beforeEach(async () => {
  on = await house();
});
afterEach(() => on.remove());

const dir = () => join(on.dir, 'audit');

/** Oldest first. Refusals are written in the background. */
function records(): AuditRecord[] {
  const files = readdirSync(dir()).filter((name) => name.endsWith('.jsonl'));
  return files
    .sort()
    .flatMap((name) => readFileSync(join(dir(), name), 'utf8').split('\n').filter(Boolean))
    .map((line) => JSON.parse(line) as AuditRecord);
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('a call', () => {
  test('[O7] that may change something is noted before it is answered, with who, where, what and how it ended', async () => {
    const held = await tokens(on.access);
    await on.post('/api/v1/instances/local/stop', undefined, bearer(held.operator));
    const [, operator] = on.access.list();
    expect(records().at(-1)).toMatchObject({
      door: 'http',
      caller: { name: 'operator', role: 'operator', via: 'token', id: operator?.id },
      from: '127.0.0.1',
      proxied: false,
      method: 'POST',
      route: '/api/v1/instances/:name/stop',
      params: { name: 'local' },
      outcome: 'done',
      status: 200,
      code: null,
    });
    await on.post('/api/v1/hitl/nothing/respond', { text: 'my answer' }, bearer(held.operator));
    expect(records().at(-1)).toMatchObject({ outcome: 'failed', status: 404, code: 'not-found' });
    await on.post('/api/v1/hitl/nothing/respond', 'garbage', bearer(held.operator));
    expect(records().at(-1)).toMatchObject({ outcome: 'failed', status: 400, code: 'bad-input' });
    const before = records().length;
    await (await on.get('/api/v1/agents', { headers: bearer(held.viewer) })).json();
    expect(records()).toHaveLength(before);
    const text = JSON.stringify(records());
    for (const secret of [...Object.values(held), 'my answer', 'garbage']) expect(text).not.toContain(secret);
  });

  test('[O7] without tokens is that of the local admin', async () => {
    await on.post('/api/v1/instances/local/stop');
    expect(records().at(-1)?.caller).toEqual({ name: 'local', role: 'admin', via: 'local', id: null });
  });

  test('[O7] that is refused is noted, also before a route is looked for', async () => {
    const held = await tokens(on.access);
    await on.get('/api/v1/agents');
    await on.get('/api/v1/tokens', { headers: bearer(held.viewer) });
    await on.get('/api/v1/agents', { headers: { origin: 'http://evil.example' } });
    await on.get('/ws/sessions/s1/attach');
    const found = await until('four refusals', () => {
      const refused = records().filter(({ outcome }) => outcome === 'refused');
      return refused.length === 4 && refused;
    });
    expect(found.map(({ door, route, status, caller }) => [door, route, status, caller?.name])).toEqual([
      ['http', '/api/v1/agents', 401, undefined],
      ['http', '/api/v1/tokens', 403, 'viewer'],
      ['http', null, 403, undefined],
      ['ws', '/ws/sessions/:id/attach', 401, undefined],
    ]);
  });

  test('[O7] that is refused is noted with what it was about', async () => {
    const held = await tokens(on.access);
    await on.post('/api/v1/instances/web%2F1/stop', undefined, bearer(held.viewer));
    await on.post('/api/v1/instances/web-2/stop');
    const found = await until('two refusals', () => {
      const refused = records().filter(({ outcome }) => outcome === 'refused');
      return refused.length === 2 && refused;
    });
    expect(found).toMatchObject([
      { route: '/api/v1/instances/:name/stop', status: 403, params: { name: 'web/1' } },
      { route: '/api/v1/instances/:name/stop', status: 401, params: { name: 'web-2' } },
    ]);
  });

  test('[F25] that writes or removes a file is noted with its path', async () => {
    const box = `${on.url}/api/v1/storage/instances/local/inbox`;
    const asked: readonly (readonly [string, string])[] = [
      ['PUT', '?path=a/b.txt&parents=true'],
      ['POST', '/_mkdir?path=c'],
      ['DELETE', '?raw_path=a%252Fb.txt'],
      ['DELETE', '?path=nothing'],
    ];
    const body = (method: string) => (method === 'PUT' ? { body: 'words of it' } : {});
    for (const [method, rest] of asked) await fetch(box + rest, { method, ...body(method) });
    expect(records().map(({ method, params, outcome }) => [method, params, outcome])).toEqual([
      ['PUT', { name: 'local', path: 'a/b.txt' }, 'done'],
      ['POST', { name: 'local', path: 'c' }, 'done'],
      ['DELETE', { name: 'local', path: 'a%2Fb.txt' }, 'done'],
      ['DELETE', { name: 'local', path: 'nothing' }, 'failed'],
    ]);
    expect(JSON.stringify(records())).not.toContain('words of it');
  });

  test('[O7] that makes or revokes a token says which, and never the token', async () => {
    const made = await on.post('/api/v1/tokens', { name: 'ada', role: 'admin' });
    const { token, operator } = (await made.json()) as { token: string; operator: { id: string } };
    expect(records().at(-1)).toMatchObject({
      route: '/api/v1/tokens',
      params: { id: operator.id, name: 'ada', role: 'admin' },
    });
    await fetch(`${on.url}/api/v1/tokens/${operator.id}`, { method: 'DELETE', headers: bearer(token) });
    expect(records().at(-1)).toMatchObject({
      method: 'DELETE',
      route: '/api/v1/tokens/:id',
      params: { id: operator.id },
      caller: { name: 'ada', id: operator.id },
    });
    expect(JSON.stringify(records())).not.toContain(token);
  });

  test('[O7] on a WebSocket is noted where it controls: at the beginning, and when control is taken', async () => {
    on.desks.sessions.add('s1');
    const held = await tokens(on.access);
    const watch = client(`${on.wsUrl}/ws/sessions/s1/attach?access_token=${held.operator}`);
    await watch.told('hello');
    expect(records().filter(({ door }) => door === 'ws')).toEqual([]);
    watch.say({ type: 'control', action: 'take' });
    const [taken] = await until('it is noted', () => {
      const found = records().filter(({ door }) => door === 'ws');
      return found.length > 0 && found;
    });
    expect(taken).toMatchObject({
      method: 'take control',
      route: '/ws/sessions/:id/attach',
      params: { id: 's1', role: 'observer' },
      caller: { name: 'operator', via: 'token' },
    });
    const write = client(
      `${on.wsUrl}/ws/sessions/s1/orchestrate?role=controller&access_token=${held.operator}`,
    );
    await write.told('session_start');
    expect(records().at(-1)).toMatchObject({
      method: 'GET',
      route: '/ws/sessions/:id/orchestrate',
      params: { id: 's1', role: 'controller' },
      status: 101,
    });
    watch.socket.close();
    write.socket.close();
    expect(JSON.stringify(records())).not.toContain(held.operator);
  });
});

describe('an audit log that cannot be written', () => {
  test('[O4] refuses what would change something, before it does, and lets the rest go on', async () => {
    await on.post('/api/v1/instances/local/stop');
    const done = on.calls.length;
    renameSync(dir(), `${dir()}.away`);
    writeFileSync(dir(), 'in the way');
    // The first to meet it was carried out, and says so.
    const first = await problemOf(await on.post('/api/v1/instances/local/stop'));
    expect([first.status, first.code]).toEqual([503, 'audit-away']);
    expect(first.detail).toContain('it was carried out, but could not be noted yet');
    expect(on.calls.length).toBe(done + 1);
    const second = await on.post('/api/v1/instances/local/stop');
    expect([second.status, second.headers.get('retry-after')]).toEqual([503, '2']);
    expect(on.calls.length).toBe(done + 1);
    expect((await on.get('/api/v1/agents')).status).toBe(200);
    rmSync(dir());
    renameSync(`${dir()}.away`, dir());
    expect((await on.post('/api/v1/instances/local/stop')).status).toBe(200);
    expect(records().filter(({ outcome }) => outcome === 'done')).toHaveLength(3);
    await on.audit.close();
    expect((await verifyAudit(dir())).broken).toBeNull();
  });
});

describe('GET /api/v1/audit', () => {
  test('[O6] shows admins the records, newest first, by filter and in pages', async () => {
    const held = await tokens(on.access);
    for (let i = 0; i < 5; i++)
      await on.post('/api/v1/instances/local/stop', undefined, bearer(held.operator));
    await on.post('/api/v1/instances/local/start', undefined, bearer(held.admin));
    const ask = async (query: string) => {
      const response = await on.get(`/api/v1/audit?${query}`, { headers: bearer(held.admin) });
      expect([query, response.status]).toEqual([query, 200]);
      return (await response.json()) as { records: AuditRecord[]; before: number | null; head: unknown };
    };
    const first = await ask('limit=2');
    expect(first.records.map(({ route }) => route)).toEqual([
      '/api/v1/instances/:name/start',
      '/api/v1/instances/:name/stop',
    ]);
    const { seq, hash } = first.records[0] as AuditRecord;
    expect(first.head).toEqual({ seq, hash });
    expect((await ask(`before=${first.before}&limit=9`)).records).toHaveLength(4);
    expect((await ask('caller=admin')).records).toHaveLength(1);
    expect((await ask('route=/api/v1/instances/*&outcome=done')).records).toHaveLength(6);
    expect((await ask('until=2000-01-01T00:00:00Z')).records).toEqual([]);
    const wrong = await on.get('/api/v1/audit?since=soon', { headers: bearer(held.admin) });
    expect((await problemOf(wrong)).detail).toContain('since "soon" is not a time');
  });
});
