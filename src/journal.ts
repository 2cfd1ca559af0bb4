/**
 * Where actors are remembered. Every implementation passes tests/contracts/journal.ts.
 *
 * An actor's whole life is its entries, in order of `seq` from 1 without a hole:
 * folding them through the actor's pure machine gives its record's snapshot again.
 * A batch is written whole or not at all, and `append` resolves only when it is durable.
 */
import type { Failure } from './failure.ts';

export type ActorKind = 'instance' | 'agent' | 'session' | 'task' | 'hitl';

/** One event that changed one actor. `seq` 1 is its birth: `{ type: 'born', input }`. */
export interface JournalEntry {
  readonly actor: string;
  readonly kind: ActorKind;
  readonly seq: number;
  /** Milliseconds since the Unix epoch, from the event itself. */
  readonly at: number;
  /** Plain JSON; its `type` is the event's. */
  readonly event: { readonly type: string };
}

/** The newest known state of one actor. */
export interface ActorRecord {
  readonly actor: string;
  readonly kind: ActorKind;
  /** The machine's version that wrote `snapshot`. */
  readonly version: number;
  /** The last entry that `snapshot` includes. */
  readonly seq: number;
  /** False once the actor has reached a final state. */
  readonly live: boolean;
  /** The child spec it was started with: parent, restart policy, and so on. */
  readonly spec: unknown;
  readonly snapshot: unknown;
  /** It ended long ago and lies in the archive. */
  readonly archived?: true;
}

export interface Batch {
  readonly entries: readonly JournalEntry[];
  readonly records: readonly ActorRecord[];
  /**
   * Counts the batches of a server from 1. So several may be on their way: none is taken before the one
   * before it. Absent: it depends on none.
   */
  readonly number?: number;
}

/** An entry as the shared feed shows it; `cursor` grows by at least one and is never reused. */
export interface FeedEntry extends JournalEntry {
  readonly cursor: number;
}

/** Looking, beside the server that writes. */
export interface JournalReader {
  /** Every live actor, oldest first, for the start of the server. */
  live(): Promise<readonly ActorRecord[]>;
  record(actor: string): Promise<ActorRecord | null>;
  /**
   * Newest first: by birth, or, of the archive, as they were put there. `before` is an actor id to continue
   * after. At most 1,000 a call.
   */
  records(query: RecordQuery): Promise<readonly ActorRecord[]>;
  /** Entries with `seq >= from`, in order. At most 1,000 a call. */
  history(actor: string, from: number, limit: number): Promise<readonly FeedEntry[]>;
  /**
   * Entries with a cursor above `after`, in order. At most 1,000 a call. An implementation may keep only the
   * newest ones, 10,000 at least; then the first that it gives is the oldest that it has. Those of actors in
   * the archive are in none.
   */
  feed(after: number, limit: number): Promise<readonly FeedEntry[]>;
  /** The newest cursor, 0 when empty. */
  cursor(): Promise<number>;
  /**
   * Ended actors, not in the archive yet, whose newest entry is older than `before`; the oldest of these
   * first. At most 1,000 a call.
   */
  expired(before: number, limit: number): Promise<readonly string[]>;
  close(): Promise<void>;
}

export interface Journal extends JournalReader {
  /**
   * Durable when it resolves; returns the cursor of the batch's last entry. The entries of one batch have
   * consecutive cursors, in their order.
   * Throws Failure('journal-away') when it cannot be reached or written, and then nothing of the batch is in.
   * An entry whose (actor, seq) exists is refused whole with Failure('wrong-state'). A numbered batch is
   * refused with Failure('journal-away') while the one before it is not in; appended again, after that one,
   * it is taken.
   */
  append(batch: Batch): Promise<number>;
  /**
   * Puts actors that have ended into the archive, whole and compressed; `record` and `history` find them
   * there as before. A name that is used again goes on after what is archived of it. Actors that live, or are
   * not there, are passed over. Returns how many were put away. Durable, and all or none of them, when it
   * resolves. Throws as `append`.
   */
  archive(actors: readonly string[]): Promise<number>;
  /**
   * Why it cannot be written just now, as far as that is known without asking it; null: nothing is known.
   * Whoever knows has logged it when it began.
   */
  trouble(): Failure | null;
}

export interface RecordQuery {
  readonly kind?: ActorKind;
  readonly live?: boolean;
  /** Those of the archive, and only those; false when absent. */
  readonly archived?: boolean;
  readonly before?: string;
  readonly limit: number;
}
