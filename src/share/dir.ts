/**
 * Directories, opened by descriptor, below a root that somebody hostile may write to.
 *
 * Every step down opens one name in a directory that is already open and follows no link, so nothing that is
 * exchanged while we look leads outside. (Linux: by /proc/self/fd, which is openat in all but name; elsewhere
 * by path, which a program that runs at the same moment could still outwit.)
 */
import { constants, existsSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
const byDescriptor = existsSync('/proc/self/fd');
const slash = Buffer.from('/');

/** One part of a path. Bytes where it need not be UTF-8. */
export type Part = string | Buffer;

export interface Dir {
  readonly handle: FileHandle;
  readonly path: string;
}

/** The name of `part` in an open directory, for a call that does not follow it. */
export function at({ handle, path }: Dir, part: Part): Part {
  const dir = byDescriptor ? `/proc/self/fd/${handle.fd}` : path;
  if (typeof part === 'string') return `${dir}/${part}`;
  return Buffer.concat([Buffer.from(dir), slash, part]);
}

/** The open directory itself, for calls that take a path and open or list it. */
export const itself = ({ handle, path }: Dir): string =>
  byDescriptor ? `/proc/self/fd/${handle.fd}/.` : path;

/** What hostile or absent names lead to: nothing there, a link, no directory, a loop, a name too long. */
const nothing = new Set(['ENOENT', 'ELOOP', 'ENOTDIR', 'ENAMETOOLONG', 'EACCES', 'ENXIO', 'EILSEQ']);

export async function orNull<T>(promise: Promise<T>): Promise<T | null> {
  try {
    return await promise;
  } catch (thrown) {
    if (nothing.has((thrown as NodeJS.ErrnoException).code ?? '')) return null;
    throw thrown;
  }
}

async function openDir(path: Part, shown: string): Promise<Dir | null> {
  const handle = await orNull(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return handle === null ? null : { handle, path: shown };
}

/** A directory in an open one; null when it is none, or a link. The caller closes it. */
export const openIn = (dir: Dir, part: Part): Promise<Dir | null> =>
  openDir(at(dir, part), `${dir.path}/${part}`);

/** A directory below `root`, opened step by step; the caller closes it. */
export async function descend(root: string, parts: readonly Part[]): Promise<Dir | null> {
  let dir = await openDir(root, root);
  for (const part of parts) {
    if (dir === null) return null;
    const above: Dir = dir;
    dir = await openIn(above, part).finally(() => above.handle.close());
  }
  return dir;
}
