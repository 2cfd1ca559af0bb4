/**
 * `bin/check`: runs every tier, prints a line for each and the words of those that fail, and ends with one
 * line of sums. Its exit code is 0 only when nothing failed and something passed; with CI=true what is
 * skipped has failed.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { adoptOrphans, endEverything, type Outcome, runToEnd } from './check/child.ts';
import { judgeCommand, judgeTests, skippedWhole, type Verdict } from './check/judge.ts';
import { missing } from './check/needs.ts';
import { pathsOf, strays, type Tier, tiers } from './check/tiers.ts';

const root = join(import.meta.dir, '..');
const strict = process.env['CI'] === 'true';
/** A test that says nothing else may take this long. */
const TEST_MS = 60_000;
const OUTPUT_LINES_MAX = 400;
/** By convention of test programs: what is needed is not here. */
const CANNOT_RUN = 77;

const usage = `Usage: bin/check [--fast] [TIER…]

Checks everything, or with --fast what takes less than half a minute. Tiers: ${tiers.map((tier) => tier.name).join(', ')}.
Programs that Debian has are installed when that is allowed (root); what cannot run is skipped and says why.
With CI=true a skip is a failure.
`;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

function wanted(words: readonly string[]): readonly Tier[] {
  const names = words.filter((word) => word !== '--fast');
  const strange = names.find((name) => !tiers.some((tier) => tier.name === name));
  if (strange !== undefined) {
    process.stderr.write(`bin/check: there is no tier "${strange}"\n\n${usage}`);
    process.exit(64);
  }
  if (names.length > 0) return tiers.filter((tier) => names.includes(tier.name));
  return words.includes('--fast') ? tiers.filter((tier) => tier.fast) : tiers;
}

/**
 * What a tier sees: a home to write to, our own programs first, and nothing that would aim it at a real
 * service.
 */
function environment(work: string): Record<string, string> {
  const foreign = /^(AGENTIC_|ANTHROPIC_|CLAUDE|OPENAI_|REDIS_URL$|LISTEN_ADDR$|LOG_LEVEL$)/;
  const kept = Object.entries(process.env).flatMap(([name, value]) =>
    value === undefined || foreign.test(name) ? [] : [[name, value] as const],
  );
  const home = join(work, 'home');
  mkdirSync(home);
  const path = [dirname(process.execPath), process.env['PATH'] ?? ''].join(delimiter);
  return { ...Object.fromEntries(kept), HOME: process.env['HOME'] || home, PATH: path };
}

async function check(tier: Tier, work: string, env: Readonly<Record<string, string>>) {
  const absent = missing(tier.needs, (line) => say(`  ${line}`));
  if (absent !== null) return { verdict: skippedWhole(absent), outcome: null };
  const { limitSeconds, run } = tier;
  if ('command' in run) {
    const outcome = await runToEnd({ command: run.command, cwd: root, env, limitSeconds });
    return { verdict: judgeCommand(outcome, limitSeconds), outcome };
  }
  const paths = pathsOf(root, run.tests);
  if (paths.length === 0) return { verdict: skippedWhole('no test is written yet'), outcome: null };
  const report = join(work, `${tier.name}.xml`);
  const reporter = ['--reporter=junit', `--reporter-outfile=${report}`];
  const within = run.within === undefined ? [] : [process.execPath, ...run.within];
  // Whoever runs them there may be another user, who finds the report where it is and nothing beside it.
  if (run.within !== undefined) {
    chmodSync(work, 0o711);
    writeFileSync(report, '');
    chmodSync(report, 0o666);
  }
  const command = [...within, process.execPath, 'test', `--timeout=${TEST_MS}`, ...reporter, ...paths];
  const outcome = await runToEnd({ command, cwd: root, env, limitSeconds });
  if (run.within !== undefined && outcome.exitCode === CANNOT_RUN)
    return { verdict: skippedWhole(outcome.output.trim().split('\n').at(-1) ?? 'no reason given'), outcome };
  const junit = (existsSync(report) && readFileSync(report, 'utf8')) || null;
  return { verdict: judgeTests(outcome, junit, limitSeconds), outcome };
}

function tell(tier: Tier, verdict: Verdict, outcome: Outcome | null): void {
  const { passed, failed, skipped, notes } = verdict;
  const bad = failed > 0 || (strict && skipped > 0);
  const counts = [
    `${passed} passed`,
    ...(failed ? [`${failed} failed`] : []),
    ...(skipped ? [`${skipped} skipped`] : []),
  ];
  const time = outcome === null ? '' : ` · ${outcome.seconds.toFixed(1)} s`;
  if (bad && outcome !== null) {
    const lines = outcome.output
      .trimEnd()
      .split('\n')
      .filter((line) => !line.startsWith('(pass)'));
    say(
      lines
        .slice(-OUTPUT_LINES_MAX)
        .map((line) => `  │ ${line}`)
        .join('\n'),
    );
  }
  say(`${bad ? '✗' : passed > 0 ? '✓' : '·'} ${tier.name.padEnd(11)} ${counts.join(', ')}${time}`);
  for (const note of notes) say(`    ${note}`);
}

async function main(): Promise<number> {
  const words = process.argv.slice(2);
  if (words.some((word) => word === '-h' || word === '--help')) {
    process.stdout.write(usage);
    return 0;
  }
  const chosen = wanted(words);
  adoptOrphans();
  const work = mkdtempSync(join(tmpdir(), 'check-'));
  const leave = (): never => {
    endEverything();
    rmSync(work, { recursive: true, force: true });
    process.exit(130);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, leave);
  const sums = { passed: 0, failed: 0, skipped: 0 };
  const env = environment(work);
  for (const file of strays(root)) {
    sums.failed += 1;
    say(`✗ ${file} is in no tier: name its folder in scripts/check/tiers.ts`);
  }
  for (const tier of chosen) {
    const { verdict, outcome } = await check(tier, work, env).catch((thrown) => ({
      verdict: { passed: 0, failed: 1, skipped: 0, notes: [`could not be run: ${thrown}`] },
      outcome: null,
    }));
    tell(tier, verdict, outcome);
    sums.passed += verdict.passed;
    sums.failed += verdict.failed + (strict ? verdict.skipped : 0);
    sums.skipped += strict ? 0 : verdict.skipped;
  }
  rmSync(work, { recursive: true, force: true });
  say(`${sums.passed} passed, ${sums.failed} failed, ${sums.skipped} skipped`);
  return sums.failed === 0 && sums.passed > 0 ? 0 : 1;
}

process.exit(await main());
