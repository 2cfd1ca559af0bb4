/**
 * An area: one directory of this host that callers may look into, and what they may do there. Nothing in here
 * leads out of it.
 */
import type { FileHandle } from 'node:fs/promises';
import { Failure } from '../failure.ts';
import { type Dir, descend } from './dir.ts';
import { encodedPath } from './names.ts';

/** Whose files are to be; null: ours. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface Area {
  /** For people: `inbox of web-1`. */
  readonly name: string;
  readonly root: string;
  /** Where files are written before they are whole: on the same file system, seen by nobody else. */
  readonly staging: string;
  readonly owner: Owner | null;
  readonly fileMode: number;
  readonly dirMode: number;
  /** Throws Failure('over-quota') when so many bytes more would be too much. */
  admit(bytes: number): void;
}

const notThere = (area: Area, parts: readonly Buffer[]): Failure =>
  new Failure(
    'not-found',
    `there is no directory "${encodedPath(parts)}" in the ${area.name}; links are not followed`,
  );

/** Throws Failure('not-found'). The caller closes it. */
export async function dirIn(area: Area, parts: readonly Buffer[]): Promise<Dir> {
  const dir = await descend(area.root, parts);
  if (dir === null) throw notThere(area, parts);
  return dir;
}

/** Does something in the directory that holds the last part. Throws Failure('bad-input') for the root. */
export async function inParent<T>(
  area: Area,
  parts: readonly Buffer[],
  work: (dir: Dir, name: Buffer) => Promise<T>,
): Promise<T> {
  const name = parts.at(-1);
  if (name === undefined) {
    const message = `the ${area.name} itself cannot be written or removed; name what is in it`;
    throw new Failure('bad-input', message, { faults: [{ path: 'path', message: 'is empty' }] });
  }
  return await within(await dirIn(area, parts.slice(0, -1)), (dir) => work(dir, name));
}

/** Closes it afterwards, whatever happens. */
export async function within<T>(dir: Dir, work: (dir: Dir) => Promise<T>): Promise<T> {
  try {
    return await work(dir);
  } finally {
    await dir.handle.close();
  }
}

/** Gives what was made its mode and its owner, by descriptor. */
export async function settle(handle: FileHandle, mode: number, owner: Owner | null): Promise<void> {
  if (owner !== null) await handle.chown(owner.uid, owner.gid);
  // After chown, which takes bits away.
  await handle.chmod(mode);
}

/** What the system says of a write, as a failure that a caller can act on; a bug is thrown as it is. */
export function writeFailure(thrown: unknown, what: string): unknown {
  const { code } = (thrown ?? {}) as NodeJS.ErrnoException;
  const failed = (kind: 'over-quota' | 'wrong-state' | 'already-exists' | 'not-found', why: string) =>
    new Failure(kind, `${what}: ${why}`, { cause: thrown });
  switch (code) {
    case 'ENOSPC':
      return failed('over-quota', 'the disk is full; remove something first');
    case 'EDQUOT':
      return failed('over-quota', 'its quota is used up; remove something first');
    case 'EEXIST':
      return failed('already-exists', 'something of that name is there already');
    case 'EISDIR':
    case 'ENOTEMPTY':
      return failed('wrong-state', 'a directory of that name is there; remove it first');
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ELOOP':
      return failed('not-found', 'it, or the directory that it is in, is not there any more');
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return failed(
        'wrong-state',
        `the server's user may not (${code}); look at its owner and mode on the host`,
      );
    default:
      return thrown;
  }
}
