/**
 * Screens of the past: rebuilt from the nearest checkpoint, or from where somebody looked last.
 *
 * Each has a `Screen` of its own over a part of the recording that ends where it is looked at; the live one
 * is never touched, and what a program asked its terminal is answered by nobody. Bounded: so many at once,
 * so long each, and so many kept for whoever scrubs on.
 */
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { SessionId } from '../ids.ts';
import { keeper, nearestCheckpoint } from './checkpoints.ts';
import { isUpTo, type Position, start } from './positions.ts';
import type { Recording } from './recording.ts';
import { Screen, type Source } from './screen.ts';

/** Rebuilt at once. */
const REBUILDS_MAX = 4;
/** Kept for whoever scrubs on: 1 to 10 MB each. */
const KEPT_MAX = 4;
/** How long one call rebuilds; the next one goes on where it stopped. */
const REBUILD_MS_MAX = 20_000;
/** Parsed before it is looked whether anybody still waits. */
const STEP_BYTES = 8 << 20;
/** A checkpoint is worth reading when it saves so much. */
const WORTH_BYTES = 1 << 20;

/** A recording up to a place; it ends later when the screen is moved on. */
class Part implements Source {
  /** Replaced by a newer reading of the same one, which may hold more. */
  recording: Recording;
  next: number;

  constructor(recording: Recording, next: number) {
    this.recording = recording;
    this.next = next;
  }

  get first(): number {
    return this.recording.first;
  }

  slice(from: number, maxBytes: number, into?: Buffer) {
    return this.recording.slice(from, Math.max(0, Math.min(maxBytes, this.next - from)), into);
  }

  /** They are told one by one, as the screen is moved on. */
  resizes(): [] {
    return [];
  }
}

export interface Rebuilt {
  readonly session: SessionId;
  readonly screen: Screen;
  readonly part: { readonly recording: Recording };
  readonly position: Position;
}

interface Held extends Rebuilt {
  readonly part: Part;
  position: Position;
}

export interface RewindOptions {
  readonly clock: Clock;
  readonly dirOf: (session: SessionId) => string;
  /** The size where a recording does not tell. */
  readonly size: { readonly cols: number; readonly rows: number };
  readonly keptMax?: number;
  readonly rebuildMsMax?: number;
}

export interface Wanted {
  readonly session: SessionId;
  /** Its own: it is closed here, also when this fails. */
  readonly recording: Recording;
  readonly position: Position;
  readonly signal: AbortSignal;
}

export class Rewind {
  readonly #options: RewindOptions;
  /** The one that was used last is the last. */
  #kept: Held[] = [];
  #running = 0;

  constructor(options: RewindOptions) {
    this.#options = options;
  }

  /** Hands the screen at a position to `look`, which must not keep it. */
  async at<T>(wanted: Wanted, look: (rebuilt: Rebuilt) => T): Promise<T> {
    if (this.#running >= REBUILDS_MAX) {
      wanted.recording.close();
      throw new Failure(
        'over-quota',
        `${REBUILDS_MAX} screens of the past are being rebuilt; try again shortly`,
      );
    }
    this.#running += 1;
    try {
      const held = this.#begin(wanted);
      try {
        await this.#moveOn(held, wanted);
        return look(held);
      } finally {
        this.#keep(held);
      }
    } finally {
      this.#running -= 1;
    }
  }

  drop(session: SessionId): void {
    const gone = this.#kept.filter((held) => held.session === session);
    this.#kept = this.#kept.filter((held) => held.session !== session);
    gone.forEach(close);
  }

  close(): void {
    this.#kept.splice(0).forEach(close);
  }

  #begin({ session, recording, position }: Wanted): Held {
    const fitting = this.#kept.filter((one) => one.session === session && isUpTo(one.position, position));
    const best = fitting.reduce<Held | null>(
      (found, one) => (found && isUpTo(one.position, found.position) ? found : one),
      null,
    );
    const dir = this.#options.dirOf(session);
    const checkpoint = nearestCheckpoint(dir, recording, {
      upTo: position.offset,
      above: (best?.position.offset ?? 0) + WORTH_BYTES,
    });
    if (best && !checkpoint) {
      this.#kept = this.#kept.filter((one) => one !== best);
      best.part.recording.close();
      best.part.recording = recording;
      return best;
    }
    const part = new Part(recording, checkpoint?.offset ?? recording.first);
    const screen = new Screen({
      recording: part,
      clock: this.#options.clock,
      ...(recording.firstSize() ?? this.#options.size),
      checkpoint,
      onReply: () => {},
      onCaughtUp: () => {},
      onBite: keeper({ dir, from: checkpoint?.offset ?? recording.first }),
    });
    return { session, screen, part, position: { ...start, offset: part.next } };
  }

  async #moveOn(held: Held, { position: wanted, signal }: Wanted): Promise<void> {
    const { clock, rebuildMsMax = REBUILD_MS_MAX } = this.#options;
    const deadline = clock.now() + rebuildMsMax;
    await held.screen.settled();
    while (held.position.offset < wanted.offset || held.position.sizes < wanted.sizes) {
      signal.throwIfAborted();
      if (clock.now() > deadline) {
        const rest = wanted.offset - held.position.offset;
        throw new Failure(
          'timed-out',
          `the screen there is ${rest} bytes further on; ask again, and it goes on from where it is now`,
        );
      }
      await step(held, wanted);
    }
  }

  #keep(held: Held): void {
    const { keptMax = KEPT_MAX } = this.#options;
    this.#kept.push(held);
    for (const old of this.#kept.splice(0, Math.max(0, this.#kept.length - keptMax))) close(old);
  }
}

function close({ screen, part }: Held): void {
  screen.close();
  part.recording.close();
}

/** On by a bounded stretch: the changes of size in it, each at its place, and the bytes. */
async function step(held: Held, wanted: Position): Promise<void> {
  const { screen, part, position } = held;
  const offset = Math.min(wanted.offset, position.offset + STEP_BYTES);
  const sizes = part.recording.resizes(position.offset, offset);
  const after = sizes.slice(position.sizes);
  const here = after.filter((size) => size.offset === offset);
  const madeHere = offset === position.offset ? position.sizes : 0;
  const mayHere = offset === wanted.offset ? wanted.sizes - madeHere : here.length;
  const made = [...after.filter((size) => size.offset < offset), ...here.slice(0, mayHere)];
  for (const { offset: at, cols, rows } of made) {
    part.next = at;
    screen.resize(cols, rows);
  }
  part.next = offset;
  screen.pull();
  await screen.settled();
  held.position = { offset, sizes: madeHere + Math.min(mayHere, here.length) };
}
