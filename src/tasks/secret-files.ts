/**
 * Secrets as files that are never on a disk: a directory a session, below one of ours on a file system in
 * memory, mode 0700 with files of mode 0600. They go with their session; what a killed server left is swept
 * by the next.
 *
 *     <root>/<session>/<NAME>                  for instances that see the files of this host
 *     <root>/instances/<name>/<session>/<NAME> for one that has that directory mounted, and is another user
 */
import { createHash } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../failure.ts';
import { writeWhole } from './files.ts';

/** No session is called so. */
const LODGINGS = 'instances';
/** tmpfs and ramfs, as statfs(2) names them. */
const inMemory: readonly number[] = [0x01021994, 0x858458f6];

export interface SecretFiles {
  /**
   * Writes them and names them: `<NAME>_FILE` to a path each, as its instance sees it. `lodger` null: it sees
   * the files of this host. Throws Failure('not-implemented').
   */
  put(
    session: string,
    files: Readonly<Record<string, string>>,
    lodger: Lodger | null,
  ): Promise<Record<string, string>>;
  /**
   * The directory of one instance, to be mounted into it, made where it is missing. Null: nothing is in
   * memory here.
   */
  lodging(instance: string): Promise<string | null>;
  drop(session: string): Promise<void>;
  /** Drops those of sessions that are over. */
  sweep(isLive: (session: string) => boolean): Promise<void>;
}

/** An instance with files of its own. */
export interface Lodger {
  readonly instance: string;
  /** Where it sees its directory. */
  readonly seenAt: string;
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
  const lodgingIn = async (root: string, instance: string): Promise<string> => {
    const dir = join(root, LODGINGS, instance);
    await mkdir(dir, { recursive: true, mode: 0o755 });
    await chmod(dir, 0o755);
    return dir;
  };
  /** Every directory that has sessions in it. */
  const everyPlace = async (): Promise<string[]> => {
    const found = await roots();
    const lodgings = found.map((root) => join(root, LODGINGS));
    const inside = await Promise.all(
      lodgings.map(async (dir) => (await namesIn(dir)).map((one) => join(dir, one))),
    );
    return [...found, ...inside.flat()];
  };
  return {
    async put(session, files, lodger) {
      if (Object.keys(files).length === 0) return {};
      const root = await made();
      const place = lodger === null ? root : await lodgingIn(root, lodger.instance);
      const dir = join(place, session);
      // Whoever comes as far as an instance's directory is its user, which is another than ours.
      const [dirMode, mode] = lodger === null ? [0o700, 0o600] : [0o755, 0o444];
      await mkdir(dir, { recursive: true, mode: dirMode });
      await chmod(dir, dirMode);
      const named: Record<string, string> = {};
      for (const [one, value] of Object.entries(files)) {
        await writeWhole(join(dir, one), value, mode);
        named[`${one}_FILE`] = join(lodger === null ? dir : join(lodger.seenAt, session), one);
      }
      return named;
    },
    async lodging(instance) {
      const [root] = await roots();
      return root === undefined ? null : await lodgingIn(await privateDir(root, uid), instance);
    },
    async drop(session) {
      for (const dir of await everyPlace()) await rm(join(dir, session), { recursive: true, force: true });
    },
    async sweep(isLive) {
      for (const dir of await everyPlace())
        for (const session of await namesIn(dir))
          if (session !== LODGINGS && !isLive(session))
            await rm(join(dir, session), { recursive: true, force: true });
    },
  };
}

const namesIn = (dir: string): Promise<string[]> => readdir(dir).catch(() => []);

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
