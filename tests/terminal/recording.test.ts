/** The recording: what was said is there after whatever happens, and what is missing is said to be. */
import { afterEach, expect, test } from 'bun:test';
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Terminal } from '../../src/terminal.ts';
import { random } from '../sim/random.ts';
import { type Ground, ground, id } from './ground.ts';

let on: Ground;
afterEach(() => on.remove());

const piped = { cols: 80, rows: 24, pty: false };

async function whole(terminal: Terminal, from = 0): Promise<{ text: string; gaps: number }> {
  const parts: Uint8Array[] = [];
  let gaps = 0;
  for (let at = from; ; ) {
    const slice = await terminal.read(at, 100_000);
    gaps += slice.gapBytes;
    if (slice.bytes.length === 0) return { text: Buffer.concat(parts).toString('latin1'), gaps };
    expect(slice.from).toBe(at + slice.gapBytes);
    expect(slice.next).toBe(slice.from + slice.bytes.length);
    parts.push(slice.bytes);
    at = slice.next;
  }
}

const segments = (dir: string, session: string) =>
  readdirSync(join(dir, session))
    .filter((name) => name.endsWith('.rec'))
    .toSorted()
    .map((name) => join(dir, session, name));

test('[T1] what was taken is in the recording after a crash, to the byte, from any offset', async () => {
  on = ground();
  const below = random(7);
  let terminal = on.plane.open(id('s'), piped);
  let said = '';
  while (said.length < 20_000_000) {
    const bytes = Buffer.alloc(1 + below(200_000), 33 + below(90));
    expect(terminal.output('stdout', bytes, said.length)).toBe(said.length + bytes.length);
    said += bytes.toString('latin1');
  }
  on.restart();
  terminal = on.plane.open(id('s'), piped);
  expect(segments(on.dir, 's').length).toBeGreaterThan(2);
  expect(terminal.nextOffset()).toBe(said.length);
  expect((await whole(terminal)).text === said).toBe(true);
  for (let i = 0; i < 20; i++) {
    const from = below(said.length);
    const { bytes } = await terminal.read(from, 1_000);
    expect(Buffer.from(bytes).toString('latin1')).toBe(said.slice(from, from + bytes.length));
    expect(bytes.length).toBeGreaterThan(0);
  }
});

test('[T1] a record torn by a crash is cut off, and what comes again is recorded whole', async () => {
  for (const torn of [1, 10, 24, 25, 30]) {
    on = ground();
    let terminal = on.plane.open(id('s'), piped);
    terminal.output('stdout', Buffer.from('first'), 0);
    terminal.output('stdout', Buffer.from('second'), 5);
    const [file = ''] = segments(on.dir, 's');
    truncateSync(file, readFileSync(file).length - torn);
    on.restart();
    terminal = on.plane.open(id('s'), piped);
    expect(terminal.nextOffset()).toBe(5);
    terminal.output('stdout', Buffer.from('firstsecond'), 0);
    expect(await whole(terminal)).toEqual({ text: 'firstsecond', gaps: 0 });
    await on.remove();
  }
  on = ground();
});

test('[T1] a tail of anything else is cut off too', async () => {
  on = ground();
  on.plane.open(id('s'), piped).output('stdout', Buffer.from('whole'), 0);
  const [file = ''] = segments(on.dir, 's');
  appendFileSync(file, Buffer.alloc(5_000));
  on.restart();
  const terminal = on.plane.open(id('s'), piped);
  terminal.output('stderr', Buffer.from(' and sound'), 5);
  expect((await whole(terminal)).text).toBe('whole and sound');
  expect((await terminal.read(5, 100)).stream).toBe('stderr');
});

test('[T2] bytes that are held are dropped, and a jump is a gap that is told, also after a restart', async () => {
  on = ground();
  let terminal = on.plane.open(id('s'), piped);
  terminal.output('stdout', Buffer.from('0123456789'), 0);
  expect(terminal.output('stdout', Buffer.from('56789abc'), 5)).toBe(13);
  expect(terminal.output('stdout', Buffer.from('0123'), 0)).toBe(13);
  expect(terminal.output('stdout', Buffer.from('later'), 100)).toBe(105);
  for (let round = 0; round < 2; round++) {
    expect(await whole(terminal)).toEqual({ text: '0123456789abclater', gaps: 87 });
    expect(await terminal.read(50, 10)).toMatchObject({ from: 100, gapBytes: 50, next: 105 });
    on.restart();
    terminal = on.plane.open(id('s'), piped);
    expect(terminal.nextOffset()).toBe(105);
  }
});

