/**
 * Screens of the past, against screens that were fed exactly the same bytes and sizes.
 *
 * Recordings are made of wild streams (regions, both screens, saved cursors, colours, cut characters) with
 * changes of size between them, also several at one place, and are looked at from everywhere: forward, back,
 * from checkpoints, and by the clock.
 */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../src/clock.ts';
import { keeper } from '../../src/terminal/checkpoints.ts';
import { type Position, positionAt, positionOf, timeOf } from '../../src/terminal/positions.ts';
import { Recording } from '../../src/terminal/recording.ts';
import { Rewind } from '../../src/terminal/rewind.ts';
import { Screen } from '../../src/terminal/screen.ts';
import type { ScreenView } from '../../src/terminal.ts';
import { random } from '../sim/random.ts';
import { id, until } from './ground.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'past-test-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

type Deed = { readonly bytes: Buffer } | { readonly cols: number; readonly rows: number };

/** What a wild program says, cut anywhere, and what is done to its terminal. */
function deeds(seed: number, count: number, every = 3): Deed[] {
  const below = random(seed);
  const wild = [
    '\x1b[5;15r and in a part\r\n\x1b[r',
    '\x1b[?1049h in front \x1b[?1049l',
    '\x1b[4h in between \x1b[4l',
    '\x1b[?6h of the part \x1b[?6l',
    '\x1b[5;15r',
    '\x1b[r',
    '\x1b[3A',
    '\x1b[2J',
    '\x1b[?1049h',
    '\x1b[?1049l',
    '\x1b[10;10H',
    '\x1b[K',
    '\x1b7',
    '\x1b8',
    '\x1b[s',
    '\x1b[u',
    '\x1b[?25l',
    '\x1b[?25h',
    '\x1b[4h',
    '\x1b[4l',
    '\x1b[3b',
    '\x1b[2L',
    '\x1b[2M',
    '\x1b[?6h',
    '\x1b[?6l',
    '\x1b[?7l',
    '\x1b[?7h',
    '\x1b(0lqqk\x1b(B',
    '\x1b]0;title\x07',
    '\x1b[44m',
    '\x1b[4:3m',
    '\x1b[38;5;200m',
    '\x1b[6n',
    '\x1bM',
    '\x1b[4;58;5;9m',
    '\x1b[9999C!',
    '\r',
    '\t',
    '\x1b[3J',
    '\x1b[0m',
    '\x1b[P',
  ];
  const text = Array.from({ length: count }, (_, i) => {
    const words = `${i} ${'lorem größe 漢字 e\u0301 🙂 '.repeat(1 + below(6))}`;
    const odd = below(every) === 0 ? (wild[below(wild.length)] ?? '') : '';
    return `${words.slice(below(8))}${odd}${below(5) === 0 ? '' : '\r\n'}`;
  }).join('');
  const bytes = Buffer.from(text);
  const all: Deed[] = [{ cols: 80, rows: 24 }];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + below(3_000);
    all.push({ bytes: bytes.subarray(at, end) });
    at = end;
    // Now and then several at one place.
    while (below(6) === 0) all.push({ cols: 20 + below(100), rows: 5 + below(40) });
  }
  return all;
}

interface Ticking extends Clock {
  at: number;
}

const ticking = (): Ticking => ({
  ...systemClock,
  at: 1_000_000,
  now() {
    return this.at;
  },
});

const recordingIn = (name: string, clock: Clock = systemClock, isReadOnly = false): Recording =>
  new Recording({
    dir: join(root, name),
    clock,
    onFailure: (why) => {
      throw new Error(why);
    },
    isReadOnly,
  });

function apply(recording: Recording, deed: Deed): void {
  if ('bytes' in deed) recording.output('stdout', deed.bytes, null);
  else recording.resized(deed.cols, deed.rows);
}

interface Seen {
  readonly view: ScreenView;
  /** All of it with its colours, the lines above too. */
  readonly drawn: string;
}

const seenOf = (screen: Screen): Seen => ({ view: screen.view(), drawn: screen.serialize().serialized });

let made = 0;
/** A screen that is fed this and nothing else. */
async function fed(all: readonly Deed[]): Promise<Seen> {
  const recording = recordingIn(`fed-${made++}`);
  for (const deed of all) apply(recording, deed);
  const options = { recording, clock: systemClock, cols: 80, rows: 24, checkpoint: null };
  const screen = new Screen({ ...options, onReply: () => {}, onCaughtUp: () => {} });
  await screen.settled();
  const seen = seenOf(screen);
  screen.close();
  recording.close();
  return seen;
}

const rewind = (options: { keptMax?: number; rebuildMsMax?: number } = {}) =>
  new Rewind({
    clock: systemClock,
    dirOf: (session) => join(root, session),
    size: { cols: 80, rows: 24 },
    ...options,
  });

