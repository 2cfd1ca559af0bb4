/**
 * What an instance in a container may have on the disk, held by the file system where it has project quotas.
 *
 * Two projects an instance: one of everything that it writes (home, work, spool, what is lent), and one of
 * its own for its keys, so that an instance whose disk is full can still renew its certificate. Which they
 * are is remembered by the file system itself, as the project of the instance's directory, which nobody
 * inside sees; so another server finds them, and a limit that is shown is read back and not remembered.
 * Files that it has in Agentshare are a project of their own (share/store.ts).
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Failure } from '../failure.ts';
import type { Membership, Projects } from '../projects.ts';
import type { InstanceSpec } from '../runtime.ts';
import type { ContainerDirs } from './container-files.ts';
import type { State } from './container-state.ts';
import type { Engine } from './engine.ts';

const MIB = 1024 * 1024;

/** Of an instance that names none: as much as Agentshare gives it unless told otherwise. */
export const diskBytesDefault = 50 * 1024 * MIB;
/** As many files as ext4 is made for, and enough for who has little. */
const BYTES_A_FILE = 16 * 1024;
const FILES_LEAST = 10_000;
const keysLimit = { bytes: MIB, files: 64 } as const;

/** Ids of ours, far from those of operators and of Agentshare; even, with the next one for keys. */
const PROJECT_FIRST = 0x4000_0000;
const PROJECTS = 0x2000_0000;
const TRIES_MAX = 1_000;

export interface Disk {
  /** As the file system has it; null: nothing holds it. */
  readonly bytes: number | null;
  /** Why nothing does, or what is not held by it; null: all is held. */
  readonly why: string | null;
}

/** Where instances are, or will be. */
function rootOf({ options }: State): string {
  const root = join(options.dataDir, 'instances');
  return existsSync(root) ? root : options.dataDir;
}

const cure =
  'put the data directory on ext4 or XFS mounted with prjquota, and run the server as root; ' +
  'docs/containers.md has the commands';

/** Why no limit can be set here; null: it can. */
async function missing(state: State): Promise<string | null> {
  const { projects } = state.options;
  if (!projects) return 'this server was given no project quotas';
  return await projects.missing(rootOf(state));
}

/** What an instance that is made now would have. */
export async function diskHere(state: State, engine: Engine): Promise<Disk> {
  const why = await missing(state);
  if (why !== null) return { bytes: null, why: `${why}; ${cure}` };
  return { bytes: diskBytesDefault, why: besides(state, engine) };
}

/** What goes past the limit. */
function besides({ options }: State, engine: Engine): string | null {
  // The kernel lets nobody out of a project who is in a user namespace.
  if (!engine.seccomp && !engine.hasUserNamespace)
    return 'this engine has no seccomp, so who is inside could put its files into another project';
  const why = options.placesUnheld?.() ?? null;
  return why === null ? null : `inbox, outbox and workspace are not held: ${why}`;
}

/** As it is set. */
export async function diskOf(state: State, dirs: ContainerDirs, engine: Engine): Promise<Disk> {
  const why = await missing(state);
  if (why !== null) return { bytes: null, why: `${why}; ${cure}` };
  const projects = state.options.projects as Projects;
  const project = await recorded(projects, dirs);
  const use = project === 0 ? null : await projects.use(dirs.path, project);
  const isHeld = use !== null && use.hardBytes > 0 && (await isWhole(projects, dirs, project));
  if (!isHeld) return { bytes: null, why: 'it was made when none could be set; reprovision it' };
  return { bytes: use.hardBytes, why: besides(state, engine) };
}

const wholes = ({ home, work, spool, shares }: ContainerDirs) => [home, work, spool, shares];

async function isWhole(projects: Projects, dirs: ContainerDirs, project: number): Promise<boolean> {
  for (const path of wholes(dirs)) if (!(await isIn(projects, path, project))) return false;
  return await isIn(projects, dirs.identity, project + 1);
}

const isThat = (found: Membership | null, project: number): boolean =>
  found?.project === project && found.isInherited;

const isIn = async (projects: Projects, path: string, project: number): Promise<boolean> =>
  isThat(await projects.of(path), project);

const isOurs = (project: number): boolean =>
  project >= PROJECT_FIRST && project < PROJECT_FIRST + PROJECTS && project % 2 === 0;

/** 0: none of ours; an operator may have put all of the data directory into one. */
async function recorded(projects: Projects, { path }: ContainerDirs): Promise<number> {
  const project = (await projects.of(path))?.project ?? 0;
  return isOurs(project) ? project : 0;
}

