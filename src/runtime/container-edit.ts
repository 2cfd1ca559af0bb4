/**
 * Files that the server writes where an instance keeps its own: in its home and its working directory.
 *
 * As root it writes them there and gives them away. Any other server could not even enter: it writes into a
 * directory between, from where a helper container copies them to their places as the user inside, whole or
 * not at all. So nothing that the instance lays in the way can make more of it than that user could itself.
 */
import { constants } from 'node:fs';
import { chmod, copyFile, type FileHandle, lstat, mkdir, open, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure } from '../failure.ts';
import type { Handle, Shares } from '../runtime.ts';
import { type ContainerDirs, give } from './container-files.ts';
import { type Copied, copyAsUser, ownerOf } from './container-owner.ts';
import { helpingFor, hostPath } from './container-shares.ts';
import { dirsOf, type State } from './container-state.ts';

/** More of what is there is not read. */
const BYTES_MAX = 8 << 20;
const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;

/** `write` is told for each path where it is to be written now, and finds there what is there already. */
export interface Edit {
  readonly paths: readonly string[];
  readonly write: Parameters<Shares['edit']>[2];
}

export async function edit(state: State, handle: Handle, { paths, write }: Edit): Promise<void> {
  const places = new Map(paths.map((path) => [path, placeOf(state, handle, path)]));
  if (paths.length === 0) return;
  const helping = await helpingFor(state, handle);
  const owner = ownerOf(helping);
  const dirs = dirsOf(state, handle.name);
  if (owner.user !== null) {
    const roots = [dirs.home, dirs.work, dirs.shares];
    await write((path) => places.get(path) ?? path, roots);
    // With the directories that were made for them.
    return await give([...new Set([...places.values()].map((place) => topOf(place, roots)))], owner);
  }
  const [fetched, written] = [join(dirs.between, 'fetched'), join(dirs.between, 'written')];
  const files = paths.map((path, index): Copied => ({ name: String(index), path, mode: 0o600 }));
  const errand = (between: string, some: readonly Copied[]) => ({ dirs, between, files: some });
  await rm(dirs.between, { recursive: true, force: true });
  try {
    for (const dir of [fetched, written]) await mkdir(dir, { recursive: true, mode: 0o700 });
    // Others than we come here only from inside, by a helper.
    await chmod(fetched, 0o777);
    const closed: Copied[] = [];
    for (const file of files)
      if (await isClosed(dirs, places.get(file.path) ?? '', join(written, file.name))) closed.push(file);
    await copyAsUser(helping, 'fetch', errand(fetched, closed));
    for (const { name } of closed) await copyThere(join(fetched, name), join(written, name));
    await write((path) => join(written, String(paths.indexOf(path))), [written]);
    await copyAsUser(helping, 'put', errand(written, await opened(written, files)));
  } finally {
    await rm(dirs.between, { recursive: true, force: true });
  }
}

function placeOf(state: State, handle: Handle, path: string): string {
  const place = hostPath(state, handle, path);
  if (place !== null) return place;
  throw new Failure('bad-input', `${path} is no place that instance ${handle.name} shares`);
}

/** What lies in the root itself and leads to the place, or is it. */
function topOf(place: string, roots: readonly string[]): string {
  const root = roots.find((one) => place.startsWith(`${one}/`));
  return root === undefined ? place : join(root, place.slice(root.length + 1).split('/')[0] ?? '');
}

/**
 * True: it is for the instance's user to look at. What we may read is copied, but not from below a directory
 * of the instance's, which may be a link to one that only we may enter.
 */
async function isClosed({ home, work }: ContainerDirs, place: string, to: string): Promise<boolean> {
  if (dirname(place) !== home && dirname(place) !== work) return true;
  let file: FileHandle;
  try {
    file = await open(place, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT') return false;
    if (code === 'EACCES') return true;
    throw code === 'ELOOP' ? inTheWay(place) : thrown;
  }
  try {
    const facts = await file.stat();
    if (!facts.isFile()) throw inTheWay(place);
    if (facts.size > BYTES_MAX)
      throw new Failure('wrong-state', `prepare the tool: ${place} is too long; remove it`);
    await writeFile(to, await file.readFile());
    return false;
  } finally {
    await file.close();
  }
}

const inTheWay = (place: string): Failure =>
  new Failure('wrong-state', `prepare the tool: ${place} is no file; put a file there`);

/** What was shut stays so. What the helper did not find is not there. */
const copyThere = (from: string, to: string): Promise<void> =>
  copyFile(from, to)
    .then(() => chmod(to, 0o600))
    .catch((thrown: NodeJS.ErrnoException) => {
      if (thrown.code !== 'ENOENT') throw thrown;
    });

/** Those that were written, with the modes that they are to have, to be read by the helper. */
async function opened(dir: string, files: readonly Copied[]): Promise<Copied[]> {
  const found: Copied[] = [];
  for (const file of files) {
    const here = join(dir, file.name);
    found.push({ ...file, mode: (await lstat(here)).mode & 0o777 });
    await chmod(here, 0o444);
  }
  await chmod(dir, 0o755);
  return found;
}
