/**
 * How long to wait before trying a lost connection again: doubling from half a second to ten, with jitter.
 */
export function backoffMs(failures: number, random: number): number {
  const full = Math.min(10_000, 500 * 2 ** Math.min(failures, 10));
  return Math.round(full * (0.7 + 0.6 * random));
}
