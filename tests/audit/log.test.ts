/** The chain on disk: what is written, what a crash leaves, and what a forger cannot do unseen. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { auditLog } from '../../src/audit/log.ts';
import { verifyAudit } from '../../src/audit/verify.ts';
import type { Audit, AuditNote, AuditQuery, AuditRecord } from '../../src/audit.ts';
import type { Clock } from '../../src/clock.ts';
import { silentLog } from '../../src/log.ts';

const DAY_MS = 86_400_000;

let dir: string;
let now: number;
let clock: Clock;
const open: Audit[] = [];
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'audit-')), 'audit');
  now = Date.parse('2026-03-01T12:00:00Z');
  clock = { now: () => now, setTimeout: () => null, clearTimeout() {} };
});
afterEach(async () => {
  for (const audit of open.splice(0)) await audit.close().catch(() => {});
  rmSync(join(dir, '..'), { recursive: true, force: true });
});

async function begin(options: Partial<Parameters<typeof auditLog>[0]> = {}): Promise<Audit> {
  const audit = await auditLog({ dir, clock, log: silentLog, keepDays: 90, ...options });
  open.push(audit);
  return audit;
}

const note = (route: string, more: Partial<AuditNote> = {}): AuditNote => ({
  door: 'http',
  caller: { name: 'ada', role: 'admin', via: 'token', id: 't1' },
  from: '127.0.0.1',
  proxied: false,
  method: 'POST',
  route,
  params: {},
  outcome: 'done',
  status: 200,
  code: null,
  ms: 3,
  ...more,
});

const days = (): string[] => readdirSync(dir).filter((name) => name.endsWith('.jsonl'));
const fileOf = (name = days().sort().at(-1) ?? ''): string => join(dir, name);
const linesOf = (path: string): string[] => readFileSync(path, 'utf8').split('\n').slice(0, -1);
const recordsOf = (path: string): AuditRecord[] => linesOf(path).map((line) => JSON.parse(line));
const put = (path: string, lines: readonly string[]): void => writeFileSync(path, `${lines.join('\n')}\n`);
const all: AuditQuery = {
  before: null,
  limit: 100,
  caller: null,
  route: null,
  outcome: null,
  since: null,
  until: null,
};

/** Three records, closed. */
async function three(): Promise<string> {
  const audit = await begin();
  for (const route of ['/a', '/b', '/c']) await audit.note(note(route));
  await audit.close();
  expect((await verifyAudit(dir)).broken).toBeNull();
  return fileOf();
}

describe('a record', () => {
  test('[O1] is on the disk, whole, chained and private, when it is said to be noted', async () => {
    const audit = await begin();
    await audit.note(note('/api/v1/tasks', { params: { id: 'x' } }));
    const [record] = recordsOf(fileOf('2026-03-01.jsonl'));
    expect(record).toMatchObject({ seq: 1, at: '2026-03-01T12:00:00.000Z', prev: '0'.repeat(64) });
    expect(record).toMatchObject({ ...note('/api/v1/tasks'), params: { id: 'x' } });
    const [line = ''] = linesOf(fileOf());
    const body = `${line.slice(0, line.lastIndexOf(',"hash"'))}}`;
    expect(body).toContain('"prev"');
    expect(record?.hash).toBe(createHash('sha256').update(body).digest('hex'));
    expect(statSync(fileOf()).mode & 0o777).toBe(0o600);
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    await audit.close();
    expect(statSync(join(dir, 'head.json')).mode & 0o777).toBe(0o600);
  });

  test('[O1] of many at once has its own place, and the chain goes on over days and restarts', async () => {
    let audit = await begin();
    await Promise.all(Array.from({ length: 700 }, (_, i) => audit.note(note(`/r/${i}`))));
    now += DAY_MS;
    await audit.note(note('/next-day'));
    await audit.close();
    audit = await begin();
    now -= 3 * DAY_MS; // A clock that is set back.
    await audit.note(note('/restarted'));
    await audit.close();
    expect(days().sort()).toEqual(['2026-03-01.jsonl', '2026-03-02.jsonl']);
    const found = days()
      .sort()
      .flatMap((name) => recordsOf(fileOf(name)));
    expect(found.map(({ seq }) => seq)).toEqual(Array.from({ length: 702 }, (_, i) => i + 1));
    expect(found.map(({ route }) => route).slice(-3)).toEqual(['/r/699', '/next-day', '/restarted']);
    expect(await verifyAudit(dir)).toMatchObject({ records: 702, files: 2, broken: null });
  });

  test('[O1] holds no token, even where somebody typed one for a name', async () => {
    const audit = await begin();
    const token = `asb_${'x'.repeat(43)}`;
    await audit.note(note('/api/v1/tokens/:id', { params: { id: token, long: 'y'.repeat(5_000) } }));
    const text = readFileSync(fileOf(), 'utf8');
    expect(text).not.toContain(token);
    expect(text).toContain('[redacted]');
    expect(text.length).toBeLessThan(1_000);
  });
});

