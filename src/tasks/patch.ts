/**
 * What has changed in the working tree since the base commit, as one patch that `git apply` takes: new files,
 * deleted ones, modes, links and binaries. Ignored files are left out.
 *
 * git runs with our bare repository, our index and our object directory; the tool's `.git` is never read,
 * because its configuration names programs. The working tree is only read.
 */
import { lstat, mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { TaskDirs } from './dirs.ts';
import { type GitCall, type GitResult, git } from './git.ts';

const GIT_TIMEOUT_MS = 5 * 60_000;
const FILE_BYTES_MAX = 100 * 1024 * 1024;
const PATCH_BYTES_MAX = 512 * 1024 * 1024;
/** What Claude Code writes into a project for one person's machine; nobody's change to the repository. */
const EXCLUDED = ['.claude/settings.local.json'];

export interface Patching {
  readonly dirs: TaskDirs;
  readonly baseCommit: string;
  /** Only this directory was checked out. */
  readonly subpath: string | null;
  /** Where the patch is to be written; made only when something has changed. */
  readonly path: string;
  readonly env: GitCall['env'];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface Patched {
  readonly bytes: number;
  readonly skipped: readonly { readonly name: string; readonly why: string }[];
}

type Run = (args: readonly string[], more?: Partial<GitCall>) => Promise<GitResult>;

export async function makePatch(patching: Patching): Promise<Patched> {
  const { dirs, env, clock, signal } = patching;
  if (!(await lstat(dirs.inbox)).isDirectory())
    throw new Failure('wrong-state', 'make the patch: the inbox is no directory');
  const scratch = await mkdtemp(join(dirs.root, '.patch-'));
  await mkdir(join(scratch, 'objects'));
  const extra = {
    GIT_DIR: dirs.base,
    GIT_WORK_TREE: dirs.inbox,
    GIT_INDEX_FILE: join(scratch, 'index'),
    GIT_OBJECT_DIRECTORY: join(scratch, 'objects'),
    GIT_ALTERNATE_OBJECT_DIRECTORIES: join(dirs.base, 'objects'),
    GIT_LITERAL_PATHSPECS: '1',
  };
  const run: Run = (args, more) =>
    git({ args, cwd: dirs.inbox, env, extra, clock, signal, timeoutMs: GIT_TIMEOUT_MS, ...more });
  try {
    await indexBase(run, patching);
    const { names, skipped } = await changedNames(run, dirs.inbox);
    // Without names git would take everything. Exit code 1: a file could not be read, and is passed over.
    if (names.length > 0) {
      const added = await run(
        ['add', '--all', '--ignore-errors', '--pathspec-from-file=-', '--pathspec-file-nul'],
        { stdin: names },
      );
      if (added.code !== 1) must('add', added);
    }
    return await written(run, patching, skipped);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The base in our index, with what sparse checkout never put into the tree marked as not to be missed. */
async function indexBase(run: Run, { baseCommit, subpath }: Patching): Promise<void> {
  must('read-tree', await run(['read-tree', baseCommit]));
  if (subpath !== null) {
    const all = await listed(run, ['ls-files', '-z', '--cached']);
    const absent = joined(all.filter((name) => !checkedOut(name, bytesOf(subpath.replace(/\/$/, '')))));
    must('update-index', await run(['update-index', '--skip-worktree', '-z', '--stdin'], { stdin: absent }));
  }
  // Exit code 1 says that something needs an update, which is what we are here for.
  await run(['update-index', '-q', '--refresh']);
}

/** Cone mode: the directory whole, and the files that lie on the way to it. */
function checkedOut(name: string, subpath: string): boolean {
  if (name.startsWith(`${subpath}/`)) return true;
  const dir = name.slice(0, Math.max(0, name.lastIndexOf('/')));
  return dir === '' || `${subpath}/`.startsWith(`${dir}/`);
}

interface Changed {
  readonly names: Uint8Array;
  readonly skipped: Patched['skipped'];
}

async function changedNames(run: Run, inbox: string): Promise<Changed> {
  const exclude = EXCLUDED.map((name) => `--exclude=${name}`);
  const args = [
    'ls-files',
    '-z',
    '--modified',
    '--others',
    '--deduplicate',
    '--exclude-standard',
    ...exclude,
  ];
  const kept: string[] = [];
  const skipped: { name: string; why: string }[] = [];
  for (const name of await listed(run, args)) {
    const shown = Buffer.from(name, 'latin1').toString('utf8');
    // A nested repository would be told as a bare commit id that no one else has.
    if (name.endsWith('/')) skipped.push({ name: shown, why: 'is a repository of its own' });
    else if ((await sizeOf(inbox, name)) > FILE_BYTES_MAX)
      skipped.push({ name: shown, why: 'is too large for a patch' });
    else kept.push(name);
  }
  return { names: joined(kept), skipped };
}

/** Names are bytes, not always UTF-8; they are kept as one character a byte. */
async function listed(run: Run, args: readonly string[]): Promise<string[]> {
  const parts: Uint8Array[] = [];
  must('ls-files', await run(args, { onStdout: (chunk) => void parts.push(chunk) }));
  return Buffer.concat(parts)
    .toString('latin1')
    .split('\0')
    .filter((name) => name !== '');
}

const joined = (names: readonly string[]): Uint8Array =>
  Buffer.from(names.map((name) => `${name}\0`).join(''), 'latin1');
const bytesOf = (text: string): string => Buffer.from(text).toString('latin1');

async function sizeOf(inbox: string, name: string): Promise<number> {
  try {
    return (await lstat(Buffer.from(`${bytesOf(inbox)}/${name}`, 'latin1'))).size;
  } catch {
    return 0; // Deleted: that is a change too.
  }
}

async function written(
  run: Run,
  { baseCommit, path }: Patching,
  skipped: Patched['skipped'],
): Promise<Patched> {
  const file = await open(path, 'wx', 0o600);
  let bytes = 0;
  try {
    const args = [
      'diff',
      '--cached',
      '--binary',
      '--full-index',
      '--no-color',
      '--no-ext-diff',
      '--no-textconv',
      '--no-renames',
    ];
    const result = await run([...args, baseCommit], {
      stdoutBytesMax: PATCH_BYTES_MAX,
      onStdout: async (chunk) => {
        bytes += chunk.length;
        await file.writeFile(chunk);
      },
    });
    if (result.overflow) {
      bytes = 0;
      skipped = [
        ...skipped,
        { name: 'changes.patch', why: `is larger than ${PATCH_BYTES_MAX / 1024 ** 2} MiB` },
      ];
    } else {
      must('diff', result);
    }
  } finally {
    await file.close();
    if (bytes === 0) await rm(path);
  }
  return { bytes, skipped };
}

function must(what: string, result: GitResult): GitResult {
  if (result.code === 0) return result;
  throw new Failure('wrong-state', `make the patch: git ${what} failed: ${result.stderr.trim().slice(-300)}`);
}
