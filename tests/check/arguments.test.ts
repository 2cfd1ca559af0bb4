/** Commands by hand: `--help` is told with 0, a wrong argument is named with 64, before anything is done. */
import { expect, test } from 'bun:test';
import { join } from 'node:path';

const root = join(import.meta.dir, '..', '..');

async function run(script: string, ...words: readonly string[]) {
  const child = Bun.spawn([process.execPath, join(root, script), ...words], {
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { out, err, code };
}

const commands = ['scripts/sim.ts', 'scripts/torture.ts', 'scripts/hitl-eval.ts'];

for (const script of [...commands, 'bench/journal.ts', 'bench/restore.ts', 'bench/terminal.ts']) {
  test(`${script} --help says how it is used`, async () => {
    const { out, err, code } = await run(script, '--help');
    expect({ err, code }).toEqual({ err: '', code: 0 });
    expect(out).toContain(script.startsWith('bench/') ? `bun ${script}` : 'bun run ');
  }, 60_000);
}

for (const [script, words, named] of [
  ['scripts/sim.ts', ['--schedules', '0'], '--schedules "0" is not a whole number from 1 on'],
  ['scripts/sim.ts', ['--game', 'chess'], '--game "chess" is none; there are fleet and house'],
  ['scripts/sim.ts', ['--wrong'], '--wrong'],
  ['scripts/torture.ts', ['--rounds', 'x', '--journal', 'sqlite'], '--rounds "x"'],
  ['scripts/torture.ts', ['--rounds', '0'], '--rounds "0" is not a whole number from 1 on'],
  ['scripts/torture.ts', ['--journal', 'foo'], '--journal "foo" is none; there are sqlite and redis'],
  ['scripts/hitl-eval.ts', [], 'DIR is missing'],
  ['scripts/hitl-eval.ts', ['one', '--wrong'], '--wrong'],
  ['bench/journal.ts', ['--writers', '1,x'], '--writers "x"'],
] as const) {
  test(`${[script, ...words].join(' ')} says which argument is wrong`, async () => {
    const { out, err, code } = await run(script, ...words);
    expect({ out, code }).toEqual({ out: '', code: 64 });
    expect(err.split('\n')[0]).toContain(named);
  }, 60_000);
}
