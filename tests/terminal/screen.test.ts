/** The screen against a terminal that is simply fed everything. */
import { afterEach, expect, test } from 'bun:test';
import { SerializeAddon } from '@xterm/addon-serialize';
import { Terminal } from '@xterm/headless';
import { random } from '../sim/random.ts';
import { type Ground, ground, id, until, Watcher } from './ground.ts';

let on: Ground;
afterEach(() => on.remove());

const spec = { cols: 80, rows: 24, pty: true };

function simple(
  bytes: Uint8Array | string,
  { cols, rows } = spec,
): Promise<{ text: string; cursor: [number, number]; above: string[] }> {
  const terminal = new Terminal({ cols, rows, scrollback: 1_000, allowProposedApi: true });
  return new Promise((resolve) =>
    terminal.write(bytes, () => {
      const buffer = terminal.buffer.active;
      const line = (y: number) => buffer.getLine(y)?.translateToString(true) ?? '';
      const above = Math.min(50, buffer.baseY);
      resolve({
        text: Array.from({ length: rows }, (_, row) => line(buffer.baseY + row))
          .join('\n')
          .trimEnd(),
        cursor: [buffer.cursorY, buffer.cursorX],
        above: Array.from({ length: above }, (_, i) => line(buffer.baseY - above + i)),
      });
    }),
  );
}

/** Text, colours, and now and then what moves the cursor, sets a region or another screen. */
function stream(seed: number, lines: number, wildness: number): string {
  const below = random(seed);
  const next = () => below(1_000_000) / 1_000_000;
  const out: string[] = [];
  for (let i = 0; i < lines; i++) {
    const words = `${i} ${'lorem ipsum dolor größe 漢字 '.repeat(1 + Math.floor(next() * 5))}`;
    const colour = next() < 0.3 ? `\x1b[${30 + Math.floor(next() * 8)};1m` : next() < 0.1 ? '\x1b[0m' : '';
    const wild = [
      '\x1b[5;15r',
      '\x1b[r',
      '\x1b[3A',
      '\x1b[2J',
      '\x1b[?1049h',
      '\x1b[?1049l',
      '\x1b[10;10H',
      '\x1b[K',
      '\x07',
      '\x1b7',
      '\x1b8',
    ];
    const odd = next() < wildness ? (wild[Math.floor(next() * wild.length)] ?? '') : '';
    out.push(`${colour}${words}${odd}\r\n`);
  }
  return out.join('');
}

test('[T6] a flood is on the screen as if every byte had been parsed', async () => {
  on = ground();
  for (const [seed, wildness] of [
    [1, 0],
    [2, 0],
    [3, 0.0005],
    [4, 0.01],
  ] as const) {
    const bytes = Buffer.from(stream(seed, 60_000, wildness));
    const terminal = on.plane.open(id(`s${seed}`), spec);
    for (let at = 0; at < bytes.length; at += 50_001)
      terminal.output('stdout', bytes.subarray(at, at + 50_001), at);
    const seen = await terminal.screen();
    const truth = await simple(bytes);
    expect(seen.text).toBe(truth.text);
    expect([seen.cursor.row, seen.cursor.col]).toEqual(truth.cursor);
    expect([...seen.scrollback]).toEqual(truth.above);
    expect(seen.offset).toBe(bytes.length);
  }
}, 60_000);

test('[T6] the colours of what was forwarded over are kept', async () => {
  on = ground();
  const colour = '\x1b[0;35;4m';
  const bytes = Buffer.from(
    `${colour}${'plain text that is long enough to be a line\r\n'.repeat(100_000)}tail`,
  );
  const terminal = on.plane.open(id('s'), spec);
  for (let at = 0; at < bytes.length; at += 65_536)
    terminal.output('stdout', bytes.subarray(at, at + 65_536), at);
  await terminal.screen();
  const viewer = new Watcher('v');
  terminal.attach(viewer, { role: 'observer', from: null });
  const part = await until('a screen', () => viewer.parts().find(({ kind }) => kind === 'screen'));
  const truth = new Terminal({ cols: 80, rows: 24, scrollback: 1_000, allowProposedApi: true });
  const serializer = new SerializeAddon();
  truth.loadAddon(serializer as never);
  await new Promise<void>((resolve) => truth.write(bytes, resolve));
  expect(part.bytes.toString()).toBe(serializer.serialize());
});

