/** The recorded programs of tests/transcripts, as `bun run hitl:eval` judges them. */
import { expect, test } from 'bun:test';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dir, '..', '..');
const corpus = join(root, 'tests', 'transcripts');

interface Told {
  readonly cases: number;
  readonly precision: number;
  readonly recall: number;
  readonly kind: number;
  readonly question: number;
  readonly options: number;
  readonly misses: readonly {
    readonly case: string;
    readonly expected: { readonly asking: boolean };
    readonly got: object;
  }[];
}

async function measure(dir: string, ...flags: string[]) {
  const child = Bun.spawn([process.execPath, join(root, 'scripts', 'hitl-eval.ts'), dir, ...flags], {
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { out, err, code, last: out.trimEnd().split('\n').at(-1) ?? '' };
}

test('[Q1] what asks nobody is never taken for a question, and 95 in 100 questions are found', async () => {
  const { code, last } = await measure(corpus, '--json');
  const told = JSON.parse(last) as Told;
  expect(code).toBe(0);
  expect(told.cases).toBe(readdirSync(corpus).length);
  expect(told.precision).toBe(1);
  expect(told.recall).toBeGreaterThanOrEqual(0.95);
  for (const share of [told.kind, told.question, told.options]) expect(share).toBeGreaterThanOrEqual(0.95);
}, 60_000);

test('the corpus has at least 16 cases, a third of them negatives', async () => {
  const cases = readdirSync(corpus);
  const asking = await Promise.all(
    cases.map(
      async (name) =>
        ((await Bun.file(join(corpus, name, 'expected.json')).json()) as { asking: boolean }).asking,
    ),
  );
  expect(cases.length).toBeGreaterThanOrEqual(16);
  expect(asking.filter((asks) => !asks).length * 3).toBeGreaterThanOrEqual(cases.length);
});

test('[Q2] a case that cannot be read is named with its fault, and the others are measured', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'corpus-'));
  try {
    cpSync(join(corpus, 'bash-menu'), join(dir, 'bash-menu'), { recursive: true });
    cpSync(join(corpus, 'bash-menu'), join(dir, 'garbled'), { recursive: true });
    writeFileSync(join(dir, 'garbled', 'recording.cast'), 'not a recording\n');
    const { code, out, err } = await measure(dir);
    expect(code).toBe(2);
    expect(`${out}${err}`).toContain('garbled');
    expect(out).toContain('1 cases');
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('every miss is printed by name', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'corpus-'));
  try {
    cpSync(join(corpus, 'bash-menu'), join(dir, 'wrong'), { recursive: true });
    writeFileSync(join(dir, 'wrong', 'expected.json'), '{"asking":false}');
    const { last } = await measure(dir, '--json');
    expect(JSON.parse(last)).toMatchObject({
      cases: 1,
      precision: 0,
      misses: [{ case: 'wrong', expected: { asking: false } }],
    });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
