/** The bare PTY: the same program on a PTY, read and counted in a process of its own, and nothing else. */
import { run } from '../agent/process.ts';
import { cpuSeconds, nowMs } from './terminal-figures.ts';
import { READY, script } from './terminal-flood.ts';

export interface Bare {
  readonly bytes: number;
  readonly ms: number;
  readonly cpuSeconds: number;
}

async function bare(path: string): Promise<Bare> {
  const ready = READY.length + 1;
  const { promise, resolve } = Promise.withResolvers<void>();
  let bytes = 0;
  let lastAt = 0;
  const argv = ['sh', '-c', script(path)];
  const env = { PATH: process.env['PATH'] ?? '' };
  const running = run(
    { argv, cwd: '/', env, pty: { cols: 220, rows: 50, term: 'xterm-256color' } },
    (_, got) => {
      bytes += got.length;
      lastAt = nowMs();
      if (bytes === ready) resolve();
    },
  );
  await promise;
  const before = cpuSeconds(process.pid);
  const startedAt = nowMs();
  await running.write(new TextEncoder().encode('\n'));
  await running.ended;
  return { bytes, ms: lastAt - startedAt, cpuSeconds: cpuSeconds(process.pid) - before };
}

if (import.meta.main) console.log(JSON.stringify(await bare(process.argv[2] ?? '')));
