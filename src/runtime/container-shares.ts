/** Directories of this host that are lent to a container's instance (`Shares` in ../runtime.ts). */
import { chmod, copyFile, lstat, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure } from '../failure.ts';
import type { Handle } from '../runtime.ts';
import { countLent, uncountLent } from './container-disk.ts';
import {
  type ContainerDirs,
  give,
  isDir,
  lent,
  lentPath,
  moveDir,
  type Owner,
  take,
} from './container-files.ts';
import { IMAGE_DEFAULT } from './container-images.ts';
import { ownerOf } from './container-owner.ts';
import { inside } from './container-spec.ts';
import { dirsOf, engineOf, inspected, mine, type State } from './container-state.ts';

async function ownerFor(state: State, handle: Handle): Promise<Owner> {
  const { engine, container } = mine(handle);
  const found = await engineOf(state, engine);
  const there = await inspected(found.docker, container);
  return ownerOf(found, there?.Image ?? IMAGE_DEFAULT);
}

export async function lend(state: State, handle: Handle, path: string): Promise<void> {
  const dirs = dirsOf(state, handle.name);
  const to = lentPath(dirs, state.options.sharesRoot, path);
  if (to === null)
    throw new Failure('bad-input', `${path} cannot be lent: it is not below ${state.options.sharesRoot}`);
  const owner = await ownerFor(state, handle);
  const facts = await lstat(path).catch(() => null);
  if (facts?.isFile()) {
    // A file is copied: only directories come back.
    await mkdir(dirname(to), { recursive: true, mode: 0o755 });
    await copyFile(path, to);
    await chmod(to, 0o644);
    return;
  }
  // Before anybody inside sees it.
  await countLent(state, dirs, path);
  await moveDir(path, to);
  if (isDir(to)) await give(to, owner);
}

export async function takeBack(state: State, handle: Handle, path: string): Promise<void> {
  const dirs = dirsOf(state, handle.name);
  const from = lentPath(dirs, state.options.sharesRoot, path);
  if (from === null || !isDir(from)) return;
  await bringBack({ state, dirs, owner: await ownerFor(state, handle) }, path);
}

interface Bringing {
  readonly state: State;
  readonly dirs: ContainerDirs;
  readonly owner: Owner;
}

/** To be called again until it is done: a killed server may leave it half way. */
async function bringBack({ state, dirs, owner }: Bringing, path: string): Promise<void> {
  const from = lentPath(dirs, state.options.sharesRoot, path);
  if (from === null || !isDir(from)) return;
  await take(from, owner);
  await uncountLent(state, dirs, { path: from, home: path });
  await moveDir(from, path);
}

export async function giveFile(state: State, handle: Handle, path: string): Promise<void> {
  const here = hostPath(state, handle, path);
  if (here === null)
    throw new Failure('bad-input', `${path} is no place that instance ${handle.name} shares`);
  await give(here, await ownerFor(state, handle));
}

/** Of what the instance names: its home, its working directory, and what it was lent while it is lent. */
export function hostPath(state: State, handle: Handle, path: string): string | null {
  const dirs = dirsOf(state, handle.name);
  const { sharesRoot } = state.options;
  const lentTo = lentPath(dirs, sharesRoot, path);
  if (lentTo !== null) {
    const [task = '', part = ''] = path.slice(sharesRoot.length + 1).split('/');
    return isDir(join(dirs.shares, task, part)) ? lentTo : path;
  }
  for (const [there, here] of [
    [inside.home, dirs.home],
    [inside.work, dirs.work],
  ] as const)
    if (path === there || path.startsWith(`${there}/`)) return join(here, path.slice(there.length));
  return null;
}

/** All that is lent: it is not the instance's, and outlives it. */
export async function bringAllBack(bringing: Bringing): Promise<void> {
  for (const path of await lent(bringing.dirs))
    await bringBack(bringing, join(bringing.state.options.sharesRoot, path));
}
