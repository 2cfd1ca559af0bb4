/** A few rounds of `bun run torture`, with the seeds that it is pinned to; more of it is run by hand. */
import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { root } from './house.ts';

interface Figures {
  readonly failures: readonly string[];
  readonly tasks: number;
  readonly bytes: number;
  readonly verify: string;
  readonly kills: { readonly server: number; readonly redis: number; readonly clients: number };
}

const rounds = (journal: string, seed: number) => {
  const script = join(root, 'scripts', 'torture.ts');
  const words = ['--rounds', '3', '--journal', journal, '--seed', `${seed}`];
  const { stdout, stderr, exitCode } = Bun.spawnSync([process.execPath, script, ...words]);
  const last = stdout.toString().trim().split('\n').at(-1);
  if (!last) throw new Error(stderr.toString());
  return { exitCode, figures: JSON.parse(last) as Figures };
};

for (const [journal, seed] of [
  ['sqlite', 1],
  ['redis', 4],
] as const) {
  test(`[E10] ${journal}: what was acknowledged is there, whatever was killed`, () => {
    const { exitCode, figures } = rounds(journal, seed);
    expect(figures.failures).toEqual([]);
    expect(exitCode).toBe(0);
    expect(figures.kills.server + figures.kills.redis).toBeGreaterThanOrEqual(3);
    expect(figures.kills.clients).toBeGreaterThan(0);
    expect(figures.tasks).toBeGreaterThan(3);
    expect(figures.bytes).toBeGreaterThan(100_000);
    expect(figures.verify).toContain(', 0 differences');
  }, 120_000);
}
