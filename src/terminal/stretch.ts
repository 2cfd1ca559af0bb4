/** A stretch of a recording, from one time to another, as it is asked for. */
import { rfc3339 } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { CastWish, Moment } from '../recordings.ts';
import { positionOf, timeOf } from './positions.ts';
import type { Recording } from './recording.ts';

export function instantOf(recording: Recording, moment: Moment, begun: number): number {
  if ('at' in moment) return moment.at;
  if ('sinceStart' in moment) return begun + moment.sinceStart;
  return timeOf(recording, positionOf(recording, moment.offset)) ?? begun;
}

export interface Stretch {
  readonly wish: CastWish;
  readonly fromMs: number | null;
  readonly toMs: number | null;
}

/** Why there is nothing between two times; null when there may be something. */
export function faultOf(recording: Recording, { wish, fromMs, toMs }: Stretch): Failure | null {
  if (fromMs === null) return null;
  const [from, to] = [said(wish.from), said(wish.to)];
  if (toMs !== null && fromMs > toMs) {
    return new Failure('bad-input', `from ${from} is after to ${to}; give the earlier one as from`);
  }
  const begun = recording.segments[0]?.beganAt() ?? null;
  const end = endOf(recording);
  if (begun === null || end === null || fromMs <= end) return null;
  const length = `it is ${end - begun} ms long, from ${rfc3339(begun)} to ${rfc3339(end)}`;
  return new Failure('bad-input', `from ${from} is after the end of the recording: ${length}`);
}

/** As it was asked for. */
function said(moment: Moment | null): string {
  if (moment === null) return 'the end';
  if ('at' in moment) return rfc3339(moment.at);
  return 'sinceStart' in moment ? `${moment.sinceStart}` : `offset ${moment.offset}`;
}

/** When the newest of it was recorded. */
function endOf(recording: Recording): number | null {
  const newest = timeOf(recording, positionOf(recording, recording.next));
  const notes = recording.notes(recording.next).map(({ note }) => note.head.at);
  return newest === null ? null : Math.max(newest, ...notes);
}
