/** What an instance on this host sees of Agentshare. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { hostRuntime } from '../../src/runtime/host.ts';
import { readOnlyBy } from '../../src/runtime/host-shares.ts';
import type { Handle, InstanceSpec, Mount } from '../../src/runtime.ts';
import { never } from '../contracts/runtime.ts';

let dir: string;
let number = 0;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'shares-'));
  number += 1;
  for (const name of ['global', 'inbox', 'outbox']) mkdirSync(join(dir, name));
  writeFileSync(join(dir, 'global', 'tool'), 'shared');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const root = () => join(dir, 'instances');
const runtime = () =>
  hostRuntime({
    root: root(),
    agentCommand: [join(import.meta.dir, 'sharing-agent.sh')],
    serverAddress: () => '127.0.0.1:1',
    socketPath: null,
    issueSecret: async (name) => join(root(), name, 'secret'),
    clock: systemClock,
    log: () => {},
    env: { PATH: process.env.PATH ?? '' },
  });

const mounts = (): Mount[] =>
  (['global', 'inbox', 'outbox'] as const).map((name) => ({
    name,
    source: join(dir, name),
    target: `/mnt/${name}`,
    readOnly: name === 'global',
  }));

const spec = (more: Partial<InstanceSpec> = {}): InstanceSpec => ({
  name: 'web-1',
  instanceId: `01920000-0000-7000-8000-${process.pid}-${number}`,
  runtime: 'host',
  mounts: mounts(),
  ...more,
});

async function said(handle: Handle): Promise<string> {
  const on = runtime();
  const started = await on.start(handle, never());
  const deadline = Date.now() + 10_000;
  while (!existsSync(join(dir, 'outbox', 'done'))) {
    if (Date.now() > deadline) throw new Error('the instance said nothing within 10 s');
    await Bun.sleep(5);
  }
  await on.stop(started, 2_000);
  return readFileSync(join(dir, 'outbox', 'said'), 'utf8');
}

test('[F3] an instance reads global, and writing to it fails where the server may mount', async () => {
  const on = runtime();
  const words = await said(await on.create(spec(), never()));
  expect(words).toContain('read shared');
  const by = readOnlyBy();
  const { reasons } = await on.probe();
  if (by.how === 'mount') {
    for (const what of ['new file', 'old file', 'by the link', 'made writable', 'removed']) {
      expect(words).toContain(`${what}: refused`);
    }
    expect(reasons.join()).toContain('global is mounted read-only for each instance');
  } else {
    expect(reasons.join()).toContain('write-protected by mode bits alone');
    expect(reasons.join()).toContain(by.why);
  }
  // What is mounted for it is seen by nobody else, and gone with it.
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(dir);
  writeFileSync(join(dir, 'global', 'tool'), 'still ours to write');
  expect(readFileSync(join(dir, 'global', 'tool'), 'utf8')).toBe('still ours to write');
});

test('[F3] where its directory is gone an instance does not start with another one in its place', async () => {
  if (readOnlyBy().how !== 'mount') return;
  const on = runtime();
  const handle = await on.create(spec(), never());
  rmSync(join(dir, 'global'), { recursive: true });
  const ended = new Promise((resolve) => {
    void on.start(handle, never()).then((started) => on.watch(started, resolve));
  });
  expect(await ended).toMatchObject({ code: 78 });
});

test('[F1] it finds its directories by links in its home and its own working directory', async () => {
  const on = runtime();
  const handle = await on.create(spec(), never());
  mkdirSync(join(root(), 'web-1', 'work', 'inbox'));
  await said(handle);
  const at = (...names: string[]) => join(root(), 'web-1', ...names);
  for (const name of ['global', 'inbox', 'outbox'])
    expect(readlinkSync(at('home', name))).toBe(join(dir, name));
  expect(readlinkSync(at('work', 'outbox'))).toBe(join(dir, 'outbox'));
  // What it made itself stays.
  expect(lstatSync(at('work', 'inbox')).isDirectory()).toBe(true);
  expect(readFileSync(join(dir, 'outbox', 'said'), 'utf8')).toContain(`inbox ${join(dir, 'inbox')}`);
});

test('[F1] a working directory that the operator named gets no links, and a root that moved is followed', async () => {
  const work = join(dir, 'project');
  mkdirSync(work);
  const on = runtime();
  const handle = await on.create(spec({ workingDir: work }), never());
  await said(handle);
  expect(existsSync(join(work, 'inbox'))).toBe(false);
  mkdirSync(join(dir, 'moved'));
  rmSync(join(dir, 'outbox', 'done'));
  const moved = mounts().map((mount) =>
    mount.name === 'inbox' ? { ...mount, source: join(dir, 'moved') } : mount,
  );
  await said({ ...handle, mounts: moved });
  expect(readlinkSync(join(root(), 'web-1', 'home', 'inbox'))).toBe(join(dir, 'moved'));
});

test('[F1] an instance that was made before there was storage starts without it, and with it later', async () => {
  const { mounts: later, ...plain } = spec();
  const handle = await runtime().create(plain, never());
  expect('mounts' in handle).toBe(false);
  await said({ ...handle, mounts: later });
  chmodSync(dir, 0o700);
  expect(readlinkSync(join(root(), 'web-1', 'home', 'outbox'))).toBe(join(dir, 'outbox'));
});
