/** What confines a container is read from what its engine says, not from what was asked for. */
import { expect, test } from 'bun:test';
import { type Asked, checkSpec, containerOptions, limitsOf } from '../../src/runtime/container-spec.ts';
import { wallsOf } from '../../src/runtime/container-walls.ts';
import type { Engine } from '../../src/runtime/engine.ts';
import type { InstanceSpec } from '../../src/runtime.ts';

const engine = {
  kind: 'docker',
  limits: { cpus: true, memory: true, processes: false },
  storageDriver: 'overlay2',
  hasUserNamespace: true,
  seccomp: true,
  processors: null,
  memoryBytes: null,
} as Engine;

/** What was asked for differs from what is set in everything. */
const spec = {
  image: 'dev',
  limits: { cpus: 4, memoryBytes: 1e9, processes: 100 },
  network: { mode: 'full', allow: ['example.org'] },
};

const noDisk = { bytes: null, why: 'no quotas here' } as const;

function inspection(host: object, mounts: readonly string[] = []) {
  const Labels = { 'agentic-sandbox.spec': JSON.stringify(spec) };
  const Mounts = mounts.map((Destination) => ({ Destination }));
  return { Image: 'abc', Config: { Labels }, HostConfig: host, Mounts } as never;
}

test('[R32] limits, image and network are those that the engine has', () => {
  const host = { NanoCpus: 5e8, Memory: 2e9, PidsLimit: 100, NetworkMode: 'none' };
  const walls = wallsOf(engine, inspection(host, ['/opt/agentic/egress']), noDisk);
  expect(walls).toMatchObject({
    image: { name: 'dev', digest: 'sha256:abc' },
    network: { mode: 'allowlist', allow: ['example.org'] },
  });
  // The engine keeps the number of processes and cannot hold anybody to it.
  expect(walls.limits).toEqual({ cpus: 0.5, memoryBytes: 2e9 });
  expect(walls.unenforced.map(({ what }) => what)).toEqual(['processes', 'disk']);
});

test('[R32] what the engine was not told to limit is not said to be limited', () => {
  const without = wallsOf(
    engine,
    inspection({ NanoCpus: 0, Memory: 0, PidsLimit: null, NetworkMode: 'none' }),
    noDisk,
  );
  expect(without).toMatchObject({ limits: {}, network: { mode: 'isolated' } });
  expect(wallsOf(engine, inspection({ NetworkMode: 'a-bridge' }), noDisk).network).toEqual({ mode: 'full' });
});

test('[R33] a limit of disk is shown as the file system has it, and refused where it has none', () => {
  const none = inspection({ NetworkMode: 'none' });
  const held = wallsOf(engine, none, { bytes: 5e8, why: null });
  expect(held.limits).toEqual({ diskBytes: 5e8 });
  expect(held.unenforced.map(({ what }) => what)).toEqual(['processes']);
  const partly = wallsOf(engine, none, { bytes: 5e8, why: 'the outbox is not' });
  expect(partly.unenforced).toContainEqual({ what: 'disk', why: 'the outbox is not' });
  const asked = { name: 'web-1', limits: { diskBytes: 1e9 } } as InstanceSpec;
  checkSpec(asked, engine, { bytes: 1, why: null });
  expect(() => checkSpec(asked, engine, noDisk)).toThrow('no quotas here');
  const tiny = { ...asked, limits: { diskBytes: 1 } };
  expect(() => checkSpec(tiny, engine, noDisk)).toThrow('limits.disk_bytes must be at least');
});

test('[R23] places in memory leave more than half of it to whoever works there, also when all are full', () => {
  const dirs = { home: '/h', egressPath: '/e/s', modelsPath: '/m/s', socketPath: '/a/s' };
  for (const memoryBytes of [64, 256, 1_024, 4_096, 65_536].map((mib) => mib * 1024 * 1024)) {
    const asked = { spec: { name: 'web-1', limits: { memoryBytes } }, engine, dirs, secrets: null };
    const { HostConfig: host } = containerOptions({
      ...asked,
      seccomp: { text: '', path: '' },
    } as unknown as Asked);
    const tmpfs: Readonly<Record<string, string>> = host?.Tmpfs ?? {};
    const sizes = ['/tmp', '/var/tmp'].map((place) => Number(/size=(\d+),/.exec(tmpfs[place] ?? '')?.[1]));
    const all = [...sizes, host?.ShmSize ?? Number.NaN].reduce((sum, size) => sum + size, 0);
    expect(all).toBeGreaterThan(0);
    expect(all).toBeLessThan(memoryBytes / 2);
  }
});

test('[R26] more memory than the machine has is all that it has', () => {
  const bytesOf = (asked: number, has: number | null) =>
    limitsOf({ name: 'web-1', limits: { memoryBytes: asked } } as InstanceSpec, {
      ...engine,
      memoryBytes: has,
    }).memoryBytes;
  expect([bytesOf(1e18, 8e9), bytesOf(1e9, 8e9), bytesOf(1e18, null)]).toEqual([8e9, 1e9, 1e18]);
});

test('[R26] more processors than the machine has, asked for or by default, are all that it has', () => {
  const cpusOf = (cpus: number | undefined, processors: number | null) => {
    const limits = cpus === undefined ? {} : { cpus };
    return limitsOf({ name: 'web-1', limits } as InstanceSpec, { ...engine, processors }).cpus;
  };
  expect([cpusOf(4, 2), cpusOf(undefined, 1), cpusOf(1.5, 2), cpusOf(undefined, 8)]).toEqual([2, 1, 1.5, 2]);
  expect(cpusOf(4, null)).toBe(4);
});
