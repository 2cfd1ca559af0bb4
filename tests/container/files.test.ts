/** Images that are not as they were built, and directories that are lent. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codeOf } from '../contracts/runtime.ts';
import { docker, type Ground, imagesDir, inside, never, openGround, running } from './ground.ts';

let dir: string;
let ground: Ground;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'files-'));
});
afterEach(async () => {
  await ground?.close();
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

test('[M4] an image that is not built is named with what to do, and a damaged archive is not loaded', async () => {
  ground = openGround({ images: dir });
  const { runtime, spec } = ground;
  await expect(runtime.create(spec('web-1', { image: 'nowhere' }), never())).rejects.toThrow(
    'images:build nowhere',
  );
  // A record of an image that this engine has not, beside an archive that was cut.
  const record = JSON.parse(readFileSync(join(imagesDir, 'base.json'), 'utf8'));
  writeFileSync(join(dir, 'base.json'), JSON.stringify({ ...record, image: `sha256:${'1'.repeat(64)}` }));
  expect(await codeOf(runtime.create(spec('web-1'), never()))).toBe('not-found');
  copyFileSync(join(imagesDir, 'base.tar'), join(dir, 'base.tar'));
  truncateSync(join(dir, 'base.tar'), 1_000_000);
  await expect(runtime.create(spec('web-1'), never())).rejects.toThrow('is not what was built');
  expect(await runtime.inventory()).toEqual([]);
}, 60_000);

test('[M4] a container runs the very image that was built, by its id', async () => {
  ground = openGround();
  const handle = await running(ground, 'web-1');
  const { image } = JSON.parse(readFileSync(join(imagesDir, 'base.json'), 'utf8'));
  expect((await docker.getContainer(String(handle['container'])).inspect()).Image).toBe(image);
}, 60_000);

test('[R30] what is lent is under its own path inside, and its user’s; it comes back, also from a destroyed instance', async () => {
  ground = openGround();
  const { runtime, dataDir } = ground;
  const handle = await running(ground, 'web-1');
  const task = join(dataDir, 'agentshare', 'tasks', 'one');
  const [inbox, outbox, orders] = [join(task, 'inbox'), join(task, 'outbox'), join(task, 'TASK.md')];
  for (const path of [inbox, outbox]) mkdirSync(path, { recursive: true, mode: 0o700 });
  writeFileSync(join(inbox, 'a.txt'), 'a', { mode: 0o600 });
  writeFileSync(orders, 'orders', { mode: 0o600 });
  mkdirSync(join(dataDir, 'agentshare', 'tasks', 'two'));
  const { shares } = runtime;
  for (const path of [inbox, outbox, orders]) {
    await shares?.lend(handle, path);
    await shares?.lend(handle, path);
  }
  const ran = await inside(
    handle,
    `cat ${orders} ${inbox}/a.txt; echo b > ${outbox}/b.txt; ln -s /etc/shadow ${outbox}/link; ls ${join(dataDir, 'agentshare', 'tasks')}`,
  );
  expect(ran).toEqual({ code: 0, output: 'ordersaone' });
  expect(existsSync(inbox)).toBe(false);
  expect(readFileSync(shares?.hostPath(handle, `${outbox}/b.txt`) ?? '', 'utf8')).toBe('b\n');
  await shares?.takeBack(handle, inbox);
  await shares?.takeBack(handle, inbox);
  expect(readFileSync(join(inbox, 'a.txt'), 'utf8')).toBe('a');
  expect(statSync(join(inbox, 'a.txt')).uid).toBe(process.getuid?.() ?? -1);
  expect(await codeOf(runtime.shares?.lend(handle, '/etc') ?? Promise.resolve())).toBe('bad-input');
  await runtime.destroy(handle);
  expect(readFileSync(join(outbox, 'b.txt'), 'utf8')).toBe('b\n');
  expect(existsSync(join(dataDir, 'instances', 'web-1'))).toBe(false);
  expect(statSync('/etc/shadow').uid).toBe(0);
}, 60_000);

test('[R25] a link in the place of an instance’s directory is refused', async () => {
  ground = openGround();
  const { runtime, spec, dataDir } = ground;
  mkdirSync(join(dataDir, 'instances'), { recursive: true });
  symlinkSync(dir, join(dataDir, 'instances', 'web-1'));
  expect(await codeOf(runtime.create(spec('web-1'), never()))).toBe('runtime-failed');
  rmSync(join(dataDir, 'instances', 'web-1'));
}, 60_000);
