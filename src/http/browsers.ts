/**
 * Browsers that signed in with a token. A browser gets a secret of its own in a cookie; here is its hash, and
 * the id of the token that it showed. What the token may, its browser may, and no longer.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Access, Caller, Shown } from '../access.ts';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import { newSecret } from '../ids.ts';
import type { Operators } from './operators.ts';
import { named } from './token-file.ts';

/** Unused for as long, it ends. */
const IDLE_MS = 12 * 3_600_000;
/** Used or not, it ends. */
export const LASTS_MS = 7 * 86_400_000;
/** How old a time of last use on the disk may be. */
const KEEP_EVERY_MS = 300_000;
const BROWSERS_MAX = 1_000;
/** With one token; the one that was unused longest ends first. */
const OF_ONE_MAX = 20;

interface Kept {
  /** SHA-256 of the secret, hex. */
  readonly hash: string;
  /** Of the token. */
  readonly token: string;
  readonly createdAt: number;
  readonly usedAt: number;
}

export interface Browsers extends Access {
  /** The secret for the cookie. Throws Failure('unauthenticated') for a token that nobody has. */
  signIn(token: string): Promise<{ readonly secret: string; readonly caller: Caller }>;
  /** Null: it was none of ours. */
  signOut(secret: string): Promise<Caller | null>;
}

export interface BrowsersOptions {
  readonly path: string;
  readonly operators: Operators;
  readonly clock: Clock;
}

const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');

export async function browsers({ path, operators, clock }: BrowsersOptions): Promise<Browsers> {
  let kept = await load(path);
  let keptAt = clock.now();
  let turn: Promise<unknown> = Promise.resolve();
  const keep = (): Promise<void> => {
    keptAt = clock.now();
    const mine = turn.then(() => save(path, kept));
    turn = mine.catch(() => {});
    return mine;
  };
  const lives = ({ createdAt, usedAt, token }: Kept): boolean => {
    const now = clock.now();
    return now < createdAt + LASTS_MS && now < usedAt + IDLE_MS && operators.live(token) !== null;
  };
  const find = (secret: string): Kept | null => {
    const hash = Buffer.from(hashOf(secret), 'hex');
    let found: Kept | null = null;
    for (const one of kept) if (timingSafeEqual(hash, Buffer.from(one.hash, 'hex'))) found = one;
    return found && lives(found) ? found : null;
  };
  const callerOf = ({ token }: Kept): Caller | null => {
    const owner = operators.live(token);
    return owner && { name: owner.name, role: owner.role, via: 'cookie', id: owner.id };
  };
  return {
    caller(shown: Shown): Caller {
      if (shown.token !== null || !shown.cookie || !operators.hasTokens) return operators.caller(shown);
      const found = find(shown.cookie);
      const caller = found && callerOf(found);
      if (!found || !caller)
        throw new Failure('unauthenticated', 'this browser is not signed in any more; see /sign-in');
      const now = clock.now();
      kept = kept.map((one) => (one === found ? { ...one, usedAt: now } : one));
      // When it is not kept, it only ends sooner after a restart.
      if (now - keptAt > KEEP_EVERY_MS) void keep().catch(() => {});
      return caller;
    },
    async signIn(token) {
      const shown = operators.caller({ token, peerUid: null });
      const { id } = shown;
      if (id === null) throw new Failure('unauthenticated', 'that is no operator token');
      const secret = newSecret();
      const now = clock.now();
      const living = kept.filter(lives);
      const others = living.filter((one) => one.token !== id);
      const mine = living.filter((one) => one.token === id).sort((a, b) => b.usedAt - a.usedAt);
      const made: Kept = { hash: hashOf(secret), token: id, createdAt: now, usedAt: now };
      if (others.length >= BROWSERS_MAX)
        throw new Failure('over-quota', `${BROWSERS_MAX} browsers are signed in; sign some out`);
      kept = [...others, ...mine.slice(0, OF_ONE_MAX - 1), made];
      await keep();
      return { secret, caller: { ...shown, via: 'cookie' } };
    },
    async signOut(secret) {
      const found = find(secret);
      const caller = found && callerOf(found);
      if (!found) return null;
      kept = kept.filter((one) => one.hash !== found.hash);
      await keep();
      return caller;
    },
  };
}

/** What cannot be understood signs everybody out, and nobody in. */
async function load(path: string): Promise<readonly Kept[]> {
  try {
    const { version, browsers: found } = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
    return version === 1 && Array.isArray(found) ? found.filter(isKept) : [];
  } catch {
    return [];
  }
}

function isKept(value: unknown): value is Kept {
  const { hash, token, createdAt, usedAt } = (value ?? {}) as Partial<Record<keyof Kept, unknown>>;
  const isDated = Number.isFinite(createdAt) && Number.isFinite(usedAt);
  return isDated && typeof token === 'string' && typeof hash === 'string' && /^[0-9a-f]{64}$/.test(hash);
}

async function save(path: string, kept: readonly Kept[]): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const text = `${JSON.stringify({ version: 1, browsers: kept })}\n`;
  await writeFile(`${path}.new`, text, { mode: 0o600, flush: true });
  await named(`${path}.new`, path);
}
