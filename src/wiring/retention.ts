/**
 * Puts actors that ended long ago into the archive of the journal, a few at a time.
 *
 * Nothing is lost by it: their lives are read as before. They only leave the lists, the feed of events and
 * the memory of the next server. While the journal is away it waits; the next round finds the same actors.
 */
import { type Clock, sleep } from '../clock.ts';
import type { Journal } from '../journal.ts';
import type { Log } from '../log.ts';

/** How often it looks. */
const ROUND_MS = 3_600_000;
/** The first look waits until a start is over. */
const FIRST_MS = 60_000;
/** So many at once, so that nobody's promise waits long behind them. */
const AT_ONCE = 20;
const PAUSE_MS = 20;

export interface Keeping {
  readonly journal: Pick<Journal, 'expired' | 'archive'>;
  readonly clock: Clock;
  readonly log: Log;
  /** How long an actor rests after its end. */
  readonly afterMs: number;
}

/** Returns how to stop. */
export function retention(keeping: Keeping): () => void {
  const { clock, log } = keeping;
  const over = new AbortController();
  const { signal } = over;
  const rounds = async () => {
    await sleep(clock, FIRST_MS, signal);
    for (;;) {
      try {
        const archived = await archiveExpired(keeping, signal);
        if (archived > 0) log.info('actors archived', { archived, rested_ms: keeping.afterMs });
      } catch (thrown) {
        if (signal.aborted) return;
        log.warn('actors not archived; tried again later', { why: String(thrown) });
      }
      await sleep(clock, ROUND_MS, signal);
    }
  };
  rounds().catch(() => {}); // Only when it is stopped.
  return () => over.abort();
}

/** Everything that has rested long enough by now. Throws what the journal throws. */
export async function archiveExpired(keeping: Keeping, signal: AbortSignal): Promise<number> {
  const { journal, clock, afterMs } = keeping;
  const before = clock.now() - afterMs;
  for (let archived = 0; ; ) {
    const expired = await journal.expired(before, AT_ONCE);
    const put = expired.length === 0 ? 0 : await journal.archive(expired);
    archived += put;
    // None of those that were found: they live again, and will be found no more once that is written.
    if (put === 0 || expired.length < AT_ONCE) return archived;
    await sleep(clock, PAUSE_MS, signal);
  }
}
