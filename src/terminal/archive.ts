/**
 * All recordings, read beside whoever writes them.
 *
 * Every call opens the files for itself and only to read, so that nothing is shared with a live terminal but
 * its numbers.
 */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { SessionId } from '../ids.ts';
import type {
  CastWish,
  Moment,
  PastScreen,
  RecordingMark,
  RecordingName,
  Recordings,
  Removal,
  SearchWish,
} from '../recordings.ts';
import { asciicast, type CastOptions } from './asciicast.ts';
import { findText } from './find-text.ts';
import { gapsBefore, type Position, positionAt, positionOf, timeOf } from './positions.ts';
import { directoryOf, Recording, sizeIn } from './recording.ts';
import type { Removals } from './removals.ts';
import { pipedText, renderedText } from './rendered-text.ts';
import { Rewind } from './rewind.ts';
import { faultOf, instantOf } from './stretch.ts';
import { Summaries } from './summaries.ts';
import { tailOf } from './tail.ts';

/** Exports at once; one that nobody reads holds its place until its connection is closed. */
const EXPORTS_MAX = 8;
/** Searches at once. */
const SEARCHES_MAX = 4;
const MARKS_MAX = 1_000;
const BEGUN_MAX = 100_000;
/** Segments that are indexed for the marks of one call. */
const MARK_SEGMENTS_MAX = 32;

export interface ArchiveOptions {
  readonly dir: string;
  readonly clock: Clock;
  readonly size: { readonly cols: number; readonly rows: number };
  readonly removals: Removals;
  /** The recording of a terminal that is open for writing. */
  readonly live: (session: SessionId) => Recording | null;
  /** Lets go of its terminal and deletes its files. */
  readonly erase: (session: SessionId) => Promise<void>;
}

export interface Archive extends Recordings {
  close(): void;
}

export function archive(options: ArchiveOptions): Archive {
  return new Files(options);
}

/** The id that a directory is named by; null when it is none of ours. */
function sessionIn(root: string, name: string): SessionId | null {
  const isHex = /^x(?:[0-9a-f]{2})+$/.test(name);
  const id = isHex ? Buffer.from(name.slice(1), 'hex').toString('utf8') : name;
  return directoryOf(root, id) === join(root, name) ? (id as SessionId) : null;
}

/** UUIDv7 begins with the time it was made. */
const bornAt = (id: string): number | null =>
  /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/.test(id)
    ? Number.parseInt(id.replace('-', '').slice(0, 12), 16)
    : null;

class Files implements Archive {
  readonly #options: ArchiveOptions;
  readonly #rewind: Rewind;
  readonly #summaries: Summaries;
  /** When foreign sessions began, whose ids do not tell. */
  readonly #begun = new Map<string, number>();
  #exports = 0;
  #searches = 0;

  constructor(options: ArchiveOptions) {
    const { clock, size, live } = options;
    this.#options = options;
    const dirOf = (session: SessionId) => directoryOf(options.dir, session);
    this.#rewind = new Rewind({ clock, dirOf, size });
    this.#summaries = new Summaries({ dirOf, live, open: (session) => this.#read(session) });
  }

