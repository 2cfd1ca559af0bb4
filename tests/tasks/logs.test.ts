/** The stream of a task's words, over a small recording in memory that is cut anywhere. */
import { describe, expect, test } from 'bun:test';
import type { TaskLog } from '../../src/desk.ts';
import { type LogSources, type StoryEvent, taskLogs, wholeCharacters } from '../../src/tasks/logs.ts';
import type { Slice } from '../../src/terminal.ts';

interface Recorded {
  stream: 'stdout' | 'stderr' | 'log';
  bytes: Uint8Array;
  from: number;
  gapBytes: number;
  at: number;
}

/** A task that is still going on: sessions get bytes, the story gets events, watchers are told. */
function task() {
  const sessions: Recorded[][] = [];
  const story: StoryEvent[] = [];
  const watchers = new Set<() => void>();
  let over = false;
  let progress: string | null = null;
  const ring = () => {
    for (const watcher of watchers) watcher();
  };
  const sources: LogSources = {
    story: async (after, limit) => story.filter(({ cursor }) => cursor > after).slice(0, limit),
    sessions: () => sessions.length,
    async read(session, from, maxBytes): Promise<Slice | null> {
      const chunk = sessions[session]?.find((one) => one.from + one.bytes.length > from);
      if (!chunk) return { from, stream: 'stdout', bytes: new Uint8Array(), next: from, gapBytes: 0, at: 0 };
      const skip = Math.max(0, from - chunk.from);
      const bytes = chunk.bytes.subarray(skip, skip + maxBytes);
      return {
        ...chunk,
        from: chunk.from + skip,
        bytes,
        next: chunk.from + skip + bytes.length,
        gapBytes: skip === 0 ? chunk.gapBytes : 0,
      };
    },
    progress: () => progress,
    isOver: () => over,
    watch(onMore) {
      watchers.add(onMore);
      return () => watchers.delete(onMore);
    },
  };
  return {
    sources,
    watchers,
    session() {
      sessions.push([]);
      ring();
    },
    says(text: string | Uint8Array, { stream = 'stdout', at = 0, gapBytes = 0 }: Partial<Recorded> = {}) {
      const bytes = typeof text === 'string' ? Buffer.from(text) : text;
      const mine = sessions.at(-1) ?? [];
      const last = mine.at(-1);
      mine.push({ stream, bytes, from: (last ? last.from + last.bytes.length : 0) + gapBytes, gapBytes, at });
      ring();
    },
    event(event: StoryEvent['event'], data: string, at = 0) {
      story.push({ cursor: (story.at(-1)?.cursor ?? 10) + 3, at, event, data });
      over = event === 'completed' || event === 'error';
      ring();
    },
    gets(on: string) {
      progress = on;
      ring();
    },
  };
}

async function all(sources: LogSources, after: string | null = null): Promise<TaskLog[]> {
  const items: TaskLog[] = [];
  for await (const item of taskLogs(sources, { after, signal: AbortSignal.timeout(5_000) })) items.push(item);
  return items;
}

const told = (items: readonly TaskLog[]) => items.map(({ event, data }) => `${event} ${data}`);

function wholeStory() {
  const it = task();
  it.event('state', 'STAGING', 1);
  it.event('state', 'RUNNING', 5);
  it.session();
  it.says('one\n', { at: 6 });
  it.says('warn\n', { at: 7, stream: 'stderr' });
  it.event('question', 'Go on?', 8);
  it.says('two\n', { at: 9 });
  it.session();
  it.says('again\n', { at: 12 });
  it.event('completed', '0', 11);
  return it;
}

describe("a task's log", () => {
  test('[K50] tells state, output, questions and the end in order, over all attempts, and then ends', async () => {
    expect(told(await all(wholeStory().sources))).toEqual([
      'state STAGING',
      'state RUNNING',
      'stdout one\n',
      'stderr warn\n',
      'question Go on?',
      'stdout two\n',
      'stdout again\n',
      'completed 0',
    ]);
  });

  test('[K51] from every id it goes on with exactly what followed', async () => {
    const { sources } = wholeStory();
    const whole = await all(sources);
    for (const [index, { id }] of whole.entries())
      expect(await all(sources, id)).toEqual(whole.slice(index + 1));
    expect(new Set(whole.map(({ id }) => id)).size).toBe(whole.length);
  });

  test('[K51] an id that is not ours is refused', async () => {
    expect(all(wholeStory().sources, '1-2')).rejects.toMatchObject({ code: 'bad-input' });
  });

  test('[K52] no character is cut, wherever the bytes were, and coming back in the middle of one loses nothing', async () => {
    const text = 'aé€😀z\u{10ffff}é';
    const bytes = Buffer.from(text);
    for (let cut = 1; cut < bytes.length; cut++) {
      const it = task();
      it.session();
      it.says(bytes.subarray(0, cut));
      it.says(bytes.subarray(cut));
      it.event('completed', '0', 99);
      const items = await all(it.sources);
      expect(items.map(({ event, data }) => (event === 'stdout' ? data : '')).join('')).toBe(text);
      for (const [index, { id }] of items.entries()) {
        const before = items.slice(0, index + 1);
        expect(
          [...before, ...(await all(it.sources, id))]
            .map(({ event, data }) => (event === 'stdout' ? data : ''))
            .join(''),
        ).toBe(text);
      }
    }
  });

  test('[K52] half a character at the very end, or before a gap, is shown as such', async () => {
    const it = task();
    it.session();
    it.says(Buffer.from('é').subarray(0, 1));
    it.says('b', { gapBytes: 7 });
    it.says(Buffer.from('€').subarray(0, 2));
    it.event('error', 'it broke');
    expect(told(await all(it.sources))).toEqual([
      'stdout \ufffd',
      'gap {"at":8,"bytes":7}',
      'stdout b',
      'stdout \ufffd',
      'error it broke',
    ]);
  });

  test('[K53] follows a task that goes on, tells new progress once, and misses nothing between looking and waiting', async () => {
    const it = task();
    const stop = new AbortController();
    const stream = taskLogs(it.sources, { after: null, signal: stop.signal });
    const next = async () => told([(await stream.next()).value as TaskLog])[0];
    it.session();
    const waiting = next();
    it.says('late\n');
    expect(await waiting).toBe('stdout late\n');
    it.gets('{"tool_calls":1}');
    expect(await next()).toBe('progress {"tool_calls":1}');
    const again = next();
    it.gets('{"tool_calls":1}');
    it.event('state', 'COMPLETING');
    expect(await again).toBe('state COMPLETING');
    const ended = stream.next();
    stop.abort();
    expect((await ended).done).toBe(true);
    expect(it.watchers.size).toBe(0);
  });
});

test('whole characters are counted', () => {
  expect(wholeCharacters(Buffer.from('abc'))).toBe(3);
  expect(wholeCharacters(Buffer.from('😀').subarray(0, 3))).toBe(0);
  expect(wholeCharacters(Buffer.from('a€').subarray(0, 2))).toBe(1);
  expect(wholeCharacters(Uint8Array.of(0x80, 0x80, 0x80, 0x80))).toBe(4);
});
