/**
 * Places in a recording: where it was at a time, and what time it was at a place.
 *
 * Bytes alone do not say where: a terminal may get another size between two of them. Times are those of the
 * server's clock when it recorded, and are taken to grow.
 */
import type { Gaps } from '../recordings.ts';
import type { Recording } from './recording.ts';
import type { Segment } from './segment.ts';

export interface Position {
  /** Everything below it has been said. */
  readonly offset: number;
  /** How many changes of size exactly there have been made. */
  readonly sizes: number;
}

export const start: Position = { offset: 0, sizes: 0 };

export const isUpTo = (one: Position, other: Position): boolean =>
  one.offset < other.offset || (one.offset === other.offset && one.sizes <= other.sizes);

/** After everything below an offset, and every change of size there. */
export function positionOf(recording: Recording, offset: number): Position {
  const at = Math.min(Math.max(recording.first, offset), recording.next);
  return { offset: at, sizes: recording.resizes(at, at).length };
}

/** After everything that was recorded until then. */
export function positionAt(recording: Recording, ms: number): Position {
  const { segments } = recording;
  const index = lastBegunBy(segments, ms);
  const segment = segments[index];
  if (!segment || (segment.beganAt() ?? 0) > ms) return { offset: recording.first, sizes: 0 };
  const place = segment.placeAfter(ms);
  const [later] = segment.records(place);
  const offset = later?.head.offset ?? segment.next;
  const sizes = recording.notes(offset, offset).filter(({ segment: where, note }) => {
    const isBefore = where === segment ? note.at <= place : where.first < segment.first;
    return note.head.kind === 'resize' && isBefore;
  });
  return { offset, sizes: sizes.length };
}

function lastBegunBy(segments: readonly Segment[], ms: number): number {
  let low = 0;
  for (let high = segments.length - 1; low < high; ) {
    const middle = (low + high + 1) >> 1;
    if (((segments[middle] as Segment).beganAt() ?? 0) <= ms) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** When the newest of what is there at a position was recorded; null for an empty recording. */
export function timeOf(recording: Recording, { offset, sizes }: Position): number | null {
  const last = offset > recording.first ? recording.headAt(offset - 1) : null;
  const resized = sizes > 0 ? recording.notes(offset, offset).filter(isResize)[sizes - 1] : undefined;
  return resized?.note.head.at ?? last?.at ?? recording.segments[0]?.beganAt() ?? null;
}

const isResize = ({ note }: { readonly note: { readonly head: { readonly kind: string } } }): boolean =>
  note.head.kind === 'resize';

/** Gaps that lie wholly or partly below an offset. A turn of the event loop lies between two segments. */
export async function gapsBefore(recording: Recording, offset: number): Promise<Gaps> {
  let count = 0;
  let bytes = 0;
  for (const segment of recording.segments) {
    if (segment.first >= offset) break;
    for (const { head, at } of segment.notes()) {
      if (head.kind !== 'gap' || head.offset >= offset) continue;
      count += 1;
      bytes += Math.min(offset - head.offset, recording.missingIn(segment, { head, at }));
    }
    if (segment !== recording.segments.at(-1)) segment.close();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { count, bytes };
}
