/** Terminals beside each other in one agent. */
import { expect, test } from 'bun:test';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../agent/process.ts';

const QUIET = 32;
const FLOOD_BYTES = 40_000_000;

test('however many terminals are quiet, one that speaks is read at once, and so are files', async () => {
  const env = { PATH: process.env['PATH'] ?? '' };
  const pty = { cols: 80, rows: 24, term: 'xterm' };
  const command = { argv: ['sh', '-c', 'stty raw -echo; printf R; exec cat'], cwd: '/', env, pty };
  const said = Array.from({ length: QUIET + 1 }, () => '');
  const heard = Promise.withResolvers<void>();
  const ready = Promise.withResolvers<void>();
  const running = said.map((_, i) =>
    run(command, (_stream, bytes) => {
      said[i] += Buffer.from(bytes).toString();
      if (said.every((one) => one.startsWith('R'))) ready.resolve();
      if (said[QUIET] === 'Rx') heard.resolve();
    }),
  );
  try {
    await ready.promise;
    await running[QUIET]?.write(new TextEncoder().encode('x'));
    await heard.promise;
    expect(await readFile('/proc/self/comm', 'utf8')).not.toBe('');
    expect(said.slice(0, QUIET).every((one) => one === 'R')).toBe(true);
  } finally {
    await Promise.all(running.map((one) => one.end(0)));
  }
}, 20_000);

test('[A14] however much one says, the event loop comes round after every few hundred kilobytes', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'flood-'));
  const file = join(dir, 'flood');
  await writeFile(file, Buffer.alloc(FLOOD_BYTES, 'x'));
  const env = { PATH: process.env['PATH'] ?? '' };
  const pty = { cols: 80, rows: 24, term: 'xterm' };
  let total = 0;
  let sinceTurn = 0;
  let most = 0;
  let hasEnded = false;
  const one = run({ argv: ['cat', file], cwd: '/', env, pty }, (_stream, bytes) => {
    total += bytes.length;
    sinceTurn += bytes.length;
  });
  void one.ended.then(() => {
    hasEnded = true;
  });
  while (!hasEnded) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    most = Math.max(most, sinceTurn);
    sinceTurn = 0;
  }
  await rm(dir, { recursive: true });
  expect(total).toBe(FLOOD_BYTES);
  expect(most).toBeLessThanOrEqual(1 << 20);
}, 20_000);
