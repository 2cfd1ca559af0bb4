import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { Failure } from '../../src/failure.ts';
import type { Found, Handle, InstanceSpec, Runtime, RuntimeExit } from '../../src/runtime.ts';

export interface OpenRuntime {
  readonly runtime: Runtime;
  /** Another server over the same place, as after a `kill -9` of the first. */
  again(): Runtime;
  spec(name: string): InstanceSpec;
  /** Ends the instance's first process from outside, as a crash would. */
  crash(handle: Handle): Promise<void>;
  close(): Promise<void>;
}

export const never = (): AbortSignal => new AbortController().signal;

export const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no failure',
    (thrown) => (thrown instanceof Failure ? thrown.code : `not a Failure: ${thrown}`),
  );

/** What every Runtime that is available must do. Each implementation's test file calls this once. */
export function runtimeContract(name: string, open: () => Promise<OpenRuntime>): void {
  describe(`${name} keeps the Runtime contract`, () => {
    let world: OpenRuntime;
    beforeEach(async () => {
      world = await open();
    });
    afterEach(() => world.close());
    startingAndStopping(() => world);
    watchingAndFinding(() => world);
  });
}

function startingAndStopping(world: () => OpenRuntime): void {
  const made = (name: string) => world().runtime.create(world().spec(name), never());

  test('[R1] its probe says that it is available, and names its isolation', async () => {
    const probe = await world().runtime.probe();
    expect(probe).toMatchObject({ runtime: world().runtime.kind, available: true });
    expect(probe.isolation).not.toBe('');
  });

  test('[R2] a handle is plain versioned JSON and works after a round trip through text', async () => {
    const handle: Handle = JSON.parse(JSON.stringify(await made('web-1')));
    expect(handle).toMatchObject({ runtime: world().runtime.kind, name: 'web-1' });
    expect(handle.version).toBeGreaterThan(0);
    const started: Handle = JSON.parse(JSON.stringify(await world().runtime.start(handle, never())));
    expect(await world().runtime.recover(started)).toBe(true);
  });

  test('[R3] create, start, stop and destroy may each come twice, and find what they did', async () => {
    const { runtime } = world();
    const first = await made('web-1');
    expect(await made('web-1')).toEqual(first);
    const started = await runtime.start(first, never());
    expect(await runtime.start(first, never())).toEqual(started);
    await runtime.stop(started, 2_000);
    await runtime.stop(started, 2_000);
    expect(await runtime.recover(started)).toBe(false);
    await runtime.destroy(started);
    await runtime.destroy(started);
  });

  test('[R4] two starts of one name at once start one', async () => {
    const { runtime } = world();
    const handle = await made('web-1');
    const [a, b] = await Promise.all([runtime.start(handle, never()), runtime.start(handle, never())]);
    expect(a).toEqual(b);
  });

  test('[R5] a stopped instance starts again, and a destroyed one can be made anew', async () => {
    const { runtime } = world();
    const started = await runtime.start(await made('web-1'), never());
    await runtime.stop(started, 2_000);
    const second = await runtime.start(started, never());
    expect(await runtime.recover(second)).toBe(true);
    await runtime.destroy(second);
    expect(await runtime.recover(second)).toBe(false);
    expect(await runtime.recover(await runtime.start(await made('web-1'), never()))).toBe(true);
  });

  test('[R6] bad names and cancelled calls are refused before anything is made', async () => {
    const { runtime, spec } = world();
    for (const name of ['../up', 'Web', 'a', 'a/b', '']) {
      expect(await codeOf(runtime.create({ ...spec('web-1'), name }, never()))).toBe('bad-input');
    }
    expect(await codeOf(runtime.create(spec('web-1'), AbortSignal.abort()))).toBe('cancelled');
    const handle = await made('web-1');
    expect(await codeOf(runtime.start(handle, AbortSignal.abort()))).toBe('cancelled');
    expect(await runtime.recover(handle)).toBe(false);
  });
}

function watchingAndFinding(world: () => OpenRuntime): void {
  const running = async (name: string) => {
    const { runtime, spec } = world();
    return runtime.start(await runtime.create(spec(name), never()), never());
  };

  test('[R7] whoever watches is told once that it ended, whether it crashed or was stopped', async () => {
    const { runtime, crash } = world();
    for (const end of [(h: Handle) => crash(h), (h: Handle) => runtime.stop(h, 2_000)]) {
      const handle = await running('web-1');
      const exits: RuntimeExit[] = [];
      const told = Promise.withResolvers<void>();
      runtime.watch(handle, (exit) => {
        exits.push(exit);
        told.resolve();
      });
      await end(handle);
      await told.promise;
      await runtime.stop(handle, 0);
      expect(exits).toHaveLength(1);
    }
  });

  test('[R7] watching what does not run tells so, never inside the call; an ended watch is silent', async () => {
    const { runtime, spec } = world();
    const handle = await runtime.create(spec('web-1'), never());
    let told = 0;
    const ended = runtime.watch(handle, () => (told += 100));
    ended();
    await new Promise<void>((resolve) => {
      runtime.watch(handle, () => {
        told += 1;
        resolve();
      });
      expect(told).toBe(0);
    });
    expect(told).toBe(1);
  });

  test('[R8] another server finds it running, watches it, and can stop it', async () => {
    const handle = await running('web-1');
    const second = world().again();
    expect(await second.recover(handle)).toBe(true);
    expect(await second.start(handle, never())).toEqual(handle);
    const told = Promise.withResolvers<RuntimeExit>();
    second.watch(handle, told.resolve);
    await second.stop(handle, 2_000);
    expect((await told.promise).at).toBeGreaterThan(0);
    expect(await world().runtime.recover(handle)).toBe(false);
  });

  test('[R20] another server finds what was made, whether it runs, and nothing that was destroyed', async () => {
    const { runtime, spec, again } = world();
    const sorted = async () =>
      (await again().inventory()).toSorted((a, b) => (a.spec.name < b.spec.name ? -1 : 1));
    expect(await sorted()).toEqual([]);
    const runs = await running('web-1');
    const other = { ...spec('web-2'), instanceId: `${spec('web-2').instanceId}-other`, profile: 'small' };
    const rests = await runtime.create(other, never());
    const [first, second] = await sorted();
    expect(first).toEqual({ spec: { ...spec('web-1'), instanceId: expect.any(String) }, runs: true });
    expect(second).toEqual({ spec: other, runs: false });
    // The same spec finds the same instance.
    expect(await again().create((second as Found).spec, never())).toEqual(rests);
    await runtime.destroy(runs);
    expect((await sorted()).map((one) => one.spec.name)).toEqual(['web-2']);
  });

  test('[R9] usage counts what runs, and is null when nothing does', async () => {
    const { runtime } = world();
    const handle = await running('web-1');
    const usage = await runtime.usage(handle);
    expect(usage?.processes).toBeGreaterThan(0);
    expect(usage?.memoryBytes).toBeGreaterThan(0);
    await runtime.stop(handle, 0);
    expect(await runtime.usage(handle)).toBeNull();
  });
}
