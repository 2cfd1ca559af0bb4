/** Limits are set, hold, and a neighbour does not feel who runs into them. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { Handle } from '../../src/runtime.ts';
import { codeOf } from '../contracts/runtime.ts';
import { docker, type Ground, inside, never, openGround, running } from './ground.ts';

const MIB = 1024 * 1024;
let ground: Ground;
let small: Handle;
let neighbour: Handle;
beforeAll(async () => {
  ground = openGround();
  const limits = { cpus: 0.5, memoryBytes: 384 * MIB, processes: 96 };
  small = await running(ground, 'small', { limits });
  neighbour = await running(ground, 'neighbour', { instanceId: 'another' });
}, 90_000);
afterAll(() => ground?.close(), 60_000);

const cgroup = (v1: string, v2: string) => `cat /sys/fs/cgroup/${v1} 2>/dev/null || cat /sys/fs/cgroup/${v2}`;

test('[R26] limits that were asked for are the ones that the engine has and the kernel holds', async () => {
  const { HostConfig: host } = await docker.getContainer(String(small['container'])).inspect();
  expect(host).toMatchObject({ NanoCpus: 5e8, Memory: 384 * MIB, MemorySwap: 384 * MIB, PidsLimit: 96 });
  expect((await inside(small, cgroup('memory/memory.limit_in_bytes', 'memory.max'))).output).toBe(
    String(384 * MIB),
  );
  expect((await inside(small, cgroup('pids/pids.max', 'pids.max'))).output).toBe('96');
  expect((await inside(small, cgroup('cpu/cpu.cfs_quota_us', 'cpu.max'))).output).toMatch(
    /^50000( 100000)?$/,
  );
  const { HostConfig: other } = await docker.getContainer(String(neighbour['container'])).inspect();
  expect(other).toMatchObject({ NanoCpus: 2e9, Memory: 4_096 * MIB, PidsLimit: 2_048 });
}, 60_000);

test('[R32] they are shown as they are set, with the image by its digest and with what nothing enforces', async () => {
  const { Image: digest } = await docker.getContainer(String(small['container'])).inspect();
  expect(small.walls).toMatchObject({
    image: { name: 'base', digest },
    limits: { cpus: 0.5, memoryBytes: 384 * MIB, processes: 96 },
    network: { mode: 'isolated' },
  });
  expect(small.walls?.unenforced.find(({ what }) => what === 'disk')?.why).toContain('no project quotas');
  expect((await ground.runtime.probe()).unenforced).toEqual([...(small.walls?.unenforced ?? [])]);
}, 60_000);

test('[R26] who starts too many processes is stopped at its limit, and its neighbour is not', async () => {
  const many =
    "perl -e 'my @p; for (1 .. 300) { my $p = fork; last unless defined $p; sleep 600, exit unless $p; push @p, $p }" +
    ' print scalar(@p), "\\n"; kill 9, @p\'';
  const bomb = inside(small, many);
  expect((await inside(neighbour, many)).output).toBe('300');
  const started = Number((await bomb).output);
  expect(started).toBeGreaterThan(10);
  expect(started).toBeLessThan(96);
  expect((await inside(neighbour, 'echo here')).output).toBe('here');
  expect(await ground.runtime.recover(neighbour)).toBe(true);
}, 60_000);

test('[R26] who takes too much memory is killed, and its neighbour is not', async () => {
  const hog = 'perl -e \'my @a; push @a, "x" x 10_000_000 for 1 .. 80; print "had it all\\n"\'';
  const ran = await inside(small, hog);
  expect(ran).toMatchObject({ code: 137 });
  expect((await inside(neighbour, hog)).output).toBe('had it all');
  expect(await ground.runtime.recover(neighbour)).toBe(true);
}, 60_000);

test('[R26] a limit that cannot be enforced, or is none, is refused before anything is made', async () => {
  const { runtime, spec } = ground;
  const make = (limits: object) => codeOf(runtime.create(spec('web-1', { limits }), never()));
  expect(await make({ diskBytes: 1e9 })).toBe('not-implemented');
  for (const limits of [
    { diskBytes: 1 },
    { cpus: 0 },
    { memoryBytes: 1_000 },
    { processes: -1 },
    { cpus: Number.NaN },
  ])
    expect(await make(limits)).toBe('bad-input');
  expect((await runtime.inventory()).map((one) => one.spec.name).sort()).toEqual(['neighbour', 'small']);
}, 60_000);
