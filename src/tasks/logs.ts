/**
 * What a task said, as one stream that can be taken up again: its terminal's bytes as text, its changes of
 * state, its questions, how it gets on, and its end.
 *
 * An id is a place: the last event of the task's story, the session, and the offset in that session's
 * recording. Whoever comes back with an id gets what follows it, from the recording and the journal, not from
 * memory. A character is never cut in two. The last item is `completed` or `error`. Knows nothing of SSE.
 */
import type { TaskLog } from '../desk.ts';
import { Failure } from '../failure.ts';
import type { Slice } from '../terminal.ts';

const READ_BYTES_MAX = 64 * 1024;
const EVENTS_MAX = 100;

/** One durable event of the task's story. `completed` and `error` are the last. */
export interface StoryEvent {
  /** Grows. */
  readonly cursor: number;
  readonly at: number;
  readonly event: 'state' | 'question' | 'completed' | 'error';
  readonly data: string;
}

export interface LogSources {
  /** Events after a cursor, oldest first, at most `limit`. */
  story(after: number, limit: number): Promise<readonly StoryEvent[]>;
  /** How many sessions the task has had; a further attempt has a further session. */
  sessions(): number;
  /**
   * Recorded bytes of the nth session, from 0; `bytes` is empty when there are no more so far. Null: it has
   * no recording.
   */
  read(session: number, from: number, maxBytes: number): Promise<Slice | null>;
  /** How it gets on, as text; null when that is not known. Not remembered: only its newest value is told. */
  progress(): string | null;
  /** The story will not grow any more. */
  isOver(): boolean;
  /** Calls back when any of the above may have changed. Returns how to stop. */
  watch(onMore: () => void): () => void;
}

interface Place {
  cursor: number;
  session: number;
  offset: number;
}

export async function* taskLogs(
  sources: LogSources,
  { after, signal }: { after: string | null; signal: AbortSignal },
): AsyncGenerator<TaskLog> {
  const place = placeOf(after);
  const bell = doorbell(sources, signal);
  const text = recorded(sources, place);
  let progress: string | null = null;
  try {
    while (!signal.aborted) {
      bell.reset();
      const isOver = sources.isOver();
      const [event] = await sources.story(place.cursor, EVENTS_MAX);
      const slice = await text.next();
      if (event && (slice === null || (event.at <= slice.at && !isLast(event)))) {
        if (isLast(event)) yield* text.rest();
        place.cursor = event.cursor;
        yield { id: idOf(place), event: event.event, data: event.data };
        if (isLast(event)) return;
      } else if (slice !== null) {
        yield* text.take(slice);
      } else if (isOver) {
        return;
      } else {
        const now = sources.progress();
        if (now !== null && now !== progress) yield { id: idOf(place), event: 'progress', data: now };
        progress = now;
        await bell.rung();
      }
    }
  } finally {
    bell.remove();
  }
}

const isLast = ({ event }: StoryEvent): boolean => event === 'completed' || event === 'error';

const idOf = ({ cursor, session, offset }: Place): string => `${cursor}-${session}-${offset}`;

function placeOf(id: string | null): Place {
  if (id === null || id === '') return { cursor: 0, session: 0, offset: 0 };
  const [, cursor, session, offset] = /^(\d{1,15})-(\d{1,6})-(\d{1,15})$/.exec(id) ?? [];
  if (cursor === undefined) {
    throw new Failure(
      'bad-input',
      'Last-Event-ID is not an id of this stream; leave it out to start from the beginning',
    );
  }
  return { cursor: Number(cursor), session: Number(session), offset: Number(offset) };
}

interface Tail {
  readonly bytes: Uint8Array;
  readonly from: number;
}

type Channel = 'stdout' | 'stderr';
const channelOf = (slice: Slice): Channel => (slice.stream === 'stdout' ? 'stdout' : 'stderr');

/** The recordings of all sessions, one after the other, as text. */
function recorded(sources: LogSources, place: Place) {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  /** The beginning of a character whose end has not come. */
  const tails = new Map<Channel, Tail>();
  let at = place.offset;

  /** Whoever comes back must get the unfinished character whole, so the place stays before it. */
  const settle = (): void => {
    place.offset = Math.min(at, ...[...tails.values()].map(({ from }) => from));
  };
  const item = (event: TaskLog['event'], data: string): TaskLog => ({ id: idOf(place), event, data });

  const rest = function* (): Generator<TaskLog> {
    for (const [channel, { bytes }] of [...tails]) {
      tails.delete(channel);
      settle();
      yield item(channel, decoder.decode(bytes));
    }
  };

  return {
    /** What is still held back, when nothing can complete it. */
    rest,
    /** The next bytes; null when there are none so far. */
    async next(): Promise<Slice | null> {
      while (place.session < sources.sessions()) {
        // Asked first: a session that has a successor gets no more bytes.
        const isEarlier = place.session < sources.sessions() - 1;
        const slice = await sources.read(place.session, at, READ_BYTES_MAX);
        if (slice !== null && slice.bytes.length > 0) return slice;
        if (!isEarlier) return null;
        if (tails.size > 0) return { ...emptySlice, from: at, next: at };
        place.session++;
        at = 0;
        settle();
      }
      return null;
    },
    *take(slice: Slice): Generator<TaskLog> {
      if (slice.bytes.length === 0 || slice.gapBytes > 0) yield* rest();
      if (slice.gapBytes > 0) {
        at = slice.from;
        settle();
        yield item('gap', JSON.stringify({ at: slice.from, bytes: slice.gapBytes }));
      }
      const channel = channelOf(slice);
      const held = tails.get(channel);
      const bytes = held ? Buffer.concat([held.bytes, slice.bytes]) : slice.bytes;
      const cut = wholeCharacters(bytes);
      // Copied, as the slice may be a view of a buffer that is used again.
      if (cut < bytes.length)
        tails.set(channel, { bytes: bytes.slice(cut), from: slice.next - (bytes.length - cut) });
      else tails.delete(channel);
      at = slice.next;
      settle();
      if (cut > 0) yield item(channel, decoder.decode(bytes.subarray(0, cut)));
    },
  };
}

const emptySlice: Slice = { from: 0, stream: 'stdout', bytes: new Uint8Array(), next: 0, gapBytes: 0, at: 0 };

/**
 * How many of the bytes form whole characters: a sequence that has begun and may still be finished is left
 * out.
 */
export function wholeCharacters(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte < 0x80) return bytes.length;
    if (byte < 0xc0) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return length > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

/** Remembers that it was rung, so a change between looking and waiting is not missed. */
function doorbell(sources: LogSources, signal: AbortSignal) {
  let rung = Promise.withResolvers<void>();
  const ring = () => rung.resolve();
  const stop = sources.watch(ring);
  signal.addEventListener('abort', ring, { once: true });
  return {
    reset() {
      rung = Promise.withResolvers<void>();
      if (signal.aborted) rung.resolve();
    },
    rung: () => rung.promise,
    remove() {
      stop();
      signal.removeEventListener('abort', ring);
    },
  };
}
