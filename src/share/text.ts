/** A small file of our own, written whole or not at all. */
import { open, rename, rm } from 'node:fs/promises';
import { newSecret } from '../ids.ts';

export async function writeText(path: string, text: string): Promise<void> {
  const fresh = `${path}.${newSecret().slice(0, 12)}`;
  try {
    const file = await open(fresh, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, path);
  } catch (thrown) {
    await rm(fresh, { force: true });
    throw thrown;
  }
}
