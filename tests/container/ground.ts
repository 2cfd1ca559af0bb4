/**
 * What the tests of containers stand on: an engine by CONTAINER_TEST_SOCKET, images that were built, and a
 * data directory a test.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import Docker from 'dockerode';
import { type Clock, systemClock } from '../../src/clock.ts';
import type { Projects } from '../../src/projects.ts';
import { containerRuntime } from '../../src/runtime/container.ts';
import type { GuestDoors, Identities } from '../../src/runtime/container-state.ts';
import type { Handle, InstanceSpec, Runtime } from '../../src/runtime.ts';
import { secretFiles } from '../../src/tasks/secret-files.ts';
import { fileSecrets } from '../../src/wiring/identity.ts';
import type { OpenRuntime } from '../contracts/runtime.ts';

export const root = resolve(import.meta.dir, '..', '..');
/** Given by scripts/check/engine.ts; the tier is skipped as a whole when it cannot be. */
export const engineSocket = process.env['CONTAINER_TEST_SOCKET'] ?? '';
export const imagesDir = process.env['CONTAINER_TEST_IMAGES'] ?? '';
export const docker = new Docker({ socketPath: engineSocket });

let number = 0;

export interface Ground {
  readonly dataDir: string;
  readonly runtime: Runtime;
  /** In memory, for secrets of an instance's processes. */
  secretsDir(name: string): Promise<string | null>;
  /** Another server over the same place. */
  again(): Runtime;
  spec(name: string, more?: Partial<InstanceSpec>): InstanceSpec;
  close(): Promise<void>;
}

/** Nobody listens: for tests that need no agent to connect. */
export const noDoors: GuestDoors = { open: async () => {}, close: async () => {} };

interface Wish {
  readonly doors?: GuestDoors;
  readonly images?: string;
  readonly identities?: Identities;
  readonly clock?: Clock;
  readonly resolve?: (name: string) => Promise<readonly string[]>;
  readonly projects?: Projects;
  /** Where the data directory is made. */
  readonly in?: string;
}

export function openGround({
  doors = noDoors,
  images = imagesDir,
  resolve,
  identities,
  clock = systemClock,
  projects,
  in: place = tmpdir(),
}: Wish = {}): Ground {
  const socket = engineSocket;
  if (!existsSync(socket))
    throw new Error(`no engine at CONTAINER_TEST_SOCKET (${socket}): run bin/check container`);
  const dataDir = mkdtempSync(join(place, 'ctr-'));
  const sharesRoot = join(dataDir, 'agentshare', 'tasks');
  mkdirSync(sharesRoot, { recursive: true });
  const secrets = fileSecrets(join(dataDir, 'instances'));
  const files = secretFiles({ places: ['/dev/shm'], dataDir, uid: process.getuid?.() ?? 0 });
  number += 1;
  const own = number;
  const again = () =>
    containerRuntime({
      path: process.env['PATH'] ?? '',
      runtimeDir: null,
      engineHosts: [`unix://${socket}`],
      dataDir,
      socketsDir: join(dataDir, 's'),
      imagesDir: images,
      ...(resolve ? { resolve } : {}),
      seccompPath: join(root, 'images', 'seccomp.json'),
      sharesRoot,
      issueCredentials: async (name) => ({ secret: await secrets.issue(name) }),
      ...(identities ? { identities } : {}),
      ...(projects ? { projects } : {}),
      doors,
      models: noDoors,
      secretsDir: (name) => files.lodging(name),
      clock,
      log: () => {},
    });
  const runtime = again();
  return {
    dataDir,
    runtime,
    again,
    secretsDir: (name) => files.lodging(name),
    spec: (name, more = {}) => ({
      name,
      instanceId: `01920000-0000-7000-8000-${process.pid}-${own}`,
      runtime: 'container',
      ...more,
    }),
    async close() {
      for (const { spec } of await runtime.inventory())
        await runtime.destroy({ version: 1, runtime: 'container', name: spec.name });
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** A world for the contract that every runtime keeps. */
export async function openContract(): Promise<OpenRuntime> {
  const ground = openGround();
  return {
    runtime: ground.runtime,
    again: ground.again,
    spec: (name) => ground.spec(name),
    crash: async (handle) => void (await docker.getContainer(String(handle['container'])).kill()),
    close: ground.close,
  };
}

export const never = (): AbortSignal => new AbortController().signal;

export async function running(
  ground: Ground,
  name: string,
  more: Partial<InstanceSpec> = {},
): Promise<Handle> {
  const { runtime, spec } = ground;
  return runtime.start(await runtime.create(spec(name, more), never()), never());
}

export interface Ran {
  readonly code: number;
  readonly output: string;
}

/** Runs a shell command inside, as the user inside. */
export async function inside(handle: Handle, script: string, { user = '10001:10001' } = {}): Promise<Ran> {
  const made = await docker.getContainer(String(handle['container'])).exec({
    Cmd: ['bash', '-c', `exec 2>&1; ${script}`],
    AttachStdout: true,
    AttachStderr: true,
    User: user,
    Tty: true,
  });
  const stream = await made.start({ Tty: true });
  let output = '';
  stream.on('data', (bytes: Buffer) => {
    output += bytes.toString();
  });
  await new Promise<void>((done) => {
    for (const over of ['end', 'close', 'error']) stream.on(over, () => done());
  });
  const { ExitCode: code } = await made.inspect();
  return { code: code ?? -1, output: output.replaceAll('\r\n', '\n').trim() };
}
