/** Who may do what: the table of routes itself is walked, with every kind of caller. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Role, roles } from '../../src/access.ts';
import { front } from '../../src/http/doors.ts';
import { operators } from '../../src/http/operators.ts';
import type { Route, RouteRole } from '../../src/http/route.ts';
import { fastClock, problemOf, tokens, type World, world } from './world.ts';

const callers = ['nobody', 'forged', 'expired', 'viewer', 'operator', 'admin'] as const;
type Who = (typeof callers)[number];

const rank = (role: Role): number => roles.indexOf(role);

/** The status that a caller must be refused with; null when it is to be let through. */
function refusal(who: Who, role: RouteRole): 401 | 403 | null {
  if (role === 'open') return null;
  if (who === 'nobody' || who === 'forged' || who === 'expired') return 401;
  return rank(who) >= rank(role) ? null : 403;
}

const request = ({ method, path }: Route, token: string | null, body = '{"nonsense":') =>
  new Request(`http://127.0.0.1${path.replace(/:\w+/g, 'x').replace('*', 'x')}`, {
    method,
    headers: {
      'content-type': 'application/json',
      'sec-fetch-site': 'same-origin',
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
    },
    ...(method === 'GET' ? {} : { body }),
  });

describe('the role matrix', () => {
  let on: World;
  let app: (request: Request) => Promise<Response>;
  let routes: readonly Route[];
  let held: Readonly<Record<Who, string | null>>;
  const closing = new AbortController();

  beforeAll(async () => {
    on = await world();
    ({ app, routes } = front(on, { closing: closing.signal, httpPort: () => 0 }));
    const made = await tokens(on.access);
    const { token: expired } = await on.access.create({ name: 'late', role: 'admin', expiresInMs: 1_000 });
    on.clock.skip(2_000);
    held = { ...made, expired, forged: `asb_${'A'.repeat(43)}`, nobody: null };
  });
  afterAll(async () => {
    closing.abort();
    await on.remove();
  });

  test('[W6] every route declares a role, and only these are open', () => {
    for (const { role } of routes) expect(['open', ...roles]).toContain(role);
    const open = routes.filter(({ role }) => role === 'open').map(({ path }) => path);
    expect(open.sort()).toEqual([
      '/',
      '/api/v1/health/live',
      '/api/v1/health/ready',
      '/docs',
      '/docs/style.css',
      '/healthz',
      '/healthz/http',
      '/openapi.json',
      '/readyz',
      '/sign-in',
      '/sign-in',
      '/sign-in/style.css',
      '/sign-out',
    ]);
    const writes = routes.filter(({ method, path }) => method !== 'GET' && !path.startsWith('/sign-'));
    expect(writes.filter(({ role }) => role === 'viewer' || role === 'open')).toEqual([]);
    const ofTokens = routes.filter(({ path }) => path.startsWith('/api/v1/tokens'));
    expect(ofTokens.map(({ role }) => role)).toEqual(['admin', 'admin', 'admin']);
  });

  for (const who of callers) {
    test(`[W6] ${who}: let in exactly where the route says so`, async () => {
      for (const route of routes) {
        const where = `${route.method} ${route.path}`;
        const wanted = refusal(who, route.role);
        const before = on.calls.length;
        const response = await app(request(route, held[who]));
        const { status } = response;
        if (wanted === null) expect([where, status === 401 || status === 403]).toEqual([where, false]);
        else {
          expect([where, status]).toEqual([where, wanted]);
          const { faults, code } = await problemOf(response);
          // The body is no JSON at all: a 400 would tell that somebody had looked at it.
          expect([code, faults]).toEqual([wanted === 401 ? 'unauthenticated' : 'forbidden', undefined]);
          expect(response.headers.get('www-authenticate')).toBe(wanted === 401 ? 'Bearer' : null);
          expect(on.calls.length).toBe(before);
        }
        await response.body?.cancel().catch(() => {});
      }
    });
  }

  test('[W6] a stranger is told so before body, query and content type are looked at', async () => {
    const find = (method: string, path: string) =>
      routes.find((one) => one.method === method && one.path === path) as Route;
    const stranger = [
      request(find('POST', '/api/v1/instances'), null, '[]'),
      new Request('http://127.0.0.1/api/v1/tasks', { method: 'POST', body: '<a/>' }),
      new Request('http://127.0.0.1/api/v1/tasks?limit=none'),
      new Request('http://127.0.0.1/api/v1/agents/%ff'),
    ];
    for (const one of stranger) expect((await app(one)).status).toBe(401);
  });

  test('[W6] a token in the address is no token for HTTP, nor one in another scheme', async () => {
    const admin = held.admin as string;
    expect((await app(new Request(`http://127.0.0.1/api/v1/agents?access_token=${admin}`))).status).toBe(401);
    for (const authorization of [
      `Basic ${admin}`,
      admin,
      'Bearer',
      `Bearer ${admin} x`,
      `Bearer ${admin}0`,
    ]) {
      const response = await app(
        new Request('http://127.0.0.1/api/v1/agents', { headers: { authorization } }),
      );
      expect([authorization, response.status]).toEqual([authorization, 401]);
    }
    const lower = new Request('http://127.0.0.1/api/v1/whoami', {
      headers: { authorization: `bearer ${admin}` },
    });
    expect(await (await app(lower)).json()).toEqual({ name: 'admin', role: 'admin', via: 'token' });
  });
});