describe('a forger', () => {
  const broken = async (): Promise<string> => String((await verifyAudit(dir)).broken);
  const resealed = (record: AuditRecord): string => {
    const { hash: _, ...rest } = record;
    const body = JSON.stringify(rest);
    const hash = createHash('sha256').update(body).digest('hex');
    return `${body.slice(0, -1)},"hash":"${hash}"}`;
  };

  test('[O2] who changes a record is found, also when its own hash is made anew', async () => {
    const path = await three();
    const lines = linesOf(path);
    put(path, [lines[0] ?? '', (lines[1] ?? '').replace('"/b"', '"/x"'), lines[2] ?? '']);
    expect(await broken()).toContain(`${path}:2: the record after 1 was changed`);
    const second = { ...(JSON.parse(lines[1] ?? '') as AuditRecord), route: '/x' };
    put(path, [lines[0] ?? '', resealed(second), lines[2] ?? '']);
    expect(await broken()).toContain('record 3 does not follow the 2 before it');
    // The hole of the earlier system: another past, and a hash that did not speak of it.
    const third = { ...(JSON.parse(lines[2] ?? '') as AuditRecord), prev: 'f'.repeat(64) };
    put(path, [lines[0] ?? '', lines[1] ?? '', JSON.stringify(third)]);
    expect(await broken()).toContain('the record after 2 was changed');
  });

  test('[O2] who removes, moves or doubles one is found', async () => {
    const path = await three();
    const [a = '', b = '', c = ''] = linesOf(path);
    put(path, [a, c]);
    expect(await broken()).toContain('record 2 is missing; 3 follows 1');
    put(path, [a, c, b]);
    expect(await broken()).toContain('record 2 is missing');
    put(path, [a, b, b, c]);
    expect(await broken()).toContain('record 2 stands after 2');
    put(path, [b, c]);
    expect(await broken()).toContain('the records before 2 are missing');
  });

  test('[O2] who cuts the end is found by the head beside it, by one kept elsewhere, and by the next start', async () => {
    const path = await three();
    const { head } = await verifyAudit(dir);
    const [a = '', b = ''] = linesOf(path);
    put(path, [a, b]);
    expect(await broken()).toContain('head.json knows of record 3; the log ends with 2: its end was cut');
    rmSync(join(dir, 'head.json'));
    expect((await verifyAudit(dir)).broken).toBeNull();
    expect((await verifyAudit(dir, head)).broken).toContain('the given head knows of record 3');
    writeFileSync(join(dir, 'head.json'), JSON.stringify(head));
    const audit = await begin();
    await audit.note(note('/d'));
    await audit.close();
    expect(await broken()).toContain('says that the records up to 3 were missing when the server started');
  });

  test('[O20] who writes the end anew while no server runs is found, also after the next start', async () => {
    const path = await three();
    const [a = '', b = '', c = ''] = linesOf(path);
    const third = resealed({ ...(JSON.parse(c) as AuditRecord), route: '/x' });
    const { hash: prev } = JSON.parse(third) as AuditRecord;
    const fourth = resealed({ ...(JSON.parse(third) as AuditRecord), seq: 4, prev });
    for (const lines of [
      [a, b, third],
      [a, b, third, fourth],
    ]) {
      writeFileSync(
        join(dir, 'head.json'),
        JSON.stringify({ seq: 3, hash: (JSON.parse(c) as AuditRecord).hash }),
      );
      put(path, lines);
      expect(await broken()).toContain('record 3 is another than that of head.json');
      const audit = await begin();
      await audit.note(note('/d'));
      await audit.close();
      expect(await broken()).toContain('says that record 3 was another when the server started');
    }
  });

  test('[O2] who writes a whole new past is found by a head that was kept elsewhere', async () => {
    await three();
    const { head } = await verifyAudit(dir);
    rmSync(dir, { recursive: true });
    const audit = await begin();
    for (const route of ['/a', '/x', '/c', '/d']) await audit.note(note(route));
    await audit.close();
    expect((await verifyAudit(dir)).broken).toBeNull();
    expect((await verifyAudit(dir, head)).broken).toContain(
      'record 3 is another than that of the given head',
    );
  });

  test('[O2] the command says what is whole, names what is not, and ends with 1', async () => {
    const path = await three();
    const script = resolve(import.meta.dir, '..', '..', 'scripts', 'audit-verify.ts');
    const run = (...words: string[]) => {
      const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, script, ...words], {
        env: { AGENTIC_DATA_DIR: join(dir, '..') },
      });
      return { exitCode, said: stdout.toString() + stderr.toString() };
    };
    const { head } = await verifyAudit(dir);
    expect(run()).toEqual({
      exitCode: 0,
      said: `3 records, 1 to 3, in 1 files: whole\nhead 3:${head.hash}\n`,
    });
    expect(run(dir, '--head', `3:${head.hash}`).exitCode).toBe(0);
    put(path, linesOf(path).slice(1));
    expect(run(dir)).toMatchObject({ exitCode: 1, said: expect.stringContaining('before 2 are missing') });
    expect(run('--wrong').exitCode).toBe(64);
    expect(run(join(dir, 'nowhere'))).toMatchObject({ exitCode: 1 });
  });
});

