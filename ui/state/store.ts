/**
 * The page's living values: the house, the link to it, notes to the reader. Views watch them by hook.
 *
 * A cell tells its watchers once per frame however often it was set, so a burst of events is one redraw.
 */
import { useEffect, useState } from 'preact/hooks';
import type { Problem } from '../wire/problem.ts';
import { emptyHouse, type House, type Link } from './house.ts';

export interface Cell<T> {
  get(): T;
  set(next: T): void;
  watch(listener: () => void): () => void;
}

export function cell<T>(initial: T): Cell<T> {
  let value = initial;
  let isTold = true;
  const listeners = new Set<() => void>();
  const tell = () => {
    isTold = true;
    for (const listener of [...listeners]) listener();
  };
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      if (!isTold) return;
      isTold = false;
      // A hidden page has no frames, and still counts questions in its title.
      if (document.hidden) setTimeout(tell, 50);
      else requestAnimationFrame(tell);
    },
    watch(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export function useCell<T>(from: Cell<T>): T {
  const [value, setValue] = useState(() => from.get());
  useEffect(() => {
    setValue(() => from.get());
    return from.watch(() => setValue(() => from.get()));
  }, [from]);
  return value;
}

export const house: Cell<House> = cell(emptyHouse);

export interface Connection {
  readonly link: Link;
  readonly problem: Problem | null;
  /** When it was last live, ms. */
  readonly since: number;
}

export const connection: Cell<Connection> = cell<Connection>({
  link: 'connecting',
  problem: null,
  since: Date.now(),
});

export interface Note {
  readonly id: number;
  readonly tone: 'good' | 'bad';
  readonly title: string;
  readonly detail: string;
  readonly remedy: string;
}

export const notes: Cell<readonly Note[]> = cell<readonly Note[]>([]);
/** The server does not know this browser any more. */
export const signedOut: Cell<boolean> = cell(false);

/** One clock for all countdowns and ages; it stands still while nobody looks. */
export const now: Cell<number> = cell(Date.now());
setInterval(() => {
  if (!document.hidden) now.set(Date.now());
}, 1000);
