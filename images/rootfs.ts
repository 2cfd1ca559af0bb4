/**
 * A Debian root file system in a directory, by mmdebstrap: the same for container images and for the disks of
 * virtual machines.
 *
 * From the same packages it comes out the same: times are cut off at the epoch, and what a build leaves
 * behind (logs, caches, the machine's id, the linker's cache) is taken away. Which versions the archive has
 * is for the archive to say; the SBOM has them.
 */
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AGENT_UID, EPOCH_SECONDS, SUITE } from './recipes.ts';
import { run } from './run.ts';

export interface Rootfs {
  readonly dir: string;
  readonly packages: readonly string[];
  /** A root that is added to: what is in it stays, and only what is missing is fetched; null: a new one. */
  readonly on: string | null;
  /** Where packages are fetched; null: where mmdebstrap fetches them by itself. */
  readonly mirror: string | null;
  readonly say: (line: string) => void;
}

/** Manuals and translations are of no use to an agent; licences stay. */
const dpkg = [
  'force-unsafe-io',
  'path-exclude=/usr/share/man/*',
  'path-exclude=/usr/share/info/*',
  'path-exclude=/usr/share/locale/*',
  'path-exclude=/usr/share/doc/*',
  'path-include=/usr/share/doc/*/copyright',
];

/** What is different after every build, and needed by nobody. */
const leftovers = [
  'etc/.pwd.lock',
  'etc/apt/sources.list',
  'etc/hostname',
  'etc/resolv.conf',
  'etc/group-',
  'etc/gshadow-',
  'etc/passwd-',
  'etc/shadow-',
  'var/cache/apt',
  'var/cache/debconf',
  'var/cache/ldconfig/aux-cache',
  'var/lib/apt',
  'var/lib/dpkg/status-old',
  'var/lib/dpkg/lock',
  'var/lib/dpkg/lock-frontend',
  'var/log/alternatives.log',
  'var/log/apt',
  'var/log/bootstrap.log',
  'var/log/dpkg.log',
];

/** Throws with what to do when it cannot be built here. */
export async function debianRoot({ dir, packages, on, mirror, say }: Rootfs): Promise<void> {
  if (Bun.which('mmdebstrap') === null)
    throw new Error('mmdebstrap is not installed: apt-get install mmdebstrap');
  if (process.getuid?.() !== 0)
    throw new Error('images are built as root, for the owners of their files; use sudo');
  await run({
    command: [
      'mmdebstrap',
      ...(on === null
        ? ['--variant=essential']
        : ['--variant=custom', `--setup-hook=cp --archive '${on}/.' "$1"`]),
      '--mode=root',
      ...dpkg.map((option) => `--dpkgopt=${option}`),
      `--include=${packages.join(',')}`,
      SUITE,
      dir,
      ...(mirror === null ? [] : [mirror]),
    ],
    env: { SOURCE_DATE_EPOCH: String(EPOCH_SECONDS), DEBIAN_FRONTEND: 'noninteractive' },
    onLine: (line) => {
      if (line.startsWith('I: ')) say(line.slice(3));
    },
  });
  clean(dir);
  addAgent(dir);
}

function clean(dir: string): void {
  for (const path of leftovers) rmSync(join(dir, path), { recursive: true, force: true });
  writeFileSync(join(dir, 'etc/machine-id'), '');
  for (const path of ['etc/hostname', 'etc/resolv.conf', 'etc/hosts']) writeFileSync(join(dir, path), '');
}

/** The user `agent`, without a password, and the directories that an instance mounts over. */
function addAgent(dir: string): void {
  const add = (file: string, line: string) => {
    const path = join(dir, 'etc', file);
    if (existsSync(path)) appendOnce(path, line);
  };
  add('passwd', `agent:x:${AGENT_UID}:${AGENT_UID}:agent:/home/agent:/bin/bash`);
  add('group', `agent:x:${AGENT_UID}:`);
  add('shadow', 'agent:!:20454::::::');
  add('gshadow', 'agent:!::');
  for (const path of ['home/agent', 'srv/work', 'opt/agentic/spool']) {
    mkdirSync(join(dir, path), { recursive: true });
    chmodSync(join(dir, path), 0o700);
    chownSync(join(dir, path), AGENT_UID, AGENT_UID);
  }
  for (const path of ['opt/agentic', 'opt/agentic/credentials', 'opt/agentic/socket', 'opt/agentic/egress'])
    mkdirSync(join(dir, path), { recursive: true, mode: 0o755 });
}

function appendOnce(path: string, line: string): void {
  const text = readFileSync(path, 'utf8');
  if (!text.split('\n').includes(line)) writeFileSync(path, `${text.trimEnd()}\n${line}\n`);
}
