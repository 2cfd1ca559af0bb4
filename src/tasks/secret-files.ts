/**
 * Secrets as files that are never on a disk: a directory a session, below one of ours on a file system in
 * memory, mode 0700 with files of mode 0600. They go with their session; what a killed server left is swept
 * by the next.
 */
import { createHash } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../failure.ts';
import { writeWhole } from './files.ts';

/** tmpfs and ramfs, as statfs(2) names them. */
const inMemory: readonly number[] = [0x01021994, 0x858458f6];

export interface SecretFiles {
  /** Writes them and names them: `<NAME>_FILE` to a path each. Throws Failure('not-implemented'). */
  put(session: string, files: Readonly<Record<string, string>>): Promise<Record<string, string>>;
  drop(session: string): Promise<void>;
  /** Drops those of sessions that are over. */
  sweep(isLive: (session: string) => boolean): Promise<void>;
}

export interface SecretFilesAt {
  /** Looked at in this order; the first one in memory is taken. */
  readonly places: readonly string[];
  /** Tells this server's from another's of the same user. */
  readonly dataDir: string;
  readonly uid: number;
}

export function secretFiles({ places, dataDir, uid }: SecretFilesAt): SecretFiles {
  const name = `agentic-${uid}-${createHash('sha256').update(dataDir).digest('hex').slice(0, 16)}`;
  const roots = async (): Promise<string[]> => {
    const found = await Promise.all(places.map(async (place) => ((await isInMemory(place)) ? [place] : [])));
    return found.flat().map((place) => join(place, name));
  };
  const made = async (): Promise<string> => {
    const [root] = await roots();
    if (root !== undefined) return await privateDir(root, uid);
    throw new Failure(
      'not-implemented',
      `no file system in memory among ${places.join(', ')}: deliver the secret as env, or set XDG_RUNTIME_DIR`,
    );
  };
  const dropBelow = (root: string, session: string) =>
    rm(join(root, session), { recursive: true, force: true });
  return {
    async put(session, files) {
      if (Object.keys(files).length === 0) return {};
      const dir = join(await made(), session);
      await mkdir(dir, { recursive: true, mode: 0o700 });
      const named: Record<string, string> = {};
      for (const [one, value] of Object.entries(files)) {
        await writeWhole(join(dir, one), value, { mode: 0o600, owner: null });
        named[`${one}_FILE`] = join(dir, one);
      }
      return named;
    },
    async drop(session) {
      for (const root of await roots()) await dropBelow(root, session);
    },
    async sweep(isLive) {
      for (const root of await roots()) {
        const sessions = await readdir(root).catch(() => [] as string[]);
        for (const session of sessions) if (!isLive(session)) await dropBelow(root, session);
      }
    },
  };
}

const isInMemory = (place: string): Promise<boolean> =>
  statfs(place).then(
    ({ type }) => inMemory.includes(type),
    () => false,
  );

/** Others may write beside it, so it is ours only if the kernel says so. */
async function privateDir(path: string, uid: number): Promise<string> {
  await mkdir(path, { mode: 0o700 }).catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code !== 'EEXIST') throw thrown;
  });
  const facts = await lstat(path);
  if (!facts.isDirectory() || facts.uid !== uid) {
    throw new Failure(
      'wrong-state',
      `${path} is not ours; remove it, or set XDG_RUNTIME_DIR to a directory that is`,
    );
  }
  await chmod(path, 0o700);
  return path;
}
