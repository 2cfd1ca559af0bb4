/**
 * `bun bench/journal.ts [--writers 1,64,1024] [--seconds 3] [--dir DIR]`
 *
 * Durable transitions a second through the fleet, and how long each one waits, for both journals, beside what
 * the machine can do in the same run: the same bytes appended to a file in the same batches, and
 * redis-benchmark with as many commands at once. The last line is one JSON object.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readWords, wholeNumber, wholeNumbers } from '../scripts/arguments.ts';
import { systemClock } from '../src/clock.ts';
import { redisJournal } from '../src/journal/redis.ts';
import { sqliteJournal } from '../src/journal/sqlite.ts';
import type { Journal } from '../src/journal.ts';
import { silentLog } from '../src/log.ts';
import { redisServer } from '../tests/journal/redis-server.ts';
import { bareFile, bareRedis } from './journal-bare.ts';
import { load, type Written } from './journal-load.ts';
import { rounded } from './terminal-figures.ts';

const usage = `Usage: bun bench/journal.ts [--writers 1,64,1024] [--seconds 3] [--dir DIR]

Durable transitions a second for both journals, beside what the machine can do. The last line is one JSON object.
`;

const { values: wanted } = readWords(usage, () =>
  parseArgs({
    options: {
      writers: { type: 'string', default: '1,64,1024' },
      seconds: { type: 'string', default: '3' },
      dir: { type: 'string', default: tmpdir() },
      help: { type: 'boolean', short: 'h', default: false },
    },
  }),
);
const crowds = wholeNumbers(usage, { name: 'writers', text: wanted.writers, least: 1 });
const seconds = wholeNumber(usage, { name: 'seconds', text: wanted.seconds, least: 1 });

const WARM_UP_MS = 1_000;
/** From so many writers on the target holds. */
const TARGET_WRITERS = 64;
const TARGET = 0.5;

interface Row {
  readonly journal: string;
  readonly writers: number;
  readonly perSecond: number;
  readonly bare: number;
  readonly share: number;
  readonly p50: number;
  readonly p99: number;
  readonly batch: number;
}

const dir = mkdtempSync(join(wanted.dir, 'journal-bench-'));
const rows: Row[] = [];

async function measure(name: string, open: () => Promise<Journal>, bare: (written: Written) => number) {
  for (const writers of crowds) {
    process.stderr.write(`… ${name}, ${writers} writers\n`);
    const journal = await open();
    const written = await load(journal, { writers, warmUpMs: WARM_UP_MS, ms: seconds * 1e3 });
    await journal.close();
    const perSecond = (written.transitions / written.ms) * 1e3;
    const limit = bare(written);
    rows.push({
      journal: name,
      writers,
      perSecond: Math.round(perSecond),
      bare: Math.round(limit),
      share: rounded(perSecond / limit, 2),
      p50: rounded(written.p50, 2),
      p99: rounded(written.p99, 2),
      batch: rounded(written.transitions / Math.max(1, written.batches.length)),
    });
  }
}

const redis = await redisServer();
try {
  let files = 0;
  const path = () => join(dir, `${++files}.db`);
  const clock = systemClock;
  await measure(
    'sqlite',
    () => sqliteJournal({ path: path(), clock }),
    (written) => bareFile(path(), written),
  );
  const fail = (why: Error) => {
    throw why;
  };
  const shared = { url: redis.path, clock, log: silentLog, onLost: fail };
  await measure(
    'redis',
    () => redisJournal({ ...shared, prefix: `bench${++files}` }),
    (written) => bareRedis(redis.path, written),
  );
} finally {
  await redis.close();
  rmSync(dir, { recursive: true, force: true });
}

const cells = ['journal', 'writers', 'per second', 'bare', 'share', 'p50 ms', 'p99 ms', 'a batch'];
const lines = [
  cells,
  ...rows.map((row) =>
    [row.journal, row.writers, row.perSecond, row.bare, row.share, row.p50, row.p99, row.batch].map(String),
  ),
];
const widths = cells.map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
for (const line of lines) console.log(line.map((cell, i) => cell.padStart(widths[i] ?? 0)).join('  '));
for (const { journal, writers, share } of rows.filter((row) => row.writers >= TARGET_WRITERS))
  console.log(
    `${share >= TARGET ? 'ok    ' : 'missed'}  ${journal}, ${writers} writers: ${share} of the bare limit >= ${TARGET}`,
  );
console.log(JSON.stringify({ rows }));
process.exit(0);
