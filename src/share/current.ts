/**
 * What an instance finds in its workspace of the task it runs:
 *
 *     workspace/tasks/<task id>  →  the task's own directory
 *     workspace/current          →  tasks/<task id>
 *
 * The instance may write there, so everything is done by descriptor, and what it put in the way is left.
 */
import { mkdir, readlink, rename, symlink, unlink } from 'node:fs/promises';
import { newSecret } from '../ids.ts';
import { within } from './area.ts';
import { at, type Dir, descend, openIn, orNull } from './dir.ts';

const TASKS = 'tasks';
const CURRENT = 'current';

export interface TaskLink {
  readonly workspace: string;
  readonly task: string;
  /** The task's directory, as the instance sees it. */
  readonly target: string;
}

/** False when something of the instance's own is in the way. */
export async function pointToTask({ workspace, task, target }: TaskLink): Promise<boolean> {
  const dir = await descend(workspace, []);
  if (dir === null) return false;
  return await within(dir, async () => {
    await orMeanwhile(mkdir(at(dir, TASKS), { mode: 0o755 }));
    const tasks = await openIn(dir, TASKS);
    if (tasks === null) return false;
    const isThere = await within(tasks, () => pointTo(tasks, task, target));
    return isThere && (await pointTo(dir, CURRENT, `${TASKS}/${task}`));
  });
}

/** Takes back what `pointToTask` made, and nothing else. */
export async function leaveTask({ workspace, task, target }: TaskLink): Promise<void> {
  const dir = await descend(workspace, []);
  if (dir === null) return;
  await within(dir, async () => {
    await removeLink(dir, CURRENT, `${TASKS}/${task}`);
    const tasks = await openIn(dir, TASKS);
    if (tasks !== null) await within(tasks, () => removeLink(tasks, task, target));
  });
}

/** Puts a link in the place of another, or where nothing is; never of anything else. */
export async function pointTo(dir: Dir, name: string, target: string): Promise<boolean> {
  if ((await linkIn(dir, name)) === target) return true;
  const fresh = `.${newSecret().slice(0, 12)}`;
  await symlink(target, at(dir, fresh) as string);
  try {
    if (await isOther(dir, name)) return false;
    await rename(at(dir, fresh), at(dir, name));
    return true;
  } catch (thrown) {
    if (inTheWay.has((thrown as NodeJS.ErrnoException).code ?? '')) return false;
    throw thrown;
  } finally {
    await orNull(unlink(at(dir, fresh)));
  }
}

const inTheWay = new Set(['EISDIR', 'ENOTEMPTY', 'EEXIST', 'EPERM', 'EACCES']);

/** Something is there that is no link. */
async function isOther(dir: Dir, name: string): Promise<boolean> {
  try {
    await readlink(at(dir, name));
    return false;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EINVAL';
  }
}

async function linkIn(dir: Dir, name: string): Promise<string | null> {
  try {
    return await readlink(at(dir, name));
  } catch {
    return null; // Nothing there, or no link.
  }
}

async function removeLink(dir: Dir, name: string, target: string): Promise<void> {
  if ((await linkIn(dir, name)) === target) await orNull(unlink(at(dir, name)));
}

async function orMeanwhile(promise: Promise<unknown>): Promise<void> {
  try {
    await promise;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown;
  }
}
