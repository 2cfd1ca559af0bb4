/** Staging with the real git: local repositories, and an HTTP git server for credentials and trouble. */
import { afterAll, describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../src/clock.ts';
import { Failure } from '../../src/failure.ts';
import { silentLog } from '../../src/log.ts';
import { taskDirs } from '../../src/tasks/dirs.ts';
import type { RepositoryWish } from '../../src/tasks/manifest.ts';
import { resolveSecrets } from '../../src/tasks/secrets.ts';
import { type Staging, stage } from '../../src/tasks/staging.ts';
import { git, gitServer, ground, manifest, put, source } from './ground.ts';

const here = ground('staging');
afterAll(here.clear);
const origin = source(here.dir);

/** Waits for a second try are over at once; everything else takes its time. */
const hurried: Clock = {
  ...systemClock,
  setTimeout: (fn, ms) => systemClock.setTimeout(fn, ms >= 4_000 && ms <= 70_000 ? 0 : ms),
};

let tasks = 0;
function staging(
  repository: Partial<RepositoryWish> | null,
  over: Partial<Staging> & { secrets?: object[] } = {},
): Staging {
  const { secrets = [], ...rest } = over;
  const { env = process.env } = rest;
  return {
    manifest: manifest({ repository, secrets }),
    attempt: 1,
    dirs: taskDirs(here.dir, `task-${++tasks}`),
    env: process.env,
    resolve: (refs) => resolveSecrets(refs, { env, names: ['THE_*'], dirs: [], commands: {} }),
    clock: hurried,
    signal: new AbortController().signal,
    log: silentLog,
    ...rest,
  };
}

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  try {
    await promise;
  } catch (thrown) {
    if (thrown instanceof Failure) return thrown;
    throw thrown;
  }
  throw new Error('it did not fail');
}

const read = (dir: string, name: string): string => readFileSync(join(dir, name), 'utf8');

