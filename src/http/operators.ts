/**
 * Operators and their tokens. Only hashes are kept, in a file that only the server's user can read.
 *
 * Without any token a caller on the loopback is `local`, an admin: whoever can reach it can reach the
 * machine. From the first token on, a token is asked of everybody.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Access, type Caller, type Role, roles, type Shown } from '../access.ts';
import { type Clock, rfc3339 } from '../clock.ts';
import { Failure } from '../failure.ts';
import { newId, newSecret } from '../ids.ts';
import { TOKEN_PREFIX } from '../redact.ts';

interface Kept {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** SHA-256 of the token, hex. A token is 256 random bits, so a slow hash would add nothing. */
  readonly hash: string;
  readonly createdAt: number;
  readonly expiresAt: number | null;
}

export interface TokenView {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly created_at: string;
  readonly expires_at: string | null;
}

export interface NewToken {
  readonly name: string;
  readonly role: Role;
  /** Null: it does not expire. */
  readonly expiresInMs: number | null;
}

export interface Operators extends Access {
  readonly hasTokens: boolean;
  list(): readonly TokenView[];
  /** The token itself is in the answer, and nowhere else. */
  create(wanted: NewToken): Promise<{ readonly view: TokenView; readonly token: string }>;
  /** Throws Failure('not-found'). */
  revoke(id: string): Promise<void>;
}

export interface OperatorsOptions {
  readonly path: string;
  readonly clock: Clock;
  /** The user this server runs as: at the Unix socket it is admin, like the file's reader. */
  readonly uid: number;
}

const TOKENS_MAX = 1_000;

const local: Caller = { name: 'local', role: 'admin', via: 'local', id: null };

const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex');

/** Somebody must always be able to make another. */
const lasts = ({ role, expiresAt }: Kept): boolean => role === 'admin' && expiresAt === null;

const viewOf = ({ id, name, role, createdAt, expiresAt }: Kept): TokenView => ({
  id,
  name,
  role,
  created_at: rfc3339(createdAt),
  expires_at: expiresAt === null ? null : rfc3339(expiresAt),
});

/** Throws Failure('wrong-state') when the file cannot be understood: nobody is let in by accident. */
export async function operators({ path, clock, uid }: OperatorsOptions): Promise<Operators> {
  let kept = await load(path);
  let turn: Promise<unknown> = Promise.resolve();
  const change = (next: (now: readonly Kept[]) => readonly Kept[]): Promise<void> => {
    const mine = turn.then(async () => {
      const changed = next(kept);
      await save(path, changed);
      kept = changed;
    });
    turn = mine.catch(() => {});
    return mine;
  };
  const known = (token: string): Kept | null => {
    const hash = Buffer.from(hashOf(token), 'hex');
    let found: Kept | null = null;
    // All are compared, so that time tells nothing.
    for (const one of kept) if (timingSafeEqual(hash, Buffer.from(one.hash, 'hex'))) found = one;
    return found;
  };
  return {
    get hasTokens() {
      return kept.length > 0;
    },
    caller({ token, peerUid }: Shown): Caller {
      if (token === null && peerUid === uid) return { name: 'local', role: 'admin', via: 'socket', id: null };
      if (token === null && kept.length === 0) return local;
      if (token === null)
        throw new Failure(
          'unauthenticated',
          'this server asks for an operator token: Authorization: Bearer <token>',
        );
      const found = known(token);
      if (!found)
        throw new Failure(
          'unauthenticated',
          'nobody has that token; an admin makes one with POST /api/v1/tokens',
        );
      if (found.expiresAt !== null && found.expiresAt <= clock.now()) {
        throw new Failure(
          'unauthenticated',
          `the token of ${found.name} expired at ${rfc3339(found.expiresAt)}`,
        );
      }
      return { name: found.name, role: found.role, via: 'token', id: found.id };
    },
    list: () => kept.map(viewOf),
    async create({ name, role, expiresInMs }) {
      const token = `${TOKEN_PREFIX}${newSecret()}`;
      const createdAt = clock.now();
      const expiresAt = expiresInMs === null ? null : createdAt + expiresInMs;
      const made: Kept = { id: newId(), name, role, hash: hashOf(token), createdAt, expiresAt };
      await change((now) => {
        if (now.some((one) => one.name === name))
          throw new Failure('already-exists', `there is a token named "${name}" already`);
        if (now.length >= TOKENS_MAX)
          throw new Failure('over-quota', `there are ${TOKENS_MAX} tokens; revoke some`);
        if (now.length === 0 && !lasts(made)) {
          const why = 'or nobody could make or revoke another';
          throw new Failure('wrong-state', `the first token must be an admin's that does not expire, ${why}`);
        }
        return [...now, made];
      });
      return { view: viewOf(made), token };
    },
    async revoke(id) {
      await change((now) => {
        const rest = now.filter((one) => one.id !== id);
        if (rest.length === now.length)
          throw new Failure('not-found', `there is no token "${id}"; see GET /api/v1/tokens`);
        if (rest.length > 0 && !rest.some(lasts)) {
          const how = 'make another admin first, or revoke the others first';
          throw new Failure('wrong-state', `it is the last admin token that does not expire; ${how}`);
        }
        return rest;
      });
    },
  };
}

async function load(path: string): Promise<readonly Kept[]> {
  const text = await readFile(path, 'utf8').catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code === 'ENOENT') return null;
    throw new Failure('wrong-state', `operator tokens cannot be read from ${path}: ${thrown.message}`);
  });
  if (text === null) return [];
  const bad = new Failure(
    'wrong-state',
    `${path} is not a file of operator tokens; restore it, or remove it to start without tokens`,
  );
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw bad;
  }
  const { version, tokens } = (parsed ?? {}) as { version?: unknown; tokens?: unknown };
  if (version !== 1 || !Array.isArray(tokens)) throw bad;
  if (!tokens.every(isKept)) throw bad;
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
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(`${JSON.stringify({ version: 1, tokens }, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}
