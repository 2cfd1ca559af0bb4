/**
 * Where everything is:
 *
 *     <root>/global/                     for all instances to read
 *            staging/                    what is being written to it
 *            instances/<instance id>/    share.json, staging/, and what the instance sees:
 *                inbox/ outbox/ workspace/
 *            tasks/<task id>/            inbox/ outbox/ … (tasks/dirs.ts)
 *
 * By the id and not by the name: what a destroyed instance left is never given to another one that gets its
 * name. Only the three leaves are the instance's; everything above them is ours alone. Making it twice
 * changes nothing, and half of it is completed.
 */
import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../failure.ts';
import type { Mount } from '../runtime.ts';
import { type Owner, settle } from './area.ts';
import { emptyStaging } from './change.ts';
import { descend, orNull } from './dir.ts';
import { writeText } from './text.ts';

export const leaves = ['inbox', 'outbox', 'workspace'] as const;
export type Leaf = (typeof leaves)[number];

/** What the first `global` has in it. */
const globalDirs = ['tools', 'prompts', 'configs', 'content', 'scripts'];
/** What is in `global` is write-protected; its directories are not, or nobody but root could remove them. */
export const GLOBAL_FILE_MODE = 0o444;
const DIR_MODE = 0o755;

const instanceIdPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
export const isInstanceId = (text: string): boolean => instanceIdPattern.test(text);

export interface Place {
  readonly base: string;
  readonly staging: string;
  readonly inbox: string;
  readonly outbox: string;
  readonly workspace: string;
  readonly facts: string;
}

/** What is remembered of an instance's place, whoever remembers the instance. */
export interface ShareFacts {
  readonly version: 1;
  readonly instanceId: string;
  readonly name: string;
  readonly createdAt: number;
  /** Of the file system; null: it has none. */
  readonly project: number | null;
  /** Whose the leaves are; null: ours. */
  readonly owner: Owner | null;
  /** The instance runs as the server's own user, with all that this may. */
  readonly isSameUser: boolean;
}

export interface Layout {
  readonly root: string;
  readonly global: string;
  readonly globalStaging: string;
  readonly instances: string;
  readonly tasks: string;
  place(instanceId: string): Place;
}

export function layoutIn(root: string): Layout {
  const instances = join(root, 'instances');
  return {
    root,
    global: join(root, 'global'),
    globalStaging: join(root, 'staging'),
    instances,
    tasks: join(root, 'tasks'),
    place(instanceId) {
      if (!isInstanceId(instanceId))
        throw new Failure('bad-input', `"${instanceId}" is no id of an instance`);
      const base = join(instances, instanceId);
      const below = (name: string) => join(base, name);
      return {
        base,
        staging: below('staging'),
        inbox: below('inbox'),
        outbox: below('outbox'),
        workspace: below('workspace'),
        facts: below('share.json'),
      };
    },
  };
}

/** Makes what is missing of the whole, and removes what an earlier server did not finish writing. */
export async function makeRoot(layout: Layout): Promise<void> {
  const { root, instances, tasks, global, globalStaging } = layout;
  for (const dir of [root, instances, tasks, globalStaging]) await makeOurs(dir);
  if (await makeDir(global, { mode: DIR_MODE, owner: null })) {
    for (const name of globalDirs) await makeDir(join(global, name), { mode: DIR_MODE, owner: null });
  }
  await emptyStaging(globalStaging);
  for (const id of await instanceIds(layout)) await emptyStaging(layout.place(id).staging);
}

const makeOurs = (path: string) => makeDir(path, { mode: 0o700, owner: null });

/** True when it was not there. Throws Failure('runtime-failed') when something else has its place. */
async function makeDir(
  path: string,
  { mode, owner }: { mode: number; owner: Owner | null },
): Promise<boolean> {
  let isNew = true;
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT') {
      await mkdir(path, { recursive: true, mode: 0o700 });
    } else if (code === 'EEXIST') isNew = false;
    else
      throw new Failure(
        'runtime-failed',
        `make ${path}: ${code}; set AGENTSHARE_ROOT to what may be written`,
      );
  }
  const dir = await descend(path, []);
  if (dir === null) {
    throw new Failure(
      'runtime-failed',
      `make ${path}: something that is no directory is in its place; remove it`,
    );
  }
  try {
    if (isNew || owner !== null) await settle(dir.handle, mode, owner);
    return isNew;
  } finally {
    await dir.handle.close();
  }
}

/**
 * Makes an instance's place. Where its user is another one and we may not give it what is ours, anybody may
 * write below a base that nobody else can enter.
 */
export async function makePlace(place: Place, facts: ShareFacts): Promise<void> {
  const { owner } = facts;
  await makeOurs(place.base);
  await makeOurs(place.staging);
  const mayGive = process.getuid?.() === 0;
  for (const leaf of leaves) {
    const mode = owner !== null && !mayGive ? 0o777 : DIR_MODE;
    await makeDir(place[leaf], { mode, owner: mayGive ? owner : null });
  }
  await writeText(place.facts, `${JSON.stringify(facts)}\n`);
}

/** Null when there is none, or when it is damaged. */
export async function readFacts(place: Place): Promise<ShareFacts | null> {
  try {
    const file = await open(place.facts, constants.O_RDONLY | constants.O_NOFOLLOW);
    const text = await readFile(file, 'utf8').finally(() => file.close());
    const facts = JSON.parse(text) as ShareFacts;
    return facts.version === 1 && isInstanceId(facts.instanceId) ? facts : null;
  } catch {
    return null; // It is made anew.
  }
}

export async function instanceIds({ instances }: Layout): Promise<string[]> {
  const names = (await orNull(readdir(instances))) ?? [];
  return names.filter(isInstanceId).sort();
}

/** Whether the instance has a place at all. */
export const isPlace = async (place: Place): Promise<boolean> =>
  (await orNull(lstat(place.base)))?.isDirectory() ?? false;

/** Where an instance with files of its own sees them. */
const targets = {
  global: '/mnt/global',
  inbox: '/mnt/inbox',
  outbox: '/mnt/outbox',
  workspace: '/workspace',
} as const;

export function mountsOf(layout: Layout, place: Place): Mount[] {
  return [
    { name: 'global', source: layout.global, target: targets.global, readOnly: true },
    ...leaves.map((name): Mount => ({ name, source: place[name], target: targets[name], readOnly: false })),
  ];
}
