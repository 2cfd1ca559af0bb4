/** What ioredis throws, in our words. */
import { Failure } from '../failure.ts';

/** Words that Redis begins an error with when it cannot take a write just now. */
const passing = /^(OOM|MISCONF|LOADING|READONLY|BUSY|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|TRYAGAIN|UNBLOCKED)\b/;
const refused = /^(NOAUTH|WRONGPASS|NOPERM|ERR AUTH|ERR invalid password)/;

const cures: readonly (readonly [RegExp, string])[] = [
  [/^OOM/, 'give it more memory (maxmemory)'],
  [/^MISCONF/, 'its disk refuses: look at its log and mend that'],
  [/^READONLY/, 'that is a replica; name the primary in REDIS_URL'],
  [refused, 'set user and password in REDIS_URL, or the rights of that user'],
];

interface Thrown {
  readonly name?: string;
  readonly message?: string;
  readonly previousErrors?: readonly Error[];
}

/** What was going on, and what comes after the cure. */
const afterwards = {
  using: 'it goes on by itself then',
  opening: 'start again then',
} as const;

/** A lack of connection, which may be over soon; not an answer of Redis. */
export const isAway = (thrown: unknown): boolean =>
  thrown instanceof Error &&
  !(thrown instanceof Failure) &&
  !mistakes.some((mistake) => thrown instanceof mistake) &&
  !(thrown as Thrown).name?.includes('ReplyError');

/** These are ours, whoever throws them. */
const mistakes = [TypeError, RangeError, ReferenceError, SyntaxError];

/**
 * Failure('journal-away') for what passes, Failure('wrong-state') for what an operator must mend first; a
 * mistake of ours as it is.
 */
export function trouble(thrown: unknown, what: string, during: keyof typeof afterwards = 'using'): unknown {
  if (thrown instanceof Failure || !(thrown instanceof Error)) return thrown;
  const { previousErrors } = thrown as Thrown;
  const said = (previousErrors?.[0] ?? thrown).message;
  const cure = cures.find(([pattern]) => pattern.test(said))?.[1] ?? 'start Redis, or look at its log';
  if (isAway(thrown) || passing.test(said) || refused.test(said))
    return new Failure('journal-away', `${what}: ${said}; ${cure}; ${afterwards[during]}`, { cause: thrown });
  if (/^WRONGTYPE/.test(said)) {
    const foreign = 'a key of the journal holds something that is not ours; name another prefix or database';
    return new Failure('wrong-state', `${what}: ${foreign} (${said})`, { cause: thrown });
  }
  return thrown;
}
