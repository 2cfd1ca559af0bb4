/** Runtimes and engines that are not there, or not quite, on real sockets. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { absentRuntime } from '../../src/runtime/absent.ts';
import { factsOf, findEngine, unenforcedBy } from '../../src/runtime/engine.ts';
import { codeOf, never } from '../contracts/runtime.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'runtime-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('[R19] the probe of an absent runtime says so, what the machine has, and what to do instead', async () => {
  const runtime = absentRuntime('vm', { path: '/usr/bin:/bin' });
  const probe = await runtime.probe();
  expect(probe).toMatchObject({ runtime: 'vm', available: false });
  expect(probe.reasons[0]).toContain('runtime "host" instead');
  expect(probe.reasons.length).toBeGreaterThan(1);
  const spec = { name: 'web-1', instanceId: 'x', runtime: 'vm' } as const;
  expect(await codeOf(runtime.create(spec, never()))).toBe('not-implemented');
  expect(await codeOf(runtime.check(spec))).toBe('not-implemented');
});

/** What an engine says of itself: as little as it may. */
const engine = (socket: string, info: object) =>
  Bun.serve({
    unix: socket,
    fetch: ({ url }) =>
      Response.json(
        url.includes('/version') ? { Version: '99.1', Components: [{ Name: 'Podman Engine' }] } : info,
      ),
  });
const look = (named: readonly string[] = []) =>
  findEngine({ path: '/usr/bin:/bin', runtimeDir: dir, engineHosts: named, clock: systemClock });

test('[R19] an engine is only said to answer when it answers, and says what it cannot enforce', async () => {
  const socket = join(dir, 'docker.sock');
  const serving = engine(socket, { SecurityOptions: ['name=rootless'], MemoryLimit: true, PidsLimit: false });
  const { engine: found } = await look([`unix://${join(dir, 'nowhere.sock')}`, 'tcp://192.0.2.1:2375']);
  expect(found).toMatchObject({ socket, kind: 'podman', version: '99.1', isRootless: true, seccomp: false });
  const facts = found === null ? '' : factsOf(found, 'no quotas here').join('\n');
  expect(facts).toContain('limits of memory are enforced');
  expect(facts).toContain('limits of CPU, processes are not');
  expect(facts).toContain('this engine has no seccomp');
  const lacking = found === null ? [] : unenforcedBy(found, 'no quotas here');
  expect(lacking.map(({ what }) => what)).toEqual(['cpus', 'processes', 'disk', 'system-calls']);
  for (const { why } of lacking) expect(facts).toContain(why);
  await serving.stop(true);
});

test('[R19] what an operator names comes before what is found, and a silent socket is named', async () => {
  const [rootless, named] = [join(dir, 'docker.sock'), join(dir, 'mine.sock')];
  const serving = [engine(rootless, {}), engine(named, {})];
  expect((await look([`unix://${named}`])).engine?.socket).toBe(named);
  for (const one of serving) await one.stop(true);
  rmSync(named, { force: true });
  writeFileSync(named, '');
  const { notes } = await look([`unix://${named}`, 'tcp://192.0.2.1:2375']);
  expect(notes.join('\n')).toContain(`no engine answers on ${named}`);
  expect(notes.join('\n')).toContain('tcp://192.0.2.1:2375 is not used');
});
