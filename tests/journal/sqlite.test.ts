/** The SQLite journal on a real disk, with real processes that are really killed. */
import { Database } from 'bun:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { sqliteJournal } from '../../src/journal/sqlite.ts';
import { steps } from '../../src/journal/sqlite-schema.ts';
import { tailIn } from '../../src/journal/sqlite-tail.ts';
import { entry, journalContract, record } from '../contracts/journal.ts';
import { seqs, until, writer } from './writing.ts';

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'journal-'));
  path = join(dir, 'journal.db');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const open = () => sqliteJournal({ path, clock: systemClock });

journalContract('sqlite', async () => {
  const journal = await open();
  return {
    journal,
    reopen: async () => {
      await journal.close();
      return open();
    },
  };
});

describe('kill -9', () => {
  test('[J10] everything acknowledged before a kill -9 is there afterwards, without a hole', async () => {
    let acknowledged = 0;
    for (let round = 0; round < 3; round += 1) {
      const { child, lines, reading } = writer(path, 'write');
      await until(() => seqs(lines).length > 40, 'forty acknowledged entries');
      child.kill('SIGKILL');
      await child.exited;
      await reading;
      expect(lines[0]).toBe('open');
      const last = seqs(lines).at(-1) ?? 0;
      expect(last).toBeGreaterThan(acknowledged);
      acknowledged = last;
      const journal = await open();
      const seq = (await journal.record('a'))?.seq ?? 0;
      expect(seq).toBeGreaterThanOrEqual(acknowledged);
      const tail = await journal.history('a', Math.max(1, seq - 900), 1_000);
      expect(tail.map((e) => e.seq)).toEqual(tail.map((_, i) => Math.max(1, seq - 900) + i));
      expect(tail.at(-1)?.seq).toBe(seq);
      await journal.close();
    }
  });

  test('[J11] a second server on the file is refused and told who has it, until that is killed', async () => {
    const first = writer(path, 'hold');
    await until(() => first.lines.includes('open'), 'the first server to open');
    const second = writer(path, 'hold');
    expect(await second.child.exited).toBe(3);
    await second.reading;
    expect(second.lines[0]).toStartWith('refused wrong-state');
    expect(second.lines[0]).toContain(`process ${first.child.pid} has it since`);
    expect(second.lines[0]).toContain('stop that server');
    await expect(open()).rejects.toThrow(`process ${first.child.pid} has it`);
    first.child.kill('SIGKILL');
    await first.child.exited;
    await (await open()).close();
  });

  test('[J11] also inside one process', async () => {
    const journal = await open();
    await expect(open()).rejects.toThrow(`process ${process.pid} has it`);
    await journal.append({ entries: [entry('a', 1)], records: [] });
    await journal.close();
  });
});

