/** Removes recordings that are older than they are kept: looked at at the start and every hour, by bites. */
import { type Clock, rfc3339, sleep } from '../clock.ts';
import type { SessionId } from '../ids.ts';
import type { RecordingWorld } from './recordings.ts';

const LOOK_EVERY_MS = 3_600_000;
const DAY_MS = 86_400_000;
/** Looked at without a pause. */
const BITE = 50;
const PAUSE_MS = 100;
/** Enough for the first and the last segment. */
const COUNT_BYTES = 32 << 20;

export interface KeeperOptions {
  readonly clock: Clock;
  /** 0: for ever. */
  readonly keepDays: number;
}

/** Returns how to stop. */
export function keepRecordings(world: RecordingWorld, { clock, keepDays }: KeeperOptions): () => void {
  const stop = new AbortController();
  if (keepDays > 0) void watch(world, { clock, keepDays }, stop.signal);
  return () => stop.abort();
}

async function watch(world: RecordingWorld, options: KeeperOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await removeOld(world, options, signal);
    } catch (thrown) {
      if (signal.aborted) return;
      world.log.error('old recordings not looked at; it is tried again in an hour', { why: String(thrown) });
    }
    await sleep(options.clock, LOOK_EVERY_MS, signal).catch(() => {});
  }
}

async function removeOld(
  world: RecordingWorld,
  { clock, keepDays }: KeeperOptions,
  signal: AbortSignal,
): Promise<void> {
  const { recordings, isLive, log } = world;
  const before = clock.now() - keepDays * DAY_MS;
  const names = await recordings.list();
  for (const [i, { session: id, at }] of names.entries()) {
    if (i % BITE === BITE - 1) await sleep(clock, PAUSE_MS, signal);
    if (at >= before || isLive(id)) continue;
    const endedAt = await endOf(world, id);
    if (endedAt === null || endedAt >= before) continue;
    const reason = `its session ended ${rfc3339(endedAt)}, and recordings are kept for ${keepDays} days`;
    try {
      await recordings.remove(id, { at: clock.now(), by: 'house', reason });
      log.info('recording removed', { session: id, reason });
    } catch (thrown) {
      log.warn('recording not removed; it is tried again in an hour', { session: id, why: String(thrown) });
    }
  }
}

/** Of a session that nobody remembers, when it said its last. */
async function endOf(world: RecordingWorld, id: SessionId): Promise<number | null> {
  const session = await world.session(id);
  if (session?.ended_at) return Date.parse(session.ended_at);
  return (await world.recordings.facts(id, { bytes: COUNT_BYTES }))?.lastAt ?? null;
}
