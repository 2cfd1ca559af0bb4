/**
 * Removes the directories of tasks that ended long ago: looked at at the start and every hour, by bites.
 *
 *   lives, or failed and was preserved ──▶ left
 *   nobody knows it, as after the journal was lost ──▶ left, and said once
 *   ended longer ago than is kept ──▶ removed, with its clone, its artifacts and what the tool told of itself
 *
 * A task may have put anything below its own: everything is done by descriptor, and a link is removed as the
 * link that it is. What a kill leaves half removed is found again by the next round.
 */
import { lstat } from 'node:fs/promises';
import { rfc3339, sleep } from '../clock.ts';
import { Failure } from '../failure.ts';
import { taskIdPattern } from '../ids.ts';
import { within } from '../share/area.ts';
import { removeTree } from '../share/change.ts';
import { at, type Dir, descend, orNull } from '../share/dir.ts';
import { namesIn } from '../share/entries.ts';
import { taskDirs } from '../tasks/dirs.ts';
import type { TaskView } from '../views.ts';
import type { House } from './house.ts';

const LOOK_EVERY_MS = 3_600_000;
const DAY_MS = 86_400_000;
/** Looked at without a pause. */
const BITE = 50;
const PAUSE_MS = 100;

type TaskHouse = Pick<House, 'fleet' | 'share' | 'config' | 'clock' | 'log'>;

/** Returns how to stop. */
export function keepTaskDirs(house: TaskHouse): () => void {
  const stop = new AbortController();
  if (house.config.tasksKeepDays > 0) void watch(house, stop.signal);
  return () => stop.abort();
}

async function watch(house: TaskHouse, signal: AbortSignal): Promise<void> {
  for (let said = 0; !signal.aborted; ) {
    try {
      const { removed, unknown } = await removeOldTasks(house, signal);
      if (removed > 0) house.log.info('directories of old tasks removed', { removed, ...kept(house) });
      if (unknown > said)
        house.log.warn('directories of tasks that nobody knows are left; remove them by hand', { unknown });
      said = unknown;
    } catch (thrown) {
      if (signal.aborted) return;
      house.log.error('old tasks not looked at; it is tried again in an hour', { why: String(thrown) });
    }
    await sleep(house.clock, LOOK_EVERY_MS, signal).catch(() => {});
  }
}

const kept = ({ config: { tasksKeepDays: kept_days } }: TaskHouse) => ({ kept_days });

export interface Removal {
  readonly removed: number;
  /** Whose task is not in the journal. */
  readonly unknown: number;
}

/** Everything that is old enough by now. Throws what the journal throws. */
export async function removeOldTasks(house: TaskHouse, signal: AbortSignal): Promise<Removal> {
  const { share, clock } = house;
  const root = share === null ? null : await descend(share.layout.root, ['tasks']);
  const found = { removed: 0, unknown: 0 };
  if (share === null || root === null) return found;
  const look = async () => {
    let looked = 0;
    for await (const name of namesIn(root)) {
      looked += 1;
      if (looked % BITE === 0) await sleep(clock, PAUSE_MS, signal);
      signal.throwIfAborted();
      const fate = await fateOf(house, root, name);
      if (fate === 'unknown') found.unknown += 1;
      if (fate !== 'old') continue;
      if (await removed(house, root, { name, staging: share.layout.globalStaging })) found.removed += 1;
    }
  };
  await within(root, look);
  return found;
}

/** Null: it stays. */
async function fateOf(house: TaskHouse, root: Dir, name: Buffer): Promise<'old' | 'unknown' | null> {
  const id = name.toString('utf8');
  const isTask = taskIdPattern.test(id) && (await orNull(lstat(at(root, name))))?.isDirectory();
  if (!isTask) return null;
  const { fleet, clock, config } = house;
  if (fleet.isLive(`task:${id}`)) return null;
  const task = (await fleet.recall(`task:${id}`)) as TaskView | null;
  if (task === null) return 'unknown';
  // Looked at again: it may have been made anew while the journal was asked.
  if (fleet.isLive(`task:${id}`) || task.state === 'FAILED_PRESERVED' || task.ended_at === null) return null;
  return Date.parse(task.ended_at) < clock.now() - config.tasksKeepDays * DAY_MS ? 'old' : null;
}

async function removed(
  { log }: TaskHouse,
  root: Dir,
  { name, staging }: { readonly name: Buffer; readonly staging: string },
): Promise<boolean> {
  const task = name.toString('utf8');
  try {
    await removeTree(root, name, { isDeep: true, staging });
    log.debug('directories of a task removed', { task });
    return true;
  } catch (thrown) {
    log.warn('directories of a task not removed; it is tried again in an hour', {
      task,
      why: String(thrown),
    });
    return false;
  }
}

/** Throws Failure('not-found') when nothing of a task is kept any more. */
export async function stillKept({ config, clock }: TaskHouse, task: TaskView): Promise<void> {
  const { tasksKeepDays: days } = config;
  if (days === 0 || task.ended_at === null) return;
  const endedAt = Date.parse(task.ended_at);
  if (endedAt >= clock.now() - days * DAY_MS) return;
  const dirs = taskDirs(config.agentshare.root, task.id);
  if ((await orNull(lstat(dirs.root))) !== null) return;
  const why = `it ended ${rfc3339(endedAt)}, and files of tasks are kept for ${days} days`;
  throw new Failure('not-found', `no files of task ${task.id} are kept any more: ${why}`);
}