describe('staging', () => {
  test.each([
    ['the default branch', () => ({ url: origin.path }), () => origin.second, 'two\n', 'main'],
    [
      'a branch, by file URL',
      () => ({ url: `file://${origin.path}`, branch: 'topic/one' }),
      () => origin.topic,
      'topic\n',
      'topic/one',
    ],
    ['a tag', () => ({ url: origin.path, branch: 'v1' }), () => origin.first, 'one\n', null],
    [
      'an older commit by its full name',
      () => ({ url: origin.path, commit: origin.first }),
      () => origin.first,
      'one\n',
      'main',
    ],
    [
      'an older commit by a short name',
      () => ({ url: origin.path, branch: 'main', commit: origin.first.slice(0, 9) }),
      () => origin.first,
      'one\n',
      'main',
    ],
    [
      'a commit of another branch',
      () => ({ url: origin.path, commit: origin.topic.slice(0, 10) }),
      () => origin.topic,
      'topic\n',
      'main',
    ],
  ] as const)('[K30] checks out %s', async (_, wish, commit, readme, branch) => {
    const asked = staging(wish());
    const work = await stage(asked);
    expect(work).toEqual({ workDir: asked.dirs.inbox, baseCommit: commit(), branch });
    expect(read(work.workDir, 'readme.md')).toBe(readme);
    expect(git(work.workDir, 'status', '--porcelain')).toBe('');
    expect(git(work.workDir, 'rev-parse', 'HEAD')).toBe(commit());
    expect(read(asked.dirs.root, 'TASK.md')).toContain('# Task Instructions');
    expect(statSync(asked.dirs.root).mode & 0o777).toBe(0o700);
  });

  test('[K30] a subpath is checked out sparsely, and is where the tool works', async () => {
    const { workDir } = await stage(staging({ url: origin.path, subpath: 'packages/api/' }));
    expect(read(workDir, 'index.ts')).toBe('api\n');
    expect(existsSync(join(workDir, '../web'))).toBe(false);
    expect(existsSync(join(workDir, '../../readme.md'))).toBe(true);
    expect(git(workDir, 'status', '--porcelain')).toBe('');
  });

  test('[K30] a branch alone is cloned shallow', async () => {
    const { workDir } = await stage(staging({ url: origin.path, branch: 'main' }));
    expect(git(workDir, 'rev-list', '--count', 'HEAD')).toBe('1');
  });

  test('[K30] without a repository there is an empty base commit', async () => {
    const { workDir, baseCommit } = await stage(staging(null));
    expect(readdirSync(workDir)).toEqual(['.git']);
    expect(git(workDir, 'rev-parse', 'HEAD')).toBe(baseCommit);
    put(workDir, { 'a.txt': 'a' });
    git(workDir, 'add', '-A');
    git(workDir, 'commit', '-q', '-m', 'mine');
  });

  test.each([
    ['branch', { branch: 'nope' }, 'not-found', 'there is no branch or tag "nope"; check repository.branch'],
    ['full commit', { commit: 'a'.repeat(40) }, 'not-found', 'check repository.commit'],
    [
      'short commit',
      { branch: 'main', commit: 'abcdef1' },
      'not-found',
      'there is no one commit abcdef1 on "main"',
    ],
    ['subpath', { subpath: 'packages/nope' }, 'not-found', 'there is no directory "packages/nope"'],
    [
      'repository',
      { url: '/tmp/tasks-staging-nowhere' },
      'not-found',
      'there is no repository; check repository.url',
    ],
  ] as const)('[K31] a missing %s is said plainly, and not tried again', async (_, wish, code, words) => {
    const failure = await failureOf(stage(staging({ url: origin.path, ...wish })));
    expect(failure.code).toBe(code);
    expect(failure.message).toContain(words);
  });

  test('[K32] a finished workspace is found again, with what the tool has done in it', async () => {
    const asked = staging({ url: origin.path });
    const work = await stage(asked);
    put(work.workDir, { 'mine.txt': 'mine' });
    expect(await stage(asked)).toEqual(work);
    expect(read(work.workDir, 'mine.txt')).toBe('mine');
  });

  test('[K32] half a workspace is removed and made again, and so is that of an earlier attempt', async () => {
    const asked = staging({ url: origin.path });
    const { workDir } = await stage(asked);
    put(workDir, { 'mine.txt': 'mine' });
    rmSync(asked.dirs.marker);
    await stage(asked);
    expect(existsSync(join(workDir, 'mine.txt'))).toBe(false);
    put(workDir, { 'mine.txt': 'mine' });
    await stage({ ...asked, attempt: 2 });
    expect(existsSync(join(workDir, 'mine.txt'))).toBe(false);
    mkdirSync(asked.dirs.base, { recursive: true });
  });

  test("[K33] no hook, filter or template of the server's own user runs", async () => {
    const home = join(here.dir, 'trap');
    const ran = join(here.dir, 'trap-ran');
    put(home, { '.gitconfig': `[core]\n hooksPath = ${home}\n[filter "x"]\n smudge = touch ${ran}; cat\n` });
    put(home, { 'post-checkout': `#!/bin/sh\ntouch ${ran}\n` });
    const filtered = source(join(here.dir, 'filtered'));
    put(filtered.path, { '.gitattributes': '*.md filter=x\n' });
    git(filtered.path, 'add', '-A');
    git(filtered.path, 'commit', '-q', '-m', 'filter');
    const env = { ...process.env, HOME: home };
    Bun.spawnSync(['git', 'clone', '-q', filtered.path, join(here.dir, 'trapped')], { env });
    expect(existsSync(ran)).toBe(true);
    rmSync(ran);
    const { workDir } = await stage(staging({ url: filtered.path }, { env }));
    expect(read(workDir, 'readme.md')).toBe('two\n');
    expect(existsSync(ran)).toBe(false);
  });
});

