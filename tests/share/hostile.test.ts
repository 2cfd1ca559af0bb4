/** What somebody inside an instance can put in the way of whoever looks at its files from outside. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { makeDirs, remove, writeFile } from '../../src/share/change.ts';
import { bytesOf, list, openFile } from '../../src/share/look.ts';
import { partsOf, plainPartsOf } from '../../src/share/names.ts';
import { codeIn, codeOf, type Ground, ground, SECRET, textAt, upload } from './ground.ts';

let g: Ground;
beforeEach(() => {
  g = ground();
});
afterEach(() => g.close());

const inArea = (...names: string[]): string => join(g.area.root, ...names);
const all = { after: null, limit: 1_000 };

test('[F4] a path that is absolute, goes up, has an empty part or a NUL, or is too long, is refused', () => {
  const paths = [
    '/etc/passwd',
    '..',
    '../outside/secret',
    'a/../../outside/secret',
    'a/..',
    '.',
    'a/./b',
    'a//etc/passwd',
    '%2e%2e/outside',
    '%2Fetc',
    'a%2F..%2F..%2Foutside',
    'a%00b',
    'a\0b',
    '%zz',
    'a%2',
    'x'.repeat(256),
    'y/'.repeat(3_000),
  ];
  const plain = paths.filter((path) => !path.includes('%'));
  for (const path of plain) expect(`${path}: ${codeIn(() => plainPartsOf(path))}`).toBe(`${path}: bad-input`);
  for (const path of paths) expect(`${path}: ${codeIn(() => partsOf(path))}`).toBe(`${path}: bad-input`);
});

test('[F4] what backslashes, drives and dots at the ends mean elsewhere, they are only names here', async () => {
  const names = ['..\\secret', 'C:', '...', '..a', 'a..', '~', '%25', '-rf', '*'];
  for (const name of names) await writeFile(g.area, plainPartsOf(name), upload(name));
  const { entries } = await list(g.area, [], all);
  expect(entries.map(({ name }) => name).sort()).toEqual([...names].sort());
});

test('[F5] no link is followed: not to read, to list, to write, to make or to remove in it', async () => {
  symlinkSync('../outside', inArea('dir'));
  symlinkSync('../outside/secret', inArea('file'));
  symlinkSync('/etc/passwd', inArea('passwd'));
  symlinkSync('loop', inArea('loop'));
  mkdirSync(inArea('inner'));
  symlinkSync('inner', inArea('inside'));
  for (const path of ['file', 'dir/secret', 'passwd', 'loop', 'inside/x']) {
    expect(await codeOf(openFile(g.area, partsOf(path)))).toBe('not-found');
  }
  for (const path of ['dir', 'inside', 'loop']) {
    expect(await codeOf(list(g.area, partsOf(path), all))).toBe('not-found');
    expect(await codeOf(writeFile(g.area, partsOf(`${path}/new`), upload('x')))).toBe('not-found');
    const deep = upload('x', { makesParents: true });
    expect(await codeOf(writeFile(g.area, partsOf(`${path}/new/x`), deep))).toBe('wrong-state');
    expect(await codeOf(makeDirs(g.area, partsOf(`${path}/new`)))).toBe('wrong-state');
    expect(await codeOf(remove(g.area, partsOf(`${path}/secret`), true))).toBe('not-found');
  }
  expect(readdirSync(join(g.dir, 'outside'))).toEqual(['secret']);
  expect(readdirSync(g.area.staging)).toEqual([]);
});

test('[F5] a link is listed as one with what it says, and is replaced or removed itself', async () => {
  symlinkSync('../outside/secret', inArea('a'));
  symlinkSync('../outside', inArea('b'));
  const { entries } = await list(g.area, [], all);
  expect(entries.map(({ kind, target, sizeBytes }) => ({ kind, target, sizeBytes }))).toEqual([
    { kind: 'link', target: '../outside/secret', sizeBytes: 0 },
    { kind: 'link', target: '../outside', sizeBytes: 0 },
  ]);
  await writeFile(g.area, partsOf('a'), upload('mine'));
  expect(await textAt(g.area, 'a')).toBe('mine');
  await remove(g.area, partsOf('b'), true);
  expect(readFileSync(join(g.dir, 'outside', 'secret'), 'utf8')).toBe(SECRET);
});

test('[F5] the root of an area that was exchanged for a link is not there', async () => {
  renameSync(g.area.root, join(g.dir, 'elsewhere'));
  symlinkSync(join(g.dir, 'outside'), g.area.root);
  expect(await codeOf(list(g.area, [], all))).toBe('not-found');
  expect(await codeOf(openFile(g.area, partsOf('secret')))).toBe('not-found');
});

test('[F6] a directory and a link that change places all the time never lead outside', async () => {
  mkdirSync(inArea('real'));
  writeFileSync(inArea('real', 'secret'), 'harmless');
  symlinkSync('../outside', inArea('evil'));
  const script = `
    const { renameSync } = require('node:fs');
    process.chdir(${JSON.stringify(g.area.root)});
    renameSync('real', 'door');
    process.stdout.write('.');
    for (;;) { renameSync('door', 'real'); renameSync('evil', 'door'); renameSync('door', 'evil'); renameSync('real', 'door'); }
  `;
  const flipping = Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe', stderr: 'inherit' });
  try {
    await flipping.stdout.getReader().read();
    const outcomes = new Map<string, number>();
    const count = (what: string) => outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
    for (let i = 0; i < 1_500; i++) {
      count(`read ${await textAt(g.area, 'door/secret').catch(({ code }) => code)}`);
      const names = await list(g.area, partsOf('door'), all).catch(({ code }) => code as string);
      count(typeof names === 'string' ? `list ${names}` : 'list whole');
      await writeFile(g.area, partsOf('door/new'), upload('x')).catch(({ code }) => count(`write ${code}`));
      await remove(g.area, partsOf('door/new'), true).catch(({ code }) => count(`remove ${code}`));
    }
    expect(outcomes.get(`read ${SECRET}`)).toBeUndefined();
    // It did meet both, or this shows nothing.
    expect(outcomes.get('read harmless')).toBeGreaterThan(0);
    expect(outcomes.get('read not-found')).toBeGreaterThan(0);
    expect(readdirSync(join(g.dir, 'outside'))).toEqual(['secret']);
    expect(readFileSync(join(g.dir, 'outside', 'secret'), 'utf8')).toBe(SECRET);
  } finally {
    flipping.kill('SIGKILL');
    await flipping.exited;
  }
}, 60_000);

test('[F6] while a tree is removed, a directory in it that is exchanged for a link is not entered', async () => {
  const script = `
    const { mkdirSync, renameSync, symlinkSync, rmSync } = require('node:fs');
    process.chdir(${JSON.stringify(g.dir)});
    process.stdout.write('.');
    for (let i = 0; ; i++) {
      try {
        mkdirSync('area/tree/a/b', { recursive: true });
        renameSync('area/tree/a', 'old' + i);
        symlinkSync('../../outside', 'area/tree/a');
        rmSync('old' + i, { recursive: true });
        rmSync('area/tree/a');
      } catch {}
    }
  `;
  const flipping = Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe', stderr: 'inherit' });
  try {
    await flipping.stdout.getReader().read();
    let removed = 0;
    for (let i = 0; i < 1_000; i++) {
      removed += await remove(g.area, partsOf('tree'), true).then(
        () => 1,
        () => 0,
      );
    }
    expect(removed).toBeGreaterThan(0);
    expect(readFileSync(join(g.dir, 'outside', 'secret'), 'utf8')).toBe(SECRET);
  } finally {
    flipping.kill('SIGKILL');
    await flipping.exited;
  }
}, 60_000);

test('[F7] a pipe, a socket, a device and a directory are not read, and keep nobody waiting', async () => {
  await Bun.spawn(['mkfifo', inArea('pipe')]).exited;
  mkdirSync(inArea('dir'));
  const server = createServer().listen(inArea('socket'));
  await new Promise((resolve) => server.once('listening', resolve));
  const isRoot = process.getuid?.() === 0;
  if (isRoot) await Bun.spawn(['mknod', inArea('null'), 'c', '1', '3']).exited;
  try {
    expect(await codeOf(openFile(g.area, partsOf('pipe')))).toBe('wrong-state');
    expect(await codeOf(openFile(g.area, partsOf('dir')))).toBe('wrong-state');
    expect(await codeOf(openFile(g.area, partsOf('socket')))).toBe('not-found');
    if (isRoot) expect(await codeOf(openFile(g.area, partsOf('null')))).toBe('wrong-state');
    const { entries } = await list(g.area, [], all);
    const kinds = Object.fromEntries(entries.map(({ name, kind }) => [name, kind]));
    expect(kinds).toMatchObject({ pipe: 'other', socket: 'other', dir: 'dir' });
    await writeFile(g.area, partsOf('pipe'), upload('now a file'));
    expect(await textAt(g.area, 'pipe')).toBe('now a file');
    await remove(g.area, partsOf('socket'), false);
  } finally {
    server.close();
  }
});

test('[F7] a file that has another name somewhere is not handed out, and never written through', async () => {
  linkSync(join(g.dir, 'outside', 'secret'), inArea('hard'));
  expect(await codeOf(openFile(g.area, partsOf('hard')))).toBe('wrong-state');
  const { entries } = await list(g.area, [], all);
  expect(entries[0]?.links).toBe(2);
  await writeFile(g.area, partsOf('hard'), upload('mine'));
  expect(await textAt(g.area, 'hard')).toBe('mine');
  expect(readFileSync(join(g.dir, 'outside', 'secret'), 'utf8')).toBe(SECRET);
});

test('[F8] names that are not UTF-8 are listed, read, written and removed by their bytes', async () => {
  await writeFile(g.area, partsOf('a%FFb'), upload('bytes'));
  await makeDirs(g.area, partsOf('%FE'));
  await writeFile(g.area, partsOf('%FE/%C3%A4'), upload('a with dots'));
  const { entries } = await list(g.area, [], all);
  expect(entries.map(({ name, rawPath }) => [name, rawPath])).toEqual([
    ['a\ufffdb', 'a%FFb'],
    ['\ufffd', '%FE'],
  ]);
  expect(await textAt(g.area, 'a%FFb')).toBe('bytes');
  expect(await textAt(g.area, '%FE/ä')).toBe('a with dots');
  await remove(g.area, partsOf('%FE'), true);
  expect((await list(g.area, [], all)).entries).toHaveLength(1);
});

test('[F9] a directory of very many names is given in pages, each name once and in order', async () => {
  const count = 20_000;
  mkdirSync(inArea('many'));
  for (let i = 0; i < count; i++) writeFileSync(inArea('many', `f${String(i).padStart(6, '0')}`), '');
  const seen: string[] = [];
  for (let after: Buffer | null = null; ; ) {
    const page = await list(g.area, partsOf('many'), { after, limit: 3_000 });
    seen.push(...page.entries.map(({ name }) => name));
    if (page.next === null) break;
    after = partsOf(page.next)[0] ?? null;
  }
  expect(seen).toHaveLength(count);
  expect(seen).toEqual([...seen].sort());
  expect(new Set(seen).size).toBe(count);
}, 60_000);

test('[F10] a file that is replaced while it is read is read to its end as it was', async () => {
  const old = 'old'.repeat(300_000);
  writeFileSync(inArea('file'), old);
  const { handle, sizeBytes } = await openFile(g.area, partsOf('file'));
  const reader = bytesOf(handle, { from: 0, length: sizeBytes }).getReader();
  const first = await reader.read();
  await writeFile(g.area, partsOf('file'), upload('new'));
  let text = Buffer.from(first.value ?? []).toString();
  for (let part = await reader.read(); !part.done; part = await reader.read())
    text += Buffer.from(part.value).toString();
  expect(text).toBe(old);
  expect(await textAt(g.area, 'file')).toBe('new');
});

test('[F10] a file that is cut while it is read ends in an error, and one that grows at what it had', async () => {
  writeFileSync(inArea('cut'), Buffer.alloc(1 << 20));
  const cut = await openFile(g.area, partsOf('cut'));
  const reader = bytesOf(cut.handle, { from: 0, length: cut.sizeBytes }).getReader();
  await reader.read();
  truncateSync(inArea('cut'), 10);
  const rest = async () => {
    for (let part = await reader.read(); !part.done; part = await reader.read());
  };
  await expect(rest()).rejects.toThrow('shorter');
  writeFileSync(inArea('grown'), 'first');
  const grown = await openFile(g.area, partsOf('grown'));
  writeFileSync(inArea('grown'), 'first and second');
  const body = bytesOf(grown.handle, { from: 0, length: grown.sizeBytes });
  expect(await new Response(body).text()).toBe('first');
});

test('[F5] a tree that is deeper than any path may be is removed, and what it links to stays', async () => {
  mkdirSync(inArea('deep'));
  symlinkSync(join(g.dir, 'outside'), inArea('deep', 'out'));
  // From the bottom up, because no path is as long.
  for (let i = 0; i < 3_000; i++) {
    mkdirSync(inArea('above'));
    renameSync(inArea('deep'), inArea('above', 'd'));
    renameSync(inArea('above'), inArea('deep'));
  }
  expect((await remove(g.area, partsOf('deep'), true)).count).toBe(3_002);
  expect(readdirSync(g.area.root)).toEqual([]);
  expect(readdirSync(g.area.staging)).toEqual([]);
  expect(existsSync(join(g.dir, 'outside', 'secret'))).toBe(true);
}, 30_000);
