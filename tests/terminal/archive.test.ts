/** Recordings looked at from outside: exported, read as text, searched, counted and removed. */
import { afterEach, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CastWish, Recordings, SearchWish } from '../../src/recordings.ts';
import type { Terminal } from '../../src/terminal.ts';
import { type Ground, ground, id } from './ground.ts';

let on: Ground;
afterEach(() => on.remove());

const pty = { cols: 40, rows: 6, pty: true };
const piped = { cols: 40, rows: 6, pty: false };
const stay = new AbortController().signal;
const whole: CastWish = { title: null, command: null, from: null, to: null, idleLimit: null };
const recordings = (): Recordings => on.plane.recordings;

async function joined(pieces: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const piece of pieces) text += piece;
  return text;
}

type Event = readonly [number, 'o' | 'r' | 'm', string];

async function castOf(session: string, wish: Partial<CastWish> = {}) {
  const text = await joined(await recordings().cast(id(session), { ...whole, ...wish }, stay));
  expect(text.endsWith('\n')).toBe(true);
  const [header = '', ...events] = text.trimEnd().split('\n');
  return {
    header: JSON.parse(header) as Record<string, unknown>,
    events: events.map((line) => JSON.parse(line) as Event),
    said: () => events.flatMap((line) => (JSON.parse(line)[1] === 'o' ? [JSON.parse(line)[2]] : [])).join(''),
  };
}

const textOf = async (session: string) => await joined(await recordings().text(id(session)));

test('[T15] an asciicast has every character whole, however it was cut, sizes, gaps, and times that grow', async () => {
  on = ground();
  const terminal = on.plane.open(id('s'), pty);
  const said = Buffer.from('größe 漢字 🙂\r\n"quoted" \x1b[31mred\x1b[0m\r\n'.repeat(50));
  for (let at = 0; at < said.length; at += 3) terminal.output('stdout', said.subarray(at, at + 3), at);
  terminal.resized(100, 30);
  terminal.output('stdout', Buffer.from([0xff, 0x41, 0xc3]), null);
  terminal.output('stdout', Buffer.from('after'), said.length + 3 + 7);
  const { header, events, said: text } = await castOf('s', { title: 'work', command: 'bash -l' });
  expect(header).toMatchObject({ version: 2, width: 40, height: 6, title: 'work', command: 'bash -l' });
  expect(Number.isInteger(header['timestamp'])).toBe(true);
  expect(header['env']).toEqual({ TERM: 'xterm-256color' });
  expect(text()).toBe(`${said.toString()}\ufffdA\ufffdafter`);
  expect(events.filter(([, code]) => code === 'r').map(([, , data]) => data)).toEqual(['100x30']);
  const marker = events.find(([, code]) => code === 'm');
  expect(marker?.[2]).toContain('7 bytes missing');
  const times = events.map(([seconds]) => seconds);
  expect(times).toEqual(times.toSorted((a, b) => a - b));
});

test('[T15] one that begins later begins with the screen there, and ends at the same screen', async () => {
  on = ground();
  let terminal = on.plane.open(id('s'), pty);
  for (let i = 0; i < 400; i++)
    terminal.output('stdout', Buffer.from(`\x1b[3${i % 8}mline ${i}\x1b[K\r\n`), null);
  terminal.resized(50, 8);
  await Bun.sleep(20);
  terminal.output('stdout', Buffer.from('\x1b[2;5Hlate'), null);
  const truth = await terminal.screen();
  const { marks } = await recordings().marks(id('s'), 0);
  const cast = await castOf('s', { from: { at: (marks.at(-1)?.at ?? 0) + 10 }, idleLimit: 0.005 });
  expect(cast.header).toMatchObject({ width: 50, height: 8, idle_time_limit: 0.005 });
  expect(cast.events).toHaveLength(2);
  expect(cast.events[0]?.[0]).toBe(0);
  expect(cast.events[1]?.[0]).toBeLessThanOrEqual(0.005);
  expect(cast.events[1]?.[2]).toBe('\x1b[2;5Hlate');
  terminal = on.plane.open(id('again'), { cols: 50, rows: 8, pty: true });
  terminal.output('stdout', Buffer.from(cast.said()), null);
  expect(await terminal.screen()).toEqual({ ...truth, offset: Buffer.byteLength(cast.said()) });
  const nothing = await castOf('s', { to: { at: 5 } });
  expect(nothing.events).toEqual([]);
});

