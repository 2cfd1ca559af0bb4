/** An engine that is not there when the server is started, and comes back. */
import { expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { containerRuntime } from '../../src/runtime/container.ts';
import type { ContainerRuntimeOptions } from '../../src/runtime/container-state.ts';
import type { Handle } from '../../src/runtime.ts';

const answers: Readonly<Record<string, object>> = {
  version: { Version: '20.10.24' },
  info: {},
  json: { State: { Running: false } },
};

function ground() {
  const dir = mkdtempSync(join(tmpdir(), 'away-'));
  const engine = join(dir, 'engine.sock');
  const waits = Promise.withResolvers<string>();
  const runtime = containerRuntime({
    path: '',
    runtimeDir: null,
    engineHosts: [`unix://${engine}`],
    dataDir: dir,
    clock: systemClock,
    log: (message) => waits.resolve(message),
  } as Partial<ContainerRuntimeOptions> as ContainerRuntimeOptions);
  const handle: Handle = { version: 1, runtime: 'container', name: 'web-1', container: 'abc', engine };
  return { dir, engine, runtime, handle, waits: waits.promise };
}

test('[C28] what an engine had is not taken for gone while it is away; it is waited for, and asked', async () => {
  const { dir, engine, runtime, handle, waits } = ground();
  const found = runtime.recover(handle, new AbortController().signal);
  expect(await waits).toContain('web-1: its engine is waited for');
  const back = Bun.serve({
    unix: engine,
    fetch: ({ url }) => Response.json(answers[new URL(url).pathname.split('/').at(-1) ?? ''] ?? {}),
  });
  expect(await found).toBe(false);
  await back.stop(true);
  rmSync(dir, { recursive: true });
}, 30_000);

test('[C28] the waiting ends with the signal, and without one nothing is waited for', async () => {
  const { dir, runtime, handle, waits } = ground();
  const over = new AbortController();
  const found = runtime.recover(handle, over.signal);
  await waits;
  over.abort();
  await expect(found).rejects.toThrow('is the container engine running?');
  await expect(runtime.recover(handle)).rejects.toThrow('is the container engine running?');
  rmSync(dir, { recursive: true });
}, 30_000);
