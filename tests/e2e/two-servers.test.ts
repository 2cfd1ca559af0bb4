/** What must not happen to a data directory and to a server's own log. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { openSync } from 'node:fs';
import { join } from 'node:path';
import type { InstanceView } from '../../src/views.ts';
import { type House, openHouse, root, until } from './house.ts';

let house: House;
beforeAll(async () => {
  house = await openHouse('two-servers');
}, 60_000);
afterAll(() => house?.close(), 30_000);

const serve = (env: Readonly<Record<string, string>>, stderr: 'pipe' | number = 'pipe') =>
  Bun.spawn([process.execPath, join(root, 'src', 'main.ts')], {
    cwd: house.dir,
    env: { PATH: process.env['PATH'] ?? '', HOME: house.dir, LISTEN_ADDR: '127.0.0.1:0', ...env },
    stdio: ['ignore', 'ignore', stderr],
  });

test('[E11] a second server on a data directory is refused by name, whatever journal it names', async () => {
  const second = serve({ AGENTIC_DATA_DIR: house.dataDir, REDIS_URL: 'redis://127.0.0.1:1' });
  expect(await second.exited).toBe(1);
  const said = await new Response(second.stderr as ReadableStream).text();
  expect(said).toContain(house.dataDir);
  expect(said).toMatch(/process \d+ has it/);
  // The first is not harmed: its agent is there, and its socket.
  const { instances } = await house.get<{ instances: InstanceView[] }>('instances');
  expect(instances.map(({ state }) => state)).toEqual(['running']);
  const made = await house.post<{ session_id: string }>('agents/local/sessions', {
    command: 'true',
    session_type: 'headless',
  });
  expect(made.session_id).not.toBe('');
}, 60_000);

test('[E12] a server whose own log cannot be written goes on', async () => {
  const dataDir = join(house.dir, 'deaf');
  const deaf = serve({ AGENTIC_DATA_DIR: dataDir, LOG_LEVEL: 'debug' }, openSync('/dev/full', 'w'));
  try {
    const url = await until('it to be ready', async () => {
      if (deaf.exitCode !== null) throw new Error(`it exited with ${deaf.exitCode}`);
      const facts = await Bun.file(join(dataDir, 'server.json'))
        .json()
        .catch(() => null);
      const ready = facts && (await fetch(`${facts.http}/readyz`).catch(() => null));
      return ready?.ok ? (facts.http as string) : null;
    });
    await until('its agent', async () => {
      const found = await (await fetch(`${url}/api/v1/agents`)).json();
      return (found as { agents: { state: string }[] }).agents.some(({ state }) => state === 'ready');
    });
    await fetch(`${url}/api/v1/instances/local/stop`, { method: 'POST' });
    await until('it to be stopped', async () => {
      const found = await (await fetch(`${url}/api/v1/instances/local`)).json();
      return (found as InstanceView).state === 'stopped';
    });
    expect(deaf.exitCode).toBeNull();
  } finally {
    deaf.kill('SIGTERM');
    await deaf.exited;
  }
}, 90_000);
