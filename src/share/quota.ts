/**
 * Project quotas: the file system itself refuses what is too much, and knows what is used. ext4 and XFS have
 * them when they are mounted with `prjquota`; elsewhere `probeQuota` says what is missing.
 */
import { constants, readFileSync, statSync } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { endianness } from 'node:os';
import type { Membership, ProjectLimit, Projects, ProjectUse } from '../projects.ts';
import { at, type Dir, descend, openIn, orNull } from './dir.ts';
import { namesIn } from './entries.ts';
import { ioctl, quotactl } from './libc.ts';

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;

export type QuotaProbe =
  | { readonly works: true; readonly fileSystem: string }
  | { readonly works: false; readonly reason: string };

/** (request << 8) | PRJQUOTA */
const Q_GETQUOTA = 0x80000702;
const Q_SETQUOTA = 0x80000802;
const QIF_BLIMITS = 1;
const QIF_ILIMITS = 4;
const LIMIT_UNIT_BYTES = 1_024;
/** struct if_dqblk: hard and soft limit in units, bytes in use, three of inodes, two times, what is valid. */
const DQBLK_BYTES = 72;
const AT = { hard: 0, soft: 8, used: 16, hardInodes: 24, inodes: 40, valid: 64 } as const;

const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
/** struct fsxattr: flags 4, extent size 4, extents 4, project 4, then what we leave as it is. */
const FSXATTR_BYTES = 28;
const PROJECT_AT = 12;
/** What is made in the directory belongs to its project. */
const FS_XFLAG_PROJINHERIT = 0x200;

const errnos: Readonly<Record<number, string>> = {
  1: 'EPERM: only root may set quotas',
  2: 'ENOENT',
  3: 'ESRCH: project quotas are not turned on',
  22: 'EINVAL',
  25: 'ENOTTY: this file system has no projects',
  38: 'ENOSYS: the kernel is older than 5.14',
  95: 'EOPNOTSUPP: this file system has no projects',
  122: 'EDQUOT: the limit is too small for it',
};
const said = (errno: number): string => errnos[errno] ?? `errno ${errno}`;

interface Mount {
  readonly fileSystem: string;
  readonly options: readonly string[];
}

/** Of a path, by its device; null where the system does not tell. */
function mountOf(path: string): Mount | null {
  try {
    const { dev } = statSync(path);
    const device = `${(dev >> 8) & 0xfff}:${(dev & 0xff) | ((dev >> 12) & 0xfff00)}`;
    for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
      const [before = '', after = ''] = line.split(' - ');
      if (before.split(' ')[2] !== device) continue;
      const [fileSystem = '', , options = ''] = after.split(' ');
      return { fileSystem, options: options.split(',') };
    }
  } catch {
    // Then it is not known.
  }
  return null;
}

/** Whether project quotas can be set below `root`, and if not what is missing. Changes nothing. */
export async function probeQuota(root: string): Promise<QuotaProbe> {
  const no = (reason: string): QuotaProbe => ({ works: false, reason });
  if (endianness() !== 'LE') return no('project quotas are not supported on this processor');
  const mount = mountOf(root);
  if (mount === null) return no(`the file system of ${root} is not known`);
  const { fileSystem, options } = mount;
  if (fileSystem !== 'ext4' && fileSystem !== 'xfs') {
    return no(`${root} is on ${fileSystem || 'an unnamed file system'}; project quotas need ext4 or xfs`);
  }
  if (!options.some((one) => one === 'prjquota' || one === 'pquota')) {
    const first = fileSystem === 'ext4' ? ' (for ext4 first: tune2fs -O project,quota)' : '';
    return no(`${root} is on ${fileSystem} that is not mounted with prjquota${first}`);
  }
  if (process.getuid?.() !== 0) return no('the server does not run as root, and only root may set quotas');
  const handle = await open(root, 'r');
  try {
    const got = quotactl(handle.fd, { command: Q_GETQUOTA, id: 0 }, Buffer.alloc(DQBLK_BYTES));
    return got.ok ? { works: true, fileSystem } : no(`asking for a quota failed: ${said(got.errno)}`);
  } finally {
    await handle.close();
  }
}

/** Null when the file system does not tell. `root` is any directory of it. */
export async function projectUse(root: string, project: number): Promise<ProjectUse | null> {
  const handle = await orNull(open(root, 'r'));
  if (handle === null) return null;
  try {
    const block = Buffer.alloc(DQBLK_BYTES);
    const got = quotactl(handle.fd, { command: Q_GETQUOTA, id: project }, block);
    if (!got.ok) return null;
    return {
      usedBytes: Number(block.readBigUInt64LE(AT.used)),
      hardBytes: Number(block.readBigUInt64LE(AT.hard)) * LIMIT_UNIT_BYTES,
      files: Number(block.readBigUInt64LE(AT.inodes)),
      hardFiles: Number(block.readBigUInt64LE(AT.hardInodes)),
    };
  } finally {
    await handle.close();
  }
}

