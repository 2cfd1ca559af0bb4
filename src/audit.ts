/**
 * Who asked for what, and what became of it: an append-only log whose records are chained by their hashes.
 *
 * Every call that may change something, every refusal and every way in or out is one record. None holds a
 * body, a token, a secret or an answer.
 */
import type { Role } from './access.ts';

/** `refused`: the caller was not let in; `failed`: it was, and it did not come to pass. */
export type AuditOutcome = 'done' | 'refused' | 'failed';

export const auditOutcomes: readonly AuditOutcome[] = ['done', 'refused', 'failed'];

export interface AuditCaller {
  readonly name: string;
  readonly role: Role;
  /** How it showed who it is; see `Via` in access.ts. */
  readonly via: string;
  /** Of the token that it showed, or that its session began with; null without one. */
  readonly id: string | null;
}

export interface AuditNote {
  /**
   * `identity`: certificates and one-time tokens of agents; `operators`: tokens were changed by a command;
   * `audit`: about this log itself.
   */
  readonly door: 'http' | 'ws' | 'grpc' | 'identity' | 'operators' | 'audit';
  /** Null: nobody we know. */
  readonly caller: AuditCaller | null;
  /** Address of the client; null on the Unix socket and for the house itself. */
  readonly from: string | null;
  /** `from` is what a trusted proxy said. */
  readonly proxied: boolean;
  /** The HTTP method, the name of the RPC, or what was done. */
  readonly method: string;
  /** The pattern of the route that was resolved; null: none was. */
  readonly route: string | null;
  readonly params: Readonly<Record<string, string>>;
  readonly outcome: AuditOutcome;
  /** HTTP status, or that of gRPC. */
  readonly status: number;
  /** Of the problem document; null when all was well. */
  readonly code: string | null;
  readonly ms: number;
}

export interface AuditRecord extends AuditNote {
  /** From 1 on, without a hole. */
  readonly seq: number;
  /** RFC 3339, when it was noted. */
  readonly at: string;
  /** Hash of the record before, 64 zeros for the first. */
  readonly prev: string;
  /** SHA-256, hex, of the record as it is written, without this field and with all others. */
  readonly hash: string;
}

export interface AuditQuery {
  /** Only records with a smaller sequence; null: from the newest on. */
  readonly before: number | null;
  readonly limit: number;
  readonly caller: string | null;
  /** A pattern; `*` at its end stands for any rest. */
  readonly route: string | null;
  readonly outcome: AuditOutcome | null;
  /** Milliseconds since the epoch; since is inclusive, until is not. */
  readonly since: number | null;
  readonly until: number | null;
}

export interface AuditPage {
  /** Newest first. */
  readonly records: readonly AuditRecord[];
  /** Ask on with this; null: there is no more. */
  readonly before: number | null;
  /** The newest record of all: keep it elsewhere, and nobody can cut the log's end unseen. */
  readonly head: { readonly seq: number; readonly hash: string };
}

export interface Audit {
  /** Throws Failure('audit-away') while nothing can be noted; asked before a call changes anything. */
  ready(): Promise<void>;
  /** Resolves when it is on the disk; throws Failure('audit-away'), and tries again with the next one. */
  note(note: AuditNote): Promise<void>;
  /** Notes in the background; more than can be kept are counted and the count is noted. */
  refused(note: AuditNote): void;
  /** Scans a bounded number of records; a page may have fewer than asked for and yet go on. */
  read(query: AuditQuery): Promise<AuditPage>;
  /** Writes what waits. */
  close(): Promise<void>;
}

const VALUE_CHARS_MAX = 200;

/** Parameters as they may be kept: short. */
export const keptParams = (params: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(params).map(([name, value]) => [
      name,
      value.length > VALUE_CHARS_MAX ? `${value.slice(0, VALUE_CHARS_MAX)}…` : value,
    ]),
  );

/** For tests and tools that need none. */
export const noAudit: Audit = {
  ready: async () => {},
  note: async () => {},
  refused() {},
  read: async () => ({ records: [], before: null, head: { seq: 0, hash: '0'.repeat(64) } }),
  close: async () => {},
};
