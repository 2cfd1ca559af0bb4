/**
 * Files below a directory that somebody hostile may write to.
 *
 * Nothing that is exchanged while we look leads outside: see ../share/dir.ts.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, readdir, realpath } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { at, type Dir, descend, itself, openIn, orNull } from '../share/dir.ts';

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
const NAME_CHARS_MAX = 4_096;
const DEPTH_MAX = 64;

/**
 * The parts of a relative name with `/`; null when it is absolute, goes up, is empty in a part, or holds a
 * NUL.
 */
export function nameParts(name: string): string[] | null {
  if (name === '' || name.length > NAME_CHARS_MAX || name.includes('\0')) return null;
  const parts = name.split('/');
  return parts.some((part) => part === '' || part === '.' || part === '..') ? null : parts;
}

/** An ordinary file below `root`, open for reading; null for anything else. The caller closes it. */
export async function openFileBeneath(root: string, name: string): Promise<FileHandle | null> {
  const parts = nameParts(name);
  const last = parts?.at(-1);
  if (!parts || last === undefined) return null;
  const dir = await descend(root, parts.slice(0, -1));
  if (dir === null) return null;
  try {
    // A pipe would wait for a writer for ever.
    const file = await orNull(open(at(dir, last), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    if (file === null || (await file.stat()).isFile()) return file;
    await file.close();
    return null;
  } finally {
    await dir.handle.close();
  }
}

export interface Entry {
  /** Relative to the directory that was walked, with `/`. */
  readonly name: string;
  readonly kind: 'file' | 'link' | 'other';
}

export interface Walk {
  readonly root: string;
  /** Start below this directory of the root; '' is the root. */
  readonly under: string;
  readonly entriesMax: number;
  /** Directories that are not entered, by name relative to the start. */
  readonly skip: (name: string) => boolean;
}

/** Every entry that is no directory, in order of name; ends early at `entriesMax`. */
export async function* entriesBeneath(walk: Walk): AsyncGenerator<Entry> {
  const parts = walk.under === '' ? [] : nameParts(walk.under);
  const dir = parts === null ? null : await descend(walk.root, parts);
  if (dir === null) return;
  const left = { entries: walk.entriesMax };
  yield* entriesOf(dir, '', { walk, left, depth: 0 });
}

async function* entriesOf(
  dir: Dir,
  prefix: string,
  state: { walk: Walk; left: { entries: number }; depth: number },
): AsyncGenerator<Entry> {
  try {
    const entries = await readdir(itself(dir), { withFileTypes: true });
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      if (state.left.entries-- <= 0) return;
      const name = prefix + entry.name;
      if (!entry.isDirectory()) {
        yield { name, kind: entry.isFile() ? 'file' : entry.isSymbolicLink() ? 'link' : 'other' };
      } else if (state.depth < DEPTH_MAX && !state.walk.skip(name)) {
        const inner = await openIn(dir, entry.name);
        if (inner !== null) yield* entriesOf(inner, `${name}/`, { ...state, depth: state.depth + 1 });
      }
    }
  } finally {
    await dir.handle.close();
  }
}

/**
 * Where a link leads, relative to `root`; null when it leaves. Only a hint: open what it says by
 * `openFileBeneath`.
 */
export async function linkBeneath(root: string, name: string): Promise<string | null> {
  const [whole, target] = [await orNull(realpath(root)), await orNull(realpath(join(root, name)))];
  if (whole === null || target === null || !target.startsWith(`${whole}/`)) return null;
  return relative(whole, target);
}
