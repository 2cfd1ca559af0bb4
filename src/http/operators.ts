/**
 * Operators and their tokens. Only hashes are kept, in a file that only the server's user can read.
 *
 * Without any token a caller on the loopback is `local`, an admin: whoever can reach it can reach the
 * machine. From the first token on, a token is asked of everybody.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import type { Access, Caller, Role, Shown } from '../access.ts';
import { type Clock, rfc3339 } from '../clock.ts';
import { Failure } from '../failure.ts';
import { newId, newSecret } from '../ids.ts';
import { TOKEN_PREFIX } from '../redact.ts';
import { type Kept, tokenFile } from './token-file.ts';

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
  /** The token of that id, if it is good now. */
  live(id: string): TokenOwner | null;
  /** What others changed in the file since it was last asked, also while no server ran. */
  news(): Promise<readonly TokenNews[]>;
}

export interface TokenOwner {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
}

export interface TokenNews extends TokenOwner {
  readonly what: 'token found' | 'token gone';
}

export interface OperatorsOptions {
  readonly path: string;
  readonly clock: Clock;
  /** The user this server runs as: at the Unix socket it is admin, like the file's reader. */
  readonly uid: number;
  /** False for a command: what it changes is news to the server. */
  readonly remembers?: boolean;
}

const TOKENS_MAX = 1_000;
/** Kept until they are asked for. */
const NEWS_MAX = 4_000;

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
export async function operators({
  path,
  clock,
  uid,
  remembers = true,
}: OperatorsOptions): Promise<Operators> {
  const seen = await seenTokens(`${path}.seen`);
  const file = tokenFile({ path, clock, onRead: seen.read });
  /** Whoever the file lets in; nobody while it cannot be understood. */
  const kept = (): readonly Kept[] => {
    try {
      return file.read();
    } catch (thrown) {
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      throw new Failure('unauthenticated', `nobody is let in: ${why}`, { cause: thrown });
    }
  };
  const known = (token: string): Kept | null => {
    const hash = Buffer.from(hashOf(token), 'hex');
    let found: Kept | null = null;
    // All are compared, so that time tells nothing.
    for (const one of kept()) if (timingSafeEqual(hash, Buffer.from(one.hash, 'hex'))) found = one;
    return found;
  };
  const alive = <T extends Kept>(one: T | undefined): T | null =>
    one && (one.expiresAt === null || one.expiresAt > clock.now()) ? one : null;
  return {
    get hasTokens() {
      try {
        return file.read().length > 0;
      } catch {
        return true; // Nobody knows which: it is asked for one, and none will do.
      }
    },
    caller({ token, peerUid }: Shown): Caller {
      if (token === null && peerUid === uid) return { name: 'local', role: 'admin', via: 'socket', id: null };
      if (token === null && kept().length === 0) return local;
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
      if (!alive(found))
        throw new Failure(
          'unauthenticated',
          `the token of ${found.name} expired at ${rfc3339(found.expiresAt ?? 0)}`,
        );
      return { name: found.name, role: found.role, via: 'token', id: found.id };
    },
    list: () => file.read().map(viewOf),
    async create({ name, role, expiresInMs }) {
      const token = `${TOKEN_PREFIX}${newSecret()}`;
      const createdAt = clock.now();
      const expiresAt = expiresInMs === null ? null : createdAt + expiresInMs;
      const made: Kept = { id: newId(), name, role, hash: hashOf(token), createdAt, expiresAt };
      await file.change((now) => {
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
      if (remembers) await seen.keep().catch(() => {}); // It is done, and tried again with the next news.
      return { view: viewOf(made), token };
    },
    async revoke(id) {
      await file.change((now) => {
        const rest = now.filter((one) => one.id !== id);
        if (rest.length === now.length)
          throw new Failure('not-found', `there is no token "${id}"; see GET /api/v1/tokens`);
        if (rest.length > 0 && !rest.some(lasts)) {
          const how = 'make another admin first, or revoke the others first';
          throw new Failure('wrong-state', `it is the last admin token that does not expire; ${how}`);
        }
        return rest;
      });
      if (remembers) await seen.keep().catch(() => {}); // It is done, and tried again with the next news.
    },
    live: (id) => alive(kept().find((one) => one.id === id)),
    async news() {
      file.read();
      return seen.news();
    },
  };
}

/** The tokens that this server knows of, over restarts: ids, names and roles. */
async function seenTokens(path: string) {
  const text = await readFile(path, 'utf8').catch(() => '[]');
  let known: readonly TokenOwner[] = [];
  try {
    known = JSON.parse(text) as TokenOwner[];
  } catch {
    // Then all are news once more.
  }
  let news: TokenNews[] = [];
  let isKept = true;
  let turn: Promise<unknown> = Promise.resolve();
  const keep = (): Promise<void> => {
    const mine = turn.then(async () => {
      if (isKept) return;
      isKept = true;
      try {
        await writeFile(`${path}.new`, JSON.stringify(known), { mode: 0o600 });
        await rename(`${path}.new`, path);
      } catch (thrown) {
        isKept = false;
        throw thrown;
      }
    });
    turn = mine.catch(() => {});
    return mine;
  };
  return {
    keep,
    read(now: readonly TokenOwner[], isOurs: boolean) {
      if (!isOurs) {
        const without = (these: readonly TokenOwner[], those: readonly TokenOwner[]) =>
          these.filter(({ id }) => !those.some((one) => one.id === id));
        const say = (what: TokenNews['what'], these: readonly TokenOwner[]) =>
          these.map(({ id, name, role }) => ({ what, id, name, role }));
        news.push(...say('token found', without(now, known)), ...say('token gone', without(known, now)));
        news = news.slice(-NEWS_MAX);
      }
      known = now.map(({ id, name, role }) => ({ id, name, role }));
      isKept = false;
    },
    async news(): Promise<readonly TokenNews[]> {
      const told = news.splice(0);
      await keep();
      return told;
    },
  };
}
