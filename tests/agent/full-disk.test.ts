/** A disk that takes nothing any more: nothing dies of it, and no byte is lost. */
import { expect, test } from 'bun:test';
import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Spool } from '../../agent/spool.ts';

const root = join(import.meta.dir, '..', '..');

test('[A10] a spool whose disk is full makes the process wait, and hands out every byte in order', () => {
  // It opens, and no write to it ever succeeds.
  const spool = new Spool({ memoryBytes: 8, diskBytes: 1 << 20, file: '/dev/full' });
  const pieces = ['first', 'second', 'third', 'fourth'];
  for (const text of pieces.slice(0, 2)) spool.append('stdout', Buffer.from(text), false);
  expect(spool.isFull(false)).toBe(false);
  // What was read already is kept; nothing more is to be read until there is room.
  for (const text of pieces.slice(2)) spool.append('stdout', Buffer.from(text), false);
  expect(spool.isFull(false)).toBe(true);
  let said = '';
  for (let piece = spool.read(0, 4); piece; piece = spool.read(said.length, 4)) {
    expect(piece.offset).toBe(said.length);
    said += Buffer.from(piece.bytes).toString();
    spool.acknowledge(said.length);
  }
  expect(said).toBe(pieces.join(''));
  expect(spool.isFull(false)).toBe(false);
  expect(spool.next).toBe(said.length);
});

test('[A19] an agent whose log cannot be written goes on', async () => {
  let attempts = 0;
  const tried = Promise.withResolvers<void>();
  // Whoever is hung up on says so in its log, and tries again.
  const server = createServer((socket) => {
    socket.destroy();
    attempts += 1;
    if (attempts === 3) tried.resolve();
  }).listen(0, '127.0.0.1');
  const { port } = server.address() as { port: number };
  const home = mkdtempSync(join(tmpdir(), 'full-disk-'));
  const full = openSync('/dev/full', 'w');
  const agent = Bun.spawn([process.execPath, join(root, 'agent', 'main.ts')], {
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: home,
      AGENT_ID: 'full',
      MANAGEMENT_SERVER: `127.0.0.1:${port}`,
      AGENT_TRANSPORT: 'tcp',
      AGENT_SPOOL_DIR: join(home, 'spool'),
      LOG_LEVEL: 'debug',
    },
    stdio: ['ignore', full, full],
  });
  await Promise.race([
    tried.promise,
    agent.exited.then((code) => Promise.reject(new Error(`it exited with ${code}`))),
  ]);
  expect(agent.exitCode).toBeNull();
  agent.kill('SIGTERM');
  expect(await agent.exited).toBe(0);
  server.close();
  rmSync(home, { recursive: true, force: true });
}, 60_000);
