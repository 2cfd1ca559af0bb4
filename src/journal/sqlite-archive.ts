/** The tables' part where actors lie that ended long ago (schema step 2), synchronous as sqlite-store.ts. */
import type { Database, SQLQueryBindings } from 'bun:sqlite';
import type { FeedEntry, RecordQuery } from '../journal.ts';
import { archivedEntries, archivedRecord, bare, type Label, packed, unpacked } from './archived.ts';
import {
  entryOf,
  entryRowOf,
  type FeedRow,
  type LiveRow,
  type RecordRow,
  recordOf,
  recordRowOf,
} from './sqlite-rows.ts';

interface ArchiveRow extends Label {
  readonly life: Uint8Array;
}

export interface ArchiveReads {
  record(actor: string): RecordRow | null;
  /** Newest first; of a name that is used again only its present life is listed, and not here. */
  records(query: RecordQuery): RecordRow[];
  /** Entries from `from` on; none when the actor is not here. */
  history(actor: string, from: number): FeedRow[];
  expired(before: number, limit: number): string[];
}

export interface Archive extends ArchiveReads {
  /** The newest entry of it that lies here, 0 when there is none. */
  seqOf(actor: string): number;
  /** Inside a transaction of the caller's. Returns how many were put away. */
  put(actors: readonly string[]): number;
}

const columns = 'actor, kind, version, seq, life';

export function archiveReads(db: Database): ArchiveReads {
  const one = db.query<ArchiveRow, [string]>(`SELECT ${columns} FROM archive WHERE actor = ?`);
  const expired = db.query<{ actor: string }, [number, number]>(
    'SELECT actor FROM actor WHERE live = 0 AND ended_at < ? ORDER BY ended_at, id LIMIT ?',
  );
  const rowOf = (row: ArchiveRow): RecordRow => recordRowOf(archivedRecord(row, unpacked(row.life)));
  return {
    record(actor) {
      const row = one.get(actor);
      return row && rowOf(row);
    },
    records(query) {
      if (query.live === true) return [];
      return listed(db, query).map(rowOf);
    },
    history(actor, from) {
      const row = one.get(actor);
      return row && from <= row.seq ? archivedEntries(row, unpacked(row.life), from).map(feedRowOf) : [];
    },
    expired: (before, limit) => expired.all(before, limit).map(({ actor }) => actor),
  };
}

export function archiveIn(db: Database): Archive {
  const seqOf = db.query<{ seq: number }, [string]>('SELECT seq FROM archive WHERE actor = ?');
  const count = db.query<{ n: number }, []>('SELECT count(*) AS n FROM archive');
  // Asked before every entry that is written.
  let isEmpty = count.get()?.n === 0;
  return {
    ...archiveReads(db),
    seqOf: (actor) => (isEmpty ? 0 : (seqOf.get(actor)?.seq ?? 0)),
    put(actors) {
      const put = actors.filter((actor) => putOne(db, actor)).length;
      if (put > 0) isEmpty = false;
      return put;
    },
  };
}

function putOne(db: Database, actor: string): boolean {
  const row = db.query<LiveRow, [string]>('SELECT * FROM actor WHERE actor = ? AND live = 0').get(actor);
  if (!row) return false;
  const { kind, version, seq, spec, snapshot } = recordOf(row);
  const before = db
    .query<{ life: Uint8Array }, [string]>('SELECT life FROM archive WHERE actor = ?')
    .get(actor);
  const fresh = db.query<FeedRow, [string]>('SELECT * FROM entry WHERE actor = ? ORDER BY seq').all(actor);
  const entries = [
    ...(before ? unpacked(before.life).entries : []),
    ...fresh.map((entry) => bare(entryOf(entry))),
  ];
  for (const table of ['archive', 'entry', 'actor'])
    db.query<null, [string]>(`DELETE FROM ${table} WHERE actor = ?`).run(actor);
  db.query<null, SQLQueryBindings[]>(`INSERT INTO archive (${columns}, birth) VALUES (?, ?, ?, ?, ?, ?)`).run(
    actor,
    kind,
    version,
    seq,
    packed({ spec, snapshot, entries }),
    row.id,
  );
  return true;
}

function listed(db: Database, { kind, before, limit }: RecordQuery): ArchiveRow[] {
  const where = ['NOT EXISTS (SELECT 1 FROM actor WHERE actor.actor = archive.actor)'];
  const values: SQLQueryBindings[] = [];
  if (kind !== undefined) where.push('kind = ?') && values.push(kind);
  if (before !== undefined) {
    where.push('place < (SELECT place FROM archive WHERE actor = ?)');
    values.push(before);
  }
  values.push(limit);
  const sql = `SELECT ${columns} FROM archive WHERE ${where.join(' AND ')} ORDER BY place DESC LIMIT ?`;
  return db.query<ArchiveRow, SQLQueryBindings[]>(sql).all(...values);
}

const feedRowOf = (entry: FeedEntry): FeedRow => ({ cursor: entry.cursor, ...entryRowOf(entry) });
