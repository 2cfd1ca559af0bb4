/**
 * What sessions said, to be looked through afterwards or while they go on. `src/terminal/` implements it.
 *
 * Nothing here touches a live terminal. Instants are Unix milliseconds by the server's clock when it
 * recorded. Each call that reads throws Failure('not-found') where there is no recording, with the reason
 * when it was removed.
 */
import type { SessionId } from './ids.ts';
import type { ScreenView } from './terminal.ts';

/** What a call may still read; it is counted down. */
export interface Budget {
  bytes: number;
}

export interface Gaps {
  readonly count: number;
  /** Bytes that are missing. */
  readonly bytes: number;
}

export interface RecordingFacts {
  /** Of everything that is kept of it, checkpoints too. */
  readonly bytesOnDisk: number;
  /** The offset after the last byte. */
  readonly nextOffset: number;
  /** Null: not counted yet, which takes another call; as is `outputBytes`. */
  readonly gaps: Gaps | null;
  readonly outputBytes: number | null;
  readonly firstAt: number | null;
  readonly lastAt: number | null;
  /** Its size at the end; null for what has no screen. */
  readonly size: { readonly cols: number; readonly rows: number } | null;
}

export type RecordingMark =
  | {
      readonly kind: 'resize';
      readonly offset: number;
      readonly at: number;
      readonly cols: number;
      readonly rows: number;
    }
  | { readonly kind: 'gap'; readonly offset: number; readonly at: number; readonly bytes: number }
  | {
      readonly kind: 'end';
      readonly offset: number;
      readonly at: number;
      readonly exitCode: number | null;
      readonly reason: string;
    };

/** A place in a recording: an offset, an instant, or so long after its first record. */
export type Moment = { readonly offset: number } | { readonly at: number } | { readonly sinceStart: number };

export interface PastScreen {
  readonly screen: ScreenView;
  /** When the newest of what it shows was recorded; null when nothing was. */
  readonly at: number | null;
  /** Before it. */
  readonly gaps: Gaps;
}

export interface CastWish {
  readonly title: string | null;
  readonly command: string | null;
  readonly from: Moment | null;
  readonly to: Moment | null;
  /** No pause is longer, in seconds; null: as long as they were. */
  readonly idleLimit: number | null;
}

export interface SearchWish {
  /** In lower case; empty: every line. */
  readonly q: string;
  readonly from: number;
  readonly limit: number;
  readonly budget: Budget;
  /** Lines outside are passed over; null: none are. */
  readonly since: number | null;
  readonly until: number | null;
}

export interface FoundLine {
  /** Of its first byte, and after its last one: there it is on the screen. */
  readonly offset: number;
  readonly end: number;
  readonly at: number;
  readonly stream: string;
  readonly text: string;
}

export interface FoundLines {
  readonly lines: readonly FoundLine[];
  /** Where to go on; null at the end. */
  readonly next: number | null;
}

/** That a recording was removed, when and why. */
export interface Removal {
  readonly at: number;
  readonly by: string;
  readonly reason: string;
}

export interface RecordingName {
  readonly session: SessionId;
  /** When the session began. */
  readonly at: number;
}

export interface Recordings {
  /** All of them, newest first. */
  list(): Promise<readonly RecordingName[]>;
  has(session: SessionId): boolean;
  /** Null when the budget is used up before anything is known. */
  facts(session: SessionId, budget: Budget): Promise<RecordingFacts | null>;
  /** At most 1,000 at or after an offset; `next` is where to go on, null at the end. */
  marks(
    session: SessionId,
    from: number,
  ): Promise<{ readonly marks: readonly RecordingMark[]; readonly next: number | null }>;
  /**
   * The exact screen as it was. Throws Failure('over-quota') when too many are being rebuilt, and 'timed-out'
   * when it takes long: the next call goes on where this one stopped.
   */
  screenAt(session: SessionId, moment: Moment, signal: AbortSignal): Promise<PastScreen>;
  gapsBefore(session: SessionId, offset: number): Promise<Gaps>;
  /** An asciicast v2, piece by piece; of a live session what is there now. Throws Failure('over-quota'). */
  cast(session: SessionId, wish: CastWish, signal: AbortSignal): Promise<AsyncIterable<string>>;
  /** The text as a person would read it. Throws Failure('over-quota'). */
  text(session: SessionId): Promise<AsyncIterable<string>>;
  search(session: SessionId, wish: SearchWish): Promise<FoundLines>;
  /** Durably: also when the server dies while it is being deleted. */
  remove(session: SessionId, removal: Removal): Promise<void>;
  /** Null: it was not removed. */
  removed(session: SessionId): Removal | null;
}
