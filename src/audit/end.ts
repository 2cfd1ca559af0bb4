/** Where the log ends, found at the start; half a line, which a crash left, is cut. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { AuditRecord } from '../audit.ts';
import { Failure } from '../failure.ts';
import { GENESIS, opened } from './chain.ts';
import { daysOf, type Head, LINE_BYTES_MAX, linesBackwards } from './files.ts';

export interface End extends Head {
  /** Name of the newest file; null: there is none. */
  readonly day: string | null;
  /** Of half a line. */
  readonly cutBytes: number;
}

/** Throws Failure('wrong-state') when the last record is not what was written. */
export async function findEnd(dir: string): Promise<End> {
  let cutBytes = 0;
  const days = await daysOf(dir);
  for (const name of days.toReversed()) {
    cutBytes += await mend(join(dir, name));
    const last = await lastRecord(join(dir, name));
    if (last) return { seq: last.seq, hash: last.hash, day: days.at(-1) ?? null, cutBytes };
  }
  return { seq: 0, hash: GENESIS, day: days.at(-1) ?? null, cutBytes };
}

/** Bytes of a last line without an end, which nobody was told of; they are cut. */
async function mend(path: string): Promise<number> {
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    const { size } = await file.stat();
    const span = Math.min(size, LINE_BYTES_MAX);
    const tail = Buffer.alloc(span);
    await file.read(tail, 0, span, size - span);
    const torn = span - (tail.lastIndexOf(10) + 1);
    if (torn === span && size > span) throw damaged(path);
    if (torn > 0) {
      await file.truncate(size - torn);
      await file.datasync();
    }
    return torn;
  } finally {
    await file.close();
  }
}

/** Null: the file is empty. */
export async function lastRecord(path: string): Promise<AuditRecord | null> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { size } = await file.stat();
    for await (const line of linesBackwards(file, size)) {
      const record = opened(line);
      if (record) return record;
      throw damaged(path);
    }
    return null;
  } finally {
    await file.close();
  }
}

/** Null: there is no record of that sequence. Newest first, as a head is hardly ever far from the end. */
export async function hashAt(dir: string, seq: number): Promise<string | null> {
  for (const name of (await daysOf(dir)).toReversed()) {
    const file = await open(join(dir, name), constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      for await (const line of linesBackwards(file, (await file.stat()).size)) {
        const record = opened(line);
        if (record && record.seq <= seq) return record.seq === seq ? record.hash : null;
      }
    } finally {
      await file.close();
    }
  }
  return null;
}

const damaged = (path: string): Failure => {
  const cure =
    'see bun run audit:verify; to begin a new log, move its directory away and keep it for who asks';
  return new Failure('wrong-state', `the end of the audit log, ${path}, is damaged: ${cure}`);
};
