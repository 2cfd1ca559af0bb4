/**
 * The directories of a container's instance on this host, and whose they are.
 *
 *     <root>/<name>/{home,work,spool}          the instance's; its user may write there
 *     <root>/<name>/between                    ours; files on their way to an instance whose user we are not
 *     <root>/<name>/shares                     ours; what is lent lies in it, and is the instance's so long
 *     <root>/<name>/credentials                what it may read: roots and a token, or its secret
 *     <root>/<name>/identity                   its own: the key that it made, and its certificate
 *     <sockets>/<sum>/{a,e,m}/                 sockets: agent and its enrolment, way out, models; each in a
 *                                              directory, so that a new one is seen inside
 *
 * All of it lies below directories that only the server's user may enter; who is inside sees what is mounted.
 * The instance is hostile: nothing here follows a link that it may have made. Where the server may not give
 * files away itself, or what is inside belongs to users it cannot act for, a helper container does it.
 */
import { createHash } from 'node:crypto';
import { constants, lstatSync, mkdirSync } from 'node:fs';
import { chmod, lchown, mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { Failure } from '../failure.ts';
import { instanceDir, removeInstanceDir } from './instance-dir.ts';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, S_IFMT, S_IFREG } = constants;

/** sockaddr_un holds 108 bytes on Linux with the zero at its end (unix(7)). */
const SOCKET_BYTES_MAX = 104;

export interface ContainerDirs {
  readonly path: string;
  readonly home: string;
  readonly work: string;
  readonly spool: string;
  readonly between: string;
  readonly shares: string;
  readonly credentials: string;
  readonly identity: string;
  /** Directories that are mounted, with sockets in them. */
  readonly socket: string;
  readonly socketPath: string;
  readonly enrolPath: string;
  readonly egress: string;
  readonly egressPath: string;
  readonly models: string;
  readonly modelsPath: string;
}

/** `sockets`: a short private directory, the same after every start of the server. */
export function containerDirs(root: string, sockets: string, name: string): ContainerDirs {
  const { path, home, work, spool } = instanceDir(root, name);
  const own = join(sockets, createHash('sha256').update(name).digest('hex').slice(0, 12));
  const [socket, egress, models] = [join(own, 'a'), join(own, 'e'), join(own, 'm')];
  const dirs = {
    path,
    home,
    work,
    spool,
    between: join(path, 'between'),
    shares: join(path, 'shares'),
    credentials: join(path, 'credentials'),
    identity: join(path, 'identity'),
    socket,
    socketPath: join(socket, 's'),
    enrolPath: join(socket, 'n'),
    egress,
    egressPath: join(egress, 's'),
    models,
    modelsPath: join(models, 's'),
  };
  if (Buffer.byteLength(dirs.socketPath) > SOCKET_BYTES_MAX)
    throw new Failure(
      'bad-input',
      `${dirs.socketPath} is too long for a socket; choose a shorter AGENTIC_DATA_DIR`,
    );
  return dirs;
}

/** What its user has for itself. */
export const ownDirs = ({ home, work, spool, identity }: ContainerDirs): readonly string[] => [
  home,
  work,
  spool,
  identity,
];

/** Makes what is missing. A symlink in the place of one is refused: it would lead us out. */
export async function makeContainerDirs(dirs: ContainerDirs): Promise<void> {
  for (const path of [dirs.path, dirname(dirs.socket)]) await makePrivate(path);
  // Root sees everything. Any other server sees what its user lets others see; of the identity only names.
  const isRoot = process.getuid?.() === 0;
  for (const path of ownDirs(dirs))
    if ((await makePrivate(path)) && !isRoot) await chmod(path, path === dirs.identity ? 0o711 : 0o755);
  // Open to whoever comes this far, which outside is only the server's user.
  for (const path of [dirs.shares, dirs.credentials, dirs.socket, dirs.egress, dirs.models]) {
    await makePrivate(path);
    await chmod(path, 0o755);
  }
}

/** True when it was not there. */
async function makePrivate(path: string): Promise<boolean> {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there && !there.isDirectory()) {
    throw new Failure(
      'runtime-failed',
      `create ${path}: something that is no directory is in its place; remove it`,
    );
  }
  if (there) return false;
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return true;
}

/** Puts files where the instance reads them, and takes away all others but those to `keep`. */
export async function placeCredentials(
  dirs: ContainerDirs,
  files: Readonly<Record<string, string>>,
  keep: readonly string[] = [],
): Promise<void> {
  for (const [name, text] of Object.entries(files)) await placeFile(dirs, name, text);
  for (const stale of await readdir(dirs.credentials))
    if (!(stale in files || keep.includes(stale)))
      await rm(join(dirs.credentials, stale), { recursive: true, force: true });
}

/** Whole or not at all: the agent may read it at any moment. */
export async function placeFile(dirs: ContainerDirs, name: string, text: string): Promise<void> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name))
    throw new Failure('bad-input', `"${name}" is no name for a credential file`);
  const target = join(dirs.credentials, name);
  await writeFile(`${target}.new`, text, { mode: 0o600 });
  await chmod(`${target}.new`, 0o444);
  await rename(`${target}.new`, target);
}

