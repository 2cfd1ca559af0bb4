/** Artifacts and patches with real files, a real git, and a tool that does its worst. */
import { afterAll, describe, expect, test } from 'bun:test';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { silentLog } from '../../src/log.ts';
import { type Collect, collectArtifacts, listArtifacts, openArtifact } from '../../src/tasks/artifacts.ts';
import { type TaskDirs, taskDirs } from '../../src/tasks/dirs.ts';
import { stage } from '../../src/tasks/staging.ts';
import { git, ground, manifest, put, source } from './ground.ts';

const here = ground('artifacts');
afterAll(here.clear);
const origin = source(here.dir);
const signal = new AbortController().signal;
let tasks = 0;

async function staged(subpath: string | null = null) {
  const dirs = taskDirs(here.dir, `task-${++tasks}`);
  const repository = { url: origin.path, subpath };
  const work = await stage({
    manifest: manifest({ repository }),
    attempt: 1,
    dirs,
    env: process.env,
    resolve: async () => new Map(),
    clock: systemClock,
    signal,
    log: silentLog,
  });
  const collect = (patterns: string[], over: Partial<Collect> = {}) =>
    collectArtifacts({
      dirs,
      staged: work,
      patterns,
      summary: null,
      env: process.env,
      clock: systemClock,
      signal,
      log: silentLog,
      ...over,
    });
  return { dirs, work, collect };
}

const names = (list: readonly { name: string }[]): string[] => list.map(({ name }) => name);
const textOf = async (dirs: TaskDirs, name: string) => {
  const opened = await openArtifact(dirs, name);
  return opened === null ? null : await new Response(opened.body).text();
};

/** The tree as it would be committed: names, modes, contents. */
function tree(dir: string): string {
  git(dir, 'add', '-A');
  return git(dir, 'ls-files', '--stage');
}

describe('the patch', () => {
  test('[K40] applied to a clean clone it gives the same tree: new, changed, deleted, binary, mode, link, odd names', async () => {
    const { dirs, work, collect } = await staged();
    const binary = Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919) % 256));
    put(work.workDir, {
      'readme.md': 'changed\r\nwith CRLF and no end',
      'new/deep/file.txt': 'new\n',
      'pixels.bin': binary,
      empty: '',
      'a name with blanks.txt': 'x\n',
      'ünï\tcode "quoted".txt': 'y\n',
      'line\nbreak.txt': 'z\n',
      '-dash': 'd\n',
      'run.sh': '#!/bin/sh\n',
    });
    chmodSync(join(work.workDir, 'run.sh'), 0o755);
    symlinkSync('readme.md', join(work.workDir, 'link'));
    rmSync(join(work.workDir, 'packages/web'), { recursive: true });
    put(work.workDir, { '.gitignore': 'ignored/\n', 'ignored/x': 'x', '.claude/settings.local.json': '{}' });
    await collect([]);
    const clean = join(here.dir, 'clean');
    git(here.dir, 'clone', '-q', origin.path, clean);
    git(clean, 'apply', dirs.patch);
    rmSync(join(work.workDir, '.claude'), { recursive: true });
    expect(tree(clean)).toBe(tree(work.workDir));
    expect(existsSync(join(clean, 'ignored/x'))).toBe(false);
  });

  test('[K40] it also holds what the tool has committed, and is there when the tool has removed its .git', async () => {
    const { dirs, work, collect } = await staged();
    put(work.workDir, { 'one.txt': 'one\n' });
    git(work.workDir, 'add', '-A');
    git(work.workDir, 'commit', '-q', '-m', 'mine');
    put(work.workDir, { 'two.txt': 'two\n' });
    rmSync(join(work.workDir, '.git'), { recursive: true });
    await collect([]);
    const patch = readFileSync(dirs.patch, 'utf8');
    expect(patch).toContain('+one');
    expect(patch).toContain('+two');
  });

  test('[K40] in a sparse workspace what was never checked out is not told as deleted', async () => {
    const { dirs, work, collect } = await staged('packages/api');
    put(work.workDir, { 'index.ts': 'changed\n', 'made.ts': 'made\n' });
    put(dirs.inbox, { 'top.txt': 'top\n' });
    await collect(['*.ts']);
    const patch = readFileSync(dirs.patch, 'utf8');
    const touched = [...patch.matchAll(/^diff --git a\/(\S+)/gm)].map(([, name]) => name);
    expect(touched.sort()).toEqual(['packages/api/index.ts', 'packages/api/made.ts', 'top.txt']);
    expect(names(await listArtifacts(dirs))).toEqual(['changes.patch', 'index.ts', 'made.ts']);
  });

  test('[K40] nothing changed, no patch', async () => {
    const { collect } = await staged();
    expect(await collect([])).toEqual({ artifacts: [], skipped: [] });
  });

  test('[K41] no program that the tool names in its .git, attributes or index is run by us', async () => {
    const { dirs, work, collect } = await staged();
    const ran = join(here.dir, 'ran');
    for (const [key, value] of [
      ['core.fsmonitor', `touch ${ran}`],
      ['filter.x.clean', `touch ${ran}; cat`],
      ['diff.external', `touch ${ran}`],
      ['diff.x.textconv', `touch ${ran}; cat`],
      ['diff.x.command', `touch ${ran}`],
      ['core.hooksPath', '.'],
    ] as const)
      git(work.workDir, 'config', key, value);
    put(work.workDir, {
      '.gitattributes': '* filter=x diff=x\n',
      'readme.md': 'changed\n',
      'post-index-change': `#!/bin/sh\ntouch ${ran}\n`,
    });
    chmodSync(join(work.workDir, 'post-index-change'), 0o755);
    git(work.workDir, 'status');
    expect(existsSync(ran)).toBe(true);
    rmSync(ran);
    await collect([]);
    expect(existsSync(ran)).toBe(false);
    expect(readFileSync(dirs.patch, 'utf8')).toContain('+changed');
  });

  test('a repository inside the working tree is left out, and said to be', async () => {
    const { work, collect } = await staged();
    mkdirSync(join(work.workDir, 'inner'));
    git(join(work.workDir, 'inner'), 'init', '-q');
    put(work.workDir, { 'inner/a.txt': 'a\n' });
    git(join(work.workDir, 'inner'), 'add', '-A');
    git(join(work.workDir, 'inner'), 'commit', '-q', '-m', 'inner');
    expect((await collect([])).skipped).toEqual([{ name: 'inner/', why: 'is a repository of its own' }]);
  });
});

