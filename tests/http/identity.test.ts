/** Tokens for agents, and the end of their identity, by HTTP: for admins. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { type Doors, httpDoors } from '../../src/http/doors.ts';
import { type World, world } from './world.ts';

let on: World;
let doors: Doors;
const tokens: Record<string, string> = {};
beforeAll(async () => {
  on = await world();
  doors = await httpDoors(on);
  for (const role of ['admin', 'operator', 'viewer'] as const) {
    const { token } = await on.access.create({ name: role, role, expiresInMs: null });
    tokens[role] = token;
  }
});
afterAll(async () => {
  await doors.close(0);
  await on.remove();
});

const ask = (role: string, path: string, body?: unknown) =>
  fetch(`http://127.0.0.1:${doors.httpPort}/api/v1/${path}`, {
    method: path === 'identity' ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${tokens[role]}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });

test('[W6] only an admin hands out identities and ends them; whoever may look sees where agents come in', async () => {
  for (const role of ['viewer', 'operator']) {
    expect((await ask(role, 'instances/local/bootstrap')).status).toBe(403);
    expect((await ask(role, 'instances/local/revoke')).status).toBe(403);
  }
  expect((await ask('viewer', 'identity')).status).toBe(200);
  expect(on.calls).toEqual([]);
  expect((await ask('admin', 'instances/local/bootstrap')).status).toBe(201);
  const revoked = await ask('admin', 'instances/local/revoke', { reason: 'stolen' });
  expect(await revoked.json()).toMatchObject({ certificates: 1, connections: 1 });
  await ask('admin', 'instances/local/revoke');
  expect((await ask('admin', 'instances/local/revoke', { cause: 'x' })).status).toBe(400);
  expect(on.calls).toEqual([
    'bootstrap local by admin',
    'revoke local by admin: stolen',
    'revoke local by admin: by an operator',
  ]);
});