  async list(): Promise<RecordingName[]> {
    const { dir, removals, erase } = this.#options;
    const entries = await readdir(dir, { withFileTypes: true }).catch(() => []);
    const found: RecordingName[] = [];
    for (const [i, entry] of entries.entries()) {
      const session = entry.isDirectory() ? sessionIn(dir, entry.name) : null;
      if (session === null) continue;
      if (removals.of(session)) {
        // A crash left it half deleted.
        await erase(session).catch(() => {});
        continue;
      }
      found.push({ session, at: bornAt(session) ?? this.#beganAt(session) });
      if (i % 256 === 255) await new Promise((resolve) => setImmediate(resolve));
    }
    return found.sort((a, b) => b.at - a.at || (a.session < b.session ? 1 : -1));
  }

  has(session: SessionId): boolean {
    const dir = directoryOf(this.#options.dir, session);
    return !this.#options.removals.of(session) && existsSync(dir) && Recording.exists(dir);
  }

  facts: Recordings['facts'] = async (session, budget) => {
    this.#check(session);
    return await this.#summaries.of(session, budget);
  };

  marks: Recordings['marks'] = async (session, from) => {
    const recording = this.#open(session);
    try {
      return await marksOf(recording, from);
    } finally {
      recording.close();
    }
  };

  async screenAt(session: SessionId, moment: Moment, signal: AbortSignal): Promise<PastScreen> {
    const recording = this.#open(session);
    const position = placeOf(recording, moment);
    const at = timeOf(recording, position);
    // Before it is handed on: two readings at once would close each other's files.
    const gaps = await gapsBefore(recording, position.offset);
    if (recording.firstSize()) {
      const wanted = { session, recording, position, signal };
      return await this.#rewind.at(wanted, ({ screen }) => ({ screen: screen.view(), at, gaps }));
    }
    const screen = tailOf(recording, { ...this.#options.size, next: position.offset });
    recording.close();
    return { screen, at, gaps };
  }

  gapsBefore: Recordings['gapsBefore'] = async (session, offset) => {
    const growing = this.#options.live(session);
    if (growing) return await gapsBefore(growing, offset);
    const recording = this.#read(session);
    const gaps = await gapsBefore(recording, offset);
    recording.close();
    return gaps;
  };

  cast: Recordings['cast'] = async (session, wish, signal) => {
    const free = this.#takePlace();
    try {
      const options = await this.#castOptions({ session, wish, signal });
      const recording = this.#open(session);
      return untilEnd(asciicast(recording, options), () => {
        recording.close();
        free();
      });
    } catch (thrown) {
      free();
      throw thrown;
    }
  };

  text: Recordings['text'] = async (session) => {
    const free = this.#takePlace();
    try {
      const recording = this.#open(session);
      const size = recording.firstSize();
      return untilEnd(size ? renderedText(recording, size) : pipedText(recording), () => {
        recording.close();
        free();
      });
    } catch (thrown) {
      free();
      throw thrown;
    }
  };

  async search(session: SessionId, wish: SearchWish) {
    if (this.#searches >= SEARCHES_MAX) {
      throw new Failure('over-quota', `${SEARCHES_MAX} searches are running; try again shortly`);
    }
    const recording = this.#open(session);
    this.#searches += 1;
    try {
      const since = wish.since === null ? 0 : positionAt(recording, wish.since - 1).offset;
      return await findText(recording, { ...wish, from: Math.max(wish.from, since) });
    } finally {
      this.#searches -= 1;
      recording.close();
    }
  }

  async remove(session: SessionId, removal: Removal): Promise<void> {
    const { removals, erase } = this.#options;
    if (!removals.of(session)) await removals.add(session, removal);
    this.#rewind.drop(session);
    this.#summaries.drop(session);
    await erase(session);
  }

  removed(session: SessionId): Removal | null {
    return this.#options.removals.of(session);
  }

  close(): void {
    this.#rewind.close();
  }

  #check(session: SessionId): void {
    const removal = this.removed(session);
    if (removal) {
      const when = new Date(removal.at).toISOString();
      const { by, reason } = removal;
      throw new Failure(
        'not-found',
        `the recording of session ${session} was removed ${when} by ${by}: ${reason}`,
      );
    }
    if (!this.has(session)) {
      throw new Failure(
        'not-found',
        `there is no recording of session "${session}"; see GET /api/v1/recordings`,
      );
    }
  }

  #open(session: SessionId): Recording {
    this.#check(session);
    return this.#read(session);
  }

  #read(session: SessionId): Recording {
    const { dir, clock } = this.#options;
    const at = directoryOf(dir, session);
    return new Recording({ dir: at, clock, onFailure: () => {}, isReadOnly: true });
  }

  #beganAt(session: SessionId): number {
    const held = this.#begun.get(session);
    if (held !== undefined) return held;
    const recording = this.#read(session);
    const at = recording.segments[0]?.beganAt() ?? 0;
    recording.close();
    if (this.#begun.size >= BEGUN_MAX) this.#begun.clear();
    this.#begun.set(session, at);
    return at;
  }

  #takePlace(): () => void {
    if (this.#exports >= EXPORTS_MAX) {
      throw new Failure('over-quota', `${EXPORTS_MAX} recordings are being exported; try again shortly`);
    }
    this.#exports += 1;
    return () => {
      this.#exports -= 1;
    };
  }

  async #castOptions(asked: {
    readonly session: SessionId;
    readonly wish: CastWish;
    readonly signal: AbortSignal;
  }): Promise<CastOptions> {
    const { session, wish, signal } = asked;
    const { title, command, idleLimit } = wish;
    const recording = this.#open(session);
    const first = recording.firstSize();
    const begun = recording.segments[0]?.beganAt() ?? 0;
    const toMs = wish.to && instantOf(recording, wish.to, begun);
    const base = { ...(first ?? this.#options.size), title, command, toMs, idleLimit };
    const fromMs = wish.from && instantOf(recording, wish.from, begun);
    const fault = faultOf(recording, { wish, fromMs, toMs });
    if (fault) {
      recording.close();
      throw fault;
    }
    if (fromMs === null || fromMs <= begun) {
      recording.close();
      return { ...base, from: null, fromMs: null };
    }
    const position = positionAt(recording, fromMs);
    if (!first) {
      recording.close();
      return { ...base, from: { position, drawing: '' }, fromMs };
    }
    return await this.#rewind.at({ session, recording, position, signal }, ({ screen }) => {
      const { cols, rows, serialized } = screen.serialize();
      const title = screen.view().title;
      const drawing = title === '' ? serialized : `\x1b]0;${title}\x07${serialized}`;
      return { ...base, cols, rows, from: { position, drawing }, fromMs };
    });
  }
}