test('[T16] the text is what scrolled off and what is left, each line once, redraws and wide lines as one', async () => {
  on = ground();
  const terminal = on.plane.open(id('s'), pty);
  const say = (text: string) => terminal.output('stdout', Buffer.from(text), null);
  const lines: string[] = [];
  for (let i = 0; i < 5_000; i++) lines.push(`line ${i} ${'x'.repeat(i % 95)}`.trimEnd());
  say(`${lines.join('\r\n')}\r\n`);
  for (let i = 0; i <= 100; i++) say(`\rprogress ${i}%`);
  say('\r\n\x1b[?1049hwhat an editor shows\x1b[?1049l');
  lines.push('progress 100%');
  for (const [cols, rows] of [
    [20, 10],
    [90, 4],
    [33, 12],
  ] as const) {
    terminal.resized(cols, rows);
    for (let i = 0; i < 60; i++) {
      lines.push(`at ${cols} ${i} ${'y'.repeat(i)}`.trimEnd());
      say(`${lines.at(-1)}\r\n`);
    }
  }
  say('the prompt $ ');
  lines.push('the prompt $');
  expect((await textOf('s')).split('\n').map((line) => line.trimEnd())).toEqual([...lines, '']);
}, 30_000);

test('[T16] a gap is told where it is, and what has no screen is told as it came', async () => {
  on = ground();
  const terminal = on.plane.open(id('s'), pty);
  terminal.output('stdout', Buffer.from('before \x1b[3'), 0);
  terminal.output('stdout', Buffer.from('after'), 100);
  expect(await textOf('s')).toBe('before\n[… 90 bytes missing …]\nafter\n');
  const pipes = on.plane.open(id('p'), piped);
  const bytes = Buffer.from('größe\n');
  pipes.output('stdout', bytes.subarray(0, 3), 0);
  pipes.output('stdout', bytes.subarray(3), 3);
  pipes.output('stderr', Buffer.from('later\n'), 50);
  expect(await textOf('p')).toBe(`größe\n\n[… ${50 - bytes.length} bytes missing …]\nlater\n`);
});

test('[T15] exports are so many at once, and one that is left gives its place back', async () => {
  on = ground();
  on.plane.open(id('s'), pty).output('stdout', Buffer.from('said'), 0);
  const open = await Promise.all(Array.from({ length: 8 }, () => recordings().cast(id('s'), whole, stay)));
  await expect(recordings().text(id('s'))).rejects.toMatchObject({ code: 'over-quota' });
  for (const one of open) await one[Symbol.asyncIterator]().return?.();
  expect(await textOf('s')).toBe('said\n');
});

const searching = (given: Partial<SearchWish>): SearchWish => ({
  q: '',
  from: 0,
  limit: 100,
  budget: { bytes: 32 << 20 },
  since: null,
  until: null,
  ...given,
});

async function found(session: string, given: Partial<SearchWish>) {
  const { lines } = await recordings().search(id(session), searching(given));
  return lines.map(({ text }) => text);
}

