/**
 * Makes a task's workspace: the repository at the wanted commit in the inbox, ready to be worked in.
 *
 *     base.git ◀── fetch ── remote          (bare, ours; the patch is made against it)
 *        └── copied objects ──▶ inbox        (an ordinary clone, the tool's)
 *
 * Idempotent by a marker that is written last: half a workspace is removed and made again, a finished one of
 * the same attempt is found; a further attempt starts clean. Credentials are in neither repository. The
 * orders stand beside the clone, so the patch stays clean.
 */
import { copyFile, cp, lstat, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, sleep } from '../clock.ts';
import { Failure } from '../failure.ts';
import { random } from '../ids.ts';
import type { Log } from '../log.ts';
import { redactor } from '../veil.ts';
import { makeTaskDirs, type TaskDirs } from './dirs.ts';
import { type Fetched, fetchCommit } from './fetching.ts';
import { writeWhole } from './files.ts';
import { git } from './git.ts';
import type { Manifest } from './manifest.ts';
import { plainRemote } from './repository.ts';
import type { ResolveSecrets } from './secrets.ts';

const GIT_TIMEOUT_MS = 10 * 60_000;
const ATTEMPTS = 3;
const BACKOFF_MS = 5_000;
const BACKOFF_MS_MAX = 60_000;
const JITTER = 0.15;

export interface Staging {
  readonly manifest: Manifest;
  readonly attempt: number;
  readonly dirs: TaskDirs;
  /** The server's environment, of which git gets a few names. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For the one secret that clones. */
  readonly resolve: ResolveSecrets;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly log: Log;
  /** What git says meanwhile, credentials removed. */
  readonly onLine?: (line: string) => void;
  readonly timeoutMs?: number;
}

export interface StagedWork {
  readonly workDir: string;
  readonly baseCommit: string;
  readonly branch: string | null;
}

interface Marker extends StagedWork {
  readonly version: 1;
  readonly attempt: number;
  readonly repository: string;
}

export async function stage(staging: Staging): Promise<StagedWork> {
  const { manifest, dirs, attempt } = staging;
  const name = manifest.repository?.secret ?? null;
  const secrets = await staging.resolve(manifest.secrets.filter((secret) => secret.name === name));
  const repository = JSON.stringify(manifest.repository);
  const known = await finished(dirs);
  if (known?.attempt === attempt && known.repository === repository) return placeOf(staging, known);
  // The marker first: without it everything else counts as unfinished.
  for (const path of [dirs.marker, dirs.index, dirs.inbox, dirs.base, dirs.outbox, dirs.given]) {
    await rm(path, { recursive: true, force: true });
  }
  await makeTaskDirs(dirs);
  const fetched = await based(staging, name === null ? null : (secrets.get(name) ?? null));
  await clone(staging, fetched);
  await writeWhole(dirs.orders, orders(manifest));
  const work = placeOf(staging, { baseCommit: fetched.commit, branch: fetched.branch });
  const marker: Marker = { version: 1, attempt, repository, ...work };
  await writeWhole(dirs.marker, `${JSON.stringify(marker)}\n`);
  return work;
}

const placeOf = (
  { manifest, dirs }: Staging,
  { baseCommit, branch }: Omit<StagedWork, 'workDir'>,
): StagedWork => ({
  workDir: join(dirs.inbox, manifest.repository?.subpath ?? ''),
  baseCommit,
  branch,
});

async function finished(dirs: TaskDirs): Promise<Marker | null> {
  try {
    const marker = JSON.parse(await readFile(dirs.marker, 'utf8')) as Marker;
    return marker.version === 1 && (await lstat(dirs.inbox)).isDirectory() ? marker : null;
  } catch {
    return null; // No marker, half a marker, no inbox: not finished, whatever it was.
  }
}

/** The bare repository with the base commit; tried again while the trouble may pass. */
async function based(staging: Staging, secret: string | null): Promise<Fetched> {
  const {
    manifest: { repository },
    dirs,
    clock,
    signal,
    log,
  } = staging;
  const until = clock.now() + (staging.timeoutMs ?? GIT_TIMEOUT_MS);
  for (let tried = 1; ; tried++) {
    await rm(dirs.base, { recursive: true, force: true });
    await run(staging, ['init', '--quiet', '--bare', '--template=', '--', dirs.base], { cwd: dirs.root });
    if (repository === null) return { commit: await emptyCommit(staging), branch: 'main' };
    try {
      const { env, onLine } = staging;
      const timeoutMs = Math.max(1, until - clock.now());
      return await fetchCommit({
        repository,
        secret,
        base: dirs.base,
        env,
        clock,
        signal,
        timeoutMs,
        ...(onLine ? { onLine } : {}),
      });
    } catch (thrown) {
      if (thrown instanceof Failure && thrown.code === 'timed-out')
        throw slow(repository.url, staging, thrown);
      if (!(thrown instanceof Failure) || thrown.code !== 'staging-failed' || tried >= ATTEMPTS) throw thrown;
      const waitMs =
        Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** (tried - 1)) * (1 + JITTER * (2 * random() - 1));
      log.warn('staging is tried again', { tried, waitMs: Math.round(waitMs), message: thrown.message });
      await sleep(clock, waitMs, signal);
    }
  }
}

function slow(url: string, { timeoutMs = GIT_TIMEOUT_MS }: Staging, cause: Failure): Failure {
  const limit = `${Math.round(timeoutMs / 1000)} s`;
  return new Failure('timed-out', `clone ${plainRemote(url).url}: it took longer than ${limit}`, { cause });
}

