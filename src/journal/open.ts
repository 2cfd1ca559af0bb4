/** The one place that knows every kind of journal. */
import type { Clock } from '../clock.ts';
import type { JournalPlace } from '../config.ts';
import type { Failure } from '../failure.ts';
import type { Journal, JournalReader } from '../journal.ts';
import type { Log } from '../log.ts';
import { redisJournal, redisReader } from './redis.ts';
import { nameOf } from './redis-connection.ts';
import { sqliteJournal } from './sqlite.ts';
import { isSqliteEmpty, sqliteReader } from './sqlite-reader.ts';

export interface Opening {
  readonly clock: Clock;
  readonly log: Log;
  /** Another server has the journal now, or it is not what it was. */
  readonly onLost: (why: Failure) => void;
}

/** Throws what `sqliteJournal` and `redisJournal` throw. */
export function openJournal(place: JournalPlace, { clock, log, onLost }: Opening): Promise<Journal> {
  if (place.kind === 'sqlite') return sqliteJournal({ path: place.path, clock });
  return redisJournal({ url: place.url, prefix: place.prefix, clock, log, onLost });
}

/** To look beside the server that writes. Throws Failure when there is no journal, or it is not ours. */
export async function openReader(place: JournalPlace): Promise<JournalReader> {
  return place.kind === 'sqlite' ? sqliteReader(place.path) : await redisReader(place.url, place.prefix);
}

/** Whether nothing was ever written there; writes nothing. Throws Failure when it cannot be read. */
export async function isEmpty(place: JournalPlace): Promise<boolean> {
  if (place.kind === 'sqlite') return isSqliteEmpty(place.path);
  const reader = await redisReader(place.url, place.prefix);
  try {
    const found = [await reader.records({ limit: 1 }), await reader.records({ archived: true, limit: 1 })];
    return (await reader.cursor()) === 0 && found.flat().length === 0;
  } finally {
    await reader.close();
  }
}

/** Kind and place for people, without a password. */
export const placeName = (place: JournalPlace): string =>
  place.kind === 'sqlite'
    ? `the file ${place.path}`
    : `Redis at ${nameOf(place.url)}, prefix ${place.prefix}`;
