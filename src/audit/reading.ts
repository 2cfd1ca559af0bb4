/** Reads records newest first, by filter, a bounded number a call. */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { AuditPage, AuditQuery, AuditRecord } from '../audit.ts';
import { opened, seqOf } from './chain.ts';
import { daysOf, type Head, linesBackwards } from './files.ts';

/** Looked at in one call, whether they match or not. */
const SCANNED_MAX = 20_000;

export async function readAudit(dir: string, query: AuditQuery, head: Head): Promise<AuditPage> {
  const records: AuditRecord[] = [];
  const before = query.before ?? Number.MAX_SAFE_INTEGER;
  let scanned = 0;
  let last: number | null = null;
  for (const name of (await daysOf(dir)).toReversed()) {
    // A file that was retired meanwhile is the end of what there is.
    const file = await open(join(dir, name), constants.O_RDONLY | constants.O_NOFOLLOW).catch(() => null);
    if (!file) break;
    try {
      const from = await offsetOf(file, before);
      for await (const line of linesBackwards(file, from)) {
        const record = opened(line);
        // What is damaged, or being written just now, is for `audit:verify` to tell.
        if (!record || record.seq >= before) continue;
        if (query.since !== null && Date.parse(record.at) < query.since - SKEW_MS) {
          return { records, before: null, head };
        }
        scanned += 1;
        last = record.seq;
        if (matches(query, record)) records.push(record);
        if (records.length >= query.limit || scanned >= SCANNED_MAX) {
          return { records, before: last > 1 ? last : null, head };
        }
      }
    } finally {
      await file.close();
    }
  }
  return { records, before: null, head };
}

/** Times are almost in order: what was owed comes late, and a clock may have been set back. */
const SKEW_MS = 86_400_000;

function matches({ caller, route, outcome, since, until }: AuditQuery, record: AuditRecord): boolean {
  if (caller !== null && record.caller?.name !== caller) return false;
  if (outcome !== null && record.outcome !== outcome) return false;
  const at = Date.parse(record.at);
  if ((since !== null && at < since) || (until !== null && at >= until)) return false;
  if (route === null) return true;
  const mine = record.route ?? '';
  return route.endsWith('*') ? mine.startsWith(route.slice(0, -1)) : mine === route;
}

/** An offset at or after the end of the last record before `seq`: sequences grow, so halving finds it. */
async function offsetOf(file: FileHandle, seq: number): Promise<number> {
  const { size } = await file.stat();
  let [low, high] = [0, size];
  while (high - low > 256 << 10) {
    const middle = low + Math.floor((high - low) / 2);
    const found = await seqAfter(file, middle);
    if (found !== null && found < seq) low = middle;
    else high = middle;
  }
  // `high` may be in the midst of a line that begins before it.
  return Math.min(size, high + (64 << 10));
}

async function seqAfter(file: FileHandle, offset: number): Promise<number | null> {
  const chunk = Buffer.alloc(64 << 10);
  const { bytesRead } = await file.read(chunk, 0, chunk.length, offset);
  const at = chunk.subarray(0, bytesRead).indexOf(10);
  return at === -1 ? null : seqOf(chunk.toString('utf8', at + 1, Math.min(bytesRead, at + 40)));
}
