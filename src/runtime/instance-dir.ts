/**
 * An instance's directory: `<root>/<name>/{handle.json,agent.log,secret,home/,work/,spool/}`.
 *
 * The path is always made from the root and a checked name, never taken from a handle. Removal does not
 * follow symlinks, and removes what the instance made unreadable for itself.
 */
import {
  closeSync,
  constants,
  copyFileSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { chmod, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../failure.ts';
import { instanceNamePattern } from '../ids.ts';

/** The log's length at which it becomes `agent.log.1`; the one before is dropped. */
export const LOG_BYTES_MAX = 8 * 1024 * 1024;

export interface InstanceDir {
  readonly path: string;
  readonly home: string;
  readonly work: string;
  readonly spool: string;
  readonly log: string;
  readonly handle: string;
}

export function instanceDir(root: string, name: string): InstanceDir {
  if (!instanceNamePattern.test(name)) {
    throw new Failure(
      'bad-input',
      `instance ${JSON.stringify(name)}: a name is a-z, 0-9 and -, starts with a letter, 2 to 63 long`,
    );
  }
  const path = join(root, name);
  return {
    path,
    home: join(path, 'home'),
    work: join(path, 'work'),
    spool: join(path, 'spool'),
    log: join(path, 'agent.log'),
    handle: join(path, 'handle.json'),
  };
}

/** Of every directory there whose name could be an instance's. */
export function instanceNames(root: string): readonly string[] {
  try {
    return readdirSync(root, { withFileTypes: true })
      .filter((one) => one.isDirectory() && instanceNamePattern.test(one.name))
      .map(({ name }) => name);
  } catch {
    return []; // Nothing was ever made here.
  }
}

/** Makes what is missing. A symlink where the directory should be is refused: it would lead us out. */
export function makeInstanceDir(dir: InstanceDir): void {
  const there = lstatSync(dir.path, { throwIfNoEntry: false });
  if (there && !there.isDirectory()) {
    throw new Failure(
      'runtime-failed',
      `create ${dir.path}: something that is no directory is in its place; remove it`,
    );
  }
  for (const path of [dir.path, dir.home, dir.work, dir.spool])
    mkdirSync(path, { recursive: true, mode: 0o700 });
}

/** Written whole or not at all, so that a kill leaves the old one or the new one. */
export function writeJson(path: string, value: unknown): void {
  const fresh = `${path}.new`;
  writeFileSync(fresh, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  renameSync(fresh, path);
}

/** Null when there is none, or when it is damaged: then the caller finds out by looking. */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null;
  }
}

/** A descriptor to append to; a symlink that the instance put there is not followed. */
export function openLog(dir: InstanceDir): number {
  rotateLog(dir, LOG_BYTES_MAX);
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_WRONLY } = constants;
  return openSync(dir.log, O_APPEND | O_CREAT | O_NOFOLLOW | O_WRONLY, 0o600);
}

/**
 * Copies and cuts, because the agent holds the file open in append mode and outlives us. What it writes
 * between the copy and the cut is lost to the log; nothing else depends on it.
 */
export function rotateLog(dir: InstanceDir, bytesMax: number): void {
  const log = lstatSync(dir.log, { throwIfNoEntry: false });
  if (!log?.isFile() || log.size <= bytesMax) return;
  const old = lstatSync(`${dir.log}.1`, { throwIfNoEntry: false });
  if (old && !old.isFile()) return;
  copyFileSync(dir.log, `${dir.log}.1`);
  truncateSync(dir.log, 0);
}

export function checkWorkingDir(path: string): void {
  const found = path.startsWith('/') ? statSync(path, { throwIfNoEntry: false }) : undefined;
  if (found?.isDirectory()) return;
  const message = `working_dir ${JSON.stringify(path)}: give an existing directory by its absolute path`;
  throw new Failure('bad-input', message, { faults: [{ path: 'working_dir', message }] });
}

/**
 * Removes the directory and what is below it; of symlinks only the links. May be called twice. By `rm`, which
 * takes as long for directories in one another as for others, and goes deeper than any path is long.
 */
export async function removeInstanceDir(dir: Pick<InstanceDir, 'path'>): Promise<void> {
  if ((await removed(dir.path)) === null) return;
  // Package caches write-protect their directories: open them and try once more.
  await openUp(dir.path);
  const why = await removed(dir.path);
  if (why !== null) throw new Failure('runtime-failed', `remove ${dir.path}: ${why}`);
}

/** Null: it is gone. */
async function removed(path: string): Promise<string | null> {
  const rm = Bun.spawn(['rm', '-rf', '--', path], { stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' });
  const [said, code] = await Promise.all([new Response(rm.stderr).text(), rm.exited]);
  return code === 0 ? null : (said.trim().split('\n')[0] ?? `rm ended with ${code}`).slice(0, 500);
}

async function openUp(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found?.isDirectory()) return;
  await chmod(path, 0o700);
  for (const child of await readdir(path, { withFileTypes: true })) {
    if (child.isDirectory()) await openUp(join(path, child.name));
  }
}

export const closeLog = closeSync;
