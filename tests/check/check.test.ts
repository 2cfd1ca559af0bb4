/** What bin/check says of a run is what happened in it. Real processes, in temporary directories. */
import { afterAll, describe, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adoptOrphans, runToEnd } from '../../scripts/check/child.ts';
import { judgeCommand, judgeTests } from '../../scripts/check/judge.ts';
import { wrapped } from '../../scripts/wrap.ts';

const dir = mkdtempSync(join(tmpdir(), 'e2e-check-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const env = { PATH: process.env['PATH'] ?? '', HOME: dir };
const run = (command: readonly string[], limitSeconds = 10) =>
  runToEnd({ command, cwd: dir, env, limitSeconds });

/** Writes `code` as a test file and judges bun's run of it. */
async function judged(code: string) {
  const name = `${Bun.hash(code)}.test.ts`;
  writeFileSync(join(dir, name), `import { expect, test } from 'bun:test';\n${code}`);
  const report = join(dir, `${name}.xml`);
  const reporter = ['--reporter=junit', `--reporter-outfile=${report}`];
  const outcome = await run([process.execPath, 'test', ...reporter, `./${name}`]);
  return judgeTests(outcome, existsSync(report) ? readFileSync(report, 'utf8') : null, 10);
}

describe('a verdict', () => {
  test('counts what passed, failed and was skipped, and names the skipped', async () => {
    const code = `test('a', () => {}); test('b', () => { expect(1).toBe(2); }); test.skip('c & d', () => {});`;
    expect(await judged(code)).toEqual({ passed: 1, failed: 1, skipped: 1, notes: ['skipped: c & d'] });
  });

  test('fails a file that does not load, a run without tests, and an error between tests', async () => {
    expect((await judged(`throw new Error('no');`)).failed).toBe(1);
    expect((await judged('')).failed).toBe(1);
    const late = `test('a', () => { setTimeout(() => { throw new Error('late'); }, 0); }); test('b', () => Bun.sleep(50));`;
    expect((await judged(late)).failed).toBeGreaterThan(0);
  });

  test('of a command is its exit code', async () => {
    expect(judgeCommand(await run(['true']), 10)).toMatchObject({ passed: 1, failed: 0 });
    expect(judgeCommand(await run(['false']), 10)).toMatchObject({ passed: 0, failed: 1 });
  });
});

describe('a run', () => {
  test('ends at its limit', async () => {
    const outcome = await run(['sleep', '30'], 0.2);
    expect(outcome.timedOut).toBe(true);
    expect(judgeCommand(outcome, 0.2).notes).toEqual(['ended after 0.2 s, its limit']);
  });

  test.if(process.platform === 'linux')(
    'leaves no process behind, and names what it had to end',
    async () => {
      adoptOrphans();
      const outcome = await run(['sh', '-c', `sh -c 'sleep 4321 & echo $! > left' & wait`]);
      expect(outcome.left).toEqual(['sleep 4321']);
      expect(() => process.kill(Number(readFileSync(join(dir, 'left'), 'utf8')), 0)).toThrow();
      expect(judgeCommand(outcome, 10)).toMatchObject({ passed: 0, failed: 1 });
    },
    15_000,
  );

  test.if(process.platform === 'linux')('lets an orphan that has ended be gone, as init would', async () => {
    adoptOrphans();
    const script = `sh -c 'sleep 0.1 & echo $! > orphan'; while kill -0 "$(cat orphan)" 2>/dev/null; do sleep 0.05; done`;
    const outcome = await run(['sh', '-c', script], 5);
    expect(outcome).toMatchObject({ exitCode: 0, timedOut: false, left: [] });
  });
});

describe('a comment', () => {
  test('is broken at the edge and flows into its paragraph, drawings are not', () => {
    const long = `// ${'word '.repeat(30)}end`;
    const lines = wrapped(`${long}\n// next\n`).split('\n');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(110);
    expect(lines[1]).toEndWith('end next');
    const drawing = ` * ${'─'.repeat(60)}      ${'─'.repeat(60)}`;
    expect(wrapped(drawing)).toBe(drawing);
    expect(
      wrapped(`/** ${'word '.repeat(30)}end. */`)
        .split('\n')
        .at(-1),
    ).toBe(' */');
  });
});
