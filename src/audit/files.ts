/**
 * The files of the log: one a day in UTC, `2026-01-31.jsonl`, and `head.json`, which names the newest record.
 */
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../failure.ts';

/** A line is far shorter; what is longer is no record of ours. */
export const LINE_BYTES_MAX = 64 << 10;

export interface Head {
  readonly seq: number;
  readonly hash: string;
}

const NEWLINE = 10;

export const dayFile = /^\d{4}-\d{2}-\d{2}\.jsonl$/;

/** Oldest first. */
export async function daysOf(dir: string): Promise<string[]> {
  return (await readdir(dir)).filter((name) => dayFile.test(name)).sort();
}

export async function readHead(dir: string): Promise<Head | null> {
  const text = await readFile(join(dir, 'head.json'), 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    const { seq, hash } = JSON.parse(text) as Partial<Head>;
    return Number.isSafeInteger(seq) && typeof hash === 'string' ? ({ seq, hash } as Head) : null;
  } catch {
    return null; // It broke with the machine; the chain itself is what counts.
  }
}

export async function writeHead(dir: string, { seq, hash }: Head): Promise<void> {
  const path = join(dir, 'head.json');
  await writeFile(`${path}.new`, `${JSON.stringify({ seq, hash })}\n`, { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
  const folder = await open(dir, 'r');
  await folder.sync().finally(() => folder.close());
}

/** The file of one day, open at its end. */
export interface Day {
  readonly name: string;
  /** Durable when it resolves. After a failure the file is what it was, or says so itself. */
  append(lines: string): Promise<void>;
  close(): Promise<void>;
}

export async function openDay(dir: string, name: string): Promise<Day> {
  const path = join(dir, name);
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
  const file = await open(path, flags, 0o600);
  await file.chmod(0o600);
  await synced(dir);
  let size = (await file.stat()).size;
  // Somebody cut the file while it was not open; a record of its own line shows that best.
  const isTorn = size > 0 && (await file.read(Buffer.alloc(1), 0, 1, size - 1)).buffer[0] !== NEWLINE;
  const began = size;
  const isThere = async (): Promise<boolean> => {
    const [mine, there] = await Promise.all([file.stat(), statOf(path)]);
    return there !== null && there.ino === mine.ino && mine.size >= size;
  };
  return {
    name,
    async append(lines) {
      // An open file can be written long after somebody removed it.
      if (!(await isThere())) throw new Failure('audit-away', `${path} was removed or cut while it was open`);
      const bytes = Buffer.from(isTorn && size === began ? `\n${lines}` : lines, 'utf8');
      try {
        for (let done = 0; done < bytes.length; ) {
          done += (await file.write(bytes, done, bytes.length - done, size + done)).bytesWritten;
        }
        await file.datasync();
      } catch (thrown) {
        await file.truncate(size).catch(() => {}); // Half a line is cut again before the next is written.
        throw thrown;
      }
      size += bytes.length;
    },
    close: () => file.close(),
  };
}

async function statOf(path: string): Promise<{ readonly ino: number } | null> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch(() => null);
  if (!file) return null;
  try {
    return await file.stat();
  } finally {
    await file.close();
  }
}

async function synced(dir: string): Promise<void> {
  const handle = await open(dir, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export async function makeDir(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
}

/**
 * Lines of a file from its end to its beginning, without their ends. A last line that has no end comes first
 * and is told as such.
 */
export async function* linesBackwards(file: FileHandle, from: number): AsyncGenerator<string> {
  const CHUNK = 64 << 10;
  let rest: Buffer = Buffer.alloc(0);
  for (let end = from; end > 0; ) {
    const begin = Math.max(0, end - CHUNK);
    const chunk = Buffer.alloc(end - begin);
    await file.read(chunk, 0, chunk.length, begin);
    const whole = Buffer.concat([chunk, rest]);
    let cut = whole.length;
    for (;;) {
      const at = cut === 0 ? -1 : whole.lastIndexOf(NEWLINE, cut - 1);
      if (at === -1) break;
      if (cut > at + 1) yield whole.toString('utf8', at + 1, cut);
      cut = at;
    }
    rest = whole.subarray(0, cut);
    if (rest.length > LINE_BYTES_MAX) throw new Failure('wrong-state', 'a line of the audit log is too long');
    end = begin;
  }
  if (rest.length > 0) yield rest.toString('utf8');
}
