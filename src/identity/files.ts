/**
 * Small files that hold secrets: whole or not at all, also when the power fails, and for their owner only.
 */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Null when there is none. */
export async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw thrown;
  }
}

/** Through to the disk, and not yet under its name. */
export async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

export async function syncDir(path: string): Promise<void> {
  const dir = await open(path, 'r');
  try {
    await dir.sync();
  } finally {
    await dir.close();
  }
}

/** Several files of one folder, each whole; a crash in between leaves the first of them new. */
export async function replaceFiles(files: readonly (readonly [path: string, text: string])[]): Promise<void> {
  const dir = dirname(files[0]?.[0] ?? '.');
  await mkdir(dir, { recursive: true, mode: 0o700 });
  for (const [path, text] of files) await writeSynced(`${path}.new`, text);
  for (const [path] of files) await rename(`${path}.new`, path);
  await syncDir(dir);
}
