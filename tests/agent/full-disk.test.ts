/** A disk that takes nothing any more: nothing dies of it, and no byte is lost. */
import { expect, test } from 'bun:test';
import { chownSync, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Spool } from '../../agent/spool.ts';
import { fileSystemProjects as projects } from '../../src/share/quota.ts';
import { quotaDisk } from '../share/disk.ts';

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

test('[A10] a spool whose quota is used up is full, and hands out every byte in order, or why there is none is said', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'spool-'));
  const disk = quotaDisk(dir, 'ext4');
  try {
    if (disk === null) {
      expect(await projects.missing(dir)).toMatch(/prjquota|project quotas need|only root/);
      process.stderr.write('no project quotas on this machine; /dev/full alone is shown\n');
      return;
    }
    const own = join(disk.path, 'spool');
    mkdirSync(own);
    chownSync(own, 10_001, 10_001);
    await projects.limit(own, 77, { bytes: 4 << 20 });
    await projects.join(own, 77);
    // As the user of an instance, whom the file system holds, in a directory that it can enter by no path.
    const script = `
      const { Spool } = await import(${JSON.stringify(join(root, 'agent', 'spool.ts'))});
      process.chdir(${JSON.stringify(own)});
      process.setgid(10001);
      process.setuid(10001);
      const spool = new Spool({ memoryBytes: 65536, diskBytes: 64 << 20, file: 'one' });
      const piece = (n) => Buffer.alloc(65536, n % 251);
      let kept = 0;
      while (!spool.isFull(false)) spool.append('stdout', piece(kept++), false);
      let at = 0;
      for (let n = 0; n < kept; n++)
        for (const end = at + 65536; at < end; ) {
          const { bytes } = spool.read(at, end - at);
          if (!bytes.every((byte) => byte === n % 251)) throw new Error('another byte at ' + at);
          at += bytes.length;
          spool.acknowledge(at);
        }
      console.log(JSON.stringify({ kept, at, next: spool.next, isFull: spool.isFull(false) }));`;
    const child = Bun.spawnSync([process.execPath, '-e', script]);
    const { kept, ...rest } = JSON.parse(child.stdout.toString() || '{}');
    expect(kept).toBeGreaterThan(32);
    // The quota, and not what the spool itself may have on the disk.
    expect(kept).toBeLessThan(70);
    expect(rest).toEqual({ at: kept * 65_536, next: kept * 65_536, isFull: false });
  } finally {
    disk?.close();
    rmSync(dir, { recursive: true, force: true });
  }
}, 120_000);

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
