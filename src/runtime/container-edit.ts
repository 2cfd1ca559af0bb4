/**
 * Files that the server writes where an instance keeps its own: in its home and its working directory.
 *
 * As root it writes them there and gives them away. Any other server could not even enter: it writes into a
 * directory between, from where a helper container copies them to their places as the user inside, whole or
 * not at all. So nothing that the instance lays in the way can make more of it than that user could itself.
 */
import { constants } from 'node:fs';
import { chmod, copyFile, lstat, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../failure.ts';
import type { Handle } from '../runtime.ts';
import { give } from './container-files.ts';
import { type Copied, copyAsUser, ownerOf } from './container-owner.ts';
import { helpingFor, hostPath } from './container-shares.ts';
import { dirsOf, type State } from './container-state.ts';

/** `write` is told for each path where it is to be written now, and finds there what is there already. */
export interface Edit {
  readonly paths: readonly string[];
  readonly write: (at: (path: string) => string) => Promise<void>;
}

export async function edit(state: State, handle: Handle, { paths, write }: Edit): Promise<void> {
  const places = new Map(paths.map((path) => [path, placeOf(state, handle, path)]));
  if (paths.length === 0) return await write((path) => path);
  const helping = await helpingFor(state, handle);
  const owner = ownerOf(helping);
  if (owner.user !== null) {
    await write((path) => places.get(path) ?? path);
    return await give([...places.values()], owner);
  }
  const dirs = dirsOf(state, handle.name);
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
      if (await isClosed(places.get(file.path) ?? '', join(written, file.name))) closed.push(file);
    await copyAsUser(helping, 'fetch', errand(fetched, closed));
    for (const { name } of closed) await copyThere(join(fetched, name), join(written, name));
    await write((path) => join(written, String(paths.indexOf(path))));
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

/** True: something is there that we may not read. What we may is copied. */
async function isClosed(place: string, to: string): Promise<boolean> {
  try {
    if (!(await lstat(place)).isFile()) throw inTheWay(place);
    await writeFile(to, await readFile(place, { flag: constants.O_RDONLY | constants.O_NOFOLLOW }));
    return false;
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT') return false;
    if (code === 'EACCES') return true;
    throw code === 'ELOOP' ? inTheWay(place) : thrown;
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