/** A user and its group. */
export interface Ids {
  readonly uid: number;
  readonly gid: number;
}

/** What a helper container does with directories: `take` and `empty` make them ours. */
export type HelpWith = 'give' | 'lend' | 'take' | 'empty';

/** Who may hand out and take back what is inside: this process itself, or only a helper container. */
export interface Owner {
  /** The user inside as it is known outside, whom we may give files to; null: only a helper can. */
  readonly user: Ids | null;
  /** Runs as root of the container's world on these directories, which are there. */
  help(what: HelpWith, dirs: readonly string[]): Promise<void>;
}

/** Gives directories or files and what is below them to the user inside. */
export async function give(paths: readonly string[], { user, help }: Owner): Promise<void> {
  if (user === null) return await help('give', paths);
  for (const path of paths) await chownBelow(path, user);
}

/** The same; whoever comes there may read them, which outside is only the server's user. */
export async function giveToRead(paths: readonly string[], owner: Owner): Promise<void> {
  if (owner.user === null) return await owner.help('lend', paths);
  await give(paths, owner);
}

/** Makes them ours again, and ours alone, so that we may read and remove what is in them. */
export async function take(paths: readonly string[], { user, help }: Owner): Promise<void> {
  if (user === null) return await help('take', paths);
  const us = process.getuid?.() ?? 0;
  for (const path of paths) await chownBelow(path, { uid: us, gid: us, isTaken: true });
}

/** Directories in one another that are followed; each is open while what is below it is given. */
const DEPTH_MAX = 512;

interface NewOwner extends Ids {
  /**
   * Nobody else may write to it any more, also who holds a directory open that it had opened to everybody.
   * What lies too deep is left as it is, behind directories that are shut.
   */
  readonly isTaken?: boolean;
}

/**
 * The instance may exchange what is below while we go through it: each directory is opened by its name in the
 * one above it, following no link, and what is in it is named by that descriptor. What vanishes meanwhile is
 * passed over.
 */
async function chownBelow(path: string | Buffer, owner: NewOwner, depth = 0): Promise<void> {
  const { uid, gid, isTaken = false } = owner;
  if (depth > DEPTH_MAX && isTaken) return;
  if (depth > DEPTH_MAX)
    throw new Failure(
      'runtime-failed',
      `${path}: more than ${DEPTH_MAX} directories in one another; remove some`,
    );
  try {
    await lchown(path, uid, gid);
    // Its directory is shut by now, so that it is still the same.
    if (isTaken && depth > 0) await shutFile(path);
  } catch (thrown) {
    if (depth > 0 && isGone(thrown)) return;
    throw thrown;
  }
  const dir = await open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK).catch((thrown) => {
    if (isGone(thrown)) return null;
    throw thrown;
  });
  if (dir === null) return;
  try {
    if (isTaken) await dir.chmod((await dir.stat()).mode & 0o7755);
    const here = `/proc/self/fd/${dir.fd}`;
    for (const name of await readdir(`${here}/.`, { encoding: 'buffer' }))
      await chownBelow(Buffer.concat([Buffer.from(`${here}/`), name]), owner, depth + 1);
  } finally {
    await dir.close();
  }
}

async function shutFile(path: string | Buffer): Promise<void> {
  const { mode } = lstatSync(path);
  if ((mode & S_IFMT) === S_IFREG && (mode & 0o022) !== 0) await chmod(path, mode & 0o7755);
}

/** Not there any more, a link, or no directory. */
const isGone = (thrown: unknown): boolean =>
  ['ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO'].includes((thrown as NodeJS.ErrnoException).code ?? '');

export async function removeContainerDirs(dirs: ContainerDirs, owner: Owner): Promise<void> {
  if (owner.user === null && isDir(dirs.path))
    await owner.help('empty', [...ownDirs(dirs), dirs.shares].filter(isDir));
  await removeInstanceDir(dirs);
  await rm(dirname(dirs.socket), { recursive: true, force: true });
}

/** Where a directory below `sharesRoot` is while it is lent; null when it is not below it. */
export function lentPath(dirs: ContainerDirs, sharesRoot: string, path: string): string | null {
  const name = relative(sharesRoot, path);
  return name === '' || name.startsWith('..') ? null : join(dirs.shares, name);
}

/** Moves a directory; what is there already, or gone already, is left. */
export async function moveDir(from: string, to: string): Promise<void> {
  if (!isDir(from) || lstatSync(to, { throwIfNoEntry: false })) return;
  await mkdir(dirname(to), { recursive: true, mode: 0o755 });
  await rename(from, to);
}

export const isDir = (path: string): boolean =>
  lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

/** Directories that are lent: two levels below, as `<task>/<directory>`. */
export async function lent(dirs: ContainerDirs): Promise<readonly string[]> {
  if (!isDir(dirs.shares)) return [];
  const found: string[] = [];
  for (const outer of await readdir(dirs.shares))
    if (isDir(join(dirs.shares, outer)))
      for (const inner of await readdir(join(dirs.shares, outer)))
        if (isDir(join(dirs.shares, outer, inner))) found.push(join(outer, inner));
  return found;
}
