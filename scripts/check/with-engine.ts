/**
 * Runs a command beside a container engine of its own, in a network of its own, and ends both:
 *
 *     bun scripts/check/with-engine.ts docker|podman|rootless|rootless-podman|remapped COMMAND…
 *
 * `rootless` and `rootless-podman` are run by an unprivileged user that is made for it, and who runs the
 * command too;
 * `remapped` is Docker run by root with `userns-remap`. The engine has its data and its socket in a temporary
 * directory, and nothing of the machine's own engine is touched. The command sees the socket as
 * CONTAINER_TEST_SOCKET and images as CONTAINER_TEST_IMAGES; those are built first where they are missing.
 * Exit code 77, and a reason as the last line: it cannot be done here.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import {
  asUser,
  devices,
  dropUser,
  endProcessesOf,
  inPlace,
  makePlaces,
  makeUser,
  repositoryThere,
  rootlesskit,
  type User,
} from './engine-user.ts';

const root = join(import.meta.dir, '..', '..');
const SKIPPED = 77;
const START_MS = 60_000;
const STOP_MS = 20_000;
/** An address that is neither the loopback's nor anybody's (RFC 5737), for sites that tests open. */
const SITE = '203.0.113.10';

interface Kind {
  readonly socket: string;
  /** A shell command that becomes the engine; `$0` is its directory, `$1` the user that was made for it. */
  readonly command: string;
  readonly images: readonly string[];
  /** Who the engine is, or has inside; a user made for it, with users of its own below it. */
  readonly user?: 'runs it' | 'is inside';
}

const dockerd =
  'dockerd --data-root "$0/data" --exec-root "$0/exec" --pidfile "$0/pid" -H "unix://$0/docker.sock"';

const kinds: Readonly<Record<string, Kind>> = {
  docker: {
    socket: 'docker.sock',
    command: `exec ${dockerd} --storage-driver=overlay2 >"$0/log" 2>&1`,
    images: ['base', 'dev', 'claude', 'codex', 'opencode'],
  },
  podman: {
    socket: 'podman.sock',
    // Events in a file: without a journal of the system there is nowhere else for them.
    command:
      'exec podman --root "$0/data" --runroot "$0/run" --tmpdir "$0/tmp" --cgroup-manager=cgroupfs ' +
      '--events-backend=file system service --time=0 "unix://$0/podman.sock" >"$0/log" 2>&1',
    images: ['base', 'claude'],
  },
  rootless: {
    socket: 'own/docker.sock',
    user: 'runs it',
    command: `${devices} && ${repositoryThere} && ${asUser} ${rootlesskit(dockerd)} >"$0/own/log" 2>&1`,
    images: ['base', 'claude'],
  },
  'rootless-podman': {
    // Where a user's own is looked for.
    socket: 'own/podman/podman.sock',
    user: 'runs it',
    command:
      `${devices} && ${repositoryThere} && install -d -o "$1" "$0/own/podman" && ${asUser} podman --root "$0/own/data" --runroot "$0/own/run" ` +
      '--tmpdir "$0/own/tmp" --storage-driver=overlay --cgroup-manager=cgroupfs --events-backend=file system service --time=0 ' +
      '"unix://$0/own/podman/podman.sock" >"$0/own/log" 2>&1',
    images: ['base', 'claude'],
  },
  remapped: {
    socket: 'docker.sock',
    user: 'is inside',
    command: `exec ${dockerd} --storage-driver=overlay2 --userns-remap="$1" >"$0/log" 2>&1`,
    images: ['base'],
  },
};

const say = (line: string): void => void process.stderr.write(`${line}\n`);

function skip(reason: string): never {
  say(reason);
  process.exit(SKIPPED);
}

/** Its own network, and where it is another user what that user may see of the files of this machine. */
const spacesOf = ({ user }: Kind): string[] => ['--net', ...(user === 'runs it' ? ['--mount'] : [])];

function startEngine(kind: Kind, dir: string, user: User | null): Bun.Subprocess {
  const script = ['ip link set lo up', `ip addr add ${SITE}/32 dev lo`, kind.command].join(' && ');
  const words = [dir, user?.name ?? '', root, process.execPath];
  return Bun.spawn(['unshare', ...spacesOf(kind), 'sh', '-c', script, ...words], {
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'inherit',
  });
}

