/**
 * Changing an area: a file is written whole or not at all, directories are made, and what is removed is
 * removed by descriptor, step by step, so that no link is followed.
 */
import { constants } from 'node:fs';
import { type FileHandle, link, lstat, mkdir, open, rename, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../failure.ts';
import { newSecret } from '../ids.ts';
import { type Area, dirIn, inParent, settle, within, writeFailure } from './area.ts';
import { at, type Dir, descend, openIn, orNull } from './dir.ts';
import { namesIn } from './entries.ts';
import { encodedPath } from './names.ts';

/** Directories that are open at once while a tree is removed. */
const DEPTH_MAX = 128;
/** A directory that is written to while it is removed is tried so often. */
const ROUNDS_MAX = 4;

export interface Upload {
  readonly body: AsyncIterable<Uint8Array>;
  readonly bytesMax: number;
  /** Refuse when something of that name is there. */
  readonly isNew: boolean;
  /** Make the directories that are missing above it. */
  readonly makesParents: boolean;
  readonly isExecutable: boolean;
}

export interface Written {
  readonly sizeBytes: number;
}

/**
 * Durable when it resolves. Throws Failure('too-large' | 'over-quota' | 'already-exists' | 'wrong-state' |
 * 'not-found'); then nothing is there that was not before, but for directories.
 */
export async function writeFile(area: Area, parts: readonly Buffer[], upload: Upload): Promise<Written> {
  const above = parts.slice(0, -1);
  if (upload.makesParents && above.length > 0) await makeDirs(area, above);
  // What cannot be is said before the body is read.
  await inParent(area, parts, async () => {});
  // The name cannot be guessed, and nobody else sees the directory.
  const staged = join(area.staging, newSecret());
  const what = `write "${encodedPath(parts)}" in the ${area.name}`;
  try {
    const sizeBytes = await stage(area, staged, upload);
    await inParent(area, parts, async (dir, name) => {
      if (upload.isNew) await link(staged, at(dir, name));
      else await rename(staged, at(dir, name));
      await dir.handle.sync();
    });
    return { sizeBytes };
  } catch (thrown) {
    throw writeFailure(thrown, what);
  } finally {
    await orNull(unlink(staged));
  }
}

async function stage(area: Area, staged: string, upload: Upload): Promise<number> {
  const file = await open(staged, 'wx', 0o600);
  try {
    const sizeBytes = await fill(file, area, upload);
    await settle(file, area.fileMode | (upload.isExecutable ? 0o111 : 0), area.owner);
    await file.sync();
    return sizeBytes;
  } finally {
    await file.close();
  }
}

async function fill(file: FileHandle, area: Area, { body, bytesMax }: Upload): Promise<number> {
  let bytes = 0;
  for await (const part of body) {
    if (bytes + part.length > bytesMax)
      throw new Failure('too-large', `a file has at most ${bytesMax} bytes here`);
    area.admit(bytes + part.length);
    await writeAll(file, part, bytes);
    bytes += part.length;
  }
  return bytes;
}

async function writeAll(file: FileHandle, part: Uint8Array, from: number): Promise<void> {
  for (let done = 0; done < part.length; ) {
    const { bytesWritten } = await file.write(part, done, part.length - done, from + done);
    done += bytesWritten;
  }
}

/** Makes it, and what is missing above it; true when it was not there. */
export async function makeDirs(area: Area, parts: readonly Buffer[]): Promise<boolean> {
  let isMade = false;
  let dir = await dirIn(area, []);
  for (const part of parts) {
    const above: Dir = dir;
    const path = `${above.path}/${part}`.slice(area.root.length + 1);
    try {
      isMade = await makeDirIn(area, above, part);
      const next = await openIn(above, part);
      if (next === null)
        throw new Failure('wrong-state', `make "${path}" in the ${area.name}: what is there is no directory`);
      dir = next;
    } catch (thrown) {
      throw writeFailure(thrown, `make "${path}" in the ${area.name}`);
    } finally {
      await above.handle.close();
    }
  }
  await dir.handle.close();
  return isMade;
}

async function makeDirIn(area: Area, above: Dir, part: Buffer): Promise<boolean> {
  try {
    await mkdir(at(above, part), { mode: 0o700 });
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw thrown;
  }
  const made = await openIn(above, part);
  if (made !== null) await within(made, () => settle(made.handle, area.dirMode, area.owner));
  await above.handle.sync();
  return true;
}

export interface Removed {
  /** Files, links and directories that are gone. */
  readonly count: number;
}

/**
 * Removes a file, a link, or whatever else has that name; a directory with something in it only when
 * `isDeep`. Throws Failure('not-found' | 'wrong-state').
 */
export async function remove(area: Area, parts: readonly Buffer[], isDeep: boolean): Promise<Removed> {
  const path = encodedPath(parts);
  const what = `remove "${path}" in the ${area.name}`;
  return await inParent(area, parts, async (dir, name) => {
    const stats = await orNull(lstat(at(dir, name)));
    if (stats === null) throw new Failure('not-found', `${what}: it is not there`);
    try {
      const count = await removeTree(dir, name, { isDeep, staging: area.staging });
      await dir.handle.sync();
      return { count };
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'ENOTEMPTY') {
        throw new Failure('wrong-state', `${what}: the directory is not empty; add recursive=true`);
      }
      throw writeFailure(thrown, what);
    }
  });
}

