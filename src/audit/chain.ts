/**
 * One record as one line, sealed: the hash is over the line's own bytes, so that no two ways of writing the
 * same record exist, and over the hash of the record before, so that none can be changed, taken out or moved
 * without changing all that follow.
 */
import { createHash } from 'node:crypto';
import type { AuditRecord } from '../audit.ts';

export const GENESIS = '0'.repeat(64);

export interface Sealed {
  readonly line: string;
  readonly hash: string;
}

const hashOf = (body: string): string => createHash('sha256').update(body).digest('hex');

export function sealed(fields: Omit<AuditRecord, 'hash'>): Sealed {
  // The first three in this order: `seqOf` reads the first, and people the next.
  const { seq, at, prev, ...rest } = fields;
  const body = JSON.stringify({ seq, at, prev, ...rest });
  const hash = hashOf(body);
  return { line: `${body.slice(0, -1)},"hash":"${hash}"}\n`, hash };
}

/** Null: it is no record, or not the one that was sealed. */
export function opened(line: string): AuditRecord | null {
  const [, head, hash] = /^(\{.+),"hash":"([0-9a-f]{64})"\}$/.exec(line) ?? [];
  if (head === undefined || hash === undefined || hashOf(`${head}}`) !== hash) return null;
  const { seq, at, prev } = JSON.parse(line) as Partial<AuditRecord>;
  const isWhole = Number.isSafeInteger(seq) && typeof at === 'string' && typeof prev === 'string';
  return isWhole ? (JSON.parse(line) as AuditRecord) : null;
}

/** Of a line whose seal nobody has looked at yet. */
export function seqOf(line: string): number | null {
  const [, seq] = /^\{"seq":(\d+),/.exec(line) ?? [];
  return seq === undefined ? null : Number(seq);
}
