/** Signing in by the page, and what the cookie may and may not. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { browsers } from '../../src/http/browsers.ts';
import { cookieName, setCookie } from '../../src/http/cookie.ts';
import { ownPath } from '../../src/http/sign-in.ts';
import { client } from './socket.ts';
import { type House, house, problemOf, tokens, until } from './world.ts';

let on: House;
let held: Awaited<ReturnType<typeof tokens>>;
beforeEach(async () => {
  on = await house();
  held = await tokens(on.access);
});
afterEach(() => on.remove());

const form = { 'content-type': 'application/x-www-form-urlencoded' };

const signIn = (token: string, { next = '', from = on.url }: { next?: string; from?: string } = {}) =>
  fetch(`${on.url}/sign-in${next === '' ? '' : `?next=${encodeURIComponent(next)}`}`, {
    method: 'POST',
    redirect: 'manual',
    headers: { ...form, ...(from === '' ? {} : { origin: from }) },
    body: new URLSearchParams({ token }).toString(),
  });

async function cookieFor(token: string): Promise<string> {
  const response = await signIn(token);
  expect(response.status).toBe(303);
  return (response.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
}

const whoami = async (cookie: string) => {
  const response = await on.get('/api/v1/whoami', { headers: { cookie } });
  return response.ok ? ((await response.json()) as { name: string }).name : response.status;
};
const stop = (headers: Record<string, string>) => on.post('/api/v1/instances/local/stop', undefined, headers);

describe('signing in', () => {
  test('[O13] sets a cookie that no script reads and no other site sends, and of which only a hash is kept', async () => {
    const response = await signIn(held.operator, { next: '/?x=1' });
    expect([response.status, response.headers.get('location')]).toEqual([303, '/?x=1']);
    const set = response.headers.get('set-cookie') ?? '';
    expect(set).toMatch(
      /^agentic-\d+=[A-Za-z0-9_-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=604800$/,
    );
    const cookie = set.split(';')[0] ?? '';
    expect(await whoami(cookie)).toBe('operator');
    const path = join(on.dir, 'secrets', 'browsers.json');
    const kept = readFileSync(path, 'utf8');
    expect(kept).not.toContain(cookie.split('=')[1] ?? 'none');
    expect(kept).not.toContain(held.operator);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const { name } = on.operators.list()[1] ?? { name: '' };
    expect(await whoami(cookie)).toBe(name);
  });

  test('[O13] by TLS the cookie is a __Host- one, and no other is read there', () => {
    const secure = { address: null, proxied: false, secure: true, host: 'a.example' };
    expect(setCookie('s', secure, 8122)).toMatch(
      /^__Host-agentic-8122=s; Path=\/; HttpOnly; SameSite=Strict; .*; Secure$/,
    );
    expect(cookieName(false, 8122)).not.toBe(cookieName(true, 8122));
  });

  test('[O13] with what is no token gives the page again, with 401 and no cookie', async () => {
    for (const token of ['', 'guessed', `asb_${'x'.repeat(43)}`]) {
      const response = await signIn(token);
      expect([response.status, response.headers.get('set-cookie')]).toEqual([401, null]);
      const text = await response.text();
      expect(text).toContain('role="alert"');
      expect(text).not.toContain('<script');
      if (token !== '') expect(text).not.toContain(token);
    }
  });

  test('[O13] goes on only to paths of this server', async () => {
    for (const [given, wanted] of [
      ['/', '/'],
      ['/docs?x=1', '/docs?x=1'],
      ['//evil.example', '/'],
      ['/\\evil.example', '/'],
      ['/\t/evil.example', '/'],
      ['/.//evil.example', '/'],
      ['/x/..//evil.example', '/'],
      ['https://evil.example', '/'],
      ['javascript:alert(1)', '/'],
      ['evil', '/'],
      ['/sign-in?next=/', '/'],
      ['/sign-out', '/'],
      ['/a\r\nset-cookie: x=1', '/'],
    ] as const) {
      expect([given, ownPath(given)]).toEqual([given, wanted]);
      if (given.startsWith('/') && !given.includes('\r')) {
        expect([given, (await signIn(held.viewer, { next: given })).headers.get('location')]).toEqual([
          given,
          wanted,
        ]);
        on.clock.skip(60_000);
      }
    }
  });

  test('[O13] is slowed down for one address', async () => {
    for (let i = 0; i < 10; i++) expect((await signIn('guessed')).status).toBe(401);
    const late = await signIn(held.admin);
    expect((await problemOf(late)).detail).toContain('too many attempts');
    expect(Number(late.headers.get('retry-after'))).toBeGreaterThan(0);
    on.clock.skip(60_000);
    expect((await signIn(held.admin)).status).toBe(303);
  });

  test('[O14] of a page of another site, or of what tells no origin, is refused', async () => {
    for (const from of ['http://evil.example', 'null', ''])
      expect((await signIn(held.admin, { from })).status).toBe(403);
  });
});

describe('the cookie', () => {
  test('[O14] changes something only for pages of ours; a token needs no such proof', async () => {
    const cookie = await cookieFor(held.operator);
    for (const more of [
      {},
      { 'sec-fetch-site': 'same-site' },
      { 'sec-fetch-site': 'cross-site' },
      { origin: 'http://evil.example' },
    ]) {
      expect([more, (await stop({ cookie, ...more })).status]).toEqual([more, 403]);
    }
    expect(on.calls).toEqual([]);
    expect((await stop({ cookie, origin: on.url })).status).toBe(200);
    expect((await stop({ cookie, 'sec-fetch-site': 'same-origin' })).status).toBe(200);
    expect((await stop({ authorization: `Bearer ${held.operator}` })).status).toBe(200);
    const viewer = await cookieFor(held.viewer);
    expect((await stop({ cookie: viewer, origin: on.url })).status).toBe(403);
  });

  test('[O14] opens a WebSocket for pages of ours only, and ends it with the session', async () => {
    on.desks.sessions.add('s1');
    const cookie = await cookieFor(held.operator);
    const at = `${on.wsUrl}/ws/sessions/s1/attach`;
    const page = client(at, { headers: { cookie, origin: on.url } });
    await page.told('hello');
    const stranger = client(at, { headers: { cookie, origin: 'http://evil.example' } });
    await until('it is refused', () => stranger.code !== null);
    expect(stranger.messages).toEqual([]);
    const out = await fetch(`${on.url}/sign-out`, {
      method: 'POST',
      redirect: 'manual',
      headers: { cookie, origin: on.url },
    });
    expect([out.status, out.headers.get('location')]).toEqual([303, '/sign-in']);
    expect(out.headers.get('set-cookie')).toContain('Max-Age=0');
    await until('the socket is closed', () => page.code === 1008);
    expect(await whoami(cookie)).toBe(401);
  });

  test('[O15] ends with its token, after a time unused, and after a time at all', async () => {
    const cookie = await cookieFor(held.viewer);
    const { id } = on.operators.list().find(({ name }) => name === 'viewer') ?? { id: '' };
    await on.operators.revoke(id);
    expect(await whoami(cookie)).toBe(401);
    const idle = await cookieFor(held.operator);
    on.clock.skip(11 * 3_600_000);
    expect(await whoami(idle)).toBe('operator');
    on.clock.skip(13 * 3_600_000);
    expect(await whoami(idle)).toBe(401);
    const long = await cookieFor(held.operator);
    for (let hours = 0; hours < 7 * 24; hours += 8) {
      expect([hours, await whoami(long)]).toEqual([hours, 'operator']);
      on.clock.skip(8 * 3_600_000);
    }
    expect(await whoami(long)).toBe(401);
  });

  test('[O15] is good after a restart, and a file that broke lets nobody in', async () => {
    const cookie = await cookieFor(held.operator);
    const secret = cookie.split('=')[1] ?? '';
    const path = join(on.dir, 'secrets', 'browsers.json');
    const options = { path, operators: on.operators, clock: on.clock };
    const again = await browsers(options);
    const shown = { token: null, peerUid: null, cookie: secret };
    expect(again.caller(shown)).toMatchObject({ name: 'operator', via: 'cookie' });
    await Bun.write(path, '{"version":1,"browsers":[{"hash":"x"}]}');
    const broken = await browsers(options);
    expect(() => broken.caller(shown)).toThrow('not signed in any more');
  });

  test('[O13] stands in the audit log by the id of its token, in and out, and never itself', async () => {
    await signIn('guessed');
    const cookie = await cookieFor(held.admin);
    await stop({ cookie, origin: on.url });
    await fetch(`${on.url}/sign-out`, {
      method: 'POST',
      redirect: 'manual',
      headers: { cookie, origin: on.url },
    });
    const { records } = await on.audit.read({
      before: null,
      limit: 9,
      caller: null,
      route: null,
      outcome: null,
      since: null,
      until: null,
    });
    const [admin] = on.operators.list();
    expect(records.map(({ route, outcome, caller }) => [route, outcome, caller?.via, caller?.id])).toEqual([
      ['/sign-out', 'done', 'cookie', admin?.id],
      ['/api/v1/instances/:name/stop', 'done', 'cookie', admin?.id],
      ['/sign-in', 'done', 'cookie', admin?.id],
      ['/sign-in', 'refused', undefined, undefined],
    ]);
    expect(JSON.stringify(records)).not.toContain(cookie.split('=')[1] ?? 'none');
  });
});

describe('the dashboard', () => {
  test('[O13] asks to sign in where there are tokens, and not where there are none', async () => {
    const page = (headers: Record<string, string> = {}) =>
      fetch(`${on.url}/`, { redirect: 'manual', headers });
    const asked = await page();
    expect([asked.status, asked.headers.get('location')]).toEqual([303, '/sign-in?next=%2F']);
    expect((await page({ cookie: await cookieFor(held.viewer) })).status).toBe(200);
    const form = await on.get('/sign-in?next=/docs');
    expect(form.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(await form.text()).toContain('<form method="post">');
    for (const { id } of on.operators.list().toReversed()) await on.operators.revoke(id);
    expect((await page()).status).toBe(200);
    const open = await fetch(`${on.url}/sign-in?next=/docs`, { redirect: 'manual' });
    expect([open.status, open.headers.get('location')]).toEqual([303, '/docs']);
  });
});
