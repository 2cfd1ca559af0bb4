/**
 * `bun bench/terminal.ts [--bytes N] [--viewers 1,4,16,32] [--rounds 3]`
 *
 * Pushes a flood through a PTY to WebSocket viewers, beside the bare PTY and what a user would pick instead,
 * in the same run and in turns, and judges what it measured by the targets. The last line is one JSON object.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readWords } from '../scripts/arguments.ts';
import type { Bare } from './terminal-bare.ts';
import { echoScript, keyboard, overAttach } from './terminal-echo.ts';
import { type Echo, echoOf, MIB, median, rounded, rssBytes } from './terminal-figures.ts';
import { makeFlood } from './terminal-flood.ts';
import { audience, type Flooded, flooded, type Ground, megabytesASecond } from './terminal-flooding.ts';
import { product } from './terminal-server.ts';
import { type Rival, type Rivals, rivals } from './terminal-ssh.ts';

const usage = 'Usage: bun bench/terminal.ts [--bytes N] [--viewers 1,4,16,32] [--rounds 3] [--no-rivals]';
const { values: wanted } = readWords(usage, () =>
  parseArgs({
    options: {
      bytes: { type: 'string', default: '200000000' },
      viewers: { type: 'string', default: '1,4,16,32' },
      rounds: { type: 'string', default: '3' },
      rivals: { type: 'boolean', default: true },
      help: { type: 'boolean', short: 'h', default: false },
    },
    allowNegative: true,
  }),
);

const IDLE_MS = 3_000;
/** Who reads while somebody else does not. */
const READING = 3;
/** Crowds of more are measured once. */
const SMALL_CROWD = 4;

type Series = Map<string, Flooded[]>;
function bare(path: string): Bare {
  const bench = new URL('./terminal-bare.ts', import.meta.url).pathname;
  const { stdout, success } = Bun.spawnSync([process.execPath, bench, path], { stderr: 'inherit' });
  if (!success) throw new Error('the bare PTY could not be measured');
  return JSON.parse(stdout.toString()) as Bare;
}

const idle = (): (() => boolean) => {
  const end = Date.now() + IDLE_MS;
  return () => Date.now() >= end;
};

interface RivalFigures {
  readonly name: string;
  readonly mbps: number;
  readonly arrivedShare: number;
  readonly idle: Echo;
  readonly flooded: Echo;
}

async function measureRival(rival: Rival, { flood }: Ground): Promise<RivalFigures> {
  const keys = await rival.keyboard();
  const quiet = await keys.type(idle());
  let isOver = false;
  const under = keys.type(() => isOver);
  const { ms, arrived } = await rival.flood(flood.path);
  isOver = true;
  const loud = await under;
  keys.close();
  const mbps = rounded(flood.bytes / 1e3 / ms);
  return {
    name: rival.name,
    mbps,
    arrivedShare: rounded(arrived / flood.bytes, 3),
    idle: echoOf(quiet),
    flooded: echoOf(loud),
  };
}

interface Measured {
  readonly bare: readonly Bare[];
  readonly series: Series;
  readonly idle: Echo;
  readonly rivals: readonly RivalFigures[];
  readonly rssIdle: number;
  readonly rssAfter: number;
  readonly bytes: number;
}

