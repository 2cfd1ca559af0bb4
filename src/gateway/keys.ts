/**
 * Virtual keys: what an instance has in place of the real one. 256 bits each, bound to one session and with
 * it to its agent and task; they die with the session. Only their hashes are kept, in a file a session that
 * only the server's user can read, so that a restarted server knows them and nobody can read one back.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { newSecret } from '../ids.ts';
import type { Log } from '../log.ts';
import type { Spender } from '../spending.ts';

/** A launch that was repeated after a crash mints again, and either key may be the one that runs. */
const KEYS_OF_SESSION_MAX = 8;

export interface VirtualKeys {
  /** A new key; durable when it resolves. */
  mint(spender: Spender): Promise<string>;
  find(key: string): Spender | null;
  /** Every key of a session is void when it resolves, also for a server to come. */
  forget(session: string): Promise<void>;
  /** Forgets those of sessions that are over. */
  sweep(isLive: (session: string) => boolean): Promise<void>;
}

interface Kept extends Spender {
  readonly hashes: readonly string[];
}

const hashOf = (key: string): string => createHash('sha256').update(key).digest('base64url');

/** A file that cannot be read is told and passed over: its keys are void. */
export async function virtualKeys(dir: string, log: Log): Promise<VirtualKeys> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const sessions = new Map<string, Kept>();
  const byHash = new Map<string, Spender>();
  const pathOf = (session: string) => join(dir, `${session}.json`);
  const hold = (kept: Kept): void => {
    const { hashes, ...spender } = kept;
    for (const hash of sessions.get(kept.session)?.hashes ?? []) byHash.delete(hash);
    sessions.set(kept.session, kept);
    for (const hash of hashes) byHash.set(hash, spender);
  };
  for (const name of await readdir(dir)) {
    if (!name.endsWith('.json')) continue;
    try {
      hold(JSON.parse(await readFile(join(dir, name), 'utf8')) as Kept);
    } catch (thrown) {
      log.warn('virtual keys of a session not read; they are void', { file: name, why: String(thrown) });
    }
  }
  const forget = async (session: string): Promise<void> => {
    for (const hash of sessions.get(session)?.hashes ?? []) byHash.delete(hash);
    if (sessions.delete(session)) await rm(pathOf(session), { force: true });
  };
  return {
    async mint(spender) {
      const key = `agk_${newSecret()}`;
      const { session, agent, task } = spender;
      const before = sessions.get(session)?.hashes ?? [];
      const kept: Kept = {
        session,
        agent,
        task,
        hashes: [...before, hashOf(key)].slice(-KEYS_OF_SESSION_MAX),
      };
      await writeWhole(pathOf(session), JSON.stringify(kept));
      hold(kept);
      return key;
    },
    // Looked up by hash: how long that takes tells nothing of the key.
    find: (key) => byHash.get(hashOf(key)) ?? null,
    forget,
    async sweep(isLive) {
      for (const session of [...sessions.keys()]) if (!isLive(session)) await forget(session);
    },
  };
}

/** Whole or not at all. */
async function writeWhole(path: string, text: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}
