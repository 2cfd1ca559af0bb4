/** Runtimes that are not there yet, on real sockets. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { absentRuntime } from '../../src/runtime/absent.ts';
import { codeOf, never } from '../contracts/runtime.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'runtime-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const options = () => ({ path: '/usr/bin:/bin', runtimeDir: dir, engineHosts: [], clock: systemClock });

test('[R19] the probe of an absent runtime says so, what the machine has, and what to do instead', async () => {
  for (const kind of ['container', 'vm'] as const) {
    const runtime = absentRuntime(kind, options());
    const probe = await runtime.probe();
    expect(probe).toMatchObject({ runtime: kind, available: false });
    expect(probe.reasons[0]).toContain('runtime "host" instead');
    expect(probe.reasons.length).toBeGreaterThan(1);
    expect(await codeOf(runtime.create({ name: 'web-1', instanceId: 'x', runtime: kind }, never()))).toBe(
      'not-implemented',
    );
  }
});

test('[R19] an engine is only said to answer when it answers', async () => {
  const socket = join(dir, 'docker.sock');
  const engine = Bun.serve({ unix: socket, fetch: () => Response.json({ Version: '99.1' }) });
  const probe = () =>
    absentRuntime('container', options())
      .probe()
      .then((p) => p.reasons.join('\n'));
  expect(await probe()).toContain(`an engine answers on ${socket} (version 99.1)`);
  await engine.stop(true);
  writeFileSync(socket, '');
  expect(await probe()).toContain(`no engine answers on ${socket}`);
});