test('[T5] what a program asks its terminal is answered once, and not again after a restart', async () => {
  on = ground();
  let terminal = on.plane.open(id('s'), spec);
  terminal.output('stdout', Buffer.from('abc\x1b[6n\x1b[c\x1b]11;?\x07'), 0);
  await terminal.screen();
  expect(on.told.replies).toHaveLength(3);
  expect(on.told.replies[0]).toBe('\x1b[1;4R');
  on.restart();
  terminal = on.plane.open(id('s'), spec);
  expect((await terminal.screen()).text).toBe('abc');
  expect(on.told.replies).toHaveLength(3);
  terminal.output('stdout', Buffer.from('d\x1b[6n'), terminal.nextOffset());
  await terminal.screen();
  expect(on.told.replies.slice(3)).toEqual(['\x1b[1;5R']);
});

test('[T4] after a restart the screen is what it was, through every change of size', async () => {
  on = ground();
  let terminal = on.plane.open(id('s'), spec);
  terminal.output('stdout', Buffer.from(stream(9, 200, 0.02)), 0);
  terminal.resized(100, 30);
  terminal.output('stdout', Buffer.from(stream(10, 50, 0.02)), null);
  terminal.resized(60, 20);
  terminal.output('stdout', Buffer.from('\x1b]0;a title\x07the end'), null);
  const before = await terminal.screen();
  on.restart();
  terminal = on.plane.open(id('s'), spec);
  const after = await terminal.screen();
  expect(after).toEqual(before);
  expect(after).toMatchObject({ cols: 60, rows: 20, title: 'a title' });
});

test('[T7] a question is told once the screen has settled, and its end too; the first judgement is told even when it is none', async () => {
  on = ground();
  const terminal = on.plane.open(id('s'), spec);
  await until('a first judgement', () => on.told.asking.length === 1);
  expect(on.told.asking).toEqual([null]);
  terminal.output('stdout', Buffer.from('Overwrite the file? [y/N] '), 0);
  terminal.evidence({ echo: true, canonical: true, reading: true, foreground: 'cp' });
  const question = await until('the question', () => on.told.asking[1]);
  expect(question).toMatchObject({ kind: 'confirm' });
  terminal.output('stdout', Buffer.from('y\r\ndone\r\n$ '), null);
  await until('its end', () => on.told.asking.length === 3);
  expect(on.told.asking[2]).toBeNull();
});

test('[T21] a terminal that is opened again is not judged before its agent has said what the screen cannot show', async () => {
  on = ground();
  const [hidden, foreign] = [on.plane.open(id('hidden'), spec), on.plane.open(id('foreign'), spec)];
  for (const terminal of [hidden, foreign]) terminal.output('stdout', Buffer.from('Who goes there: '), 0);
  const facts = { echo: false, canonical: true, reading: true, foreground: 'login' };
  hidden.evidence(facts);
  const before = await until('the question', () => on.told.asking.find((one) => one?.kind === 'secret'));
  on.restart();
  on.told.asking.length = 0;
  const again = on.plane.open(id('hidden'), spec);
  const other = on.plane.open(id('foreign'), spec);
  other.evidence(null);
  await until('a judgement of the one whose agent cannot tell', () => on.told.asking.length > 0);
  expect(on.told.asking).toHaveLength(1);
  expect(on.told.asking[0]?.kind).not.toBe('secret');
  again.evidence(facts);
  expect(await until('the other', () => on.told.asking[1])).toMatchObject({
    kind: 'secret',
    fingerprint: before.fingerprint,
  });
});