describe('a crash', () => {
  test('[O3] that left half a line: it is cut, the cut is noted, and the chain is whole', async () => {
    const path = await three();
    const half = '{"seq":4,"at":"2026-03-01T12';
    appendFileSync(path, half);
    const audit = await begin();
    await audit.note(note('/d'));
    await audit.close();
    const found = recordsOf(path);
    expect(found.map(({ seq, method }) => [seq, method]).slice(-2)).toEqual([
      [4, 'mended'],
      [5, 'POST'],
    ]);
    expect(found[3]?.params).toEqual({ cut_bytes: String(half.length) });
    expect((await verifyAudit(dir)).broken).toBeNull();
  });

  test('[O3] before the head was told leaves a log that is ahead of it, which is sound', async () => {
    const path = await three();
    copyFileSync(join(dir, 'head.json'), join(dir, 'old.json'));
    const audit = await begin();
    await audit.note(note('/d'));
    await audit.close();
    renameSync(join(dir, 'old.json'), join(dir, 'head.json'));
    expect((await verifyAudit(dir)).broken).toBeNull();
    expect(linesOf(path)).toHaveLength(4);
  });

  test('[O3] a last record that is damaged keeps the server from starting', async () => {
    const path = await three();
    put(path, [...linesOf(path).slice(0, 2), '{"seq":3}']);
    const thrown = await begin().catch((one: unknown) => one);
    expect(thrown).toMatchObject({ code: 'wrong-state' });
    expect(String(thrown)).toContain('audit:verify');
  });
});