describe('operator tokens', () => {
  let on: World;
  let path: string;
  const again = () => operators({ path, clock: on.clock, uid: 4711 });
  beforeEach(async () => {
    on = await world();
    path = join(on.dir, 'secrets', 'tokens.json');
  });
  afterEach(() => on.remove());

  test('[W7] only hashes are kept, in a file that nobody else can read', async () => {
    const { token } = await on.access.create({ name: 'ada', role: 'admin', expiresInMs: null });
    const text = readFileSync(path, 'utf8');
    expect(text).not.toContain(token);
    expect(text).not.toContain(token.replace(/^asb_/, ''));
    expect(text).toContain(new Bun.CryptoHasher('sha256').update(token).digest('hex'));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
    expect(readdirSync(dirname(path)).sort()).toEqual(['tokens.json', 'tokens.json.seen']);
    expect(readFileSync(`${path}.seen`, 'utf8')).not.toMatch(/hash|asb_/);
    expect(JSON.stringify(on.access.list())).not.toMatch(/hash|asb_/);
    const { id } = on.access.list()[0] as { id: string };
    expect((await again()).caller({ token, peerUid: null })).toEqual({
      name: 'ada',
      role: 'admin',
      via: 'token',
      id,
    });
  });

  test('[W7] a file that others may write is not believed', async () => {
    const { token } = await on.access.create({ name: 'ada', role: 'admin', expiresInMs: null });
    chmodSync(path, 0o666);
    await expect(again()).rejects.toThrow(`others may write ${path}, and so make tokens: chmod 600 it`);
    chmodSync(path, 0o600);
    expect((await again()).caller({ token, peerUid: null })?.name).toBe('ada');
  });

  test('[W7] a file that others could read is made private again when it is next written', async () => {
    const { view } = await on.access.create({ name: 'ada', role: 'admin', expiresInMs: null });
    chmodSync(path, 0o644);
    await on.access.create({ name: 'bob', role: 'viewer', expiresInMs: null });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(view.id).not.toBe('');
  });

  test('[W8] without tokens a caller on the loopback is the local admin; from the first on a token is asked', async () => {
    const local = { name: 'local', role: 'admin', via: 'local', id: null } as const;
    expect(on.access.caller({ token: null, peerUid: null })).toEqual(local);
    const { token, view } = await on.access.create({ name: 'ada', role: 'admin', expiresInMs: null });
    expect(() => on.access.caller({ token: null, peerUid: null })).toThrow('operator token');
    expect(() => on.access.caller({ token: null, peerUid: 1 })).toThrow('operator token');
    expect(on.access.caller({ token: null, peerUid: 4711 }).role).toBe('admin');
    await on.access.revoke(view.id);
    expect(() => on.access.caller({ token, peerUid: null })).toThrow('nobody has that token');
    expect(on.access.caller({ token: null, peerUid: null }).name).toBe('local');
  });

  test('[W8] the first is an admin, and the last admin stays while there are others', async () => {
    const first = on.access.create({ name: 'bob', role: 'viewer', expiresInMs: null });
    await expect(first).rejects.toMatchObject({ code: 'wrong-state' });
    expect(on.access.hasTokens).toBe(false);
    const ada = await on.access.create({ name: 'ada', role: 'admin', expiresInMs: null });
    const bob = await on.access.create({ name: 'bob', role: 'viewer', expiresInMs: null });
    await expect(on.access.revoke(ada.view.id)).rejects.toMatchObject({ code: 'wrong-state' });
    expect(on.access.caller({ token: ada.token, peerUid: null }).role).toBe('admin');
    await expect(on.access.revoke('nothing')).rejects.toMatchObject({ code: 'not-found' });
    const same = on.access.create({ name: 'ada', role: 'viewer', expiresInMs: null });
    await expect(same).rejects.toMatchObject({ code: 'already-exists' });
    await on.access.revoke(bob.view.id);
    await on.access.revoke(ada.view.id);
    expect(on.access.hasTokens).toBe(false);
  });

  test('[W8] an admin whose token expires cannot be the only one', async () => {
    const first = on.access.create({ name: 'eve', role: 'admin', expiresInMs: 1_000 });
    await expect(first).rejects.toMatchObject({ code: 'wrong-state' });
    const ada = await on.access.create({ name: 'ada', role: 'admin', expiresInMs: null });
    await on.access.create({ name: 'eve', role: 'admin', expiresInMs: 1_000 });
    await expect(on.access.revoke(ada.view.id)).rejects.toMatchObject({ code: 'wrong-state' });
  });

  test('[W8] two that are made at once are both kept', async () => {
    await on.access.create({ name: 'ada', role: 'admin', expiresInMs: null });
    const names = Array.from({ length: 12 }, (_, i) => `op${i}`);
    await Promise.all(names.map((name) => on.access.create({ name, role: 'viewer', expiresInMs: null })));
    expect((await again()).list().map(({ name }) => name)).toEqual(['ada', ...names]);
  });

  test('[W9] a file that cannot be understood keeps the server from starting', async () => {
    const hash = 'a'.repeat(64);
    const sound = { id: 'i', name: 'n', role: 'admin', hash, createdAt: 1, expiresAt: null };
    const garbled = [
      '',
      '{',
      'null',
      '[]',
      '{"version":2,"tokens":[]}',
      '{"version":1}',
      '{"version":1,"tokens":[null]}',
      JSON.stringify({ version: 1, tokens: [{ ...sound, role: 'root' }] }),
      JSON.stringify({ version: 1, tokens: [{ ...sound, hash: 'abc' }] }),
      JSON.stringify({ version: 1, tokens: [{ ...sound, expiresAt: 'soon' }] }),
      JSON.stringify({ version: 1, tokens: [{ ...sound, createdAt: 'then' }] }),
    ];
    mkdirSync(dirname(path), { recursive: true });
    for (const text of garbled) {
      writeFileSync(path, text);
      const trouble = await again().catch((thrown: unknown) => thrown);
      expect([text, (trouble as { code?: string }).code]).toEqual([text, 'wrong-state']);
      expect(String(trouble)).toContain(path);
    }
    writeFileSync(path, JSON.stringify({ version: 1, tokens: [sound] }));
    expect((await again()).hasTokens).toBe(true);
  });

  test('[W8] one is made, used, listed and revoked over HTTP, and shown once', async () => {
    const { app } = front(on, { closing: new AbortController().signal, httpPort: () => 0 });
    const ask = (method: string, place: string, token: string | null, body?: object) =>
      app(
        new Request(`http://127.0.0.1${place}`, {
          method,
          headers: token === null ? {} : { authorization: `Bearer ${token}` },
          ...(body ? { body: JSON.stringify(body) } : {}),
        }),
      );
    const response = await ask('POST', '/api/v1/tokens', null, { name: 'ada', role: 'admin' });
    expect(response.status).toBe(201);
    const { token, operator } = (await response.json()) as { token: string; operator: { id: string } };
    expect((await ask('GET', '/api/v1/tokens', null)).status).toBe(401);
    const wanted = { name: 'bob', role: 'viewer', expires_in: 60 };
    const made = await ask('POST', '/api/v1/tokens', token, wanted);
    const bob = (await made.json()) as { token: string; operator: { id: string; expires_at: string } };
    expect(Date.parse(bob.operator.expires_at)).toBeGreaterThan(on.clock.now());
    expect(await (await ask('GET', '/api/v1/whoami', bob.token)).json()).toEqual({
      name: 'bob',
      role: 'viewer',
      via: 'token',
    });
    expect(await (await ask('GET', '/api/v1/tokens', token)).text()).not.toContain(bob.token);
    on.clock.skip(61_000);
    const late = await problemOf(await ask('GET', '/api/v1/whoami', bob.token));
    expect(late).toMatchObject({ status: 401, code: 'unauthenticated' });
    expect((await ask('DELETE', `/api/v1/tokens/${operator.id}`, token)).status).toBe(409);
    expect((await ask('DELETE', `/api/v1/tokens/${bob.operator.id}`, token)).status).toBe(204);
    expect((await ask('DELETE', `/api/v1/tokens/${operator.id}`, token)).status).toBe(204);
  });

  test('[W8] a clock of another day changes nothing of a token that does not expire', async () => {
    const { token } = await on.access.create({ name: 'ada', role: 'admin', expiresInMs: null });
    const later = fastClock();
    later.skip(10 * 365 * 86_400_000);
    const far = await operators({ path, clock: later, uid: 1 });
    expect(far.caller({ token, peerUid: null }).name).toBe('ada');
  });
});