describe('artifacts', () => {
  test('[K42] patterns pick from outbox and working tree, keep paths, and no name is lost to another', async () => {
    const { dirs, work, collect } = await staged();
    put(work.workDir, {
      'dist/a.txt': 'repo a',
      'dist/deep/b.txt': 'repo b',
      'other.txt': 'no',
      '.hidden/c.txt': 'c',
      'dist/x.map': 'map',
    });
    put(dirs.outbox, {
      'dist/a.txt': 'outbox a',
      'artifacts/dist/a.txt': 'given a',
      'progress/1/dist/a.txt': 'progress',
    });
    put(dirs.outbox, { 'artifacts/changes.patch': 'not ours' });
    const { artifacts } = await collect(['dist', '!**/*.map', '.hidden/*.txt'], { summary: 'All done.' });
    expect(names(artifacts)).toEqual([
      '.hidden/c.txt',
      'changes.patch',
      'dist/a.txt',
      'dist/deep/b.txt',
      'given/changes.patch',
      'outbox/dist/a.txt',
      'repository/dist/a.txt',
      'summary.md',
    ]);
    expect(await textOf(dirs, 'dist/a.txt')).toBe('given a');
    expect(await textOf(dirs, 'outbox/dist/a.txt')).toBe('outbox a');
    expect(await textOf(dirs, 'repository/dist/a.txt')).toBe('repo a');
    expect(await textOf(dirs, 'summary.md')).toBe('All done.\n');
  });

  test('[K42] size, checksum and type are told, and collecting twice gives the same', async () => {
    const { dirs, work, collect } = await staged();
    put(work.workDir, { 'out/report.html': '<p>é</p>' });
    put(dirs.outbox, { 'artifacts/given.bin': 'given' });
    const first = await collect(['out/**']);
    expect(first.artifacts.find(({ name }) => name === 'out/report.html')).toEqual({
      name: 'out/report.html',
      size_bytes: 9,
      content_type: 'text/html; charset=utf-8',
      checksum: `sha256:${new Bun.CryptoHasher('sha256').update('<p>é</p>').digest('hex')}`,
    });
    expect(await collect(['out/**'])).toEqual(first);
    expect(await listArtifacts(dirs)).toEqual([...first.artifacts]);
    expect(names(first.artifacts)).toContain('given.bin');
  });

  test('[K43] links that leave, devices, pipes and hostile names are refused, and said to be', async () => {
    const { dirs, work, collect } = await staged();
    writeFileSync(join(here.dir, 'outside.txt'), 'outside');
    mkdirSync(join(work.workDir, 'out'));
    symlinkSync('/etc/passwd', join(work.workDir, 'out/passwd'));
    symlinkSync('../../../../outside.txt', join(work.workDir, 'out/up.txt'));
    symlinkSync('/etc', join(work.workDir, 'out/etc'));
    symlinkSync('../.git/config', join(work.workDir, 'out/config'));
    symlinkSync('../readme.md', join(work.workDir, 'out/inside.md'));
    Bun.spawnSync(['mkfifo', join(work.workDir, 'out/pipe')]);
    writeFileSync(join(work.workDir, 'out/line\nbreak'), 'x');
    symlinkSync('/etc', join(dirs.artifacts, 'given-etc'));
    const { artifacts, skipped } = await collect(['out/**']);
    expect(names(artifacts)).toEqual(['changes.patch', 'out/inside.md']);
    expect(await textOf(dirs, 'out/inside.md')).toBe('two\n');
    expect(names(skipped).sort()).toEqual([
      'given-etc',
      'out/config',
      'out/etc',
      'out/line\nbreak',
      'out/passwd',
      'out/pipe',
      'out/up.txt',
    ]);
  });

  test('[K43] count and bytes are bounded', async () => {
    const { work, collect } = await staged();
    put(work.workDir, { 'o/a': '12345', 'o/b': '12345', 'o/c': '12345' });
    const limits = { files: 1_000, bytes: 8_000 };
    const few = await collect(['o/*'], { limits: { ...limits, files: 2 } });
    expect(names(few.artifacts)).toEqual(['changes.patch', 'o/a']);
    expect(names(few.skipped)).toEqual(['o/b', 'o/c']);
    put(work.workDir, { 'o/a': 'x'.repeat(9_000) });
    const small = await collect(['o/*'], { limits, staged: { ...work, baseCommit: null } });
    expect(names(small.artifacts)).toEqual(['o/b', 'o/c']);
  });

  test.each([
    '../staged.json',
    '..',
    '/etc/passwd',
    'a/../../staged.json',
    './a.txt',
    'a.txt/',
    '',
    'a\0b',
    'link/passwd',
    'later.txt',
    '..%2fstaged.json',
    `${'x/'.repeat(200)}x`,
    '__proto__',
    'constructor',
  ])('[K44] %p opens nothing', async (name) => {
    const { dirs, collect } = await staged();
    put(dirs.outbox, { 'artifacts/a.txt': 'a' });
    await collect([]);
    symlinkSync('/etc', join(dirs.artifacts, 'link'));
    put(dirs.artifacts, { 'later.txt': 'not collected' });
    expect(await openArtifact(dirs, name)).toBeNull();
    expect(await textOf(dirs, 'a.txt')).toBe('a');
  });

  test('[K44] an artifact that was exchanged for a link afterwards is not handed out', async () => {
    const { dirs, collect } = await staged();
    put(dirs.outbox, { 'artifacts/d/a.txt': 'a' });
    await collect([]);
    rmSync(join(dirs.artifacts, 'd'), { recursive: true });
    symlinkSync('/etc', join(dirs.artifacts, 'd'));
    expect(await openArtifact(dirs, 'd/a.txt')).toBeNull();
  });

  test('what we write is private, and no scratch is left', async () => {
    const { dirs, work, collect } = await staged();
    put(work.workDir, { 'o/a': 'a' });
    await collect(['o/*']);
    expect(statSync(join(dirs.artifacts, 'o/a')).mode & 0o777).toBe(0o600);
    expect(readdirSync(dirs.root).sort()).toEqual([
      'TASK.md',
      'artifacts.json',
      'base.git',
      'given',
      'inbox',
      'outbox',
      'staged.json',
    ]);
  });
});
