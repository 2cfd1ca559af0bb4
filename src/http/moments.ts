/** Times as they are asked for. */
import { Failure } from '../failure.ts';
import type { Moment } from '../recordings.ts';

export const momentSaid = 'RFC 3339, or milliseconds since the beginning';

const instant = /^(\d{4}-\d{2}-\d{2})[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([Zz]|[+-]\d{2}:\d{2})$/;

function read(text: string): number {
  const day = instant.exec(text)?.[1];
  return day !== undefined && isDay(day) ? Date.parse(text.replace(' ', 'T')) : Number.NaN;
}

/** The parser takes the 30th of February for the 2nd of March. */
function isDay(day: string): boolean {
  const at = new Date(`${day}T00:00:00Z`);
  return Number.isFinite(at.getTime()) && at.toISOString().startsWith(day);
}

/** Throws Failure('bad-input') that names the field. */
export function instantOf(name: string, text: string): number {
  const at = read(text);
  if (Number.isFinite(at)) return at;
  throw new Failure('bad-input', `${name} "${text}" is no time such as 2026-01-31T12:00:00Z`);
}

/** Throws Failure('bad-input') that names the field. */
export function secondsOf(name: string, text: string): number {
  const seconds = /^\d{1,6}(\.\d{1,3})?$/.test(text) ? Number(text) : 0;
  if (seconds > 0) return seconds;
  throw new Failure('bad-input', `${name} "${text}" is no time; give seconds, more than 0, such as 2 or 0.5`);
}

/** Throws Failure('bad-input') that names the field. */
export function momentOf(name: string, text: string): Moment {
  if (/^\d{1,15}$/.test(text)) return { sinceStart: Number(text) };
  const at = read(text);
  if (Number.isFinite(at)) return { at };
  const cure = 'give a time such as 2026-01-31T12:00:00Z, or milliseconds since its beginning such as 1500';
  throw new Failure('bad-input', `${name} "${text}" is no time: ${cure}`);
}
