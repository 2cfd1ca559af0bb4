/**
 * Remembers in the data directory how far the journal was, so that one that is less is noticed.
 *
 *   start: is the journal below what was seen? ── yes ──▶ refused, unless a new beginning is asked for
 *                                              └─ no ───▶ written down, then every few seconds, then at the
 *                                              end
 *
 * Without it a journal that was deleted, damaged, put back from an old copy or misnamed looks like a first
 * start. The file may lag behind the journal and is never ahead of it. Knows no actors.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import type { Clock } from '../clock.ts';
import type { JournalPlace } from '../config.ts';
import { Failure } from '../failure.ts';
import type { Journal } from '../journal.ts';
import type { Log } from '../log.ts';
import { placeName } from './open.ts';

/** How long the file may lag behind. */
const WRITE_MS = 3_000;

interface Seen {
  readonly cursor: number;
  /** Kind and place, for people; without a password. */
  readonly journal: string;
}

export interface SeenOptions {
  readonly path: string;
  readonly place: JournalPlace;
  /** Go on with a journal that has less than was seen. */
  readonly isAnew: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * The same journal, remembered. Throws Failure('wrong-state'), and closes it, when it lacks what was seen.
 */
export async function remembered(journal: Journal, options: SeenOptions): Promise<Journal> {
  try {
    const cursor = await journal.cursor();
    await compare(cursor, options);
    const keeper = keeperOf(options, cursor);
    await keeper.write();
    return {
      ...journal,
      async append(batch) {
        const cursor = await journal.append(batch);
        keeper.saw(cursor);
        return cursor;
      },
      async close() {
        await journal.close();
        await keeper.end();
      },
    };
  } catch (thrown) {
    await journal.close();
    throw thrown;
  }
}

async function compare(cursor: number, { path, place, isAnew, log }: SeenOptions): Promise<void> {
  const seen = await readSeen(path, log);
  if (seen === null || cursor >= seen.cursor) return;
  const journal = placeName(place);
  if (isAnew) {
    log.warn('the journal lacks what was there before, and is gone on with as asked', {
      journal,
      cursor,
      seen: seen.cursor,
      seen_in: seen.journal,
    });
    return;
  }
  throw new Failure(
    'wrong-state',
    `the journal (${journal}) is at ${cursor}, and this server has seen ${seen.cursor} in its journal ` +
      `(${seen.journal}), so something is missing: put that journal back, or name it (REDIS_URL, ` +
      'AGENTIC_REDIS_PREFIX), or copy it with `bun run journal:move`, or start once with ' +
      'AGENTIC_JOURNAL_ANEW=1 to go on without what is missing; instances that run are then adopted',
  );
}

/** Null when nothing was seen, or what was cannot be read. */
async function readSeen(path: string, log: Log): Promise<Seen | null> {
  try {
    const { cursor, journal } = JSON.parse(await readFile(path, 'utf8')) as Partial<Seen>;
    if (Number.isSafeInteger(cursor) && typeof journal === 'string')
      return { cursor: cursor as number, journal };
    throw new Error('it says neither how far nor where');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT')
      log.warn('how far the journal was cannot be read, and is not compared', { path, why: String(thrown) });
    return null;
  }
}

/** Writes how far the journal is: one write at a time, whole or not at all. */
function keeperOf({ path, place, clock, log }: SeenOptions, first: number) {
  const journal = placeName(place);
  let newest = first;
  let written = -1;
  let timer: unknown = null;
  let writing: Promise<void> = Promise.resolve();
  let hasFailed = false;

  const put = async (): Promise<void> => {
    const seen: Seen = { cursor: newest, journal };
    if (seen.cursor === written) return;
    try {
      await writeFile(`${path}.new`, `${JSON.stringify(seen)}\n`, { mode: 0o600 });
      await rename(`${path}.new`, path);
      written = seen.cursor;
      hasFailed = false;
    } catch (thrown) {
      if (!hasFailed) log.warn('how far the journal is cannot be written', { path, why: String(thrown) });
      hasFailed = true;
    }
  };
  const write = (): Promise<void> => {
    writing = writing.then(put);
    return writing;
  };
  return {
    write,
    saw(cursor: number): void {
      newest = Math.max(newest, cursor);
      timer ??= clock.setTimeout(() => {
        timer = null;
        void write();
      }, WRITE_MS);
    },
    end(): Promise<void> {
      clock.clearTimeout(timer);
      return write();
    },
  };
}