const look = (past: Rewind, position: Position, signal = new AbortController().signal): Promise<Seen> =>
  past.at(
    { session: id('s'), recording: recordingIn('s', systemClock, true), position, signal },
    ({ screen }) => seenOf(screen),
  );

/** The deeds that lead to a position. */
function upTo(all: readonly Deed[], { offset, sizes }: Position): Deed[] {
  const kept: Deed[] = [];
  let at = 0;
  let there = 0;
  for (const deed of all) {
    if ('bytes' in deed) {
      if (at >= offset) break;
      kept.push({ bytes: deed.bytes.subarray(0, offset - at) });
      at += deed.bytes.length;
      there = 0;
    } else if (at < offset || (at === offset && there++ < sizes)) {
      kept.push(deed);
    }
  }
  return kept;
}

test('[T13] the screen at any place is that of a terminal that was fed exactly what was before it', async () => {
  for (const seed of [1, 2]) {
    rmSync(join(root, 's'), { recursive: true, force: true });
    const all = deeds(seed, 700);
    const recording = recordingIn('s');
    for (const deed of all) apply(recording, deed);
    const below = random(seed + 100);
    // One is kept, so that some go on from it and some begin anew.
    const past = rewind({ keptMax: 1 });
    for (let i = 0; i < 8; i++) {
      const position = positionOf(recording, below(recording.next + 1));
      expect(await look(past, position)).toEqual(await fed(upTo(all, position)));
    }
    const end = positionOf(recording, Number.MAX_SAFE_INTEGER);
    expect(end.offset).toBe(recording.next);
    expect(await look(past, end)).toEqual(await fed(all));
    past.close();
    recording.close();
  }
}, 60_000);

test('[T13] so it is from a checkpoint, wherever that was taken', async () => {
  for (const seed of [4, 5]) {
    rmSync(join(root, 's'), { recursive: true, force: true });
    const all = deeds(seed, 900, 60);
    const recording = recordingIn('s');
    apply(recording, all[0] as Deed);
    const keep = keeper({ dir: join(root, 's'), from: 0, everyBytes: 4_000, keptMax: 1_000 });
    const options = { recording, clock: systemClock, cols: 80, rows: 24, checkpoint: null };
    const live = new Screen({ ...options, onReply: () => {}, onCaughtUp: () => {}, onBite: keep });
    for (const deed of all.slice(1)) {
      if ('bytes' in deed) recording.output('stdout', deed.bytes, null);
      else {
        recording.resized(deed.cols, deed.rows);
        live.resize(deed.cols, deed.rows);
      }
      live.pull();
      await live.settled();
    }
    const kept = () => readdirSync(join(root, 's')).filter((name) => name.endsWith('.screen'));
    await until('checkpoints', () => kept().length > 3);
    await until(
      'nothing half written',
      () => !readdirSync(join(root, 's')).some((name) => name.endsWith('.new')),
    );
    live.close();
    for (const name of kept().slice(-5)) {
      const offset = Number(name.slice(0, 16));
      for (const beyond of [0, 1, 2_000]) {
        const position = positionOf(recording, offset + beyond);
        const past = rewind();
        expect([name, await look(past, position)]).toEqual([name, await fed(upTo(all, position))]);
        past.close();
      }
    }
    recording.close();
  }
}, 120_000);

test('[T13] checkpoints are thinned out, and the newest stays', async () => {
  const recording = recordingIn('s');
  recording.resized(80, 24);
  const keep = keeper({ dir: join(root, 's'), from: 0, everyBytes: 1_000, keptMax: 8 });
  const options = { recording, clock: systemClock, cols: 80, rows: 24, checkpoint: null };
  const live = new Screen({ ...options, onReply: () => {}, onCaughtUp: () => {}, onBite: keep });
  const names = () =>
    readdirSync(join(root, 's'))
      .filter((name) => name.endsWith('.screen'))
      .toSorted();
  for (let i = 0; i < 20; i++) {
    const before = names().at(-1);
    await until('a newer one', () => {
      recording.output('stdout', Buffer.from('line\r\n'.repeat(20)), null);
      live.pull();
      return names().at(-1) !== before;
    });
  }
  await until('no more than are kept', () => names().length <= 8);
  expect(names().length).toBeGreaterThan(2);
  live.close();
  recording.close();
}, 30_000);

