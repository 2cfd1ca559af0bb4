/** An instance that opens more connections to the gateway than it may. */
import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { world } from './world.ts';

const MOST = 128;

test('[C29] connections of one instance to its models are bounded, and within that it is served', async () => {
  const on = await world(() =>
    Response.json({ type: 'message', usage: { input_tokens: 1, output_tokens: 1 } }),
  );
  const path = join(on.dir, 'm', 's');
  await on.gateway.openGuest('local', path);
  const closed: number[] = [];
  const all = Promise.withResolvers<void>();
  const sockets: Socket[] = [];
  for (let i = 0; i < MOST + 40; i++) {
    const socket = connect(path);
    socket.on('error', () => {});
    socket.on('close', () => {
      closed.push(i);
      if (closed.length === 40) all.resolve();
    });
    sockets.push(socket);
  }
  await all.promise;
  // Those that came last, and not whoever was silent for long.
  expect(Math.min(...closed.slice(0, 40))).toBe(MOST);
  for (const socket of sockets) socket.destroy();
  const ask = () =>
    fetch('http://models/v1/messages', {
      unix: path,
      method: 'POST',
      headers: { 'x-api-key': on.key, 'content-type': 'application/json', connection: 'close' },
      body: JSON.stringify({ model: 'claude-x', max_tokens: 1, messages: [] }),
    });
  // Those that were left are gone in a moment.
  let response = await ask().catch(() => null);
  while (response === null) response = await ask().catch(() => null);
  expect(response.status).toBe(200);
  expect(await response.json()).toMatchObject({ type: 'message' });
  await on.gateway.closeGuest('local');
  expect([path, join(on.dir, 'm.in')].filter((one) => existsSync(one))).toEqual([]);
  await on.close();
  // Bun itself lets go of who is silent for 10 s; nobody waits for that.
}, 8_000);
