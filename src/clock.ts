/** The only door to time. Nothing else in src/ may touch Date or timers (tests/tidy.test.ts). */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  setTimeout(fn: () => void, ms: number): unknown;
  clearTimeout(id: unknown): void;
}

/** The longest wait a timer takes in one go; beyond it the runtime would ring at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (fn, ms) => setTimeout(fn, Math.min(ms, TIMER_MS_MAX)),
  clearTimeout: (id) => clearTimeout(id as ReturnType<typeof setTimeout>),
};

/** RFC 3339 in UTC, as every instant is written on the wire. */
export const rfc3339 = (ms: number): string => new Date(ms).toISOString();

/** Waits, or rejects with the signal's reason when it is aborted first. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const give = () => {
      clock.clearTimeout(id);
      reject(signal?.reason);
    };
    const id = clock.setTimeout(() => {
      signal?.removeEventListener('abort', give);
      resolve();
    }, ms);
    signal?.addEventListener('abort', give, { once: true });
  });
}
