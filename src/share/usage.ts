/** How much is below a directory, measured by looking at everything once, step by step and by descriptor. */
import { lstat } from 'node:fs/promises';
import { at, type Dir, descend, openIn, orNull } from './dir.ts';
import { namesIn } from './entries.ts';

const DEPTH_MAX = 256;
const ENTRIES_MAX = 2_000_000;
/** What `stat` counts blocks in, on every Linux. */
const BLOCK_BYTES = 512;

export interface Measure {
  /** What the disk holds for it; a file with several names counts in parts. */
  readonly bytes: number;
  readonly entries: number;
  /** False: there is more, which was not looked at. */
  readonly isWhole: boolean;
}

interface Count {
  bytes: number;
  entries: number;
  isWhole: boolean;
}

/** Null when there is no such directory. */
export async function measure(root: string, signal: AbortSignal): Promise<Measure | null> {
  const dir = await descend(root, []);
  if (dir === null) return null;
  const count: Count = { bytes: 0, entries: 0, isWhole: true };
  await measureIn(dir, count, { depth: 0, signal });
  return { ...count, bytes: Math.round(count.bytes) };
}

async function measureIn(
  dir: Dir,
  count: Count,
  where: { depth: number; signal: AbortSignal },
): Promise<void> {
  const { depth, signal } = where;
  try {
    for await (const name of namesIn(dir)) {
      signal.throwIfAborted();
      if (count.entries >= ENTRIES_MAX) {
        count.isWhole = false;
        return;
      }
      const stats = await orNull(lstat(at(dir, name)));
      if (stats === null) continue;
      count.entries += 1;
      count.bytes += (stats.blocks * BLOCK_BYTES) / (stats.isDirectory() ? 1 : Math.max(1, stats.nlink));
      if (!stats.isDirectory()) continue;
      const inner = depth < DEPTH_MAX ? await openIn(dir, name) : null;
      if (inner === null) count.isWhole = false;
      else await measureIn(inner, count, { depth: depth + 1, signal });
    }
  } finally {
    await dir.handle.close();
  }
}

/**
 * True when there is anything but directories, and links of our own, below it. `skip` names the root's
 * entries.
 */
export async function holdsAnything(root: string, skip: readonly string[]): Promise<boolean> {
  const dir = await descend(root, []);
  return dir !== null && (await holdsIn(dir, { skip, depth: 0 }));
}

async function holdsIn(dir: Dir, how: { skip: readonly string[]; depth: number }): Promise<boolean> {
  try {
    for await (const name of namesIn(dir)) {
      if (how.depth === 0 && how.skip.includes(name.toString('utf8'))) continue;
      const stats = await orNull(lstat(at(dir, name)));
      if (stats === null) continue;
      const inner = stats.isDirectory() && how.depth < DEPTH_MAX ? await openIn(dir, name) : null;
      // What cannot be looked into may hold anything.
      if (inner === null || (await holdsIn(inner, { skip: [], depth: how.depth + 1 }))) return true;
    }
    return false;
  } finally {
    await dir.handle.close();
  }
}
