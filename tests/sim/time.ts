/**
 * Simulated time: one line of timers for everything in a world, each with an owner. Timers of one instant
 * ring in the order they were set; those of an owner that is dead never ring, as after a kill.
 */
import type { Clock } from '../../src/clock.ts';

/** A server, an agent, the world itself. */
export interface Owner {
  isAlive: boolean;
}

interface Timer {
  readonly at: number;
  readonly n: number;
  readonly fn: () => void;
  readonly owner: Owner;
  isOff: boolean;
}

/** When worlds begin. */
export const STARTS_AT = 1_000_000;

export class SimTime {
  #now = STARTS_AT;
  #set = 0;
  /** Latest first, so that the next one is taken off the end. */
  readonly #timers: Timer[] = [];

  get now(): number {
    return this.#now;
  }

  clockOf(owner: Owner): Clock {
    return {
      now: () => this.#now,
      setTimeout: (fn, ms) => this.#add(fn, ms, owner),
      clearTimeout: (id) => {
        if (id) (id as Timer).isOff = true;
      },
    };
  }

  /** When the next timer rings; null: never. */
  next(): number | null {
    for (;;) {
      const last = this.#timers.at(-1);
      if (!last) return null;
      if (!last.isOff && last.owner.isAlive) return last.at;
      this.#timers.pop();
    }
  }

  /** Goes on to the next timer and rings it. */
  ring(): void {
    if (this.next() === null) return;
    const timer = this.#timers.pop() as Timer;
    this.#now = timer.at;
    timer.fn();
  }

  /** Goes on to an instant before which nothing rings. */
  jump(to: number): void {
    this.#now = Math.max(this.#now, to);
  }

  #add(fn: () => void, ms: number, owner: Owner): Timer {
    const timer = { at: this.#now + Math.max(0, ms), n: ++this.#set, fn, owner, isOff: false };
    let [low, high] = [0, this.#timers.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.#timers[middle] as Timer;
      if (other.at > timer.at) low = middle + 1;
      else high = middle;
    }
    this.#timers.splice(low, 0, timer);
    return timer;
  }
}
