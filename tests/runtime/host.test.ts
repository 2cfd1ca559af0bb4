/** The host runtime with a real program, real process groups and real kills. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { hostRuntime } from '../../src/runtime/host.ts';
import type { Handle, InstanceSpec, RuntimeExit } from '../../src/runtime.ts';
import { codeOf, never, runtimeContract } from '../contracts/runtime.ts';

const ID = '01920000-0000-7000-8000-00000000000';
let number = 0;
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'runtime-'));
  number += 1;
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const open = (command = [join(import.meta.dir, 'agent.sh')]) =>
  hostRuntime({
    root,
    agentCommand: command,
    serverAddress: () => '127.0.0.1:1',
    socketPath: '/nowhere/agent.sock',
    issueSecret: async (name) => join(root, name, 'secret'),
    clock: systemClock,
    log: () => {},
    env: { PATH: process.env.PATH ?? '', LANG: 'C.UTF-8' },
  });

const spec = (name: string, more: Partial<InstanceSpec> = {}): InstanceSpec => ({
  name,
  instanceId: `${ID}${name.length}-${process.pid}-${number}`,
  runtime: 'host',
  ...more,
});

const pidOf = (handle: Handle): number => (handle.process as { pid: number }).pid;
const home = (name: string, file = '') => join(root, name, 'home', file);
const alive = (pid: number): boolean =>
  existsSync(`/proc/${pid}`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));

async function until(fact: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!fact()) {
    if (Date.now() > deadline) throw new Error(`waited 10 s for: ${what}`);
    await Bun.sleep(5);
  }
}

async function run(name: string, profile: string, more: Partial<InstanceSpec> = {}) {
  const runtime = open();
  const handle = await runtime.start(
    await runtime.create(spec(name, { profile, ...more }), never()),
    never(),
  );
  if (profile !== 'exits') await until(() => existsSync(home(name, 'ready')), `${name} to be ready`);
  return { runtime, handle };
}

runtimeContract('host', async () => {
  const runtime = open();
  return {
    runtime,
    again: () => open(),
    spec: (name) => spec(name),
    crash: async (handle) => void process.kill(pidOf(handle), 'SIGKILL'),
    close: async () => {
      await runtime.destroy(await runtime.create(spec('web-1'), never()));
    },
  };
});

describe('what an instance is given', () => {
  test('[R10] a clean environment, a home of its own, no descriptor of ours, and the secret as a file', async () => {
    process.env.SERVER_SECRET_FOR_TEST = 'not for agents';
    const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } });
    const { runtime, handle } = await run('web-1', 'polite', { loadout: 'small' });
    const env = readFileSync(home('web-1', 'env.txt'), 'utf8');
    expect(env).not.toContain('not for agents');
    expect(handle).toMatchObject({
      home: join(root, 'web-1', 'home'),
      workingDir: join(root, 'web-1', 'work'),
    });
    expect(env).toContain(`HOME=${handle['home']}\n`);
    expect(env).toContain(`AGENT_WORKING_DIR=${handle['workingDir']}\n`);
    for (const name of ['AGENT_INSTANCE_ID', 'AGENT_SPOOL_DIR', 'MANAGEMENT_SERVER'])
      expect(env).toMatch(new RegExp(`^${name}=.+$`, 'm'));
    expect(env).toContain('AGENT_ID=web-1');
    expect(env).toContain('AGENT_LOADOUT=small');
    expect(env).toContain(`AGENT_SECRET_FILE=${join(root, 'web-1', 'secret')}`);
    expect(env).toContain('AGENT_GRPC_UDS_PATH=/nowhere/agent.sock');
    expect(readFileSync(home('web-1', 'fd.txt'), 'utf8')).not.toContain('socket:');
    expect(statSync(join(root, 'web-1')).mode & 0o777).toBe(0o700);
    expect(statSync(join(root, 'web-1', 'handle.json')).mode & 0o777).toBe(0o600);
    listener.stop(true);
    await runtime.destroy(handle);
  });

  test('[R10] a working directory of the operator is used and kept; one that is not there is refused', async () => {
    const work = join(root, 'my-project');
    mkdirSync(work);
    const { runtime, handle } = await run('web-1', 'polite', { workingDir: work });
    expect(readFileSync(home('web-1', 'env.txt'), 'utf8')).toContain(`PWD=${work}\n`);
    await runtime.destroy(handle);
    expect(existsSync(work)).toBe(true);
    for (const workingDir of ['relative', join(root, 'nowhere'), join(root, 'my-project/../x')]) {
      expect(await codeOf(runtime.create(spec('web-2', { workingDir }), never()))).toBe('bad-input');
    }
  });

  test('[R11] a command that cannot be run is runtime-failed and named, as the probe had said', async () => {
    const runtime = open(['/no/such/agent']);
    expect(await runtime.probe()).toMatchObject({ available: false });
    const handle = await runtime.create(spec('web-1'), never());
    await expect(runtime.start(handle, never())).rejects.toThrow('/no/such/agent');
  });

  test('[R11] the probe of what works says that it is no isolation', async () => {
    const probe = await open().probe();
    expect(probe).toMatchObject({ available: true, isolation: 'full-host-access' });
    expect(probe.reasons.join()).toContain('no isolation');
  });
});

describe('ending', () => {
  test('[R12] it is asked first: an agent that ends by itself is not killed', async () => {
    const { runtime, handle } = await run('web-1', 'polite');
    const told = Promise.withResolvers<RuntimeExit>();
    runtime.watch(handle, told.resolve);
    await runtime.stop(handle, 5_000);
    expect(await told.promise).toMatchObject({ code: 0, signal: null });
    expect(readFileSync(join(root, 'web-1', 'agent.log'), 'utf8')).toContain('ended politely');
    await runtime.destroy(handle);
  });

  test('[R12] one that does not listen is killed after the grace', async () => {
    const { runtime, handle } = await run('web-1', 'stubborn');
    const told = Promise.withResolvers<RuntimeExit>();
    runtime.watch(handle, told.resolve);
    await runtime.stop(handle, 150);
    expect(alive(pidOf(handle))).toBe(false);
    expect(await told.promise).toMatchObject({ signal: 'SIGKILL' });
    await runtime.destroy(handle);
  });

  /** The sleepers that this test's `family` agent started, by what they were told to sleep. */
  const family =
    (loadout: string, which = '[1-4]') =>
    () =>
      Bun.spawnSync(['pgrep', '-f', `^sleep ${which}${loadout}$`])
        .stdout.toString()
        .split('\n')
        .filter(Boolean)
        .map(Number);

  test('[R13] its whole family ends with it: children, sessions of their own, and orphans', async () => {
    const loadout = `${process.pid}0${number}`;
    const { runtime, handle } = await run('web-1', 'family', { loadout });
    const grouped = (await runtime.probe()).reasons.join().includes('control groups (');
    await until(() => family(loadout)().length === 4, 'four sleepers');
    const before = family(loadout)();
    await runtime.stop(handle, 1_000);
    const left = before.filter(alive);
    for (const pid of left) process.kill(pid, 'SIGKILL');
    // Without control groups the one that cleaned its environment and left its session cannot be found.
    expect(left).toHaveLength(grouped ? 0 : 1);
    await runtime.destroy(handle);
  });

  test('[R13] what a crashed agent left behind is ended by a stop as well', async () => {
    const loadout = `${process.pid}0${number}`;
    const { runtime, handle } = await run('web-1', 'family', { loadout });
    const sleeper = family(loadout, '2');
    await until(() => sleeper().length > 0, 'a sleeper');
    const left = sleeper();
    process.kill(pidOf(handle), 'SIGKILL');
    await until(() => !alive(pidOf(handle)), 'the crash');
    expect(await runtime.recover(handle)).toBe(false);
    await runtime.stop(handle, 500);
    expect(left.filter(alive)).toEqual([]);
    for (const pid of family(loadout)()) process.kill(pid, 'SIGKILL');
    await runtime.destroy(handle);
  });

  test('[R13] what a crashed agent left behind is over before its end is told, and before the next start', async () => {
    const loadout = `${process.pid}0${number}`;
    const { runtime, handle } = await run('web-1', 'family', { loadout });
    const sleeper = family(loadout, '2');
    await until(() => sleeper().length > 0, 'a sleeper');
    const left = sleeper();
    const told = Promise.withResolvers<RuntimeExit>();
    runtime.watch(handle, told.resolve);
    process.kill(pidOf(handle), 'SIGKILL');
    expect(await told.promise).toMatchObject({ signal: 'SIGKILL' });
    expect(left.filter(alive)).toEqual([]);
    const again = await runtime.start(handle, never());
    await until(() => sleeper().length > 0, 'another sleeper');
    const orphans = sleeper();
    process.kill(pidOf(again), 'SIGKILL');
    await until(() => !alive(pidOf(again)), 'the crash that nobody watched');
    await runtime.start(again, never());
    expect(orphans.filter(alive)).toEqual([]);
    await runtime.destroy(handle);
    for (const pid of family(loadout)()) process.kill(pid, 'SIGKILL');
  });

  test('[P4] the agent is told from what it runs in sessions of their own', async () => {
    const loadout = `${process.pid}0${number}`;
    const { runtime, handle } = await run('web-1', 'family', { loadout });
    await until(() => family(loadout)().length === 4, 'four sleepers');
    const kin = (which: string) => runtime.kinOf(family(loadout, which)()[0] as number);
    expect(runtime.kinOf(pidOf(handle))).toEqual({ instance: 'web-1', isAgent: true });
    expect(kin('1')).toEqual({ instance: 'web-1', isAgent: true });
    expect(kin('2')).toEqual({ instance: 'web-1', isAgent: false });
    expect(kin('3')).toEqual({ instance: 'web-1', isAgent: false });
    const sleepers = family(loadout)();
    await runtime.destroy(handle);
    for (const pid of sleepers.filter(alive)) process.kill(pid, 'SIGKILL');
  });

  test('[R14] destroying follows no symlink out, and removes what was write-protected', async () => {
    const { runtime, handle } = await run('web-1', 'polite');
    const treasure = join(root, 'treasure');
    mkdirSync(treasure);
    writeFileSync(join(treasure, 'gold'), 'x');
    symlinkSync(treasure, home('web-1', 'link'));
    mkdirSync(home('web-1', 'cache/deep'), { recursive: true });
    writeFileSync(home('web-1', 'cache/deep/file'), 'x');
    Bun.spawnSync(['chmod', '-R', 'a-w', home('web-1', 'cache')]);
    await runtime.destroy(handle);
    expect(existsSync(join(root, 'web-1'))).toBe(false);
    expect(existsSync(join(treasure, 'gold'))).toBe(true);
    symlinkSync(treasure, join(root, 'web-1'));
    expect(await codeOf(runtime.create(spec('web-1'), never()))).toBe('runtime-failed');
    await runtime.destroy(handle);
    expect(lstatSync(join(root, 'web-1'), { throwIfNoEntry: false })).toBeUndefined();
    expect(existsSync(join(treasure, 'gold'))).toBe(true);
  });

  test('[R15] a crash is told with its exit code', async () => {
    const { runtime, handle } = await run('web-1', 'exits');
    const told = Promise.withResolvers<RuntimeExit>();
    runtime.watch(handle, told.resolve);
    writeFileSync(home('web-1', 'go'), '');
    expect(await told.promise).toMatchObject({ code: 7, signal: null });
    await runtime.destroy(handle);
  });
});