async function answers(socket: string, engine: Bun.Subprocess): Promise<boolean> {
  for (const end = performance.now() + START_MS; performance.now() < end && engine.exitCode === null; ) {
    try {
      if ((await fetch('http://localhost/_ping', { unix: socket })).ok) return true;
    } catch {
      // Not yet.
    }
    await Bun.sleep(100);
  }
  return false;
}

/** In the engine's network, where its bridges are. */
const beside = (engine: Bun.Subprocess, kind: Kind, command: readonly string[]) => [
  'nsenter',
  `--target=${engine.pid}`,
  ...spacesOf(kind),
  ...command,
];

async function run(command: readonly string[], env: Readonly<Record<string, string>>): Promise<number> {
  const child = Bun.spawn([...command], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return await child.exited;
}

async function stop(engine: Bun.Subprocess): Promise<void> {
  engine.kill('SIGTERM');
  await Promise.race([engine.exited, Bun.sleep(STOP_MS)]);
  if (engine.exitCode === null) engine.kill('SIGKILL');
  await engine.exited;
}

/** Podman leaves a watcher for every container and every command in one. */
function endWatchers(dir: string): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      if (Number(pid) !== process.pid && words.some((word) => word.startsWith(`${dir}/`)))
        process.kill(Number(pid), 'SIGKILL');
    } catch {
      // Gone meanwhile.
    }
}

/** What a killed engine leaves mounted keeps its directory from being removed. */
function unmountBelow(dir: string): void {
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${dir}/`));
  for (const path of mounts.toReversed()) Bun.spawnSync(['umount', '-l', path]);
}

async function main([name = '', ...command]: readonly string[]): Promise<number> {
  const kind = kinds[name];
  if (!kind) throw new Error(`"${name}" is no engine; there are ${Object.keys(kinds).join(', ')}`);
  if (process.platform !== 'linux') skip('a container engine of our own needs Linux');
  if (process.getuid?.() !== 0) skip('a container engine of our own needs root');
  const user = kind.user === undefined ? null : makeUser();
  if (typeof user === 'string') skip(user);
  const dir = mkdtempSync(join(tmpdir(), 'engine-'));
  if (user !== null) makePlaces(dir, user);
  const engine = startEngine(kind, dir, user);
  try {
    return await runBeside({ kind, dir, user, engine }, command);
  } finally {
    await stop(engine);
    endWatchers(dir);
    if (user !== null) endProcessesOf(user);
    unmountBelow(dir);
    rmSync(dir, { recursive: true, force: true });
    if (user !== null) dropUser(user);
  }
}

interface Started {
  readonly kind: Kind;
  readonly dir: string;
  readonly user: User | null;
  readonly engine: Bun.Subprocess;
}

async function runBeside({ kind, dir, user, engine }: Started, command: readonly string[]): Promise<number> {
  const [socket, imagesDir] = [join(dir, kind.socket), join(root, '.tools', 'images')];
  if (!(await answers(socket, engine))) {
    const log = join(dirname(socket), 'log');
    const why = existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n').at(-1) : 'it said nothing';
    say(`no container engine can be started here: ${why}`);
    return SKIPPED;
  }
  const env = { CONTAINER_TEST_SOCKET: socket, CONTAINER_TEST_IMAGES: imagesDir };
  // Fetching needs the machine's network, trying the engine's socket, which is anywhere.
  const forImages = { ...env, DOCKER_HOST: `unix://${socket}`, AGENTIC_IMAGES_DIR: imagesDir };
  const built = await run(
    [process.execPath, join(root, 'images', 'main.ts'), 'build', ...kind.images],
    forImages,
  );
  if (built !== 0) return built;
  if (user === null || kind.user !== 'runs it') return await run(beside(engine, kind, command), env);
  const own = inPlace({ dir, user, root, env }, command);
  return await run(beside(engine, kind, own.command), own.env);
}

process.exit(await main(process.argv.slice(2)));