test('[T13] who looks through a long recording leaves checkpoints for the next one', async () => {
  const recording = recordingIn('s');
  recording.resized(80, 24);
  const wild = Buffer.from(`\x1b[H\x1b[2J${'a wild line\x1b[3;3H'.repeat(4_000)}`);
  while (recording.next < 20 << 20) recording.output('stdout', wild, null);
  const past = rewind();
  const position = positionOf(recording, recording.next);
  const seen = await look(past, position);
  past.close();
  await until('a checkpoint', () => readdirSync(join(root, 's')).some((name) => name.endsWith('.screen')));
  const again = rewind();
  expect(await look(again, position)).toEqual(seen);
  again.close();
  recording.close();
}, 60_000);

test('[T13] a time is a place: after all that was recorded until then, changes of size too', async () => {
  const clock = ticking();
  const all = deeds(8, 500);
  const recording = recordingIn('s', clock);
  const times: number[] = [];
  for (const deed of all) {
    clock.at += 7;
    times.push(clock.at);
    apply(recording, deed);
  }
  const past = rewind();
  for (const n of [0, 1, 5, 14, 22, all.length - 1]) {
    const at = times[n] as number;
    for (const ms of [at, at + 3]) {
      const position = positionAt(recording, ms);
      expect(timeOf(recording, position)).toBe(at);
      expect(await look(past, position)).toEqual(await fed(all.slice(0, n + 1)));
    }
  }
  expect(positionAt(recording, 5)).toEqual({ offset: 0, sizes: 0 });
  expect(positionAt(recording, Number.MAX_SAFE_INTEGER)).toEqual(positionOf(recording, recording.next));
  past.close();
  recording.close();
}, 60_000);

test('[T13] a place in a gap shows what was before it, and one behind it what came after', async () => {
  const recording = recordingIn('s');
  recording.resized(80, 24);
  recording.output('stdout', Buffer.from('before'), 0);
  recording.output('stdout', Buffer.from(' after'), 1_000);
  const past = rewind();
  const textAt = async (offset: number) => (await look(past, positionOf(recording, offset))).view.text;
  expect(await textAt(3)).toBe('bef');
  expect(await textAt(500)).toBe('before');
  expect(await textAt(1_003)).toBe('before af');
  expect(await textAt(1_006)).toBe('before after');
  past.close();
  recording.close();
});

test('[T14] rebuilding is bounded: so many at once, so long each, and the next call goes on', async () => {
  const recording = recordingIn('s');
  recording.resized(80, 24);
  const wild = Buffer.from(`\x1b[H\x1b[2J${'a wild line\x1b[3;3H'.repeat(4_000)}`);
  for (let i = 0; i < 300; i++) recording.output('stdout', wild, null);
  const end = positionOf(recording, recording.next);
  const past = rewind({ rebuildMsMax: 0 });
  const first = look(past, end);
  const others = [1, 2, 3].map(() => look(past, end).catch((thrown) => thrown));
  expect(await look(past, end).catch((thrown) => thrown)).toMatchObject({ code: 'over-quota' });
  expect(await first.catch((thrown) => thrown)).toMatchObject({ code: 'timed-out' });
  await Promise.all(others);
  let calls = 0;
  for (let seen = null; seen === null; calls++) {
    seen = await look(past, end).catch((thrown) => {
      expect(thrown).toMatchObject({ code: 'timed-out' });
      return null;
    });
    expect(calls).toBeLessThan(20);
  }
  const left = new AbortController();
  left.abort(new Error('the client left'));
  await expect(look(rewind(), end, left.signal)).rejects.toThrow('the client left');
  past.close();
  recording.close();
}, 60_000);

test('[T14] the live screen is not touched, nobody answers the program again, and its turn of the event loop comes', async () => {
  const recording = recordingIn('s');
  recording.resized(80, 24);
  recording.output('stdout', Buffer.from('\x1b[6n'), null);
  const replies: string[] = [];
  const options = { recording, clock: systemClock, cols: 80, rows: 24, checkpoint: null };
  const live = new Screen({
    ...options,
    onReply: (bytes) => void replies.push(String(bytes)),
    onCaughtUp: () => {},
  });
  const wild = Buffer.from(`\x1b[H${'a wild line\x1b[3;3H\x1b[6n'.repeat(2_000)}`);
  for (let i = 0; i < 60; i++) recording.output('stdout', wild, null);
  live.pull();
  await live.settled();
  const before = seenOf(live);
  const answered = replies.length;
  const past = rewind();
  let turns = 0;
  let isOver = false;
  const count = () => {
    turns += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  await look(past, positionOf(recording, recording.next - 5));
  isOver = true;
  // A bite of 64 KiB lies between two turns.
  expect(turns).toBeGreaterThan((60 * wild.length) / (64 << 10));
  expect(replies).toHaveLength(answered);
  expect(seenOf(live)).toEqual(before);
  past.close();
  live.close();
  recording.close();
}, 30_000);
