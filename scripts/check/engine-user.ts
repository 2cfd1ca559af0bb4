/**
 * An unprivileged user for a rootless engine, made for one run and removed after it, and what that user needs
 * to be one: devices that it may open, and this repository at a place that it may read. Both are in a mount
 * namespace of the engine's own, so nothing of the machine's is changed but /etc/passwd and its kin, for so
 * long.
 */
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';

export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** The first of those below it, and how many. */
  readonly from: number;
  readonly count: number;
}

/** With the pid of who made it, so that one that a killed run left is known. */
const PREFIX = 'agentic-check-';

/** Its number, and why not where there is none. */
export function makeUser(): User | string {
  for (const name of namesIn('/etc/passwd')) if (isLeft(name)) command('userdel', name);
  const name = `${PREFIX}${process.pid}`;
  const made = command('useradd', '--no-create-home', '--user-group', '--shell', '/bin/sh', name);
  if (made !== null) return `no user can be made for it: ${made}`;
  const [, , uid, gid] = lineOf('/etc/passwd', name);
  const [, from, count] = lineOf('/etc/subuid', name);
  const user = { name, uid: Number(uid), gid: Number(gid), from: Number(from), count: Number(count) };
  if (user.count > 10_001) return user;
  dropUser(user);
  return 'a user that is made here has no users below it: useradd writes none to /etc/subuid';
}

export function dropUser({ name }: Pick<User, 'name'>): void {
  const why = command('userdel', name);
  if (why !== null) process.stderr.write(`user ${name} stays: ${why}\n`);
}

function isLeft(name: string): boolean {
  if (!name.startsWith(PREFIX)) return false;
  const pid = Number(name.slice(PREFIX.length));
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false }) === undefined;
}

const namesIn = (file: string): string[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.split(':')[0] ?? '');

const lineOf = (file: string, name: string): string[] =>
  (
    readFileSync(file, 'utf8')
      .split('\n')
      .find((line) => line.startsWith(`${name}:`)) ?? ''
  ).split(':');

/** Null when it went well; else its words. */
function command(...words: readonly string[]): string | null {
  const done = Bun.spawnSync([...words], { stdin: 'ignore', stdout: 'ignore' });
  return done.exitCode === 0 ? null : done.stderr.toString().trim();
}

/** `own` is the user's; the rest are places to mount at. */
export function makePlaces(dir: string, user: User): void {
  // Through it leads the way to what is the user's.
  chmodSync(dir, 0o711);
  for (const name of ['own', 'devices', 'repository']) mkdirSync(join(dir, name), { mode: 0o755 });
  writeFileSync(join(dir, 'bun'), '');
  chownSync(join(dir, 'own'), user.uid, user.gid);
  chmodSync(join(dir, 'own'), 0o700);
}

/** Of shell, `$0` is the directory. What the machine has not is not made. */
export const devices = [
  'mount -t tmpfs -o mode=755 tmpfs "$0/devices"',
  ...(
    [
      ['/dev/net/tun', '10 200'],
      ['/dev/fuse', '10 229'],
    ] as const
  ).map(([path, numbers]) => {
    const own = `"$0/devices/${path.split('/').at(-1)}"`;
    return `{ [ ! -e ${path} ] || { mknod -m 666 ${own} c ${numbers} && mount --bind ${own} ${path}; }; }`;
  }),
].join(' && ');

/** `$2` is the repository, `$3` the Bun that runs us, each perhaps where the user may not go. */
export const repositoryThere =
  'mount --bind "$2" "$0/repository" && mount -o remount,bind,ro "$0/repository" && mount --bind "$3" "$0/bun"';

const cleanEnv = (dir: string): Record<string, string> => ({
  HOME: `${dir}/own`,
  XDG_RUNTIME_DIR: `${dir}/own`,
});
const setpriv = (name: string): string[] => [
  'setpriv',
  `--reuid=${name}`,
  `--regid=${name}`,
  '--init-groups',
];

/** `$1` is the user. */
export const asUser = `exec ${setpriv('$1').join(' ').replaceAll('$1', '"$1"')} env ${Object.entries(
  cleanEnv('$0'),
)
  .map(([name, value]) => `${name}="${value}"`)
  .join(' ')}`;

/** As Docker's own script for it does: a network by slirp4netns, and /etc and /run that it may write to. */
export const rootlesskit = (dockerd: string): string =>
  'rootlesskit --state-dir="$0/own/rootlesskit" --net=slirp4netns --mtu=65520 --slirp4netns-sandbox=auto ' +
  '--slirp4netns-seccomp=auto --disable-host-loopback --port-driver=builtin --copy-up=/etc --copy-up=/run ' +
  `--propagation=rslave sh -c 'rm -f /run/docker /run/containerd /run/xtables.lock; exec ${dockerd} --rootless' "$0/own"`;

interface Placed {
  readonly dir: string;
  readonly user: User;
  readonly root: string;
  readonly env: Readonly<Record<string, string>>;
}

/** A command as the user runs it, with the paths that the repository and Bun have there. */
export function inPlace({ dir, user, root, env }: Placed, words: readonly string[]) {
  const [there, bun] = [join(dir, 'repository'), join(dir, 'bun')];
  const placed = (word: string): string => {
    if (word === process.execPath) return bun;
    return word === root || word.startsWith(`${root}/`) ? join(there, relative(root, word)) : word;
  };
  const here = ['sh', '-c', 'cd "$0" && exec "$@"', there, ...words.map(placed)];
  const own = Object.entries({ ...env, ...cleanEnv(dir) }).map(([name, value]) => [name, placed(value)]);
  return {
    command: [...setpriv(user.name), ...here],
    env: { ...Object.fromEntries(own), USER: user.name, LOGNAME: user.name } as Record<string, string>,
  };
}

/** Nobody else has ever been this user, or one of those below it. */
export function endProcessesOf({ uid, from, count }: User): void {
  for (let round = 0; round < 50; round++) {
    const pids = readdirSync('/proc').flatMap((name) => {
      const owner = /^\d+$/.test(name)
        ? statSync(`/proc/${name}`, { throwIfNoEntry: false })?.uid
        : undefined;
      const isOurs = owner !== undefined && (owner === uid || (owner >= from && owner < from + count));
      return isOurs ? [Number(name)] : [];
    });
    if (pids.length === 0) return;
    for (const pid of pids)
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Gone meanwhile.
      }
    Bun.sleepSync(50);
  }
}
