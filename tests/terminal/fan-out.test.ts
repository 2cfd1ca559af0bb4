/** The audience: everybody at their own pace, one in control. */
import { afterEach, expect, test } from 'bun:test';
import { Terminal as Emulator } from '@xterm/headless';
import type { Terminal } from '../../src/terminal.ts';
import { type Ground, ground, id, until, Watcher } from './ground.ts';

let on: Ground;
afterEach(() => on.remove());

const spec = { cols: 80, rows: 24, pty: true };
const piped = { ...spec, pty: false };
const LINE = '\x1b[32mok\x1b[0m a line of a build, größer as it goes on\r\n';

/** What somebody sees who draws every frame that was sent. */
async function drawn(watcher: Watcher): Promise<string> {
  const emulator = new Emulator({ ...spec, scrollback: 1_000, allowProposedApi: true });
  for (const { kind, bytes, cols, rows } of watcher.parts()) {
    if (kind === 'screen') {
      emulator.reset();
      emulator.resize(cols, rows);
    }
    await new Promise<void>((resolve) => emulator.write(bytes, resolve));
  }
  const buffer = emulator.buffer.active;
  const lines = Array.from(
    { length: emulator.rows },
    (_, row) => buffer.getLine(buffer.baseY + row)?.translateToString(true) ?? '',
  );
  return lines.join('\n').trimEnd();
}

/** Output in pieces that end anywhere, also inside a sequence or a character. */
async function flood(terminal: Terminal, bytes: number): Promise<void> {
  const text = Buffer.from(LINE.repeat(Math.ceil(bytes / LINE.length)));
  for (let at = 0; at < text.length; at += 65_537) {
    terminal.output('stdout', text.subarray(at, at + 65_537), null);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const gotTo = (watcher: Watcher) => {
  const last = watcher.parts().at(-1);
  return last ? last.offset + (last.kind === 'output' ? last.bytes.length : 0) : -1;
};

test('[T8] every viewer gets every byte once and in order, from wherever it began', async () => {
  on = ground();
  const terminal = on.plane.open(id('s'), piped);
  terminal.output('stdout', Buffer.from('before '), 0);
  const [early, late] = [new Watcher('early'), new Watcher('late')];
  terminal.attach(early, { role: 'observer', from: 0 });
  await flood(terminal, 3_000_000);
  terminal.attach(late, { role: 'observer', from: 3 });
  terminal.output('stdout', Buffer.from('after'), null);
  const end = terminal.nextOffset();
  await until('all of it', () => gotTo(early) === end && gotTo(late) === end);
  expect(early.text().startsWith('before ')).toBe(true);
  expect(early.text().endsWith('after')).toBe(true);
  expect(late.text() === early.text().slice(3)).toBe(true);
});

test('[T9] a viewer that does not read is owed no more than its budget, and the others lose nothing', async () => {
  on = ground({ unsentBytesMax: 256 << 10, backlogBytesMax: 512 << 10 });
  const terminal = on.plane.open(id('s'), spec);
  const [quick, stuck] = [new Watcher('quick'), new Watcher('stuck')];
  terminal.attach(quick, { role: 'observer', from: 0 });
  const attachment = terminal.attach(stuck, { role: 'observer', from: 0 });
  stuck.reads = false;
  await flood(terminal, 8_000_000);
  await until('the quick one has all', () => gotTo(quick) === terminal.nextOffset());
  expect(quick.text().length).toBeGreaterThan(7_000_000);
  expect(stuck.mostWaiting).toBeLessThan(1 << 20);
  stuck.read();
  attachment.drained();
  terminal.output('stdout', Buffer.from('\x1b[3;7Hit goes on'), null);
  await until('the stuck one is up to date', () => gotTo(stuck) === terminal.nextOffset());
  const skipped = stuck.messages.filter(({ type }) => type === 'skipped');
  expect(skipped).toHaveLength(1);
  expect(on.plane.numbers.skippedFrames()).toBe(1);
  const { text } = await terminal.screen();
  expect(text).toContain('it goes on');
  expect(await drawn(stuck)).toBe(text);
});

test('[T10] a screen taken anywhere, also inside a sequence or a character, goes on as the true one', async () => {
  on = ground();
  const text = Buffer.from(
    '\x1b[2;20r\x1b[31mred größe 漢\x1b[4;9H\x1b[1mbold\x1b]0;title\x07 end \x1b[?25l',
  );
  for (let cut = 1; cut < text.length; cut++) {
    const terminal = on.plane.open(id(`s${cut}`), spec);
    terminal.output('stdout', text.subarray(0, cut), 0);
    const viewer = new Watcher('v');
    terminal.attach(viewer, { role: 'observer', from: null });
    await until('a screen', () => viewer.parts().length > 0);
    terminal.output('stdout', text.subarray(cut), cut);
    await until('the rest', () => gotTo(viewer) === text.length);
    expect([cut, await drawn(viewer)]).toEqual([cut, (await terminal.screen()).text]);
  }
});

test('[T11] one controls and it is told to all; who comes later observes, and takes over only by asking', () => {
  on = ground();
  const terminal = on.plane.open(id('s'), spec);
  const [ada, bob] = [new Watcher('ada'), new Watcher('bob')];
  const first = terminal.attach(ada, { role: 'controller', from: null });
  const second = terminal.attach(bob, { role: 'controller', from: null });
  expect([first.role, second.role]).toEqual(['controller', 'observer']);
  expect(second.control('take')).toBe(true);
  expect([first.role, second.role]).toEqual(['observer', 'controller']);
  for (const watcher of [ada, bob]) {
    expect(watcher.messages.at(-1)).toEqual({ type: 'members', controller: 'bob', observers: ['ada'] });
  }
  expect(first.control('release')).toBe(false);
  second.detach();
  expect(terminal.members()).toEqual({ controller: null, observers: ['ada'] });
});

test('[T12] sizes, gaps and the end are told to everybody, the end once and after the last byte', async () => {
  on = ground();
  const terminal = on.plane.open(id('s'), spec);
  const viewer = new Watcher('v');
  terminal.attach(viewer, { role: 'observer', from: 0 });
  terminal.output('stdout', Buffer.from('abc'), 0);
  terminal.resized(100, 30);
  terminal.output('stdout', Buffer.from('def'), 10);
  terminal.ended(3, 'exited');
  terminal.ended(3, 'exited');
  await until('the end', () => viewer.messages.some(({ type }) => type === 'closed'));
  const told = viewer.messages.filter(({ type }) => type !== 'members' && type !== 'role');
  expect(told).toContainEqual({ type: 'resize', cols: 100, rows: 30 });
  expect(told).toContainEqual({ type: 'gap', at: 3, bytes: 7 });
  expect(told.filter(({ type }) => type === 'closed')).toEqual([
    { type: 'closed', exit_code: 3, reason: 'exited' },
  ]);
  expect(gotTo(viewer)).toBe(13);
});

test('[T9] a viewer that acknowledges is sent no more than it can show', async () => {
  on = ground({ unshownBytesMax: 256 << 10, backlogBytesMax: 64 << 20 });
  const terminal = on.plane.open(id('s'), piped);
  const viewer = new Watcher('v');
  const attachment = terminal.attach(viewer, { role: 'observer', from: 0 });
  attachment.acknowledge(0);
  await flood(terminal, 2_000_000);
  expect(gotTo(viewer)).toBeLessThan(1 << 20);
  await until('all of it', () => {
    attachment.acknowledge(gotTo(viewer));
    return gotTo(viewer) === terminal.nextOffset();
  });
  expect(viewer.text().length).toBeGreaterThan(1_900_000);
});
