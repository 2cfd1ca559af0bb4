/**
 * A file system of its own with project quotas, in an image that is mounted where this machine may do that
 * and its kernel has them.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

const MIB = 1024 * 1024;

const kinds = {
  ext4: { make: ['mkfs.ext4', '-q', '-O', 'quota,project'], bytes: 64 * MIB },
  xfs: { make: ['mkfs.xfs', '-q'], bytes: 320 * MIB },
} as const;

export type DiskKind = keyof typeof kinds;

const ran = (...command: string[]): boolean => {
  try {
    return Bun.spawnSync(command, { stdin: 'ignore' }).exitCode === 0;
  } catch {
    return false; // There is no such program.
  }
};

export interface QuotaDisk {
  /** Where it is mounted. */
  readonly path: string;
  close(): void;
}

/** Below `dir`, as `kind`; null where that is not possible. */
export function quotaDisk(dir: string, kind: DiskKind, bytes: number = kinds[kind].bytes): QuotaDisk | null {
  const [image, path] = [join(dir, `${kind}.img`), join(dir, kind)];
  mkdirSync(path, { recursive: true });
  const isThere =
    ran('truncate', '-s', String(bytes), image) &&
    ran(...kinds[kind].make, image) &&
    ran('mount', '-o', 'loop,prjquota', image, path);
  return isThere ? { path, close: () => void ran('umount', path) } : null;
}
