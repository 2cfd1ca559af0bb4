/** Writing, making and removing in an area, when nobody is hostile. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { chmodSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../../src/failure.ts';
import { makeDirs, remove, writeFile } from '../../src/share/change.ts';
import { list, openFile } from '../../src/share/look.ts';
import { partsOf } from '../../src/share/names.ts';
import { measure } from '../../src/share/usage.ts';
import { codeOf, type Ground, ground, pieces, textAt, upload } from './ground.ts';

let g: Ground;
beforeEach(() => {
  g = ground();
});
afterEach(() => g.close());

const all = { after: null, limit: 100 };
const modeOf = (...names: string[]): string =>
  (statSync(join(g.area.root, ...names)).mode & 0o7777).toString(8);

test('[F11] a file is there whole or not at all, also when its body breaks off or is too long', async () => {
  await writeFile(g.area, partsOf('file'), upload('old'));
  async function* broken() {
    yield Buffer.from('half');
    throw new Failure('cancelled', 'the caller left');
  }
  expect(await codeOf(writeFile(g.area, partsOf('file'), upload('', { body: broken() })))).toBe('cancelled');
  const long = upload('', { body: pieces('1234', '5678'), bytesMax: 7 });
  expect(await codeOf(writeFile(g.area, partsOf('file'), long))).toBe('too-large');
  expect(await textAt(g.area, 'file')).toBe('old');
  expect(readdirSync(g.area.staging)).toEqual([]);
  expect(await writeFile(g.area, partsOf('file'), upload('', { body: pieces('12', '', '34') }))).toEqual({
    sizeBytes: 4,
  });
  expect(await textAt(g.area, 'file')).toBe('1234');
});

test('[F11] of many who write one name at once each writes a whole file, and only one a new one', async () => {
  const texts = Array.from({ length: 20 }, (_, i) => `${i}`.repeat(5_000));
  await Promise.all(texts.map((text) => writeFile(g.area, partsOf('one'), upload(text))));
  expect(texts).toContain(await textAt(g.area, 'one'));
  const codes = await Promise.all(
    texts.map((text) => codeOf(writeFile(g.area, partsOf('new'), upload(text, { isNew: true })))),
  );
  expect(codes.filter((code) => code === 'no failure')).toHaveLength(1);
  expect(codes.filter((code) => code === 'already-exists')).toHaveLength(19);
});

test('[F11] missing directories are made when they are asked for, and said to be missing otherwise', async () => {
  expect(await codeOf(writeFile(g.area, partsOf('a/b/c'), upload('x')))).toBe('not-found');
  await writeFile(g.area, partsOf('a/b/c'), upload('x', { makesParents: true }));
  expect(await textAt(g.area, 'a/b/c')).toBe('x');
  expect(await makeDirs(g.area, partsOf('a/b'))).toBe(false);
  expect(await makeDirs(g.area, partsOf('a/d/'))).toBe(true);
  expect(await codeOf(makeDirs(g.area, partsOf('a/b/c')))).toBe('wrong-state');
  expect(await codeOf(writeFile(g.area, partsOf('a'), upload('x')))).toBe('wrong-state');
  expect(await codeOf(writeFile(g.area, [], upload('x')))).toBe('bad-input');
});

test('[F11] a directory with something in it is removed only when that is asked for', async () => {
  await writeFile(g.area, partsOf('a/b/c'), upload('x', { makesParents: true }));
  expect(await codeOf(remove(g.area, partsOf('a'), false))).toBe('wrong-state');
  chmodSync(join(g.area.root, 'a', 'b'), 0o500);
  expect(await remove(g.area, partsOf('a'), true)).toEqual({ count: 3 });
  expect(await codeOf(remove(g.area, partsOf('a'), true))).toBe('not-found');
  expect(await codeOf(remove(g.area, [], true))).toBe('bad-input');
  expect((await list(g.area, [], all)).entries).toEqual([]);
});

test('[F2] what is written has the modes of its area, and the owner of the instance where we may give it', async () => {
  const isRoot = process.getuid?.() === 0;
  const area = { ...g.area, owner: isRoot ? { uid: 10_001, gid: 10_001 } : null };
  await writeFile(area, partsOf('d/plain'), upload('x', { makesParents: true }));
  await writeFile(area, partsOf('d/tool'), upload('x', { isExecutable: true }));
  expect([modeOf('d'), modeOf('d', 'plain'), modeOf('d', 'tool')]).toEqual(['755', '644', '755']);
  const owner = isRoot ? 10_001 : process.getuid?.();
  for (const name of ['d', 'd/plain']) expect(statSync(join(area.root, name)).uid).toBe(owner as number);
});

test('[F3] what is written to global is write-protected, and is replaced and removed by us all the same', async () => {
  const area = { ...g.area, fileMode: 0o444 };
  await writeFile(area, partsOf('a/x'), upload('one', { makesParents: true, isExecutable: true }));
  expect([modeOf('a'), modeOf('a', 'x')]).toEqual(['755', '555']);
  await writeFile(area, partsOf('a/x'), upload('two'));
  expect([modeOf('a', 'x'), await textAt(area, 'a/x')]).toEqual(['444', 'two']);
  await remove(area, partsOf('a'), true);
  expect((await list(area, [], all)).entries).toEqual([]);
});

test('[F13] usage counts what the disk holds, once for a file of several names, and not what links lead to', async () => {
  const at = (name: string) => join(g.area.root, name);
  writeFileSync(at('a'), Buffer.alloc(100_000, 1));
  const signal = new AbortController().signal;
  const one = await measure(g.area.root, signal);
  expect(one?.bytes).toBeGreaterThanOrEqual(100_000);
  mkdirSync(at('d'));
  const { linkSync, symlinkSync } = await import('node:fs');
  linkSync(at('a'), at('d/b'));
  symlinkSync('../outside', at('out'));
  const two = await measure(g.area.root, signal);
  expect((two?.bytes ?? 0) - (one?.bytes ?? 0)).toBeLessThan(20_000);
  expect(two).toMatchObject({ entries: 4, isWhole: true });
  expect(await measure(join(g.dir, 'nowhere'), signal)).toBeNull();
});

test('[F10] the tag of a file changes when the file does', async () => {
  const tag = async () => {
    const { handle, tag } = await openFile(g.area, partsOf('f'));
    await handle.close();
    return tag;
  };
  await writeFile(g.area, partsOf('f'), upload('one'));
  const first = await tag();
  expect(await tag()).toBe(first);
  await writeFile(g.area, partsOf('f'), upload('two'));
  expect(await tag()).not.toBe(first);
});
