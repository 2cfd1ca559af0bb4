/**
 * The container runtime keeps the same contract with Docker as root and `userns-remap`: who is inside is
 * another user of this machine, whom the server gives files to by that number.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { type Ground, inside, openContract, openGround, running } from '../container/ground.ts';
import { runtimeContract } from '../contracts/runtime.ts';

runtimeContract('container by Docker with userns-remap', openContract);

let ground: Ground;
beforeAll(() => {
  ground = openGround();
});
afterAll(() => ground?.close(), 60_000);

test('[C26] with userns-remap who is inside is another user outside, and has what is its own', async () => {
  const probe = await ground.runtime.probe();
  expect(probe.unenforced.map(({ what }) => what)).not.toContain('users');
  const handle = await running(ground, 'web-1', { limits: { cpus: 1, processes: 200 } });
  const seen = await inside(
    handle,
    'stat -c %u ~ /srv/work; echo mine > ~/mine.txt && cat /proc/self/uid_map',
  );
  const [home, work, map = ''] = seen.output.split('\n');
  expect([home, work]).toEqual(['10001', '10001']);
  const [first, from] = map.trim().split(/\s+/).map(Number);
  expect(first).toBe(0);
  const { uid } = lstatSync(join(ground.dataDir, 'instances', 'web-1', 'home', 'mine.txt'));
  expect([uid, await ground.runtime.shares?.user()]).toEqual([(from ?? 0) + 10_001, uid]);
  expect(uid).toBeGreaterThan(10_001);
}, 60_000);
