/** The two games, and how a schedule is told line by line. */
import { play } from './game.ts';
import type { Breaks, Tell } from './house.ts';
import { playHouse } from './house-game.ts';

export interface Options {
  readonly breaks?: Breaks;
  readonly trace?: Tell;
}

/** Plays one seed; what became of its actors. Throws an Error that names what did not hold. */
type Plays = (seed: number, options: Options) => Promise<readonly string[]>;

export const games = {
  fleet: (seed, { trace }) => play(seed, { trace }),
  house: (seed, options) => playHouse(seed, options),
} as const satisfies Readonly<Record<string, Plays>>;

export const isGame = (name: string): name is keyof typeof games => Object.hasOwn(games, name);

/**
 * Makes lines of a schedule: time in milliseconds, actor, event, state → state. Random ids are named `#1`,
 * `#2` in the order they are seen, so that the same schedule is told the same way every time.
 */
export function lines(write: (line: string) => void): Tell {
  const names = new Map<string, string>();
  const states = new Map<string, string>();
  const named = (text: string): string =>
    text.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, (id) => {
      const name = names.get(id) ?? `#${names.size + 1}`;
      names.set(id, name);
      return name;
    });
  return (at, actor, event, state) => {
    const before = states.get(actor);
    states.set(actor, state);
    const change =
      state === '' ? '' : before === undefined || before === state ? state : `${before} → ${state}`;
    write(
      `${String(at).padStart(8)}  ${named(actor).padEnd(28)} ${named(event).padEnd(34)} ${change}`.trimEnd(),
    );
  };
}
