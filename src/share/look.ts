/** Looking into an area: what is in a directory, and a file to be read. */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, readlink } from 'node:fs/promises';
import { Failure } from '../failure.ts';
import { type Area, dirIn, inParent, within } from './area.ts';
import { at, type Dir, orNull } from './dir.ts';
import { namesAfter } from './entries.ts';
import { encoded, encodedPath, shown } from './names.ts';

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
const TARGET_CHARS_MAX = 1_024;
/** Names that are looked at together. */
const AT_ONCE = 64;

export interface Seen {
  /** What is not UTF-8 in it shows as U+FFFD; `rawPath` names it all the same. */
  readonly name: string;
  /** From the root of the area. */
  readonly path: string;
  /** The same, percent-encoded. */
  readonly rawPath: string;
  readonly kind: 'file' | 'dir' | 'link' | 'other';
  readonly sizeBytes: number;
  readonly mode: number;
  readonly modifiedAt: number;
  /** Names that this file has. More than one: the others may be outside, and it is not handed out. */
  readonly links: number;
  /** What a link says. Nothing follows it. */
  readonly target: string | null;
}

export interface Page {
  readonly entries: readonly Seen[];
  /** What to give as `after` for the next page; null at the end. */
  readonly next: string | null;
}

export interface PageWish {
  readonly after: Buffer | null;
  readonly limit: number;
}

export async function list(area: Area, parts: readonly Buffer[], { after, limit }: PageWish): Promise<Page> {
  return await within(await dirIn(area, parts), async (dir) => {
    const names = await namesAfter(dir, after, limit + 1);
    const page = names.slice(0, limit);
    const entries: Seen[] = [];
    for (let from = 0; from < page.length; from += AT_ONCE) {
      const some = page.slice(from, from + AT_ONCE).map((name) => look(dir, parts, name));
      // One may have gone since its name was read.
      entries.push(...(await Promise.all(some)).filter((seen) => seen !== null));
    }
    const last = page.at(-1);
    return { entries, next: names.length > limit && last !== undefined ? encoded(last) : null };
  });
}

async function look(dir: Dir, parts: readonly Buffer[], name: Buffer): Promise<Seen | null> {
  const stats = await orNull(lstat(at(dir, name)));
  if (stats === null) return null;
  const kind = kindOf(stats);
  const target = kind === 'link' ? await orNull(readlink(at(dir, name))) : null;
  return {
    name: shown(name),
    path: [...parts, name].map(shown).join('/'),
    rawPath: encodedPath([...parts, name]),
    kind,
    sizeBytes: kind === 'file' ? stats.size : 0,
    mode: stats.mode & 0o7777,
    modifiedAt: Math.floor(stats.mtimeMs),
    links: stats.nlink,
    target: target === null ? null : target.slice(0, TARGET_CHARS_MAX),
  };
}

function kindOf(stats: Stats): Seen['kind'] {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'dir';
  return stats.isSymbolicLink() ? 'link' : 'other';
}

export interface OpenFile {
  readonly handle: FileHandle;
  readonly sizeBytes: number;
  readonly modifiedAt: number;
  /** Changes with the file, as far as the file system tells. */
  readonly tag: string;
}

/**
 * An ordinary file, open for reading, which stays what it is when its name is given to another. Throws
 * Failure('not-found' | 'wrong-state'). The caller closes it.
 */
export async function openFile(area: Area, parts: readonly Buffer[]): Promise<OpenFile> {
  const path = encodedPath(parts);
  return await inParent(area, parts, async (dir, name) => {
    // A pipe would wait for a writer for ever.
    const handle = await orNull(open(at(dir, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    if (handle === null) {
      const message = `there is no file "${path}" in the ${area.name} that can be read; links are not followed`;
      throw new Failure('not-found', message);
    }
    try {
      const stats = await handle.stat({ bigint: true });
      if (!stats.isFile()) throw new Failure('wrong-state', `"${path}" is no ordinary file`);
      if (stats.nlink > 1n) {
        const why = 'it has several names (hard links), and the others may be outside; copy it first';
        throw new Failure('wrong-state', `"${path}" is not handed out: ${why}`);
      }
      return {
        handle,
        sizeBytes: Number(stats.size),
        modifiedAt: Number(stats.mtimeMs),
        tag: `${stats.ino.toString(36)}-${stats.size.toString(36)}-${stats.mtimeNs.toString(36)}-${stats.ctimeNs.toString(36)}`,
      };
    } catch (thrown) {
      await handle.close();
      throw thrown;
    }
  });
}

const CHUNK_BYTES = 256 * 1024;

/**
 * So many bytes from `from` on, read as they are taken; closes the file. A file that became shorter ends in
 * an error, never in silence.
 */
export function bytesOf(
  handle: FileHandle,
  { from, length }: { from: number; length: number },
): ReadableStream<Uint8Array> {
  let offset = from;
  const end = from + length;
  let isOpen = true;
  const close = async () => {
    if (isOpen) await handle.close();
    isOpen = false;
  };
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const part = Buffer.alloc(Math.min(CHUNK_BYTES, end - offset));
        const { bytesRead } =
          part.length === 0 ? { bytesRead: 0 } : await handle.read(part, 0, part.length, offset);
        offset += bytesRead;
        if (bytesRead > 0) controller.enqueue(part.subarray(0, bytesRead));
        if (bytesRead > 0 && offset < end) return;
        await close();
        if (offset < end) controller.error(new Error('the file became shorter while it was read'));
        else controller.close();
      } catch (thrown) {
        await close();
        throw thrown;
      }
    },
    cancel: close,
  });
}