/** Without a repository there is still a base, so that what the tool makes can be told as a patch. */
async function emptyCommit(staging: Staging): Promise<string> {
  const { base } = staging.dirs;
  const tree = await run(staging, ['hash-object', '-t', 'tree', '-w', '--stdin'], {
    cwd: base,
    gitDir: base,
    stdin: '',
  });
  const who = {
    GIT_AUTHOR_NAME: 'agentic-sandbox',
    GIT_AUTHOR_EMAIL: 'task@localhost',
    GIT_AUTHOR_DATE: '@0 +0000',
  };
  return run(staging, ['commit-tree', '-m', 'Empty base', tree], {
    cwd: base,
    gitDir: base,
    extra: {
      ...who,
      GIT_COMMITTER_NAME: who.GIT_AUTHOR_NAME,
      GIT_COMMITTER_EMAIL: who.GIT_AUTHOR_EMAIL,
      GIT_COMMITTER_DATE: who.GIT_AUTHOR_DATE,
    },
  });
}

/** The tool's own repository, with copies of the objects, so that nothing it does to it harms the base. */
async function clone(staging: Staging, { commit, branch }: Fetched): Promise<void> {
  const {
    manifest: { repository },
    dirs,
  } = staging;
  const own = join(dirs.inbox, '.git');
  await mkdir(dirs.inbox, { mode: 0o700 });
  const inside = (args: readonly string[], stdin?: string) =>
    run(staging, args, { cwd: dirs.inbox, gitDir: own, ...(stdin === undefined ? {} : { stdin }) });
  await inside(['init', '--quiet', '--template=', '--initial-branch', branch ?? 'main']);
  await cp(join(dirs.base, 'objects'), join(own, 'objects'), { recursive: true });
  await copyFile(join(dirs.base, 'shallow'), join(own, 'shallow')).catch(ignoreMissing);
  // Whoever works here can commit without being asked who they are.
  await inside(['config', 'user.name', 'Agent']);
  await inside(['config', 'user.email', 'agent@localhost']);
  if (repository !== null) await origin(inside, repository.url, { commit, branch });
  if (repository?.subpath) await sparse(staging, inside, { commit, subpath: repository.subpath });
  await inside([
    'update-ref',
    ...(branch === null ? ['--no-deref', 'HEAD'] : [`refs/heads/${branch}`]),
    commit,
  ]);
  await inside(['reset', '--quiet', '--hard', commit]);
}

type Inside = (args: readonly string[], stdin?: string) => Promise<string>;

async function origin(inside: Inside, url: string, { commit, branch }: Fetched): Promise<void> {
  await inside(['config', 'remote.origin.url', plainRemote(url).url]);
  await inside(['config', 'remote.origin.fetch', '+refs/heads/*:refs/remotes/origin/*']);
  if (branch === null) return;
  await inside(['update-ref', `refs/remotes/origin/${branch}`, commit]);
  await inside(['config', `branch.${branch}.remote`, 'origin']);
  await inside(['config', `branch.${branch}.merge`, `refs/heads/${branch}`]);
}

/** The directory, what lies beside it on the way down, and nothing else. */
async function sparse(
  staging: Staging,
  inside: Inside,
  { commit, subpath }: { commit: string; subpath: string },
) {
  const path = subpath.replace(/\/$/, '');
  const kind = await inside(['cat-file', '-t', `${commit}:${path}`]).catch((thrown: unknown) => {
    if (thrown instanceof Failure && thrown.code === 'staging-failed') return 'nothing';
    throw thrown;
  });
  if (kind !== 'tree') {
    const url = plainRemote(staging.manifest.repository?.url ?? '').url;
    throw new Failure(
      'not-found',
      `clone ${url}: there is no directory "${path}" at ${commit.slice(0, 12)}; check repository.subpath`,
    );
  }
  await inside(['sparse-checkout', 'set', '--cone', '--stdin'], `${JSON.stringify(path)}\n`);
}

interface Local {
  readonly cwd: string;
  readonly gitDir?: string;
  readonly stdin?: string;
  readonly extra?: Record<string, string>;
}

/** A call that touches only our own directories; its failure is unexpected. */
async function run(
  staging: Staging,
  args: readonly string[],
  { cwd, gitDir, stdin, extra }: Local,
): Promise<string> {
  const { env, clock, signal } = staging;
  const { code, stdout, stderr } = await git({
    args,
    cwd,
    env,
    clock,
    signal,
    timeoutMs: GIT_TIMEOUT_MS,
    ...(stdin === undefined ? {} : { stdin }),
    extra: { ...extra, ...(gitDir === undefined ? {} : { GIT_DIR: gitDir }) },
  });
  if (code === 0) return stdout.trim();
  const hide = redactor([plainRemote(staging.manifest.repository?.url ?? '').password ?? '']);
  throw new Failure(
    'staging-failed',
    `stage the workspace: git ${args[0]} failed: ${hide(stderr.trim()).slice(-300)}`,
  );
}

const ignoreMissing = (thrown: NodeJS.ErrnoException): void => {
  if (thrown.code !== 'ENOENT') throw thrown;
};

const orders = ({ agent, metadata }: Manifest): string =>
  `# Task Instructions\n\n${agent.prompt ?? `Run: ${agent.command ?? ''}`}\n\n---\nThe task "${metadata.name}".\n`;
