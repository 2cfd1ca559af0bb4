/**
 * Holes of the earlier system at these doors that no other test shows closed; docs/security.md has the whole
 * list, hole by hole.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { operators } from '../../src/http/operators.ts';
import { type House, house, tokens } from './world.ts';

let on: House;
let held: Awaited<ReturnType<typeof tokens>>;
beforeAll(async () => {
  on = await house();
  held = await tokens(on.access);
});
afterAll(() => on.remove());

test('[W6] hole S3: no end of a path lets anybody in', async () => {
  const ends = [
    '/.well-known/agent-card.json',
    '/.well-known/jwks.json',
    '/v1/card',
    '/v1/extendedAgentCard',
  ];
  const more = ['/healthz', '/readyz', '/sign-in', '/sign-in/style.css', '/docs', '/openapi.json', '/'];
  for (const end of [...ends, ...more]) {
    for (const [method, path] of [
      ['GET', `/api/v1/tasks/x/artifacts${end}`],
      ['GET', `/api/v1/agents${end}`],
      ['DELETE', `/api/v1/tokens${end}`],
    ] as const) {
      const { status } = await fetch(`${on.url}${path}`, { method });
      expect([method, path, [401, 404, 405].includes(status)]).toEqual([method, path, true]);
    }
    // The greedy route, behind which everything is a name.
    expect((await on.get(`/api/v1/tasks/x/artifacts${end === '/' ? '/x' : end}`)).status).toBe(401);
  }
});

test('[W6] hole S4: an operator does not what takes an admin', async () => {
  const headers = { authorization: `Bearer ${held.operator}` };
  for (const [method, path] of [
    ['GET', '/api/v1/tokens'],
    ['POST', '/api/v1/tokens'],
    ['DELETE', '/api/v1/tokens/x'],
    ['GET', '/api/v1/audit'],
  ] as const) {
    expect([path, (await fetch(`${on.url}${path}`, { method, headers })).status]).toEqual([path, 403]);
  }
});

test('[W8, O9] hole S5: neither a broken file nor a stranger at a Unix socket is an admin', async () => {
  const path = `${on.dir}/other.json`;
  const access = await operators({ path, clock: on.clock, uid: 4711 });
  const first = await access.create({ name: 'ada', role: 'admin', expiresInMs: null });
  await Bun.write(path, 'not = "toml"');
  for (const shown of [
    { token: null, peerUid: null },
    { token: null, peerUid: 1 },
    { token: first.token, peerUid: null },
  ]) {
    expect(() => access.caller(shown)).toThrow('nobody is let in');
  }
});

test('[W4] hole S13: every route is behind the rate, also for strangers', async () => {
  const slow = await house({ options: { limits: { rate: { perSecond: 1, burst: 2 } } } });
  try {
    const statuses: number[] = [];
    for (const path of ['/api/v1/agents', '/healthz', '/docs']) statuses.push((await slow.get(path)).status);
    expect(statuses.at(-1)).toBe(429);
  } finally {
    await slow.remove();
  }
});