describe('staging over HTTP', () => {
  const secrets = [{ name: 'GIT_TOKEN', source: 'env', key: 'THE_TOKEN' }];
  const token = 'tok/en+with=signs-0123456789';
  const env = { ...process.env, THE_TOKEN: token };

  /** Every file below, as one text. */
  const everything = (dir: string): string =>
    readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
      .join('\n');

  test('[K34] a secret clones, and is afterwards nowhere: no file, no line of progress', async () => {
    const server = gitServer(here.dir, { wants: `x-access-token:${token}` });
    const lines: string[] = [];
    const asked = staging(
      { url: `${server.url}/source/.git`, secret: 'GIT_TOKEN' },
      { secrets, env, onLine: (l) => lines.push(l) },
    );
    const { workDir } = await stage(asked);
    server.stop();
    expect(read(workDir, 'readme.md')).toBe('two\n');
    expect(git(workDir, 'remote', 'get-url', 'origin')).toBe(`${server.url}/source/.git`);
    expect(everything(asked.dirs.root)).not.toContain(token);
    expect(lines.join('\n')).not.toContain(token);
    expect(lines.length).toBeGreaterThan(0);
  });

  test('[K34] a refused secret is a plain failure that does not hold it', async () => {
    const server = gitServer(here.dir, { wants: 'ada:other' });
    const failure = await failureOf(
      stage(staging({ url: `${server.url}/source/.git`, secret: 'GIT_TOKEN' }, { secrets, env })),
    );
    server.stop();
    expect(failure.code).toBe('forbidden');
    expect(failure.message).toContain('repository.secret');
    expect(failure.message).not.toContain(token);
  });

  test('[K34] a password that came with the URL is used, and neither told nor kept', async () => {
    const server = gitServer(here.dir, { wants: 'ada:pass word' });
    const asked = staging(null);
    const url = server.url.replace('http://', 'http://ada:pass%20word@');
    const repository = { url: `${url}/source/.git`, branch: null, commit: null, subpath: null, secret: null };
    const { workDir } = await stage({ ...asked, manifest: { ...asked.manifest, repository } });
    expect(git(workDir, 'remote', 'get-url', 'origin')).toBe(`${server.url}/source/.git`);
    const wrong = { ...repository, branch: 'nope' };
    const failure = await failureOf(
      stage({ ...asked, attempt: 2, manifest: { ...asked.manifest, repository: wrong } }),
    );
    server.stop();
    expect(failure.message).not.toMatch(/pass( |%20)word/);
  });

  test('[K35] a server that is ill is tried again, and then it works', async () => {
    const server = gitServer(here.dir, { ill: 2 });
    const { workDir } = await stage(staging({ url: `${server.url}/source/.git` }));
    expect(read(workDir, 'readme.md')).toBe('two\n');
    expect(server.asked()).toBeGreaterThan(2);
    server.stop();
  });

  test('[K35] a server that stays ill fails the staging after three tries', async () => {
    const server = gitServer(here.dir, { ill: 1_000 });
    const failure = await failureOf(stage(staging({ url: `${server.url}/source/.git` })));
    server.stop();
    expect(failure.code).toBe('staging-failed');
    expect(server.asked()).toBe(3);
  });

  test('[K36] an abort ends git and all its children', async () => {
    const server = gitServer(here.dir, { mute: true });
    const stop = new AbortController();
    const going = stage(
      staging({ url: `${server.url}/source/.git` }, { signal: stop.signal, clock: systemClock }),
    );
    const port = new URL(server.url).port;
    const deadline = Date.now() + 10_000;
    while (server.asked() === 0 && Date.now() < deadline) await Bun.sleep(10);
    expect(processesNaming(port).length).toBeGreaterThan(0);
    stop.abort(new Failure('cancelled', 'not wanted any more'));
    expect((await failureOf(going)).code).toBe('cancelled');
    while (processesNaming(port).length > 0 && Date.now() < deadline) await Bun.sleep(10);
    expect(processesNaming(port)).toEqual([]);
    server.stop();
  });

  test('[K36] a server that never answers is a timeout that names the clone', async () => {
    const server = gitServer(here.dir, { mute: true });
    const failure = await failureOf(
      stage(staging({ url: `${server.url}/source/.git` }, { timeoutMs: 300, clock: systemClock })),
    );
    server.stop();
    expect(failure).toMatchObject({ code: 'timed-out' });
    expect(failure.message).toContain(`${server.url}/source/.git`);
  });
});

function processesNaming(words: string): string[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return line.includes('git') && line.includes(`:${words}/`) ? [line] : [];
      } catch {
        return []; // It ended while we looked.
      }
    });
}