describe('after a kill -9 of the server', () => {
  const server = (keep: 'handle' | 'nothing') =>
    Bun.spawn(['bun', join(import.meta.dir, 'server.ts'), root, spec('web-1').instanceId, keep], {
      stdout: 'pipe',
      stderr: 'inherit',
    });

  for (const keep of ['handle', 'nothing'] as const) {
    test(`[R16] the instance runs on and is found again, with ${keep} written down`, async () => {
      const first = server(keep);
      const { value } = await first.stdout.getReader().read();
      const handle: Handle = JSON.parse(new TextDecoder().decode(value));
      await until(() => existsSync(home('web-1', 'ready')), 'the agent to be ready');
      first.kill('SIGKILL');
      await first.exited;
      if (keep === 'nothing') rmSync(join(root, 'web-1', 'handle.json'));
      const runtime = open();
      const created = await runtime.create(spec('web-1', { profile: 'polite' }), never());
      expect(await runtime.recover(created)).toBe(true);
      const found = await runtime.start(created, never());
      expect(pidOf(found)).toBe(pidOf(handle));
      expect(runtime.kinOf(pidOf(found))).toEqual({ instance: 'web-1', isAgent: true });
      expect(runtime.kinOf(process.pid)).toBeNull();
      await runtime.destroy(found);
      expect(alive(pidOf(handle))).toBe(false);
    });
  }

  test('[R17] a pid that was used again is not taken for the instance, and is left alone', async () => {
    const { runtime, handle } = await run('web-1', 'polite');
    await runtime.stop(handle, 1_000);
    const stranger = Bun.spawn(['sleep', '1000']);
    const stale = { ...handle, process: { ...(handle.process as object), pid: stranger.pid } };
    const second = open();
    expect(await second.recover(stale)).toBe(false);
    await second.stop(stale, 100);
    expect(alive(stranger.pid)).toBe(true);
    stranger.kill();
    await second.destroy(stale);
  });
});

describe('the log', () => {
  test('[R18] it keeps what the agent says and is cut when it has grown too long', async () => {
    const { LOG_BYTES_MAX } = await import('../../src/runtime/instance-dir.ts');
    const { runtime, handle } = await run('web-1', 'loud');
    const log = join(root, 'web-1', 'agent.log');
    expect(statSync(log).size).toBeGreaterThanOrEqual(200 * 1_024);
    await runtime.stop(handle, 1_000);
    writeFileSync(log, 'x'.repeat(LOG_BYTES_MAX + 1), { flag: 'a' });
    const again = await runtime.start(handle, never());
    expect(statSync(log).size).toBeLessThan(LOG_BYTES_MAX);
    expect(statSync(`${log}.1`).size).toBeGreaterThan(LOG_BYTES_MAX);
    await runtime.destroy(again);
  });
});