describe('the write-ahead log', () => {
  /** What the file alone has, as a copy of it would. */
  const alone = (): number => {
    const copy = join(dir, 'copy.db');
    copyFileSync(path, copy);
    const db = new Database(copy);
    try {
      const inTables = db.query<{ n: number }, []>('SELECT count(*) AS n FROM entry').get()?.n ?? 0;
      return inTables + tailIn(db).entries.length;
    } finally {
      db.close();
    }
  };

  test('[J26] the file alone holds everything once nothing was written for a while', async () => {
    const journal = await open();
    for (let seq = 1; seq <= 20; seq++) await journal.append({ entries: [entry('a', seq)], records: [] });
    await until(() => alone() === 20, 'the file to have it all');
    expect(existsSync(`${path}-wal`)).toBe(true);
    await journal.close();
  });

  test('[J26] what a server that was killed left in its log is in the file once the next one is open', async () => {
    const { child, lines, reading } = writer(path, 'write');
    await until(() => seqs(lines).length > 40, 'forty acknowledged entries');
    child.kill('SIGKILL');
    await child.exited;
    await reading;
    const journal = await open();
    expect(alone()).toBe(await journal.cursor());
    await journal.close();
  });

  test('[J26] deleted under a server that writes, it costs nothing that was acknowledged', async () => {
    const { child, lines, reading } = writer(path, 'write');
    await until(() => seqs(lines).length > 20, 'twenty acknowledged entries');
    for (let round = 1; round <= 3; round++) {
      const before = seqs(lines).at(-1) ?? 0;
      rmSync(`${path}-wal`);
      const refusals = () => lines.filter((line) => line.startsWith('journal-away'));
      await until(() => refusals().length === round, 'it to be noticed');
      expect(refusals().at(-1)).toContain(`${path}-wal was moved, replaced or deleted`);
      await until(() => (seqs(lines).at(-1) ?? 0) > before + 20, 'writing to go on');
    }
    child.kill('SIGKILL');
    await child.exited;
    await reading;
    const last = seqs(lines).at(-1) ?? 0;
    expect(seqs(lines)).toEqual(Array.from({ length: last }, (_, i) => i + 1));
    const journal = await open();
    expect((await journal.record('a'))?.seq).toBeGreaterThanOrEqual(last);
    expect((await journal.history('a', 1, 1_000)).map(({ seq }) => seq).slice(0, last)).toEqual(seqs(lines));
    await journal.close();
  });

  test('[J26] deleted under a server that rests, it costs nothing either, and another in its place is not read', async () => {
    const journal = await open();
    await journal.append({ entries: [entry('a', 1)], records: [record('a', 1)] });
    const old = readFileSync(`${path}-wal`);
    await journal.append({ entries: [entry('a', 2)], records: [record('a', 2)] });
    rmSync(`${path}-wal`);
    writeFileSync(`${path}-wal`, old);
    const batch = { entries: [entry('a', 3)], records: [record('a', 3)] };
    expect(await journal.append(batch).catch(String)).toContain('it goes on by itself');
    expect(alone()).toBe(2);
    expect(await journal.append(batch)).toBe(3);
    expect(readFileSync(`${path}-wal.replaced`)).toEqual(old);
    await journal.close();
    expect(alone()).toBe(3);
  });
});

describe('the write-ahead log, while somebody else has the file open', () => {
  /** Idle, as a reader between two looks. */
  const beside = async (test: () => Promise<void>): Promise<void> => {
    const reader = new Database(path, { readonly: true });
    reader.query('SELECT count(*) FROM entry').get();
    try {
      await test();
    } finally {
      reader.close();
    }
  };
  const three = [1, 2, 3].map((seq) => ({ entries: [entry('a', seq)], records: [record('a', seq)] }));

  test('[J26] deleted while something is only in the tail, it costs nothing, and writing goes on', async () => {
    const journal = await open();
    await journal.append(three[0] as (typeof three)[0]);
    await beside(async () => {
      await journal.append(three[1] as (typeof three)[0]);
      rmSync(`${path}-wal`);
      const last = three[2] as (typeof three)[0];
      expect(await journal.append(last).catch(String)).toContain('it goes on by itself');
      expect(await journal.append(last)).toBe(3);
      expect((await journal.history('a', 1, 10)).map(({ seq }) => seq)).toEqual([1, 2, 3]);
    });
    await journal.close();
  });

  test('[J26] deleted before a clean end, it costs nothing', async () => {
    const journal = await open();
    for (const batch of three) await journal.append(batch);
    await beside(async () => {
      rmSync(`${path}-wal`);
      await journal.close();
    });
    const next = await open();
    expect((await next.history('a', 1, 10)).map(({ seq }) => seq)).toEqual([1, 2, 3]);
    await next.close();
  });
});

