/** Directories of this host that are lent to a container's instance (`Shares` in ../runtime.ts). */
import { chmod, copyFile, lstat, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type Docker from 'dockerode';
import { Failure } from '../failure.ts';
import type { Handle } from '../runtime.ts';
import { countLent, uncountLent } from './container-disk.ts';
import {
  type ContainerDirs,
  giveToRead,
  isDir,
  lent,
  lentPath,
  moveDir,
  type Owner,
  take,
} from './container-files.ts';
import { IMAGE_DEFAULT, imageIn } from './container-images.ts';
import { type Helping, ownerOf } from './container-owner.ts';
import { inside } from './container-spec.ts';
import { dirsOf, engineOf, inspected, mine, type State } from './container-state.ts';
import type { Engine } from './engine.ts';

/** With the image of the instance itself; where that is gone, with our own. */
export const helpingOf = (
  { options }: State,
  engine: Engine,
  there: Docker.ContainerInspectInfo | null,
): Helping => ({
  engine,
  dataDir: options.dataDir,
  image: async () => there?.Image ?? (await imageIn(engine, options.imagesDir, IMAGE_DEFAULT)),
});

export async function helpingFor(state: State, handle: Handle): Promise<Helping> {
  const { engine, container } = mine(handle);
  const found = await engineOf(state, engine);
  return helpingOf(state, found, await inspected(found.docker, container));
}

const ownerFor = async (state: State, handle: Handle): Promise<Owner> =>
  ownerOf(await helpingFor(state, handle));

export async function lend(state: State, handle: Handle, path: string): Promise<void> {
  const dirs = dirsOf(state, handle.name);
  const to = lentPath(dirs, state.options.sharesRoot, path);
  if (to === null)
    throw new Failure('bad-input', `${path} cannot be lent: it is not below ${state.options.sharesRoot}`);
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
  if (isDir(to)) await giveToRead([to], await ownerFor(state, handle));
}

export async function takeBack(state: State, handle: Handle, path: string): Promise<void> {
  const dirs = dirsOf(state, handle.name);
  const from = lentPath(dirs, state.options.sharesRoot, path);
  if (from === null || !isDir(from)) return;
  await bringBack({ state, dirs, owner: await ownerFor(state, handle) }, [path]);
}

interface Bringing {
  readonly state: State;
  readonly dirs: ContainerDirs;
  readonly owner: Owner;
}

/** To be called again until it is done: a killed server may leave it half way. */
async function bringBack({ state, dirs, owner }: Bringing, paths: readonly string[]): Promise<void> {
  const moves = paths.flatMap((to) => {
    const from = lentPath(dirs, state.options.sharesRoot, to);
    return from === null || !isDir(from) ? [] : [{ from, to }];
  });
  const froms = moves.map(({ from }) => from);
  await take(froms, owner);
  for (const { from, to } of moves) {
    await uncountLent(state, dirs, { path: from, home: to });
    await moveDir(from, to);
  }
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
  const { sharesRoot } = bringing.state.options;
  await bringBack(
    bringing,
    (await lent(bringing.dirs)).map((path) => join(sharesRoot, path)),
  );
}
