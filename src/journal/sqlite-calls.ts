/** What the journal and its thread say to each other. Everything is text and numbers: cheap to hand over. */
import type { FailureInfo } from '../failure.ts';
import type { RecordQuery } from '../journal.ts';
import type { FeedRow, LivePart, RecordRow } from './sqlite-rows.ts';

/** Each call: what goes in, what comes out. */
export interface Calls {
  /** `written`: the number of the last batch that an earlier thread wrote. */
  open: { args: { path: string; now: number; since: string; written: number }; reply: null };
  append: { args: { text: string; number: number | undefined }; reply: number };
  live: { args: { after: number; limit: number }; reply: LivePart };
  record: { args: { actor: string }; reply: RecordRow | null };
  records: { args: RecordQuery; reply: RecordRow[] };
  history: { args: { actor: string; from: number; limit: number }; reply: FeedRow[] };
  feed: { args: { after: number; limit: number }; reply: FeedRow[] };
  cursor: { args: null; reply: number };
  expired: { args: { before: number; limit: number }; reply: string[] };
  archive: { args: { actors: readonly string[] }; reply: number };
  close: { args: null; reply: null };
}

export type CallName = keyof Calls;

export type Request = { [Name in CallName]: { id: number; call: Name; args: Calls[Name]['args'] } }[CallName];

export type Reply =
  | { id: number; value: Calls[CallName]['reply'] }
  | { id: number; failure: FailureInfo }
  /** Not a failure but a mistake of ours: thrown as it is on the other side. */
  | { id: number; bug: string };
