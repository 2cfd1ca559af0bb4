/**
 * Where a task's things are. Only the inbox and the outbox are the tool's; what the collector and a second
 * attempt rely on (marker, base, index) lies beside them, out of reach of an instance that mounts just these
 * two.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../failure.ts';
import { taskIdPattern } from '../ids.ts';

export interface TaskDirs {
  readonly root: string;
  /** The clone; the tool works in it, or in the subpath of it. */
  readonly inbox: string;
  readonly outbox: string;
  /** What is offered for download. */
  readonly artifacts: string;
  /**
   * What the tool tells of itself: hooks, settings, prompts too long for a command line; one directory per
   * attempt.
   */
  readonly progress: string;
  /** The orders for people and tools to read. */
  readonly orders: string;
  /** A bare repository of the base commit, from which the patch is made. */
  readonly base: string;
  /** Written last of all by staging. */
  readonly marker: string;
  /** What was collected, with checksums. */
  readonly index: string;
  /** What the tool itself put into `artifacts`, kept aside when they were collected. */
  readonly given: string;
  /** Below `artifacts`. */
  readonly patch: string;
}

/** `share` is the root of Agentshare. */
export function taskDirs(share: string, taskId: string): TaskDirs {
  if (!taskIdPattern.test(taskId)) throw new Failure('bad-input', 'the task id is no name of a directory');
  const root = join(share, 'tasks', taskId);
  const outbox = join(root, 'outbox');
  return {
    root,
    outbox,
    inbox: join(root, 'inbox'),
    artifacts: join(outbox, 'artifacts'),
    progress: join(outbox, 'progress'),
    orders: join(root, 'TASK.md'),
    base: join(root, 'base.git'),
    marker: join(root, 'staged.json'),
    index: join(root, 'artifacts.json'),
    given: join(root, 'given'),
    patch: join(outbox, 'artifacts', 'changes.patch'),
  };
}

export const attemptDir = (dirs: TaskDirs, attempt: number): string => join(dirs.progress, String(attempt));

/** Private to us; making them twice changes nothing. */
export async function makeTaskDirs(dirs: TaskDirs): Promise<void> {
  for (const dir of [dirs.root, dirs.outbox, dirs.artifacts, dirs.progress]) {
    await mkdir(dir, { recursive: true, mode: 0o700 });
  }
}

/** What every tool of a task is told by its environment. */
export function taskEnv(
  dirs: TaskDirs,
  task: { readonly id: string; readonly attempt: number },
): Record<string, string> {
  return {
    AGENTIC_TASK_ID: task.id,
    AGENTIC_TASK_ATTEMPT: String(task.attempt),
    AGENTIC_TASK_FILE: dirs.orders,
    AGENTIC_INBOX: dirs.inbox,
    AGENTIC_OUTBOX: dirs.outbox,
    AGENTIC_ARTIFACTS: dirs.artifacts,
  };
}
