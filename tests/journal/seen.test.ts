/**
 * The journal that a server names is not the one it had: how that is noticed, and what goes on regardless.
 */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SimulatedClock } from 'xstate';
import type { JournalPlace } from '../../src/config.ts';
import { Failure } from '../../src/failure.ts';
import { memoryJournal } from '../../src/journal/memory.ts';
import { remembered } from '../../src/journal/seen.ts';
import type { Journal } from '../../src/journal.ts';
import { jsonLog } from '../../src/log.ts';
import { entry } from '../contracts/journal.ts';
import { until } from './writing.ts';

let dir: string;
let path: string;
let clock: SimulatedClock;
let said: string[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'seen-'));
  path = join(dir, 'journal.seen');
  clock = new SimulatedClock();
  said = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const file: JournalPlace = { kind: 'sqlite', path: '/data/journal.db' };
const redis: JournalPlace = { kind: 'redis', url: 'redis://me:geheim@redis.example:6380/2', prefix: 'mine' };

function open(journal: Journal, { place = file, isAnew = false } = {}): Promise<Journal> {
  const log = jsonLog({ clock, level: 'debug', write: (line) => void said.push(line) });
  return remembered(journal, { path, place, isAnew, clock, log });
}

const seen = () => JSON.parse(readFileSync(path, 'utf8'));
const one = (seq: number) => ({ entries: [entry('a', seq)], records: [] });

/** A journal with so many entries. */
async function journalOf(entries: number) {
  const journal = memoryJournal();
  for (let seq = 1; seq <= entries; seq++) await journal.append(one(seq));
  return journal;
}

const refusal = (opening: Promise<unknown>): Promise<Failure> =>
  opening.then(
    () => Promise.reject(new Error('it was not refused')),
    (thrown) => thrown as Failure,
  );

test('[J27] how far the journal is stands beside it: at the start, soon after a write, and at the end', async () => {
  const journal = await open(await journalOf(3));
  expect(seen()).toEqual({ cursor: 3, journal: 'the file /data/journal.db' });
  await journal.append(one(4));
  await journal.append(one(5));
  expect(seen().cursor).toBe(3);
  clock.increment(10_000);
  await until(() => seen().cursor === 5, 'it to be written');
  await journal.append(one(6));
  await journal.close();
  expect(seen().cursor).toBe(6);
  expect(existsSync(`${path}.new`)).toBe(false);
});

test('[J27] it is never ahead of what is durable', async () => {
  const inner = await journalOf(1);
  const journal = await open(inner);
  inner.knobs.away = 'the disk is full';
  await expect(journal.append(one(2))).rejects.toThrow('the disk is full');
  clock.increment(10_000);
  await journal.close();
  expect(seen().cursor).toBe(1);
});

test('[J27] a journal with less than was seen is refused, with both by name and without a password', async () => {
  await (await open(await journalOf(7), { place: redis })).close();
  const empty = memoryJournal();
  const refused = await refusal(open(empty));
  expect(refused).toBeInstanceOf(Failure);
  expect(refused.code).toBe('wrong-state');
  expect(refused.message).toContain('(the file /data/journal.db) is at 0');
  expect(refused.message).toContain('has seen 7 in its journal (Redis at redis.example:6380/2, prefix mine)');
  for (const cure of ['REDIS_URL', 'journal:move', 'AGENTIC_JOURNAL_ANEW=1', 'put that journal back'])
    expect(refused.message).toContain(cure);
  expect(readFileSync(path, 'utf8') + refused.message).not.toContain('geheim');
  await expect(empty.cursor()).rejects.toThrow('closed');
  expect(seen().cursor).toBe(7);
  expect((await refusal(open(await journalOf(6)))).code).toBe('wrong-state');
  await (await open(await journalOf(7))).close();
});

test('[J27] a new beginning is made once it is asked for, and counts from then on', async () => {
  await (await open(await journalOf(7))).close();
  const journal = await open(memoryJournal(), { isAnew: true });
  expect(said.join('')).toContain('gone on with as asked');
  expect(seen().cursor).toBe(0);
  await journal.append(one(1));
  await journal.close();
  await (await open(await journalOf(1))).close();
  expect((await refusal(open(memoryJournal()))).message).toContain('has seen 1');
});

test('[J27] what was seen cannot be read or written: that is said, and the server goes on', async () => {
  writeFileSync(path, '{"cursor":');
  await (await open(await journalOf(2))).close();
  expect(said.join('')).toContain('cannot be read');
  expect(seen().cursor).toBe(2);
  mkdirSync(`${path}.new`);
  const journal = await open(await journalOf(2));
  await journal.append(one(3));
  await journal.close();
  expect(said.filter((line) => line.includes('cannot be written'))).toHaveLength(1);
});