interface Removing {
  readonly isDeep: boolean;
  readonly depth: number;
  /** Names of what was too deep, and waits for its turn in the staging directory. */
  readonly moved: string[];
  readonly staging: string;
}

/**
 * Removes one name in an open directory, and all below it when `isDeep`. However deep that is, no more than
 * so many directories are open: what is deeper is moved to `staging` first.
 */
export async function removeTree(
  dir: Dir,
  name: Buffer,
  how: Pick<Removing, 'isDeep' | 'staging'>,
): Promise<number> {
  const moved: string[] = [];
  let count = await removeIn(dir, name, { ...how, depth: 0, moved });
  for (let next = moved.pop(); next !== undefined; next = moved.pop()) {
    const staging = await descend(how.staging, []);
    if (staging === null) return count;
    const spare = Buffer.from(next);
    count += await within(staging, () => removeIn(staging, spare, { ...how, depth: 0, moved }));
  }
  return count;
}

/** Removes all that is in a directory of ours. */
export async function emptyStaging(path: string): Promise<void> {
  const dir = await descend(path, []);
  if (dir === null) return;
  await within(dir, async () => {
    for await (const name of namesIn(dir)) await removeTree(dir, name, { isDeep: true, staging: path });
  });
}

async function removeIn(dir: Dir, name: Buffer, how: Removing): Promise<number> {
  // Never followed: a link is removed as a link.
  const stats = await orNull(lstat(at(dir, name)));
  if (stats === null) return 0;
  if (!stats.isDirectory()) return (await gone(unlink(at(dir, name)))) ? 1 : 0;
  if (how.depth >= DEPTH_MAX) {
    const spare = newSecret();
    await gone(rename(at(dir, name), join(how.staging, spare)));
    how.moved.push(spare);
    return 0;
  }
  let count = 0;
  for (let round = 1; ; round++) {
    const inner = how.isDeep ? await openWritable(dir, name) : null;
    if (inner !== null) count += await within(inner, () => removeAllIn(inner, how));
    try {
      await rmdir(at(dir, name));
      return count + 1;
    } catch (thrown) {
      const { code } = thrown as NodeJS.ErrnoException;
      if (code === 'ENOENT') return count;
      const mayTryAgain = code === 'ENOTEMPTY' && how.isDeep && round < ROUNDS_MAX;
      if (!mayTryAgain) throw thrown;
    }
  }
}

async function removeAllIn(dir: Dir, how: Removing): Promise<number> {
  let count = 0;
  for await (const name of namesIn(dir)) count += await removeIn(dir, name, { ...how, depth: how.depth + 1 });
  return count;
}

/** False when somebody else was faster. */
async function gone(promise: Promise<void>): Promise<boolean> {
  try {
    await promise;
    return true;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw thrown;
  }
}

/** Package caches write-protect their directories. */
async function openWritable(dir: Dir, name: Buffer): Promise<Dir | null> {
  const inner = await openIn(dir, name);
  if (inner !== null) await orNull(inner.handle.chmod(0o700));
  return inner;
}

const { O_NOFOLLOW, O_WRONLY, O_CREAT, O_APPEND, O_NONBLOCK } = constants;

/** An ordinary file to append to, made when it is missing; null when something else has its name. */
export async function openToAppend(dir: Dir, name: string, mode: number): Promise<FileHandle | null> {
  const flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK;
  const file = await orNull(open(at(dir, name), flags, mode));
  if (file === null) return null;
  const stats = await file.stat();
  if (stats.isFile() && stats.nlink === 1) return file;
  await file.close();
  return null;
}