test('[T17] text is found without its escapes, wherever it is cut, and its screen shows it', async () => {
  on = ground();
  const terminal = on.plane.open(id('s'), pty);
  const said = Buffer.from(
    `first\r\n\x1b[31mRed\x1b[0m \x1b[1mAlert\x1b[0m\r\n\x1b[3;1Hat three\x1b[5;1Hat\x1b[1Cfive\x1b[6;1Hgröße\r\n`,
  );
  for (let at = 0; at < said.length; at += 2) terminal.output('stdout', said.subarray(at, at + 2), at);
  expect(await found('s', { q: 'red alert' })).toEqual(['Red Alert']);
  expect(await found('s', { q: 'at five' })).toEqual(['at five']);
  expect(await found('s', { q: 'threeat' })).toEqual([]);
  expect(await found('s', { q: 'größe' })).toEqual(['größe']);
  const { lines } = await recordings().search(id('s'), searching({ q: 'red' }));
  const [line] = lines;
  expect(said.subarray(line?.offset, line?.end).toString()).toBe('\x1b[31mRed\x1b[0m \x1b[1mAlert\x1b[0m');
  const past = await recordings().screenAt(id('s'), { offset: line?.end ?? 0 }, stay);
  expect(past.screen.text).toBe('first\nRed Alert');
});

test('[T17] very long lines are looked through whole, and a search goes on where its budget ended', async () => {
  on = ground();
  const terminal = on.plane.open(id('s'), piped);
  const parts = Array.from({ length: 300 }, (_, i) => `${'z'.repeat(997)}needle${i}.`);
  terminal.output('stdout', Buffer.from(parts.join('')), 0);
  const all = await recordings().search(id('s'), searching({ q: 'needle', limit: 1_000 }));
  const numbers = new Set(
    all.lines.flatMap(({ text }) => [...text.matchAll(/needle(\d+)\./g)].map(([, n]) => n)),
  );
  expect(numbers.size).toBe(300);
  const lines = Array.from({ length: 20_000 }, (_, i) => `${i % 100 === 7 ? 'thread' : 'hay'} ${i}`);
  on.plane.open(id('t'), piped).output('stdout', Buffer.from(lines.join('\n')), 0);
  const seen: string[] = [];
  let calls = 0;
  for (let from: number | null = 0; from !== null; calls++) {
    const wish = searching({ q: 'thread', from, limit: 30, budget: { bytes: 70_000 } });
    const page = await recordings().search(id('t'), wish);
    seen.push(...page.lines.map(({ text }) => text));
    from = page.next;
  }
  expect(seen).toEqual(lines.filter((line) => line.startsWith('thread')));
  expect(calls).toBeGreaterThan(3);
});

/** More than one segment, with gaps. */
function long(terminal: Terminal): { next: number; said: number } {
  let next = 0;
  let said = 0;
  for (let i = 0; i < 80; i++) {
    if (i % 20 === 19) next += 1_000;
    next = terminal.output('stdout', Buffer.alloc(256 << 10, 'x'), next);
    said += 256 << 10;
  }
  return { next, said };
}

test('[T18] what is told of a recording is counted within a budget, once, and is true of one that grows', async () => {
  on = ground();
  const terminal = on.plane.open(id('s'), piped);
  const { next, said } = long(terminal);
  const gaps = { count: 4, bytes: 4_000 };
  const live = await recordings().facts(id('s'), { bytes: 0 });
  expect(live).toMatchObject({ nextOffset: next, outputBytes: said, gaps, size: null });
  terminal.output('stdout', Buffer.from('more'), next + 10);
  expect(await recordings().facts(id('s'), { bytes: 0 })).toMatchObject({ gaps: { count: 5, bytes: 4_010 } });
  terminal.ended(0, 'it exited');
  on.plane.release(id('s'));
  on.restart();
  expect(await recordings().facts(id('s'), { bytes: 0 })).toBeNull();
  let facts = await recordings().facts(id('s'), { bytes: 9 << 20 });
  expect(facts).toMatchObject({ nextOffset: next + 14, gaps: null, outputBytes: null });
  facts = await recordings().facts(id('s'), { bytes: 9 << 20 });
  expect(facts).toMatchObject({ gaps: { count: 5, bytes: 4_010 }, outputBytes: said + 4 });
  on.restart();
  const kept = await recordings().facts(id('s'), { bytes: 0 });
  expect(kept).toMatchObject({ gaps: { count: 5 }, outputBytes: said + 4 });
  expect(kept?.bytesOnDisk).toBeGreaterThan(said);
  const { marks, next: goOn } = await recordings().marks(id('s'), 0);
  expect(marks.map(({ kind }) => kind)).toEqual(['gap', 'gap', 'gap', 'gap', 'gap', 'end']);
  expect(goOn).toBeNull();
});