function placeOf(recording: Recording, moment: Moment): Position {
  if ('offset' in moment) return positionOf(recording, moment.offset);
  return positionAt(recording, instantOf(recording, moment, recording.segments[0]?.beganAt() ?? 0));
}

/** Lets go of what it needed, however it ended, also when nobody began to read. */
function untilEnd(pieces: AsyncGenerator<string>, end: () => void): AsyncIterable<string> {
  let hasEnded = false;
  const once = () => {
    if (!hasEnded) end();
    hasEnded = true;
  };
  return {
    [Symbol.asyncIterator]: () => ({
      async next() {
        try {
          const piece = await pieces.next();
          if (piece.done) once();
          return piece;
        } catch (thrown) {
          once();
          throw thrown;
        }
      },
      async return() {
        await pieces.return(undefined);
        once();
        return { done: true, value: undefined };
      },
    }),
  };
}

async function marksOf(recording: Recording, from: number) {
  const marks: RecordingMark[] = [];
  const { segments } = recording;
  let looked = 0;
  for (const [i, segment] of segments.entries()) {
    const following = segments[i + 1];
    if (following && following.first < from) continue;
    if (looked >= MARK_SEGMENTS_MAX) return { marks, next: segment.first };
    looked += 1;
    for (const note of segment.notes()) {
      const { kind, offset, at } = note.head;
      if (offset < from) continue;
      if (marks.length >= MARKS_MAX) return { marks, next: offset };
      if (kind === 'resize') {
        const { cols, rows } = sizeIn(segment, note);
        marks.push({ kind, offset, at, cols, rows });
      } else if (kind === 'gap') {
        marks.push({ kind, offset, at, bytes: recording.missingIn(segment, note) });
      } else if (kind === 'end') {
        const said = Buffer.alloc(note.head.bytes);
        segment.read(note.at, said);
        const { exitCode, reason } = JSON.parse(said.toString('utf8')) as {
          exitCode: number | null;
          reason: string;
        };
        marks.push({ kind, offset, at, exitCode, reason });
      }
    }
    if (following) segment.close();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { marks, next: null };
}
