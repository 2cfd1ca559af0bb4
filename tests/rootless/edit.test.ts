/** What a server that is not root writes where only the user inside may. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Handle } from '../../src/runtime.ts';
import { type Ground, inside, openGround, running } from '../container/ground.ts';
import { codeOf } from '../contracts/runtime.ts';

let ground: Ground;
let cell: Handle;
beforeAll(async () => {
  ground = openGround();
  cell = await running(ground, 'cell');
}, 60_000);
afterAll(() => ground?.close(), 60_000);

const place = (...more: string[]) => join(ground.dataDir, 'instances', 'cell', ...more);
const edit = (paths: readonly string[], write: (at: (path: string) => string) => void) =>
  ground.runtime.shares?.edit(cell, paths, async (at) => write(at)) ?? Promise.resolve();

test('[C25] what is there and shut is read, and written anew with its mode, beside what was not there', async () => {
  const [shut, fresh] = ['/home/agent/.shut.json', '/home/agent/new/deep/file.txt'];
  await inside(cell, `umask 077; echo '{"a":1}' > ${shut}`);
  expect(() => readFileSync(place('home', '.shut.json'))).toThrow('EACCES');
  await edit([shut, fresh], (at) => {
    expect(existsSync(at(fresh))).toBe(false);
    writeFileSync(at(shut), readFileSync(at(shut), 'utf8').replace('1', '2'));
    writeFileSync(at(fresh), 'new', { mode: 0o640 });
  });
  const seen = await inside(
    cell,
    `cat ${shut} ${fresh}; stat -c '%u %a' ${shut} ${fresh}; ls -A1 ~ ~/new/deep`,
  );
  expect(seen).toEqual({
    code: 0,
    output:
      '{"a":2}\nnew10001 600\n10001 640\n/home/agent:\n.shut.json\nnew\n\n/home/agent/new/deep:\nfile.txt',
  });
  expect(existsSync(place('between'))).toBe(false);
}, 60_000);

test('[C25] nothing that the instance lays in the way leads further than its own user may go', async () => {
  await inside(
    cell,
    'ln -s /etc/passwd ~/link; mkfifo ~/pipe; ln -s /usr/bin ~/dir; ln -s /etc/shadow /tmp/x',
  );
  for (const name of ['link', 'pipe'])
    expect(await codeOf(edit([`/home/agent/${name}`], () => {}))).toBe('wrong-state');
  expect(await codeOf(edit(['/etc/passwd'], () => {}))).toBe('bad-input');
  const write = (at: (path: string) => string) => writeFileSync(at('/home/agent/dir/x'), 'x');
  expect(await codeOf(edit(['/home/agent/dir/x'], write))).toBe('runtime-failed');
  expect((await inside(cell, 'ls /usr/bin/x')).code).not.toBe(0);
  expect(existsSync('/usr/bin/x')).toBe(false);
}, 60_000);
