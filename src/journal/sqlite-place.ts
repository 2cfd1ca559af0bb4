/**
 * Whether the journal's files are still the ones that were opened, and what is saved when they are not.
 *
 *   the file away ──▶ refused until it is back in its place
 *   its write-ahead log away ──▶ what only the log held goes into the file, through what is open of both;
 *   refused once, so that it is said; opened afresh
 *
 * A deleted log can be read for as long as it is open, and only by us: without this, all that was
 * acknowledged since the last checkpoint would be gone with the process.
 */
import type { Database } from 'bun:sqlite';
import { renameSync, statSync } from 'node:fs';
import { Failure } from '../failure.ts';

export interface Place {
  /** Before each write. Throws Failure('journal-away'). */
  check(): void;
  /** The log is not ours any more and everything is in the file: it must be opened afresh. */
  isSpent(): boolean;
}

/** Of a file just opened, whose write-ahead log is there. */
export function placeOf(db: Database, path: string): Place {
  const log = `${path}-wal`;
  const [file, its] = [fileAt(path), fileAt(log)];
  let isSpent = false;
  return {
    isSpent: () => isSpent,
    check() {
      if (fileAt(path) !== file) {
        const cure = 'put it back, or restart the server';
        throw away(path, `the file was moved, replaced or deleted while in use; ${cure}`);
      }
      if (fileAt(log) === its) return;
      const what = `${log} was moved, replaced or deleted while in use`;
      if (!emptied(db))
        throw away(path, `${what}; end the programs that read the journal and it goes on by itself`);
      putAside(log);
      isSpent = true;
      throw away(path, `${what}; nothing is lost, and it goes on by itself; leave that file to the server`);
    },
  };
}

/** Brings the log into the file as far as nobody still reads an older state. */
export function checkpoint(db: Database): void {
  db.query('PRAGMA wal_checkpoint(PASSIVE)').get();
}

/** True: all of the log is in the file, and whoever opens them next begins a log of their own. */
const emptied = (db: Database): boolean =>
  db.query<{ busy: number }, []>('PRAGMA wal_checkpoint(TRUNCATE)').get()?.busy === 0;

/** A log that somebody put there would be taken for ours. */
function putAside(log: string): void {
  if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) > 0) renameSync(log, `${log}.replaced`);
}

const away = (path: string, why: string) => new Failure('journal-away', `write the journal ${path}: ${why}`);

function fileAt(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  return found ? `${found.dev}:${found.ino}` : 'nothing';
}