test('[T3] when the recording cannot be written the session goes on, it is told once, and the gap shows', async () => {
  on = ground();
  // A file where the directory must be: the disk refuses, whoever asks.
  const path = join(on.dir, 's');
  const terminal = on.plane.open(id('s'), piped);
  writeFileSync(path, '');
  terminal.output('stdout', Buffer.from('lost'), 0);
  expect(terminal.output('stdout', Buffer.from('lost too'), 4)).toBe(12);
  expect(on.told.failures).toHaveLength(1);
  await Bun.file(path).delete();
  const deadline = Date.now() + 10_000;
  let next = 12;
  while (!existsSync(path) && Date.now() < deadline) {
    next = terminal.output('stdout', Buffer.from('x'), next);
    await Bun.sleep(20);
  }
  terminal.output('stdout', Buffer.from('kept'), next);
  const { text, gaps } = await whole(terminal);
  expect(text).toBe('xkept');
  expect(gaps + text.length).toBe(next + 4);
  expect(on.told.failures).toHaveLength(1);
});

test('[T1] an ended session can be read again, whatever its id, and nothing is outside its directory', async () => {
  on = ground();
  for (const name of ['../../out', 'a/b', '.', 'x'.repeat(300), 'größe']) {
    const terminal = on.plane.open(id(name), piped);
    terminal.output('stdout', Buffer.from(`of ${name}`), 0);
    terminal.ended(3, 'exited');
    on.plane.release(id(name));
    const again = await on.plane.recall(id(name));
    expect(again && Buffer.from((await again.read(0, 1_000)).bytes).toString()).toBe(`of ${name}`);
  }
  expect(readdirSync(on.dir)).toHaveLength(5);
  expect(existsSync(join(dirname(dirname(on.dir)), 'out'))).toBe(false);
  await on.plane.erase(id('a/b'));
  expect(await on.plane.recall(id('a/b'))).toBeNull();
});

test('[T2] what is recorded is told while bytes flow, at least every 256 KiB, and at the end', () => {
  on = ground();
  const terminal = on.plane.open(id('s'), piped);
  for (let i = 0; i < 64; i++) terminal.output('stdout', Buffer.alloc(64 << 10), null);
  expect(on.told.recorded.length).toBeGreaterThanOrEqual(15);
  terminal.output('stdout', Buffer.from('end'), null);
  terminal.ended(0, 'exited');
  expect(on.told.recorded.at(-1)).toBe((4 << 20) + 3);
  expect(on.plane.numbers.recordedBytes()).toBe((4 << 20) + 3);
});

test('[T20] however many terminals are open, few files are, and every terminal is written and read', async () => {
  on = ground();
  const names = Array.from({ length: 400 }, (_, i) => `s${i}`);
  const openFiles = () => {
    let count = 0;
    for (const fd of readdirSync('/proc/self/fd')) {
      try {
        if (readlinkSync(`/proc/self/fd/${fd}`).startsWith(on.dir)) count += 1;
      } catch {
        // It was the descriptor of this very listing.
      }
    }
    return count;
  };
  const say = (text: string) => {
    for (const name of names) on.plane.open(id(name), piped).output('stdout', Buffer.from(text), null);
  };
  say('once ');
  say('twice ');
  expect(openFiles()).toBeLessThanOrEqual(256);
  on.restart();
  say('thrice');
  expect(openFiles()).toBeLessThanOrEqual(256);
  for (const name of names) {
    expect(await whole(on.plane.open(id(name), piped))).toEqual({ text: 'once twice thrice', gaps: 0 });
  }
  expect(on.told.failures).toEqual([]);
  await on.plane.close();
  expect(openFiles()).toBe(0);
});

test('[T3] a recording that is erased under a terminal is not begun anew: what it held is missing', () => {
  on = ground();
  const others = Array.from({ length: 300 }, (_, i) => `s${i}`);
  const erased = on.plane.open(id('erased'), piped);
  erased.output('stdout', Buffer.from('gone'), null);
  for (const name of others) on.plane.open(id(name), piped).output('stdout', Buffer.from('x'), null);
  rmSync(segments(on.dir, 'erased')[0] as string);
  erased.output('stdout', Buffer.from('later'), null);
  expect(segments(on.dir, 'erased')).toEqual([]);
  expect(on.told.failures.length).toBe(1);
});
