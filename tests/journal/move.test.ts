/** Journals of different kinds, moved from one to the other by the command that operators use. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { memoryJournal } from '../../src/journal/memory.ts';
import { compareJournals, moveJournal } from '../../src/journal/move.ts';
import { redisJournal } from '../../src/journal/redis.ts';
import { sqliteJournal } from '../../src/journal/sqlite.ts';
import type { Journal } from '../../src/journal.ts';
import { silentLog } from '../../src/log.ts';
import { entry, record } from '../contracts/journal.ts';
import { type RedisServer, redisServer } from './redis-server.ts';

const script = join(import.meta.dir, '..', '..', 'scripts', 'journal-move.ts');
const ACTORS = 40;
const ROUNDS = 60;
/** Far less than there are, so that most are only in the actors' own histories. */
const EVENTS_MAX = 100;

let server: RedisServer;
let dir: string;
beforeAll(async () => {
  server = await redisServer();
  dir = mkdtempSync(join(tmpdir(), 'move-'));
}, 60_000);
afterAll(async () => {
  await server.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Many lives, woven into each other; every third has ended. */
async function live(journal: Journal): Promise<void> {
  for (let seq = 1; seq <= ROUNDS; seq++) {
    const actors = Array.from({ length: ACTORS }, (_, i) => `task:${(i * 7) % ACTORS}`);
    await journal.append({
      entries: actors.map((actor) => entry(actor, seq, { round: seq })),
      records: actors.map((actor, i) => record(actor, seq, { live: i % 3 > 0 || seq < ROUNDS })),
    });
  }
}

function move(from: string, to: string) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, script, from, to]);
  return { exitCode, said: stdout.toString(), told: stderr.toString() };
}

test('[J21] from a file to Redis and back, with every cursor, although the feed of Redis is short', async () => {
  const [first, last] = [join(dir, 'first.db'), join(dir, 'last.db')];
  const source = await sqliteJournal({ path: first, clock: systemClock });
  await live(source);
  await source.close();
  const prefix = 'moved';
  const shared = { url: server.path, prefix, clock: systemClock, log: silentLog, onLost: () => {} };
  const short = await redisJournal({ ...shared, eventsMax: EVENTS_MAX });
  const again = await sqliteJournal({ path: first, clock: systemClock });
  await moveJournal(again, short, () => {});
  await again.close();
  expect(Number(server.cli('xlen', `${prefix}:events`))).toBeLessThan(ACTORS * ROUNDS);
  await short.close();
  const { exitCode, said } = move(`unix://${server.path}#${prefix}`, last);
  expect(said).toBe(`${ACTORS * ROUNDS} entries and ${ACTORS} actors copied, 0 differences\n`);
  expect(exitCode).toBe(0);
  const copy = await sqliteJournal({ path: last, clock: systemClock });
  expect((await copy.feed(0, 1))[0]).toEqual({ ...entry('task:0', 1, { round: 1 }), cursor: 1 });
  expect(await copy.cursor()).toBe(ACTORS * ROUNDS);
  expect(await copy.append({ entries: [entry('task:0', ROUNDS + 1)], records: [] })).toBe(
    ACTORS * ROUNDS + 1,
  );
  await copy.close();
});

test('[J21] what is archived comes along as it lay there, also of a name that lives again', async () => {
  const [path, prefix] = [join(dir, 'archived.db'), 'archived'];
  const from = await sqliteJournal({ path, clock: systemClock });
  await live(from);
  const ended = await from.expired(Number.MAX_SAFE_INTEGER, ACTORS);
  const [reborn = '', ...gone] = ended;
  await from.archive([...gone].reverse());
  await from.archive([reborn]);
  await from.append({ entries: [entry(reborn, ROUNDS + 1)], records: [record(reborn, ROUNDS + 1)] });
  await from.close();
  expect(move(path, `unix://${server.path}#${prefix}`).said).toContain(' 0 differences');
  const back = join(dir, 'archived-back.db');
  expect(move(`unix://${server.path}#${prefix}`, back).said).toContain(' 0 differences');
  const copy = await sqliteJournal({ path: back, clock: systemClock });
  const lying = await copy.records({ archived: true, limit: ACTORS });
  expect(lying.map(({ actor }) => actor)).toEqual(gone);
  expect(await copy.history(gone[0] as string, 1, 1_000)).toHaveLength(ROUNDS);
  expect(await copy.history(reborn, 1, 1_000)).toHaveLength(ROUNDS + 1);
  await copy.close();
});