async function measure(ground: Ground, others: Rivals): Promise<Measured> {
  const crowds = wanted.viewers.split(',').map(Number);
  const rounds = Number(wanted.rounds);
  const series: Series = new Map();
  const once = async (name: string, count: number, stalled = 0) => {
    progress(`${name}, server at ${rounded(rssBytes(ground.product.serverPid) / MIB)} MiB`);
    const one = await flooded(ground, { count, stalled });
    series.set(name, [...(series.get(name) ?? []), one]);
  };
  progress('keystrokes, idle');
  const quiet = echoOf(await ground.keys.type(idle()));
  const rssIdle = rssBytes(ground.product.serverPid);
  const bares: Bare[] = [];
  for (let round = 0; round < rounds; round++) {
    progress(`bare PTY, round ${round + 1} of ${rounds}`);
    bares.push(bare(ground.flood.path));
    for (const count of crowds.filter((count) => count <= SMALL_CROWD)) await once(`${count}`, count);
    // There and back, so that what grows or slows with time weighs on both.
    await once('reading', READING);
    await once('stalled', READING + 1, 1);
    await once('stalled', READING + 1, 1);
    await once('reading', READING);
  }
  for (const count of crowds.filter((count) => count > SMALL_CROWD)) await once(`${count}`, count);
  const rssAfter = rssBytes(ground.product.serverPid);
  const rivalFigures: RivalFigures[] = [];
  for (const rival of others.all) {
    progress(rival.name);
    rivalFigures.push(await measureRival(rival, ground));
  }
  return {
    bare: bares,
    series,
    idle: quiet,
    rivals: rivalFigures,
    rssIdle,
    rssAfter,
    bytes: ground.flood.bytes,
  };
}

const progress = (what: string) => void process.stderr.write(`… ${what}\n`);

interface Row {
  readonly viewers: string;
  readonly mbps: number;
  readonly skippedShare: number;
  readonly serverCpuPerGb: number;
  readonly agentCpuPerGb: number;
  readonly serverRssMib: number;
  readonly agentRssMib: number;
  readonly echo: Echo;
  readonly isWhole: boolean | null;
}

/** CPU seconds are per gigabyte that the program wrote, however many got it. */
function rowOf(viewers: string, runs: readonly Flooded[], bytes: number): Row {
  const all = runs.flatMap((run) => run.viewers);
  const whole = runs.map(({ isWhole }) => isWhole);
  return {
    viewers,
    mbps: rounded(median(runs.map(megabytesASecond))),
    skippedShare: rounded(all.reduce((sum, one) => sum + one.skippedBytes, 0) / all.length / bytes, 3),
    serverCpuPerGb: rounded(median(runs.map(({ server }) => server.cpuSeconds / (bytes / 1e9))), 2),
    agentCpuPerGb: rounded(median(runs.map(({ agent }) => agent.cpuSeconds / (bytes / 1e9))), 2),
    serverRssMib: rounded(Math.max(...runs.map(({ server }) => server.rssPeak)) / MIB),
    agentRssMib: rounded(Math.max(...runs.map(({ agent }) => agent.rssPeak)) / MIB),
    echo: echoOf(runs.flatMap(({ echoMs }) => echoMs)),
    isWhole: whole.includes(false) ? false : whole.includes(true) ? true : null,
  };
}

interface Target {
  readonly target: string;
  readonly figure: number;
  readonly ok: boolean;
}

function judge({ bare, series, rssIdle }: Measured, rows: readonly Row[]): Target[] {
  const bareMbps = median(bare.map(({ bytes, ms }) => bytes / 1e3 / ms));
  const of = (name: string) => rows.find(({ viewers }) => viewers === name);
  const targets: Target[] = [];
  const add = (target: string, figure: number, ok: boolean) =>
    targets.push({ target, figure: rounded(figure, 3), ok });
  const one = of('1');
  if (one) add('MB/s to one viewer / bare PTY >= 0.70', one.mbps / bareMbps, one.mbps / bareMbps >= 0.7);
  const worst = Math.max(...rows.map(({ echo }) => echo.p99));
  if (one) add('echo p99 under the flood, one viewer <= 50 ms', one.echo.p99, one.echo.p99 <= 50);
  add('echo p99 under the flood, worst crowd <= 50 ms', worst, worst <= 50);
  const growth =
    (Math.max(...[...series.values()].flat().map(({ server }) => server.rssPeak)) - rssIdle) / MIB;
  add('server RSS growth <= 64 MiB', growth, growth <= 64);
  const [reading, stalled] = [of('reading'), of('stalled')];
  if (reading && stalled) {
    const cost = 1 - stalled.mbps / reading.mbps;
    add('cost to others of a viewer that stops reading < 0.05', cost, cost < 0.05);
  }
  const whole = rows.every(({ isWhole }) => isWhole !== false);
  add(
    'every byte, as it is, to whoever was not skipped',
    whole ? 1 : 0,
    whole && rows.some(({ isWhole }) => isWhole),
  );
  return targets;
}

