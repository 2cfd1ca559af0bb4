/**
 * Writes the files a tool needs before it starts. Whole or not at all: a new file beside the old one, then a
 * rename. A file to be merged keeps what it has: objects deep, lists as sets, the rest replaced.
 */
import { constants } from 'node:fs';
import { chmod, chown, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { ToolFile } from '../../agent/tools/tool.ts';
import { Failure } from '../failure.ts';
import { newSecret } from '../ids.ts';
import { isMap } from './shape.ts';

/** Whose the files are to be; null: ours. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export async function writeToolFiles(files: readonly ToolFile[], owner: Owner | null = null): Promise<void> {
  for (const file of files) {
    const text =
      'text' in file
        ? file.text
        : `${JSON.stringify(merged(await present(file.path), file.merge), null, 2)}\n`;
    await writeWhole(file.path, text, { mode: file.mode, owner });
  }
}

export async function writeWhole(
  path: string,
  text: string,
  { mode, owner }: { mode: number; owner: Owner | null },
) {
  const made = await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  if (owner !== null && made !== undefined) await chown(dirname(path), owner.uid, owner.gid);
  // The name cannot be guessed and must not exist, so nobody can lay a link there first.
  const fresh = `${path}.${newSecret().slice(0, 12)}`;
  const file = await open(fresh, 'wx', mode);
  try {
    await file.writeFile(text);
    await file.sync();
    await file.close();
    await chmod(fresh, mode);
    if (owner !== null) await chown(fresh, owner.uid, owner.gid);
    await rename(fresh, path);
  } catch (thrown) {
    await rm(fresh, { force: true });
    throw thrown;
  }
}

async function present(path: string): Promise<unknown> {
  let text: string;
  try {
    // The instance may own the directory: a link there would make us read what it may not.
    text = await readFile(path, { encoding: 'utf8', flag: constants.O_RDONLY | constants.O_NOFOLLOW });
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT') return {};
    if (code === 'ELOOP')
      throw new Failure('wrong-state', `prepare the tool: ${path} is a link; put a file there`);
    throw thrown;
  }
  if (text.trim() === '') return {};
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Failure('wrong-state', `prepare the tool: ${path} is not JSON; mend or remove it`, { cause });
  }
}

function merged(old: unknown, wanted: unknown): unknown {
  if (Array.isArray(old) && Array.isArray(wanted)) return [...new Set([...old, ...wanted])];
  if (!isMap(old) || !isMap(wanted)) return wanted;
  const keys = [...new Set([...Object.keys(old), ...Object.keys(wanted)])];
  return Object.fromEntries(
    keys.map((key) => {
      if (!Object.hasOwn(wanted, key)) return [key, old[key]];
      return [key, Object.hasOwn(old, key) ? merged(old[key], wanted[key]) : wanted[key]];
    }),
  );
}
