/**
 * The logs of an instance's runs, where people and the instance itself find them:
 *
 *     outbox/runs/run-20261126-093000/   metadata.json, commands.log, sessions/<session id>.log
 *     outbox/runs/current                →  the run that goes on
 *
 * A run is from one start of the instance to its end. These are copies to read with any tool: the truth is
 * the journal and the recordings. The instance may write here too, so everything is done by descriptor, what
 * it put in the way is left, and a log that cannot be written is no reason to stop anything.
 */

import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readFile, readlink, rename } from 'node:fs/promises';
import { newSecret } from '../ids.ts';
import { within } from './area.ts';
import { openToAppend, removeTree } from './change.ts';
import { pointTo } from './current.ts';
import { at, type Dir, descend, openIn, orNull } from './dir.ts';
import { namesIn } from './entries.ts';
import type { Place } from './layout.ts';

const RUNS = 'runs';
const CURRENT = 'current';
const METADATA = 'metadata.json';
const METADATA_BYTES_MAX = 64 * 1024;
/** Runs that begin in one second. */
const SAME_SECOND_MAX = 100;
/** What a session said is copied as far as this; the recording has all of it. */
const SESSION_LOG_BYTES_MAX = 16 * 1024 * 1024;

export interface RunFacts {
  readonly run_id: string;
  readonly agent_id: string;
  readonly instance_id: string;
  readonly hostname: string;
  readonly started_at: string;
  /** Null: it goes on. */
  readonly ended_at: string | null;
  readonly reason: string | null;
}

/** `run-YYYYMMDD-HHMMSS`, with a number behind it when there are several. */
const runPattern = /^run-\d{8}-\d{6}(-\d{1,3})?$/;

const runName = (iso: string): string => `run-${iso.slice(0, 19).replace(/[-:]/g, '').replace('T', '-')}`;

async function runsIn(outbox: string): Promise<Dir | null> {
  const dir = await descend(outbox, []);
  if (dir === null) return null;
  return await within(dir, async () => {
    await orThere(mkdir(at(dir, RUNS), { mode: 0o755 }));
    return await openIn(dir, RUNS);
  });
}

/** Null when something of the instance's own is in the way. */
async function orThere(promise: Promise<unknown>): Promise<boolean> {
  try {
    await promise;
    return true;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown;
    return false;
  }
}

/** Begins a run. Returns its name; null when the outbox does not take one. */
export async function beginRun(outbox: string, facts: Omit<RunFacts, 'run_id'>): Promise<string | null> {
  const runs = await runsIn(outbox);
  if (runs === null) return null;
  return await within(runs, async () => {
    const plain = runName(facts.started_at);
    for (let n = 1; n <= SAME_SECOND_MAX; n++) {
      const run_id = n === 1 ? plain : `${plain}-${n}`;
      if (!(await orThere(mkdir(at(runs, run_id), { mode: 0o755 })))) continue;
      const run = await openIn(runs, run_id);
      if (run === null) return null;
      await within(run, () => writeMetadata(run, { run_id, ...facts }));
      await pointTo(runs, CURRENT, run_id);
      return run_id;
    }
    return null;
  });
}

/** The run that goes on, also one that an earlier server began. */
export async function currentRun(outbox: string): Promise<string | null> {
  const runs = await runsIn(outbox);
  if (runs === null) return null;
  return await within(runs, async () => {
    const name = await readlink(at(runs, CURRENT)).catch(() => null);
    if (name === null || !runPattern.test(name)) return null;
    const run = await openIn(runs, name);
    if (run === null) return null;
    return await within(run, async () => ((await readMetadata(run))?.ended_at === null ? name : null));
  });
}

export interface RunEnd {
  readonly ended_at: string;
  readonly reason: string | null;
}

export const endRun = (outbox: string, run: string, end: RunEnd): Promise<void> =>
  inRun(outbox, run, async (dir) => {
    const facts = await readMetadata(dir);
    if (facts !== null && facts.ended_at === null) await writeMetadata(dir, { ...facts, ...end });
  });

/** One line of what was run. */
export const noteCommand = (outbox: string, run: string, line: string): Promise<void> =>
  inRun(outbox, run, async (dir) => {
    const file = await openToAppend(dir, 'commands.log', 0o644);
    await file?.writeFile(`${line}\n`);
    await file?.close();
  });

/** What a session said, as text. Told twice, it is written anew. */
export const writeSession = (
  outbox: string,
  run: string,
  { session, pieces }: { readonly session: string; readonly pieces: AsyncIterable<string> },
): Promise<void> =>
  inRun(outbox, run, async (dir) => {
    await orThere(mkdir(at(dir, 'sessions'), { mode: 0o755 }));
    const sessions = await openIn(dir, 'sessions');
    if (sessions === null) return;
    await within(sessions, () => replace(sessions, `${session}.log`, (file) => copy(file, pieces)));
  });

async function copy(file: FileHandle, pieces: AsyncIterable<string>): Promise<void> {
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += Buffer.byteLength(piece);
    if (bytes > SESSION_LOG_BYTES_MAX) {
      await file.writeFile('\n[cut here; the recording of this session has all of it]\n');
      return;
    }
    await file.writeFile(piece);
  }
}

async function inRun(outbox: string, run: string, work: (dir: Dir) => Promise<void>): Promise<void> {
  const dir = await descend(outbox, [RUNS, run]);
  if (dir !== null) await within(dir, work);
}

const writeMetadata = (dir: Dir, facts: RunFacts): Promise<void> =>
  replace(dir, METADATA, (file) => file.writeFile(`${JSON.stringify(facts, null, 2)}\n`));

/** Under a name that cannot be guessed first, so that no link of that name is written through. */
async function replace(dir: Dir, name: string, fill: (file: FileHandle) => Promise<void>): Promise<void> {
  const fresh = `.${newSecret().slice(0, 12)}`;
  const file = await open(at(dir, fresh), 'wx', 0o644);
  await fill(file).finally(() => file.close());
  await rename(at(dir, fresh), at(dir, name));
}

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;

async function readMetadata(dir: Dir): Promise<RunFacts | null> {
  const file = await orNull(open(at(dir, METADATA), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  if (file === null) return null;
  try {
    const stats = await file.stat();
    if (!stats.isFile() || stats.size > METADATA_BYTES_MAX) return null;
    const facts = JSON.parse(await readFile(file, 'utf8')) as RunFacts;
    return typeof facts.run_id === 'string' ? facts : null;
  } catch {
    return null; // The instance may have written anything there.
  } finally {
    await file.close();
  }
}

/** Removes runs that were last changed before `before`, and never the one that goes on. Returns how many. */
export async function pruneRuns(
  { outbox, staging }: Pick<Place, 'outbox' | 'staging'>,
  before: number,
): Promise<number> {
  const current = await currentRun(outbox);
  const runs = await descend(outbox, [RUNS]);
  if (runs === null) return 0;
  return await within(runs, async () => {
    let removed = 0;
    for await (const name of namesIn(runs)) {
      const text = name.toString('utf8');
      if (!runPattern.test(text) || text === current) continue;
      const stats = await orNull(lstat(at(runs, name)));
      if (stats === null || stats.mtimeMs >= before) continue;
      await removeTree(runs, name, { isDeep: true, staging });
      removed += 1;
    }
    return removed;
  });
}