const named = (name: string) =>
  ({ reading: `${READING} (reference)`, stalled: `${READING} + 1 stalled` })[name] ?? name;

function print(
  { bare, idle, rivals, rssIdle, rssAfter }: Measured,
  rows: readonly Row[],
  targets: readonly Target[],
): void {
  const mbps = rounded(median(bare.map(({ bytes, ms }) => bytes / 1e3 / ms)));
  const cpu = rounded(median(bare.map(({ bytes, cpuSeconds }) => cpuSeconds / (bytes / 1e9))), 2);
  const lines = [
    [
      'viewers',
      'MB/s each',
      'skipped',
      'CPU s/GB server',
      'agent',
      'RSS MiB server',
      'agent',
      'echo p50',
      'p99 ms',
      'bytes',
    ],
    ['bare PTY', mbps, '', '', cpu, '', '', '', '', ''],
    ['idle', '', '', '', '', rounded(rssIdle / MIB), '', idle.p50, idle.p99, ''],
    ...rows.map((row) => [
      named(row.viewers),
      row.mbps,
      `${rounded(row.skippedShare * 100)} %`,
      row.serverCpuPerGb,
      row.agentCpuPerGb,
      row.serverRssMib,
      row.agentRssMib,
      row.echo.p50,
      row.echo.p99,
      { true: 'verified', false: 'WRONG', null: '-' }[`${row.isWhole}`],
    ]),
    ['after', '', '', '', '', rounded(rssAfter / MIB), '', '', '', ''],
    ...rivals.flatMap(({ name, mbps, arrivedShare, idle, flooded }) => [
      [name, mbps, `${rounded((1 - arrivedShare) * 100)} %`, '', '', '', '', flooded.p50, flooded.p99, ''],
      [`${name}, idle`, '', '', '', '', '', '', idle.p50, idle.p99, ''],
    ]),
  ].map((cells) => cells.map(String));
  const widths = (lines[0] ?? []).map((_, i) => Math.max(...lines.map((cells) => cells[i]?.length ?? 0)));
  for (const cells of lines) {
    console.log(
      cells
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
        .join('  '),
    );
  }
  for (const { target, figure, ok } of targets)
    console.log(`${ok ? 'ok    ' : 'missed'}  ${target}: ${figure}`);
}

async function main(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'terminal-bench-flood-'));
  const closing: (() => Promise<void> | void)[] = [() => rmSync(dir, { recursive: true, force: true })];
  try {
    const flood = makeFlood(join(dir, 'flood.txt'), Number(wanted.bytes));
    const house = await product();
    closing.push(() => house.close());
    const watching = audience();
    closing.push(() => watching.close());
    const others = wanted.rivals
      ? await rivals()
      : { all: [], skipped: ['rivals: not asked for'], close: async () => {} };
    closing.push(() => others.close());
    const keys = await keyboard(overAttach(house.ws, await house.session(echoScript)));
    closing.push(() => keys.close());
    const measured = await measure({ product: house, audience: watching, keys, flood }, others);
    const rows = [...measured.series].map(([name, runs]) => rowOf(name, runs, flood.bytes));
    const targets = judge(measured, rows);
    print(measured, rows, targets);
    for (const why of others.skipped) console.log(`skipped ${why}`);
    const { bare, idle, rivals: rivalFigures, rssIdle, rssAfter, bytes } = measured;
    console.log(
      JSON.stringify({ bytes, bare, idle, rows, rivals: rivalFigures, rssIdle, rssAfter, targets }),
    );
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

await main();
