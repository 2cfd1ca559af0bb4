/**
 * A task's directories in an instance that has files of its own: lent to it while the task runs, and taken
 * back before anything of them is read or removed. Where instances see this host's files, nothing happens.
 */
import type { Following, ToolFile } from '../../agent/tools/tool.ts';
import type { AgentId } from '../ids.ts';
import type { Handle, Shares } from '../runtime.ts';
import type { TaskDirs } from '../tasks/dirs.ts';
import { writeToolFiles } from '../tasks/files.ts';
import type { House } from './house.ts';
import { handleOf } from './instances.ts';

interface Borrower {
  readonly handle: Handle;
  readonly shares: Shares;
}

/** Null: the instance sees the files where they are, or is not there any more. */
function borrower(house: House, agent: AgentId): Borrower | null {
  const handle = handleOf(house, agent);
  const shares = handle === null ? null : (house.runtimes.get(handle.runtime)?.shares ?? null);
  return handle === null || shares === null ? null : { handle, shares };
}

export const hasOwnFiles = (house: House, agent: AgentId): boolean => borrower(house, agent) !== null;

/** Writes what the tool needs, where the instance will read it, and lends the rest. May come again. */
export async function lendTask(
  house: House,
  agent: AgentId,
  {
    dirs,
    home,
    files,
  }: { readonly dirs: TaskDirs; readonly home: string; readonly files: readonly ToolFile[] },
): Promise<void> {
  const to = borrower(house, agent);
  if (to === null) return await writeToolFiles(files, [dirs.root, home]);
  const { handle, shares } = to;
  await takeTaskBack(house, agent, dirs);
  const isLent = ({ path }: ToolFile) => path.startsWith(`${dirs.root}/`);
  await writeToolFiles(files.filter(isLent), [dirs.root]);
  const own = files.filter((file) => !isLent(file));
  await shares.edit(
    handle,
    own.map(({ path }) => path),
    (at, roots) =>
      writeToolFiles(
        own.map((file) => ({ ...file, path: at(file.path) })),
        roots,
      ),
  );
  for (const path of [dirs.inbox, dirs.outbox, dirs.orders]) await shares.lend(handle, path);
}

export async function takeTaskBack(house: House, agent: AgentId, dirs: TaskDirs): Promise<void> {
  const from = borrower(house, agent);
  for (const path of [dirs.inbox, dirs.outbox]) await from?.shares.takeBack(from.handle, path);
}

/** The same, with the paths that the tool was told as they are on this host now. */
export function seenFrom(house: House, agent: AgentId, following: Following): Following {
  const by = borrower(house, agent);
  if (by === null) return following;
  const { handle, shares } = by;
  const place = (path: string) => shares.hostPath(handle, path) ?? path;
  const { tells, transcripts } = following;
  return {
    ...following,
    tells: tells.by === 'file' ? { by: 'file', path: place(tells.path) } : tells,
    transcripts: transcripts === null ? null : place(transcripts),
  };
}
