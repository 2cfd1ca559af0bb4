/**
 * The file of operator tokens, which the server and commands share: read when it has changed, written under a
 * lock, whole or not at all. What cannot be understood lets nobody in.
 */
import { readFileSync, statSync } from 'node:fs';
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Role, roles } from '../access.ts';
import { type Clock, sleep } from '../clock.ts';
import { Failure } from '../failure.ts';
import { newId } from '../ids.ts';

export interface Kept {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** SHA-256 of the token, hex. A token is 256 random bits, so a slow hash would add nothing. */
  readonly hash: string;
  readonly createdAt: number;
  readonly expiresAt: number | null;
}

export const tokenPathIn = (dataDir: string): string => join(dataDir, 'secrets', 'operator-tokens.json');

export interface TokenFile {
  /** What is in the file now. Throws Failure('wrong-state') when that cannot be told. */
  read(): readonly Kept[];
  /** One change at a time, whoever makes it. */
  change(next: (now: readonly Kept[]) => readonly Kept[]): Promise<void>;
}

export interface TokenFileOptions {
  readonly path: string;
  readonly clock: Clock;
  /** Called whenever the file has other contents than before; `isOurs` after a change made here. */
  readonly onRead: (kept: readonly Kept[], isOurs: boolean) => void;
}

/** How long a change waits for another process to finish its own. */
const LOCK_MS = 5_000;
const LOOK_EVERY_MS = 20;

/** Throws Failure('wrong-state') when the file cannot be understood: nobody is let in by accident. */
export function tokenFile({ path, clock, onRead }: TokenFileOptions): TokenFile {
  let stamp = '';
  let kept: readonly Kept[] = [];
  let trouble: Failure | null = null;
  let turn: Promise<unknown> = Promise.resolve();
  const read = (isOurs = false): readonly Kept[] => {
    const now = stampOf(path);
    if (now !== stamp) {
      trouble = null;
      try {
        kept = load(path, kept);
        onRead(kept, isOurs);
      } catch (thrown) {
        if (!(thrown instanceof Failure)) throw thrown;
        trouble = thrown;
      }
      stamp = now;
    }
    if (trouble) throw trouble;
    return kept;
  };
  read();
  return {
    read: () => read(),
    change(next) {
      const mine = turn.then(async () => {
        await mkdir(dirname(path), { recursive: true, mode: 0o700 });
        const release = await locked(`${path}.lock`, clock);
        try {
          await save(path, next(read()));
          read(true);
        } finally {
          await release();
        }
      });
      turn = mine.catch(() => {});
      return mine;
    },
  };
}

/** Changes with every way of writing the file that there is. */
function stampOf(path: string): string {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found ? `${found.ino} ${found.size} ${found.mtimeNs} ${found.ctimeNs}` : 'none';
}

function load(path: string, before: readonly Kept[]): readonly Kept[] {
  // Whoever may write it makes operators.
  if (((statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o022) !== 0)
    throw new Failure('wrong-state', `others may write ${path}, and so make tokens: chmod 600 it`);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException;
    if (code !== 'ENOENT')
      throw new Failure('wrong-state', `operator tokens cannot be read from ${path}: ${message}`);
    // Revoking the last one leaves an empty list. A file that is gone was taken away.
    if (before.length > 0)
      throw new Failure('wrong-state', `${path} is gone; restore it, or restart to go on without tokens`);
    return [];
  }
  const bad = new Failure(
    'wrong-state',
    `${path} is not a file of operator tokens; restore it, or remove it and restart to go on without tokens`,
  );
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw bad;
  }
  const { version, tokens } = (parsed ?? {}) as { version?: unknown; tokens?: unknown };
  if (version !== 1 || !Array.isArray(tokens) || !tokens.every(isKept)) throw bad;
  return tokens as Kept[];
}

function isKept(value: unknown): value is Kept {
  const { id, name, role, hash, createdAt, expiresAt } = (value ?? {}) as Partial<
    Record<keyof Kept, unknown>
  >;
  const named = typeof id === 'string' && typeof name === 'string' && roles.includes(role as Role);
  const dated = Number.isFinite(createdAt) && (expiresAt === null || Number.isFinite(expiresAt));
  return named && dated && typeof hash === 'string' && /^[0-9a-f]{64}$/.test(hash);
}

/** Whole or not at all, also when the power fails. */
async function save(path: string, tokens: readonly Kept[]): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.chmod(0o600);
    // A command of root leaves the file to whom the server runs as.
    const { uid, gid } = await stat(dirname(path));
    if (process.getuid?.() === 0 && uid !== 0) await file.chown(uid, gid);
    await file.writeFile(`${JSON.stringify({ version: 1, tokens }, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await named(`${path}.new`, path);
}

/** Gives a file that is on the disk its name, which is there too when it resolves. */
export async function named(fresh: string, path: string): Promise<void> {
  await rename(fresh, path);
  const dir = await open(dirname(path), 'r');
  await dir.sync().finally(() => dir.close());
}

/** Returns how to let go. A lock whose process is gone is taken over. */
async function locked(path: string, clock: Clock): Promise<() => Promise<void>> {
  for (let waited = 0; ; waited += LOOK_EVERY_MS) {
    const file = await open(path, 'wx', 0o600).catch((thrown: NodeJS.ErrnoException) => {
      if (thrown.code !== 'EEXIST') throw thrown;
      return null;
    });
    if (file) {
      const release = () => rm(path, { force: true });
      try {
        await file.writeFile(String(process.pid)).finally(() => file.close());
      } catch (thrown) {
        await release(); // Where the disk is full a lock would be left that is nobody's.
        throw thrown;
      }
      return release;
    }
    // Nobody takes so long to write down who it is: it was killed before.
    const isOver = waited > LOCK_MS ? isNobodys : isDead;
    if (await isOver(path)) await takeAway(path, isOver);
    else if (waited > LOCK_MS)
      throw new Failure('busy', `somebody else changes the tokens; if nobody does, remove ${path}`);
    else await sleep(clock, LOOK_EVERY_MS);
  }
}

/** One that is just being written has no process in it yet, and is left alone. */
async function isDead(path: string): Promise<boolean> {
  const pid = Number(await readFile(path, 'utf8').catch(() => ''));
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

const isNobodys = async (path: string): Promise<boolean> =>
  (await readFile(path, 'utf8').catch(() => null)) === '' || isDead(path);

/** By another name first: somebody may have put a living one in its place meanwhile. */
async function takeAway(path: string, isOver: (path: string) => Promise<boolean>): Promise<void> {
  const aside = `${path}.${newId()}`;
  const moved = await rename(path, aside).then(
    () => true,
    () => false,
  );
  if (!moved) return;
  if (await isOver(aside)) await rm(aside, { force: true });
  else await rename(aside, path);
}