test('[J21] an interrupted move goes on, and what is not its copy is refused', async () => {
  const from = memoryJournal();
  await live(from);
  const to = memoryJournal();
  let appended = 0;
  to.knobs.beforeWrite = async () => {
    if (++appended > 4) to.knobs.away = 'the cable is out';
  };
  await expect(moveJournal(from, to, () => {})).rejects.toThrow('the cable is out');
  to.knobs.away = null;
  to.knobs.beforeWrite = null;
  expect(await to.cursor()).toBeGreaterThan(0);
  expect(await moveJournal(from, to, () => {})).toEqual({ entries: ACTORS * ROUNDS, records: ACTORS });
  expect(await compareJournals(from, to)).toEqual([]);
  const other = memoryJournal();
  await other.append({ entries: [entry('task:0', 1, { round: 'not ours' })], records: [] });
  await expect(moveJournal(from, other, () => {})).rejects.toThrow('holds something else');
});

test('[J21] a difference is found and named', async () => {
  const [from, to] = [memoryJournal(), memoryJournal()];
  await live(from);
  await moveJournal(from, to, () => {});
  await to.append({ entries: [], records: [record('task:7', 1)] });
  await to.append({ entries: [entry('task:7', ROUNDS + 1)], records: [] });
  expect(await compareJournals(from, to)).toEqual([
    'the newest cursor is not the same',
    'task:7: its record is not the same',
    'task:7: its entries from 1 on are not the same',
  ]);
});

test('[J28] an empty FROM is refused by name, and nothing is written', async () => {
  const before = server.cli('keys', '*');
  const target = join(dir, 'never.db');
  const wrong = (from: string, to: string, why: string): void => {
    const { exitCode, told } = move(from, to);
    expect(told).toContain(why);
    expect(told).not.toContain('    at ');
    expect(exitCode).toBe(1);
  };
  wrong(`unix://${server.path}#mistyped`, target, 'prefix mistyped, holds nothing; is the name right?');
  wrong(`unix://${server.path}#two words`, target, '"two words" is not 1 to 64 letters');
  wrong(`unix://${server.path}#moved`, `unix://${server.path}#moved`, 'FROM and TO are the same journal');
  expect(server.cli('keys', '*')).toBe(before);
  const empty = join(dir, 'empty.db');
  await (await sqliteJournal({ path: empty, clock: systemClock })).close();
  wrong(empty, target, `the file ${empty}, holds nothing`);
  writeFileSync(join(dir, 'nothing.db'), '');
  wrong(join(dir, 'nothing.db'), target, 'holds nothing');
  writeFileSync(join(dir, 'diary.db'), 'this is a diary\n'.repeat(64));
  wrong(join(dir, 'diary.db'), target, 'cannot be read as a journal');
  wrong(dir, target, `${dir} is a directory`);
  wrong(join(dir, 'first.db'), dir, `${dir} is a directory`);
  wrong(join(dir, 'first.db'), `${dir}/../${basename(dir)}/first.db`, 'the same journal');
  expect(existsSync(target)).toBe(false);
  expect(readFileSync(join(dir, 'nothing.db'), 'utf8')).toBe('');
});

test('[J28] a check of a journal without any actor says so and fails', async () => {
  const check = (AGENTIC_REDIS_PREFIX: string) => {
    const script = join(import.meta.dir, '..', '..', 'scripts', 'actor-verify.ts');
    const env = { PATH: process.env['PATH'] ?? '', REDIS_URL: `unix://${server.path}`, AGENTIC_REDIS_PREFIX };
    return Bun.spawnSync([process.execPath, script], { env });
  };
  const { exitCode, stdout, stderr } = check('mistyped');
  expect(stderr.toString()).toContain('prefix mistyped) has no actor; is the name right?');
  expect(stdout.toString()).toBe('');
  expect(exitCode).toBe(1);
});

test('[J21] the command says what is wrong with its words', async () => {
  expect(move('--help', '').said).toContain('Usage:');
  expect(move(join(dir, 'nowhere.db'), join(dir, 'x.db')).told).toContain('there is no such file');
  const { exitCode, told } = move(join(dir, 'first.db'), 'redis://127.0.0.1:1');
  expect(told).toContain('127.0.0.1:1');
  expect(exitCode).toBe(1);
});
