/**
 * Reads what a tier's process left behind: how many passed, failed and were skipped, and why. Looks at
 * nothing else.
 */
import type { Outcome } from './child.ts';

export interface Verdict {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Why it failed where the output alone does not say; what was skipped. */
  readonly notes: readonly string[];
}

export const skippedWhole = (reason: string): Verdict => ({
  passed: 0,
  failed: 0,
  skipped: 1,
  notes: [reason],
});

/** One command is one test. */
export function judgeCommand(outcome: Outcome, limitSeconds: number): Verdict {
  const notes = trouble(outcome, limitSeconds);
  const ok = outcome.exitCode === 0 && notes.length === 0;
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0, notes };
}

/** `junit` is Bun's report; null when it never came to write one. */
export function judgeTests(outcome: Outcome, junit: string | null, limitSeconds: number): Verdict {
  const notes = trouble(outcome, limitSeconds);
  if (junit === null)
    return { passed: 0, failed: 1, skipped: 0, notes: [...notes, 'bun test wrote no report'] };
  const { tests, failures, skipped } = totals(junit);
  if (tests === 0) return { passed: 0, failed: 1, skipped: 0, notes: [...notes, 'no test ran'] };
  // An error outside every test (a file that does not load) is in no report, only in the exit code.
  const silent = outcome.exitCode !== 0 && failures === 0 && notes.length === 0;
  const extra = silent ? [`bun test exited with ${outcome.exitCode} although no test failed`] : [];
  return {
    passed: tests - failures - skipped,
    failed: failures + notes.length + extra.length,
    skipped,
    notes: [...notes, ...extra, ...skippedNames(junit).map((name) => `skipped: ${name}`)],
  };
}

function trouble({ timedOut, left }: Outcome, limitSeconds: number): string[] {
  return [
    ...(timedOut ? [`ended after ${limitSeconds} s, its limit`] : []),
    ...left.map((command) => `left running (ended now): ${command}`),
  ];
}

function totals(junit: string) {
  const head = /<testsuites\b[^>]*>/.exec(junit)?.[0] ?? '';
  const number = (name: string): number => Number(new RegExp(` ${name}="(\\d+)"`).exec(head)?.[1] ?? 0);
  return {
    tests: number('tests'),
    failures: number('failures') + number('errors'),
    skipped: number('skipped'),
  };
}

function skippedNames(junit: string): string[] {
  const cases = junit.matchAll(/<testcase name="([^"]*)"[^>]*[^/]>\s*<skipped/g);
  return [...cases].map((match) => unescaped(match[1] ?? ''));
}

const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };
const unescaped = (text: string): string =>
  text.replace(/&(\w+);/g, (whole, name) => entities[name] ?? whole);
