/**
 * Where the Unix socket for agents is: in the data directory, or nearby when that path is too long for a
 * socket.
 */
import { createHash } from 'node:crypto';
import { chmod, lstat, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure } from '../failure.ts';

/** sockaddr_un holds 108 bytes on Linux with the zero at its end (unix(7)); less leaves room for a suffix. */
const PATH_BYTES_MAX = 100;

/**
 * The same path for the same data directory, so that agents find a restarted server. Its directory is
 * private.
 */
export async function socketPathOf(dataDir: string): Promise<string> {
  const path = join(dataDir, 'agent.sock');
  if (Buffer.byteLength(path) <= PATH_BYTES_MAX) return path;
  const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 16);
  const dir = join(tmpdir(), `agentic-sandbox-${process.getuid?.() ?? 0}-${name}`);
  await mkdir(dir, { mode: 0o700 }).catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code !== 'EEXIST') throw thrown;
  });
  const facts = await lstat(dir);
  if (!facts.isDirectory() || facts.uid !== process.getuid?.()) {
    throw new Failure('wrong-state', `${dir} is not ours; remove it, or choose a shorter AGENTIC_DATA_DIR`);
  }
  await chmod(dir, 0o700);
  return join(dir, 'agent.sock');
}
