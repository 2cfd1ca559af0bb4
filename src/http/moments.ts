/** Times as they are asked for. */
import { Failure } from '../failure.ts';
import type { Moment } from '../recordings.ts';

export const momentSaid = 'RFC 3339, or milliseconds since the beginning';

const instant = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([Zz]|[+-]\d{2}:\d{2})$/;

const read = (text: string): number => (instant.test(text) ? Date.parse(text.replace(' ', 'T')) : Number.NaN);

/** Throws Failure('bad-input') that names the field. */
export function instantOf(name: string, text: string): number {
  const at = read(text);
  if (Number.isFinite(at)) return at;
  throw new Failure('bad-input', `${name} "${text}" is no time such as 2026-01-31T12:00:00Z`);
}

/** Throws Failure('bad-input') that names the field. */
export function momentOf(name: string, text: string): Moment {
  if (/^\d{1,15}$/.test(text)) return { sinceStart: Number(text) };
  const at = read(text);
  if (Number.isFinite(at)) return { at };
  const cure = 'give a time such as 2026-01-31T12:00:00Z, or milliseconds since its beginning such as 1500';
  throw new Failure('bad-input', `${name} "${text}" is no time: ${cure}`);
}
