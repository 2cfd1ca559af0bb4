/**
 * Who the files of a container's user belong to outside, and who can give and take them: a server that is
 * root does it itself, any other by a helper container of the same engine, which sees nothing but the
 * directories in question.
 */
import { dirname } from 'node:path';
import { Failure } from '../failure.ts';
import type { ContainerDirs, HelpWith, Owner } from './container-files.ts';
import { AGENT_UID, inside, labelOf } from './container-spec.ts';
import { userOutside } from './container-users.ts';
import { type Engine, engineFailure } from './engine.ts';

/** The longest that a helper may take; what it works on may be large. */
const HELP_SECONDS = 900;

/** An engine, and an image in it that has a shell, coreutils and find. */
export interface Helping {
  readonly engine: Engine;
  readonly image: () => Promise<string>;
  /** Which server it belongs to. */
  readonly dataDir: string;
}

export function ownerOf(helping: Helping): Owner {
  const { engine } = helping;
  const mayGive = process.getuid?.() === 0 && !engine.isRootless;
  return {
    user: mayGive ? userOutside(engine) : null,
    help: async (what, dirs) => {
      if (dirs.length > 0) await helpWith(helping, what, dirs);
    },
  };
}

/** `$0` is who they are to be. Nothing follows a link, and no link leads further than the helper sees. */
const scripts: Readonly<Record<HelpWith, string>> = {
  give: 'chown -hR "$0" "$@"',
  lend: 'chown -hR "$0" "$@" && chmod -R a+rX "$@"',
  take: 'chown -hR "$0" "$@" && chmod -R u+rwX,go-w "$@"',
  empty: 'find "$@" -mindepth 1 -delete && chown "$0" "$@"',
};

async function helpWith(helping: Helping, what: HelpWith, dirs: readonly string[]): Promise<void> {
  const { engine } = helping;
  const them = userOutside(engine);
  // As root with `userns-remap`, the helper has the users of this host, which may be anybody's.
  const isRemapped = engine.hasUserNamespace && !engine.isRootless;
  if (isRemapped && them === null)
    throw new Failure('runtime-failed', `${what}: this engine does not say which users it has inside`);
  const theirs = isRemapped && them ? `${them.uid}:${them.gid}` : `${AGENT_UID}:${AGENT_UID}`;
  // Rootless, root inside is the server's user outside.
  const ours = engine.isRootless ? '0:0' : `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
  const targets = dirs.map((_, index) => `/mnt/${index}`);
  await run(helping, {
    what: `${what} ${dirs.join(', ')}`,
    script: scripts[what],
    words: [what === 'give' || what === 'lend' ? theirs : ours, ...targets],
    user: '0:0',
    capabilities: ['CHOWN', 'DAC_OVERRIDE', 'FOWNER'],
    mounts: dirs.map((dir, index) => [dir, targets[index] ?? '', false]),
    isRemapped,
  });
}

export interface Copied {
  /** The name in the directory between. */
  readonly name: string;
  /** The path as the instance sees it. */
  readonly path: string;
  readonly mode: number;
}

/** Each of three words: the name here, the path there, the mode. What is a link, or no file, is left out. */
const fetching =
  'while [ $# -gt 0 ]; do if [ -f "$2" ] && [ ! -L "$2" ]; then timeout 30 cat -- "$2" > "/mnt/$1"; fi; shift 3; done';
const putting =
  'while [ $# -gt 0 ]; do mkdir -p -- "$4" && cp -- "/mnt/$1" "$2.new-$$" && chmod "$3" "$2.new-$$" && ' +
  'mv -fT -- "$2.new-$$" "$2" || exit 1; shift 4; done';

/** Copies files between a directory of ours and the instance's own, as its user, who may do no more there. */
export async function copyAsUser(
  helping: Helping,
  way: 'fetch' | 'put',
  { dirs, between, files }: { dirs: ContainerDirs; between: string; files: readonly Copied[] },
): Promise<void> {
  if (files.length === 0) return;
  await run(helping, {
    what: `${way} ${files.map(({ path }) => path).join(', ')}`,
    script: way === 'fetch' ? fetching : putting,
    words: [
      'sh',
      ...files.flatMap(({ name, path, mode }) => [
        name,
        path,
        mode.toString(8),
        ...(way === 'put' ? [dirname(path)] : []),
      ]),
    ],
    user: `${AGENT_UID}:${AGENT_UID}`,
    capabilities: [],
    mounts: [
      [dirs.home, inside.home, way === 'fetch'],
      [dirs.work, inside.work, way === 'fetch'],
      [between, '/mnt', way === 'put'],
    ],
    isRemapped: false,
  });
}

interface Errand {
  /** For the message of a failure. */
  readonly what: string;
  readonly script: string;
  readonly words: readonly string[];
  readonly user: string;
  readonly capabilities: readonly string[];
  readonly mounts: readonly (readonly [source: string, target: string, readOnly: boolean])[];
  /** Without the engine's user namespace. */
  readonly isRemapped: boolean;
}

/** A container that lives for one command, without a network. */
async function run({ engine, image, dataDir }: Helping, errand: Errand): Promise<void> {
  const { docker } = engine;
  const { what, script, words, user, capabilities, mounts, isRemapped } = errand;
  try {
    const made = await docker.createContainer({
      Image: await image(),
      User: user,
      WorkingDir: '/',
      Labels: { [labelOf.helper]: dataDir },
      Entrypoint: ['timeout', String(HELP_SECONDS), 'sh', '-c', script, ...words],
      Cmd: [],
      HostConfig: {
        NetworkMode: 'none',
        ReadonlyRootfs: true,
        CapDrop: ['ALL'],
        CapAdd: [...capabilities],
        SecurityOpt: ['no-new-privileges:true'],
        ...(isRemapped ? { UsernsMode: 'host' } : {}),
        Mounts: mounts.map(([Source, Target, ReadOnly]) => ({ Type: 'bind', Source, Target, ReadOnly })),
      },
    });
    try {
      await made.start();
      const { StatusCode: code } = (await made.wait()) as { StatusCode: number };
      if (code !== 0) throw new Error(`a helper container ended with ${code}`);
    } finally {
      await made.remove({ force: true, v: true });
    }
  } catch (thrown) {
    throw engineFailure(what, thrown);
  }
}

/** Those of a server that was killed meanwhile: older than this one, and not at work any more. */
export async function removeHelpers({ docker }: Engine, dataDir: string, since: number): Promise<void> {
  const filters = { label: [`${labelOf.helper}=${dataDir}`], status: ['created', 'exited', 'dead'] };
  for (const { Id, Created: seconds } of await docker.listContainers({ all: true, filters }))
    if (seconds < Math.floor(since / 1_000)) await docker.getContainer(Id).remove({ force: true, v: true });
}
