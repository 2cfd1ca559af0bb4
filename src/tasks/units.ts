/** Durations and sizes as people write them: `90s`, `15m`, `2h`, `512M`, `8G`. */

const durationPattern = /^(\d{1,9})(ms|s|m|h|d)$/;
const msOf: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Null when it is no duration. */
export function durationMs(text: string): number | null {
  const [, count, unit] = durationPattern.exec(text) ?? [];
  const factor = unit === undefined ? undefined : msOf[unit];
  return count === undefined || factor === undefined ? null : Number(count) * factor;
}

const sizePattern = /^(\d{1,9})(K|M|G|T)i?B?$/i;
const powerOf: Readonly<Record<string, number>> = { K: 1, M: 2, G: 3, T: 4 };

/** In powers of 1024; null when it is no size. */
export function sizeBytes(text: string): number | null {
  const [, count, unit] = sizePattern.exec(text) ?? [];
  const power = unit === undefined ? undefined : powerOf[unit.toUpperCase()];
  return count === undefined || power === undefined ? null : Number(count) * 1024 ** power;
}
