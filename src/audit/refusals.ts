/**
 * How many refusals are listed: a rate of all, and a smaller one of each source, so that one that is refused
 * again and again neither fills the disk nor hides what others are refused.
 */
import type { AuditNote } from '../audit.ts';

export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** Sources that are told apart; of more the one that was quiet longest begins anew. */
const SOURCES_MAX = 1_000;

class Bucket {
  readonly #rate: Rate;
  #left: number;
  #at: number;

  constructor(rate: Rate, now: number) {
    this.#rate = rate;
    this.#left = rate.burst;
    this.#at = now;
  }

  take(now: number): boolean {
    const { burst, perSecond } = this.#rate;
    this.#left = Math.min(burst, this.#left + (Math.max(0, now - this.#at) / 1_000) * perSecond);
    this.#at = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}

/** Returns whether a refusal is listed; what is not is to be counted. */
export function refusalLimit(
  rates: { readonly all: Rate; readonly each: Rate },
  now: () => number,
): (note: AuditNote) => boolean {
  const all = new Bucket(rates.all, now());
  const sources = new Map<string, Bucket>();
  return ({ door, from, caller }) => {
    const at = now();
    const source = JSON.stringify([door, from ?? caller?.name ?? null]);
    const own = sources.get(source) ?? new Bucket(rates.each, at);
    sources.delete(source);
    sources.set(source, own);
    if (sources.size > SOURCES_MAX) sources.delete(sources.keys().next().value as string);
    return own.take(at) && all.take(at);
  };
}
