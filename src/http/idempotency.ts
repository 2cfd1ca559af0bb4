/**
 * The same request with the same `Idempotency-Key` is carried out once
 * (draft-ietf-httpapi-idempotency-key-header).
 *
 * A key belongs to one caller and one place; with another body it is refused. Kept in memory for a day.
 */
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';

const KEEP_MS = 86_400_000;
const KEYS_MAX = 10_000;
const KEY_LENGTH_MAX = 255;

interface Kept {
  readonly body: string;
  readonly answer: Promise<unknown>;
  readonly at: number;
}

export interface Idempotency {
  once<T>(
    key: string | null,
    about: { readonly scope: string; readonly body: unknown },
    act: () => Promise<T>,
  ): Promise<T>;
}

export function idempotency(clock: Clock): Idempotency {
  const kept = new Map<string, Kept>();
  return {
    async once(key, { scope, body }, act) {
      if (key === null) return await act();
      if (key === '' || key.length > KEY_LENGTH_MAX) {
        throw new Failure('bad-input', `Idempotency-Key has 1 to ${KEY_LENGTH_MAX} characters`);
      }
      const at = clock.now();
      for (const [name, one] of kept) {
        if (at - one.at <= KEEP_MS && kept.size <= KEYS_MAX) break;
        kept.delete(name);
      }
      const name = JSON.stringify([scope, key]);
      const text = JSON.stringify(body) ?? '';
      const found = kept.get(name);
      if (found && found.body !== text) {
        throw new Failure(
          'unprocessable',
          'this Idempotency-Key was used with another body; use a new key for a new request',
        );
      }
      if (found) return (await found.answer) as Awaited<ReturnType<typeof act>>;
      const answer = act();
      kept.set(name, { body: text, answer, at });
      // What failed may be tried again.
      answer.catch(() => kept.delete(name));
      return await answer;
    },
  };
}
