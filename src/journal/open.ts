/** The one place that knows every kind of journal. */
import type { Clock } from '../clock.ts';
import type { JournalPlace } from '../config.ts';
import type { Failure } from '../failure.ts';
import type { Journal, JournalReader } from '../journal.ts';
import type { Log } from '../log.ts';
import { redisJournal, redisReader } from './redis.ts';
import { sqliteJournal } from './sqlite.ts';
import { sqliteReader } from './sqlite-reader.ts';

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