describe('a log that cannot be written', () => {
  test('[O4] says so before anything is done, and what is owed comes first when it can be written again', async () => {
    const audit = await begin();
    await audit.note(note('/a'));
    await audit.ready();
    renameSync(dir, `${dir}.away`);
    writeFileSync(dir, 'in the way');
    await expect(audit.note(note('/b'))).rejects.toMatchObject({ code: 'audit-away' });
    await expect(audit.ready()).rejects.toMatchObject({ code: 'audit-away' });
    rmSync(dir);
    renameSync(`${dir}.away`, dir);
    await audit.ready();
    await audit.note(note('/c'));
    expect(recordsOf(fileOf()).map(({ route }) => route)).toEqual(['/a', '/b', '/c']);
    await audit.close();
    expect((await verifyAudit(dir)).broken).toBeNull();
  });

  test('[O4] a file that is removed or cut under the server is noticed, and the chain shows it', async () => {
    const audit = await begin();
    await audit.note(note('/a'));
    rmSync(fileOf());
    await expect(audit.note(note('/b'))).rejects.toThrow('removed or cut');
    await audit.ready();
    await audit.close();
    expect((await verifyAudit(dir)).broken).toContain('the records before 2 are missing');
  });

  test('[O4] keeps a bounded number of refusals, counts the others, and notes the count', async () => {
    const audit = await begin({ refusals: { perSecond: 1, burst: 3 } });
    for (let i = 0; i < 50; i++) audit.refused(note('/x', { outcome: 'refused', status: 401 }));
    await audit.close();
    const found = recordsOf(fileOf());
    expect(found.filter(({ status }) => status === 401)).toHaveLength(3);
    const counted = found.filter(({ method }) => method === 'omitted').map(({ params }) => params['records']);
    expect(counted.reduce((sum, one) => sum + Number(one), 0)).toBe(47);
  });

  test('[O4] a clock that is set back hides no refusal', async () => {
    const audit = await begin({ refusals: { perSecond: 1, burst: 3 } });
    audit.refused(note('/x', { outcome: 'refused', status: 401 }));
    now -= DAY_MS;
    for (let i = 0; i < 2; i++) audit.refused(note('/x', { outcome: 'refused', status: 401 }));
    await audit.close();
    expect(recordsOf(fileOf()).filter(({ status }) => status === 401)).toHaveLength(3);
  });
});

describe('retention', () => {
  test('[O5] removes whole days, notes it, and the chain is whole without them, also by an old head', async () => {
    let audit = await begin({ keepDays: 2 });
    let head = { seq: 0, hash: '' };
    for (let day = 0; day < 6; day++) {
      await audit.note(note(`/day/${day}`));
      ({ head } = await audit.read(all));
      now += DAY_MS;
    }
    await audit.close();
    audit = await begin({ keepDays: 2 });
    await audit.note(note('/later'));
    await audit.close();
    expect(days().sort()[0]).toBe('2026-03-05.jsonl');
    const verdict = await verifyAudit(dir, head);
    expect(verdict.broken).toBeNull();
    expect(verdict.first).toBeGreaterThan(1);
    // One day more, taken by hand, is missing.
    rmSync(fileOf('2026-03-05.jsonl'));
    expect((await verifyAudit(dir)).broken).toContain('are missing, and none says that they were retired');
  });
});

describe('reading', () => {
  test('[O6] gives pages newest first, by caller, route, outcome and time, over days', async () => {
    const audit = await begin();
    for (let i = 0; i < 300; i++) {
      const name = i % 3 === 0 ? 'bob' : 'ada';
      const caller = { name, role: 'admin', via: 'token', id: name } as const;
      const outcome = i % 10 === 0 ? 'refused' : 'done';
      await audit.note(note(`/api/v1/${i % 2 ? 'tasks' : 'hitl'}/:id`, { caller, outcome }));
      if (i === 149) now += DAY_MS;
    }
    const seqs: number[] = [];
    for (let before: number | null = null; ; ) {
      const page = await audit.read({ ...all, limit: 70, before });
      seqs.push(...page.records.map(({ seq }) => seq));
      before = page.before;
      if (before === null) break;
    }
    expect(seqs).toEqual(Array.from({ length: 300 }, (_, i) => 300 - i));
    const count = async (query: Partial<AuditQuery>) =>
      (await audit.read({ ...all, limit: 1_000, ...query })).records.length;
    expect(await count({ caller: 'bob' })).toBe(100);
    expect(await count({ route: '/api/v1/tasks/:id' })).toBe(150);
    expect(await count({ route: '/api/v1/*' })).toBe(300);
    expect(await count({ outcome: 'refused' })).toBe(30);
    expect(await count({ since: now })).toBe(150);
    expect(await count({ until: now })).toBe(150);
    expect(await count({ caller: 'bob', outcome: 'refused', since: now })).toBe(5);
  });

  test('[O6] finds its place in a long file', async () => {
    const audit = await begin();
    await Promise.all(Array.from({ length: 5_000 }, (_, i) => audit.note(note(`/r/${i}`))));
    for (const before of [1, 2, 777, 2_500, 4_999, 5_001]) {
      const page = await audit.read({ ...all, before, limit: 3 });
      const wanted = [before - 1, before - 2, before - 3].filter((seq) => seq > 0);
      expect([before, page.records.map(({ seq }) => seq)]).toEqual([before, wanted]);
    }
  });
});
