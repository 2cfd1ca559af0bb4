/**
 * The tables as they will be once the tail is in them, for whoever may not or cannot put it there: a reader
 * beside the server, and the server itself while its disk takes nothing.
 *
 * Temporary views take the names of the tables, so that every query of the connection sees both.
 */
import type { Database } from 'bun:sqlite';
import { tailIn } from './sqlite-tail.ts';

export interface Overlay {
  /** Looks at the tail again. */
  refresh(): void;
}

const columns = 'actor, kind, version, seq, live, spec, snapshot, ended_at';

export function overlayOn(db: Database): Overlay {
  // Ids begin anew with a file that was opened with an empty tail: what stands in its last row tells them
  // apart.
  const newest = db.query<{ id: number | null; first: number; after: number; length: number }, []>(
    `SELECT max(id) AS id, (SELECT min(id) FROM main.tail) AS first, after, length(text) AS length FROM main.tail`,
  );
  let shown = '';
  return {
    refresh() {
      const last = newest.get() ?? { id: null };
      const now = last.id === null ? '' : Object.values(last).join('-');
      if (now === shown) return;
      for (const name of ['entry', 'actor']) {
        db.run(`DROP VIEW IF EXISTS temp.${name}`);
        db.run(`DROP TABLE IF EXISTS temp.tail_${name}`);
      }
      if (now !== '') lay(db);
      shown = now;
    },
  };
}

function lay(db: Database): void {
  const { entries, records } = tailIn(db);
  db.run('PRAGMA temp_store = MEMORY');
  db.run('CREATE TEMP TABLE tail_entry (cursor INTEGER PRIMARY KEY, actor, kind, seq, at, event)');
  db.run(`CREATE TEMP TABLE tail_actor (id INTEGER PRIMARY KEY, actor UNIQUE, ${columns.slice(7)})`);
  const addEntry = db.query('INSERT INTO temp.tail_entry VALUES (?, ?, ?, ?, ?, ?)');
  for (const e of entries) addEntry.run(e.cursor, e.actor, e.kind, e.seq, e.at, e.event);
  let last = db.query<{ id: number }, []>('SELECT coalesce(max(id), 0) AS id FROM main.actor').get()?.id ?? 0;
  const idOf = db.query<{ id: number }, [string]>('SELECT id FROM main.actor WHERE actor = ?');
  const timeOf = db.query<{ at: number }, [string, number, string, number]>(
    `SELECT at FROM temp.tail_entry WHERE actor = ? AND seq = ?
     UNION ALL SELECT at FROM main.entry WHERE actor = ? AND seq = ?`,
  );
  const addRecord = db.query(
    `INSERT INTO temp.tail_actor (id, ${columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  for (const r of records.values()) {
    const endedAt = r.live ? 0 : (timeOf.get(r.actor, r.seq, r.actor, r.seq)?.at ?? 0);
    const id = idOf.get(r.actor)?.id ?? ++last;
    addRecord.run(id, r.actor, r.kind, r.version, r.seq, r.live, r.spec, r.snapshot, endedAt);
  }
  // Some may be in the tables already: they go there in parts.
  db.run(`CREATE TEMP VIEW entry AS
    SELECT cursor, actor, kind, seq, at, event FROM main.entry
    UNION ALL SELECT cursor, actor, kind, seq, at, event FROM temp.tail_entry AS t
      WHERE NOT EXISTS (SELECT 1 FROM main.entry AS e WHERE e.cursor = t.cursor)`);
  db.run(`CREATE TEMP VIEW actor AS
    SELECT id, ${columns} FROM main.actor AS a
      WHERE NOT EXISTS (SELECT 1 FROM temp.tail_actor AS t WHERE t.actor = a.actor)
    UNION ALL SELECT id, ${columns} FROM temp.tail_actor`);
}