/** 0: no limit. Throws an Error that says what the system said. */
export async function limitProject(
  root: string,
  project: number,
  { bytes, files }: ProjectLimit,
): Promise<void> {
  const handle = await open(root, 'r');
  try {
    const block = Buffer.alloc(DQBLK_BYTES);
    block.writeBigUInt64LE(BigInt(Math.ceil(bytes / LIMIT_UNIT_BYTES)), AT.hard);
    block.writeBigUInt64LE(BigInt(Math.ceil(files ?? 0)), AT.hardInodes);
    block.writeUInt32LE(QIF_BLIMITS | (files === undefined ? 0 : QIF_ILIMITS), AT.valid);
    const set = quotactl(handle.fd, { command: Q_SETQUOTA, id: project }, block);
    if (!set.ok) throw new Error(`setting a quota on ${root} failed: ${said(set.errno)}`);
  } finally {
    await handle.close();
  }
}

/** A directory and all in it belong to the project from now on, and what will be made in it too. */
export async function joinProject(root: string, project: number): Promise<void> {
  const dir = await descend(root, []);
  if (dir === null) throw new Error(`${root} is no directory`);
  await each(dir, {
    // First itself, so that what is made meanwhile is in the project already.
    dir: (handle) => mark(handle, project, project === 0 ? 'alone' : 'inherited'),
    file: (handle) => mark(handle, project, 'as it was'),
  });
}

async function release(root: string, to: Membership): Promise<void> {
  const dir = await descend(root, []);
  if (dir === null) return;
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  await each(dir, {
    async dir(handle) {
      await handle.chown(uid, gid);
      // Also against lists of access, whose others it masks: nobody who is in it makes anything there now.
      await handle.chmod(0o700);
      mark(handle, to.project, to.isInherited ? 'inherited' : 'alone');
    },
    file: null,
  });
}

async function markOnly(root: string, project: number): Promise<void> {
  const dir = await descend(root, []);
  if (dir === null) throw new Error(`${root} is no directory`);
  try {
    mark(dir.handle, project, 'alone');
  } finally {
    await dir.handle.close();
  }
}

async function projectOf(root: string): Promise<Membership | null> {
  const dir = await descend(root, []);
  if (dir === null) return null;
  try {
    const attributes = Buffer.alloc(FSXATTR_BYTES);
    if (!ioctl(dir.handle.fd, FS_IOC_FSGETXATTR, attributes).ok) return null;
    return {
      project: attributes.readUInt32LE(PROJECT_AT),
      isInherited: (attributes.readUInt32LE(0) & FS_XFLAG_PROJINHERIT) !== 0,
    };
  } finally {
    await dir.handle.close();
  }
}

export const fileSystemProjects: Projects = {
  async missing(root) {
    const found = await probeQuota(root);
    return found.works ? null : found.reason;
  },
  of: projectOf,
  use: projectUse,
  limit: limitProject,
  mark: markOnly,
  join: joinProject,
  release,
};

interface Visit {
  dir(handle: FileHandle): void | Promise<void>;
  readonly file: ((handle: FileHandle) => void) | null;
}

/** A directory before what is in it. Closes it. */
async function each(dir: Dir, visit: Visit): Promise<void> {
  try {
    await visit.dir(dir.handle);
    for await (const name of namesIn(dir)) {
      const stats = await orNull(lstat(at(dir, name)));
      if (stats?.isDirectory()) {
        const inner = await openIn(dir, name);
        if (inner !== null) await each(inner, visit);
      } else if (stats?.isFile() && visit.file !== null) {
        const file = await orNull(open(at(dir, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
        if (file === null) continue;
        try {
          visit.file(file);
        } finally {
          await file.close();
        }
      }
    }
  } finally {
    await dir.handle.close();
  }
}

function mark(handle: FileHandle, project: number, heirs: 'inherited' | 'alone' | 'as it was'): void {
  const attributes = Buffer.alloc(FSXATTR_BYTES);
  const got = ioctl(handle.fd, FS_IOC_FSGETXATTR, attributes);
  if (!got.ok) throw new Error(`asking for a project failed: ${said(got.errno)}`);
  const flags = attributes.readUInt32LE(0);
  if (heirs === 'inherited') attributes.writeUInt32LE((flags | FS_XFLAG_PROJINHERIT) >>> 0, 0);
  if (heirs === 'alone') attributes.writeUInt32LE((flags & ~FS_XFLAG_PROJINHERIT) >>> 0, 0);
  attributes.writeUInt32LE(project, PROJECT_AT);
  const set = ioctl(handle.fd, FS_IOC_FSSETXATTR, attributes);
  if (!set.ok) throw new Error(`setting a project failed: ${said(set.errno)}`);
}