test('[T18] gaps below a place are counted, of the one it lies in only the part', async () => {
  on = ground();
  const terminal = on.plane.open(id('s'), pty);
  terminal.output('stdout', Buffer.from('0123456789'), 0);
  terminal.output('stdout', Buffer.from('later'), 100);
  const gapsAt = async (offset: number) => (await recordings().screenAt(id('s'), { offset }, stay)).gaps;
  expect(await gapsAt(10)).toEqual({ count: 0, bytes: 0 });
  expect(await gapsAt(60)).toEqual({ count: 1, bytes: 50 });
  expect(await gapsAt(105)).toEqual({ count: 1, bytes: 90 });
});

test('[T18] all are listed, newest first, whatever the ids', async () => {
  on = ground();
  const ids = [
    '0192aaaa-0000-7000-8000-000000000001',
    '0192bbbb-0000-7000-8000-000000000001',
    'grö/ße',
    '../out',
  ];
  for (const name of ids) on.plane.open(id(name), piped).output('stdout', Buffer.from('said'), 0);
  const names = (await recordings().list()).map(({ session }): string => session);
  expect(names.toSorted()).toEqual(ids.toSorted());
  // The foreign ones began just now.
  expect(names.slice(2)).toEqual([ids[1], ids[0]] as string[]);
});

test('[T19] what is removed says so, also after a restart, and what a crash left of it goes too', async () => {
  on = ground();
  const terminal = on.plane.open(id('s'), pty);
  terminal.output('stdout', Buffer.from('secret'), 0);
  terminal.ended(0, 'it exited');
  await recordings().screenAt(id('s'), { offset: 3 }, stay);
  const removal = { at: 86_400_000, by: 'ada', reason: 'removed on request' };
  await recordings().remove(id('s'), removal);
  for (let round = 0; round < 2; round++) {
    expect(existsSync(join(on.dir, 's'))).toBe(false);
    expect(recordings().removed(id('s'))).toEqual(removal);
    expect(await on.plane.recall(id('s'))).toBeNull();
    expect(await recordings().list()).toEqual([]);
    const asked = recordings().screenAt(id('s'), { offset: 3 }, stay);
    await expect(asked).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('was removed 1970-01-02T00:00:00.000Z by ada: removed on request'),
    });
    await expect(recordings().text(id('s'))).rejects.toMatchObject({ code: 'not-found' });
    on.restart();
    // The crash came before the last file was deleted.
    mkdirSync(join(on.dir, 's'));
    writeFileSync(join(on.dir, 's', '0000000000000000.rec'), 'rest');
    expect(recordings().has(id('s'))).toBe(false);
    expect(await recordings().list()).toEqual([]);
  }
  expect(readdirSync(on.dir)).toEqual(['removed.jsonl']);
});

test('[T19] an export of what is removed meanwhile breaks off, and does not look whole', async () => {
  on = ground();
  long(on.plane.open(id('s'), piped));
  on.plane.release(id('s'));
  const pieces = await recordings().cast(id('s'), whole, stay);
  const reading = pieces[Symbol.asyncIterator]();
  await reading.next();
  await recordings().remove(id('s'), { at: 1, by: 'ada', reason: 'removed on request' });
  const rest = async () => {
    for (let one = await reading.next(); !one.done; ) one = await reading.next();
  };
  await expect(rest()).rejects.toThrow('removed while it was read');
});