describe('trouble with the disk', () => {
  test('[J12] a full disk is journal-away, and once there is room it goes on without a restart', async () => {
    const shell = `trap '' XFSZ; ulimit -S -f 400; `;
    const { child, lines, reading } = writer(path, 'write', shell);
    const away = () => lines.find((line) => line.startsWith('journal-away'));
    await until(() => away() !== undefined, 'the disk to be full');
    expect(away()).toContain(path);
    const stuckAt = seqs(lines).at(-1) ?? 0;
    expect(stuckAt).toBeGreaterThan(0);
    expect(Bun.spawnSync(['prlimit', '--pid', String(child.pid), '--fsize=unlimited']).exitCode).toBe(0);
    await until(() => (seqs(lines).at(-1) ?? 0) > stuckAt + 5, 'writing to go on');
    expect(lines.every((l) => /^(open|\d+|journal-away: .*)$/.test(l))).toBe(true);
    child.kill('SIGKILL');
    await child.exited;
    await reading;
    const journal = await open();
    const last = seqs(lines).at(-1) ?? 0;
    expect((await journal.record('a'))?.seq).toBeGreaterThanOrEqual(last);
    expect(seqs(lines)).toEqual(Array.from({ length: last }, (_, i) => i + 1));
    await journal.close();
  });

  test('[J12] a journal that was moved away is journal-away until it is put back', async () => {
    const journal = await open();
    await journal.append({ entries: [entry('a', 1)], records: [record('a', 1)] });
    renameSync(path, `${path}.elsewhere`);
    const refused = await journal.append({ entries: [entry('a', 2)], records: [] }).catch(String);
    expect(refused).toContain('moved, replaced or deleted');
    renameSync(`${path}.elsewhere`, path);
    expect(await journal.append({ entries: [entry('a', 2)], records: [] })).toBe(2);
    await journal.close();
  });

  test('[J12] a disk that refuses already when it is opened: the cure is not to wait', async () => {
    const said = await sqliteJournal({ path: '/dev/null/journal.db', clock: systemClock }).catch(String);
    expect(said).toContain('then start again');
    expect(said).not.toContain('by itself');
  });

  test('[J13] a damaged, a foreign and a newer file are refused by name, and left as they are', async () => {
    writeFileSync(path, 'this is a diary, not a database\n'.repeat(64));
    await expect(open()).rejects.toThrow(path);
    rmSync(path);
    const foreign = new Database(path, { create: true });
    foreign.run('CREATE TABLE theirs (x)');
    foreign.close();
    await expect(open()).rejects.toThrow('some other SQLite file');
    rmSync(path);
    await (await open()).close();
    const newer = new Database(path);
    newer.run('PRAGMA user_version = 99');
    newer.close();
    await expect(open()).rejects.toThrow('schema 99');
    expect(new Database(path, { readonly: true }).query('PRAGMA user_version').get()).toEqual({
      user_version: 99,
    });
  });
});

describe('the file', () => {
  test('[J14] it is private, can be read while in use, and is one file again after a clean end', async () => {
    const journal = await open();
    await journal.append({ entries: [entry('a', 1)], records: [record('a', 1)] });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const reader = new Database(path, { readonly: true });
    const rows = () => reader.query('SELECT actor, seq FROM entry').all();
    await until(() => rows().length > 0, 'the tables to have it');
    expect(rows()).toEqual([{ actor: 'a', seq: 1 }]);
    reader.close();
    await journal.close();
    expect(existsSync(`${path}-wal`)).toBe(false);
  });

  test('[J14] it remembers which schema steps it went through', async () => {
    await (await open()).close();
    const db = new Database(path, { readonly: true });
    expect(
      db.query<{ version: number; name: string }, []>('SELECT version, name FROM schema_step').all(),
    ).toEqual([
      { version: 1, name: 'entries and actors' },
      { version: 2, name: 'archive' },
      { version: 3, name: 'tail' },
    ]);
    db.close();
  });

  test('[J14] a file from before the archive knows when its actors ended once it is opened', async () => {
    const old = new Database(path, { create: true });
    for (const sql of steps[0]?.sql ?? []) old.run(sql);
    old.run(
      'CREATE TABLE schema_step (version INTEGER PRIMARY KEY, name TEXT NOT NULL, at INTEGER NOT NULL)',
    );
    old.run("INSERT INTO schema_step VALUES (1, 'entries and actors', 0)");
    old.run('PRAGMA application_id = 0x4167534a');
    old.run('PRAGMA user_version = 1');
    for (const [actor, live, at] of [
      ['a', 0, 500],
      ['b', 0, 700],
      ['c', 1, 100],
    ] as const) {
      old.run("INSERT INTO entry (actor, kind, seq, at, event) VALUES (?, 'task', 1, ?, '{}')", [actor, at]);
      const columns = 'actor, kind, version, seq, live, spec, snapshot';
      old.run(`INSERT INTO actor (${columns}) VALUES (?, 'task', 1, 1, ?, '{}', '{}')`, [actor, live]);
    }
    old.close();
    const journal = await open();
    expect(await journal.expired(700, 10)).toEqual(['a']);
    expect(await journal.expired(701, 10)).toEqual(['a', 'b']);
    expect((await journal.live()).map(({ actor }) => actor)).toEqual(['c']);
    await journal.close();
  });
});
