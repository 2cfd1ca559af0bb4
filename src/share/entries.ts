/**
 * The names in a directory, in bounded memory however many there are. A hostile instance can make millions.
 */
import { readdir } from 'node:fs/promises';
import { type Dir, itself } from './dir.ts';
import { getdents, hasLibc } from './libc.ts';

/** Room for about two thousand names a call. */
const BUFFER_BYTES = 64 * 1024;
/** Calls without letting others run. */
const BITE = 4;
/** struct linux_dirent64: inode 8, offset 8, length 2, type 1, then the name. */
const LENGTH_AT = 16;
const NAME_AT = 19;

const breath = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** Every name but `.` and `..`, in no order. `dir` must not have been read before. */
export async function* namesIn(dir: Dir): AsyncGenerator<Buffer> {
  if (!hasLibc()) {
    yield* await readdir(itself(dir), { encoding: 'buffer' });
    return;
  }
  const buffer = Buffer.alloc(BUFFER_BYTES);
  for (let calls = 1; ; calls++) {
    const got = getdents(dir.handle.fd, buffer);
    if (!got.ok) throw new Error(`reading a directory failed with errno ${got.errno}`);
    if (got.value === 0) return;
    for (let offset = 0; offset < got.value; ) {
      const length = buffer.readUInt16LE(offset + LENGTH_AT);
      const from = offset + NAME_AT;
      const name = buffer.subarray(from, buffer.indexOf(0, from));
      offset += length;
      if (!isSelfOrParent(name)) yield Buffer.from(name);
    }
    if (calls % BITE === 0) await breath();
  }
}

const isSelfOrParent = (name: Buffer): boolean =>
  name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e));

/**
 * The first `count` names after `after`, in the order of their bytes; fewer when there are no more. Looks at
 * all of the directory, and keeps no more than it gives.
 */
export async function namesAfter(dir: Dir, after: Buffer | null, count: number): Promise<Buffer[]> {
  const kept: Buffer[] = [];
  for await (const name of namesIn(dir)) {
    if (after !== null && Buffer.compare(name, after) <= 0) continue;
    const last = kept[kept.length - 1];
    if (kept.length >= count && last !== undefined && Buffer.compare(name, last) >= 0) continue;
    kept.splice(placeOf(kept, name), 0, name);
    if (kept.length > count) kept.pop();
  }
  return kept;
}

/** Where in an ordered list it belongs. */
function placeOf(ordered: readonly Buffer[], name: Buffer): number {
  let [low, high] = [0, ordered.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (Buffer.compare(ordered[middle] as Buffer, name) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
