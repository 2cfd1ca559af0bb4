/** Tokens by command, in a process of its own, beside a server and without one. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import type { Clock } from '../../src/clock.ts';
import { browsers } from '../../src/http/browsers.ts';
import { httpDoors } from '../../src/http/doors.ts';
import { operators } from '../../src/http/operators.ts';
import { tokenPathIn } from '../../src/http/token-file.ts';
import { client } from './socket.ts';
import { until, type World, world } from './world.ts';

const script = resolve(import.meta.dir, '..', '..', 'scripts', 'operator-tokens.ts');

let on: World;
let path: string;
beforeEach(async () => {
  on = await world();
  path = tokenPathIn(on.dir);
});
afterEach(() => on.remove());

const run = (...words: string[]) => runBy([], ...words);

/** `by`: a program that runs it. */
async function runBy(by: readonly string[], ...words: string[]) {
  const child = Bun.spawn([...by, process.execPath, script, ...words], {
    env: { AGENTIC_DATA_DIR: on.dir },
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { out, err, code };
}

const made = async (...words: string[]): Promise<string> => {
  const { out, err, code } = await run('create', ...words);
  expect([code, err]).toEqual([0, expect.stringContaining('Made for')]);
  return out.trim();
};

/** A server on those tokens. */
async function served() {
  const known = await operators({ path, clock: on.clock, uid: 4711 });
  const access = await browsers({ path: `${path}.browsers`, operators: known, clock: on.clock });
  const doors = await httpDoors({ ...on, operators: known, access });
  const url = `http://127.0.0.1:${doors.httpPort}`;
  const ask = async (token: string | null, at = '/api/v1/whoami') => {
    const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
    return (await fetch(`${url}${at}`, { headers })).status;
  };
  return { doors, ask, wsUrl: url.replace('http', 'ws') };
}

const notes = async () => {
  const { records } = await on.audit.read({
    before: null,
    limit: 50,
    caller: null,
    route: null,
    outcome: null,
    since: null,
    until: null,
  });
  return records
    .filter(({ door }) => door === 'operators')
    .map(({ method, params }) => [method, params['name']]);
};

describe('a command', () => {
  test('[O8] makes the first token without a server, and its server asks for it from the start', async () => {
    const refused = await run('create', '--name', 'bob', '--role', 'viewer');
    expect(refused).toMatchObject({
      code: 1,
      err: expect.stringContaining('the first token must be an admin'),
    });
    const ada = await made('--name', 'ada', '--role', 'admin');
    expect(ada).toMatch(/^asb_[A-Za-z0-9_-]{43}$/);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, 'utf8')).not.toContain(ada);
    const { doors, ask } = await served();
    expect([await ask(null), await ask(ada)]).toEqual([401, 200]);
    expect(await notes()).toEqual([['token found', 'ada']]);
    await doors.close(100);
    const again = await served();
    expect(await notes()).toHaveLength(1);
    await again.doors.close(100);
  }, 20_000);

  test('[O8] beside a server is noticed at once, also by what is held open, and noted', async () => {
    const ada = await made('--name', 'ada', '--role', 'admin');
    const { doors, ask, wsUrl } = await served();
    const bob = await made('--name', 'bob', '--role', 'viewer', '--expires', '30d');
    expect(await ask(bob)).toBe(200);
    on.desks.sessions.add('s1');
    const watching = client(`${wsUrl}/ws/sessions/s1/attach?access_token=${bob}`);
    await watching.told('hello');
    const listed = (await run('list')).out;
    expect(listed).toContain('ada');
    const [id = ''] =
      listed
        .split('\n')
        .filter((line) => line.includes('bob'))[0]
        ?.split(' ') ?? [];
    expect(await run('revoke', id)).toMatchObject({ code: 0 });
    expect(await ask(bob)).toBe(401);
    await until('the socket is closed', () => watching.code === 1008);
    expect(await ask(ada)).toBe(200);
    while ((await notes()).length < 3) await Bun.sleep(5);
    expect(await notes()).toEqual([
      ['token gone', 'bob'],
      ['token found', 'bob'],
      ['token found', 'ada'],
    ]);
    expect(await run('revoke', id)).toMatchObject({
      code: 1,
      err: expect.stringContaining('there is no token'),
    });
    await doors.close(100);
  }, 20_000);

  test('[O8] of many at once loses none, and a lock that a dead process left is taken over', async () => {
    await made('--name', 'ada', '--role', 'admin');
    writeFileSync(`${path}.lock`, '4194000');
    const mine = await operators({ path, clock: on.clock, uid: 1 });
    await Promise.all([
      ...['a', 'b', 'c'].map((name) => made('--name', name, '--role', 'viewer')),
      ...['d', 'e', 'f'].map((name) => mine.create({ name, role: 'viewer', expiresInMs: null })),
    ]);
    expect(
      mine
        .list()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['a', 'ada', 'b', 'c', 'd', 'e', 'f']);
  }, 20_000);

  test('[O21] of a disk that takes nothing leaves no lock, and an empty lock of a dead process is taken over', async () => {
    await made('--name', 'ada', '--role', 'admin');
    // A limit of nothing is a full disk; who ignores the signal is told by the call.
    const words = `trap '' XFSZ; ulimit -f 0; exec "$0" "$@"`;
    const { code, err } = await runBy(
      ['/bin/sh', '-c', words],
      'create',
      '--name',
      'bob',
      '--role',
      'viewer',
    );
    expect([code, err]).toEqual([1, expect.stringMatching(/EFBIG|too large/i)]);
    expect(existsSync(`${path}.lock`)).toBeFalse();
    writeFileSync(`${path}.lock`, '');
    const clock: Clock = { ...on.clock, now: () => on.clock.now(), setTimeout: (fn) => setTimeout(fn, 0) };
    const mine = await operators({ path, clock, uid: 1 });
    await mine.create({ name: 'bob', role: 'viewer', expiresInMs: null });
    expect(existsSync(`${path}.lock`)).toBeFalse();
  }, 20_000);

  test('[O21] is done where only what the server remembers of it cannot be kept', async () => {
    const mine = await operators({ path, clock: on.clock, uid: 1 });
    mkdirSync(`${path}.seen.new`, { recursive: true });
    const { token, view } = await mine.create({ name: 'ada', role: 'admin', expiresInMs: null });
    expect(mine.caller({ token, peerUid: null })).toMatchObject({ id: view.id });
    await mine.revoke(view.id);
    expect(mine.list()).toEqual([]);
    rmdirSync(`${path}.seen.new`);
    await mine.news();
    expect(JSON.parse(readFileSync(`${path}.seen`, 'utf8'))).toEqual([]);
  });

  test('[O8] that is wrong says what is right, and changes nothing', async () => {
    const wrong = [
      [],
      ['create'],
      ['create', '--name', 'a/b', '--role', 'admin'],
      ['create', '--name', 'ada', '--role', 'root'],
      ['create', '--name', 'ada', '--role', 'admin', '--expires', 'soon'],
      ['create', '--name'],
      ['list', 'x'],
      ['revoke'],
    ];
    for (const ran of await Promise.all(wrong.map((words) => run(...words))))
      expect(ran).toMatchObject({ code: 64, out: '', err: expect.stringContaining('Usage:') });
    expect((await run('list')).out).toBe('');
  }, 20_000);
});

describe('a file of tokens', () => {
  test('[O9] that breaks or vanishes under a server lets nobody in until it is mended', async () => {
    const ada = await made('--name', 'ada', '--role', 'admin');
    const { doors, ask } = await served();
    expect(await ask(ada)).toBe(200);
    const good = readFileSync(path, 'utf8');
    for (const bad of ['', '{', '{"version":1,"tokens":[{}]}']) {
      writeFileSync(path, bad);
      expect([bad, await ask(ada), await ask(null)]).toEqual([bad, 401, 401]);
    }
    rmSync(path);
    expect([await ask(ada), await ask(null)]).toEqual([401, 401]);
    mkdirSync(path);
    expect([await ask(ada), await ask(null)]).toEqual([401, 401]);
    rmSync(path, { recursive: true });
    writeFileSync(join(on.dir, 'good'), good);
    renameSync(join(on.dir, 'good'), path);
    expect([await ask(ada), await ask(null)]).toEqual([200, 401]);
    await doors.close(100);
  });
});
