/** Terminals beside each other in one agent. */
import { expect, test } from 'bun:test';
import { readFile } from 'node:fs/promises';
import { run } from '../../agent/process.ts';

const QUIET = 32;

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