/**
 * Sets its limit before it first starts; a second call finds what the first did. Throws
 * Failure('runtime-failed') when one that was asked for cannot be set; of another that is only logged.
 */
export async function holdDisk(state: State, dirs: ContainerDirs, spec: InstanceSpec): Promise<void> {
  if ((await missing(state)) !== null) return;
  try {
    await hold(state.options.projects as Projects, dirs, spec);
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    if (spec.limits?.diskBytes !== undefined)
      throw new Failure('runtime-failed', `limit the disk of ${spec.name}: ${why}`, { cause: thrown });
    state.options.log(`instance ${spec.name}: no limit of its disk: ${why}`);
  }
}

async function hold(projects: Projects, dirs: ContainerDirs, spec: InstanceSpec): Promise<void> {
  const bytes = spec.limits?.diskBytes ?? diskBytesDefault;
  const files = Math.max(FILES_LEAST, Math.ceil(bytes / BYTES_A_FILE));
  const known = await recorded(projects, dirs);
  const project = known || (await freeProject(projects, dirs, spec.instanceId));
  await projects.limit(dirs.path, project, { bytes, files });
  await projects.limit(dirs.path, project + 1, keysLimit);
  for (const path of wholes(dirs)) await joined(projects, { path, project, isNew: known === 0 });
  await joined(projects, { path: dirs.identity, project: project + 1, isNew: known === 0 });
  // Last: from now on all of it is in.
  await projects.mark(dirs.path, project);
}

async function joined(
  projects: Projects,
  { path, project, isNew }: { readonly path: string; readonly project: number; readonly isNew: boolean },
): Promise<void> {
  if (isNew || !(await isIn(projects, path, project))) await projects.join(path, project);
}

async function freeProject(projects: Projects, dirs: ContainerDirs, instanceId: string): Promise<number> {
  const sum = createHash('sha256').update(instanceId).digest().readUInt32BE(0);
  // Of a server that was killed while it set it.
  const begun = (await projects.of(dirs.home))?.project ?? 0;
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const project = PROJECT_FIRST + (((sum + tries) % PROJECTS) & ~1);
    if (project === begun) return project;
    if ((await isFree(projects, dirs, project)) && (await isFree(projects, dirs, project + 1)))
      return project;
  }
  throw new Failure('over-quota', 'no project id is free on this file system');
}

/** Whoever else has it is left alone. */
async function isFree(projects: Projects, { path }: ContainerDirs, project: number): Promise<boolean> {
  const use = await projects.use(path, project);
  return use === null || (use.usedBytes === 0 && use.files === 0 && use.hardBytes === 0);
}

/** For a server that was started anew, or a directory that was made again: where it was held it still is. */
export async function keepDisk(state: State, dirs: ContainerDirs, spec: InstanceSpec): Promise<void> {
  const { projects } = state.options;
  if (projects && (await recorded(projects, dirs)) !== 0) await holdDisk(state, dirs, spec);
}

/** Before its directories are removed: while they are there another server finds what is left to do. */
export async function freeDisk(state: State, dirs: ContainerDirs): Promise<void> {
  const { projects } = state.options;
  if (!projects || (await missing(state)) !== null) return;
  const project = await recorded(projects, dirs);
  if (project === 0) return;
  for (const one of [project, project + 1]) await projects.limit(dirs.path, one, { bytes: 0, files: 0 });
}

/**
 * What is about to be lent counts for who gets it. Throws Failure('runtime-failed') when it does not fit.
 */
export async function countLent(state: State, dirs: ContainerDirs, path: string): Promise<void> {
  const { projects } = state.options;
  if (!projects) return;
  const [project, found] = [await recorded(projects, dirs), await projects.of(path)];
  if (found === null || (project === 0 ? !isOurs(found.project) : isThat(found, project))) return;
  try {
    await projects.join(path, project);
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new Failure(
      'runtime-failed',
      `lend ${path}: it does not fit into the disk of its instance: ${why}`,
      {
        cause: thrown,
      },
    );
  }
}

/**
 * What comes back to `home` is for us alone to write to; files that the instance wrote there it may hold open
 * still, and they count on for it.
 */
export async function uncountLent(
  state: State,
  dirs: ContainerDirs,
  { path, home }: { readonly path: string; readonly home: string },
): Promise<void> {
  const { projects } = state.options;
  if (!projects || (await recorded(projects, dirs)) === 0) return;
  // It could not be moved into another project than that of its place.
  const there = await projects.of(dirname(home));
  await projects.release(path, there ?? { project: 0, isInherited: false });
}
