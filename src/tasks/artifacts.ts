/**
 * Gathers what a task made, and hands it out.
 *
 * `collectArtifacts` builds a fresh directory from what the tool put into outbox/artifacts, from files that
 * match the manifest's patterns (outbox first, then the working tree), the patch and the summary, and
 * exchanges it for outbox/artifacts. Done twice, it gives the same. Names are unique, links that leave are
 * refused, count and bytes are bounded, and what was left out is told. `openArtifact` hands out nothing that
 * the index does not name.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { Clock } from '../clock.ts';
import { toFailureInfo } from '../failure.ts';
import type { Log } from '../log.ts';
import type { ArtifactView } from '../views.ts';
import { entriesBeneath, linkBeneath, nameParts, openFileBeneath } from './beneath.ts';
import { contentType } from './content-type.ts';
import type { TaskDirs } from './dirs.ts';
import { writeWhole } from './files.ts';
import type { GitCall } from './git.ts';
import { makePatch } from './patch.ts';

const FILES_MAX = 1_000;
const BYTES_MAX = 2 * 1024 ** 3;
const ENTRIES_MAX = 200_000;
const CHUNK_BYTES = 256 * 1024;
const SKIPPED_MAX = 200;

export interface Collect {
  readonly dirs: TaskDirs;
  /** As staging gave it. `baseCommit` null: there is nothing to make a patch against. */
  readonly staged: { readonly workDir: string; readonly baseCommit: string | null };
  /** Relative to the outbox and to the directory that the tool worked in. */
  readonly patterns: readonly string[];
  /** The tool's closing words. */
  readonly summary: string | null;
  readonly env: GitCall['env'];
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly limits?: { readonly files: number; readonly bytes: number };
}

export interface Collection {
  readonly artifacts: readonly ArtifactView[];
  readonly skipped: readonly Skipped[];
}

export interface Skipped {
  readonly name: string;
  readonly why: string;
}

interface Index {
  readonly version: 1;
  readonly artifacts: readonly ArtifactView[];
}

const freshDir = (dirs: TaskDirs): string => join(dirs.root, 'artifacts.new');

export async function collectArtifacts(wanted: Collect): Promise<Collection> {
  const { dirs, summary, log } = wanted;
  const fresh = freshDir(dirs);
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { recursive: true, mode: 0o700 });
  const gathering = gather(wanted, fresh);
  await gathering.patch();
  if (summary !== null && summary.trim() !== '') await gathering.text('summary.md', `${summary.trim()}\n`);
  const given = (await isDirectory(dirs.given)) ? dirs.given : dirs.artifacts;
  await gathering.tree({ root: given, under: '', matches: () => true, skip: () => false, spare: 'given' });
  const matches = matcher(wanted.patterns);
  if (matches !== null) {
    const ours = (name: string) => name === 'artifacts' || name === 'progress';
    await gathering.tree({ root: dirs.outbox, under: '', matches, skip: ours, spare: 'outbox' });
    const under = subpathOf(wanted) ?? '';
    const dotGit = (name: string) => name === '.git' || name.endsWith('/.git');
    await gathering.tree({ root: dirs.inbox, under, matches, skip: dotGit, spare: 'repository' });
  }
  const { artifacts, skipped } = gathering;
  await exchange(dirs, fresh);
  artifacts.sort((a, b) => (a.name < b.name ? -1 : 1));
  const index: Index = { version: 1, artifacts };
  await writeWhole(dirs.index, `${JSON.stringify(index)}\n`);
  if (skipped.length > 0) log.warn('artifacts were left out', { skipped });
  return { artifacts, skipped };
}

/** Where the tool worked, below the inbox; null: in the inbox itself. */
const subpathOf = ({ dirs, staged }: Collect): string | null => relative(dirs.inbox, staged.workDir) || null;

/** The first time, what was there is kept aside, so that a second time starts from the same. */
async function exchange(dirs: TaskDirs, fresh: string): Promise<void> {
  if (await isDirectory(dirs.given)) await rm(dirs.artifacts, { recursive: true, force: true });
  else await rename(dirs.artifacts, dirs.given);
  await mkdir(dirs.outbox, { recursive: true, mode: 0o700 });
  await rename(fresh, dirs.artifacts);
}

/**
 * Null: no patterns, nothing to look for. A pattern that names a directory means all in it; `!` takes away.
 */
export function matcher(patterns: readonly string[]): ((name: string) => boolean) | null {
  const globs = (some: readonly string[]) =>
    some
      .flatMap((pattern) => [pattern.replace(/\/$/, ''), `${pattern.replace(/\/$/, '')}/**`])
      .map((one) => new Bun.Glob(one));
  const plain = patterns.map((pattern) => pattern.replace(/^(!?)\.\//, '$1'));
  const wanted = globs(plain.filter((pattern) => !pattern.startsWith('!')));
  const unwanted = globs(
    plain.filter((pattern) => pattern.startsWith('!')).map((pattern) => pattern.slice(1)),
  );
  if (wanted.length === 0) return null;
  return (name) => wanted.some((glob) => glob.match(name)) && !unwanted.some((glob) => glob.match(name));
}

interface Tree {
  readonly root: string;
  readonly under: string;
  readonly matches: (name: string) => boolean;
  readonly skip: (name: string) => boolean;
  /** The directory for files whose name is taken. */
  readonly spare: string;
}

function gather(wanted: Collect, fresh: string) {
  const { dirs, limits = { files: FILES_MAX, bytes: BYTES_MAX }, signal } = wanted;
  const artifacts: ArtifactView[] = [];
  const skipped: Skipped[] = [];
  const taken = new Set<string>();
  let bytesLeft = limits.bytes;

  const leave = (name: string, why: string): void => {
    if (skipped.length < SKIPPED_MAX) skipped.push({ name: name.slice(0, 300), why });
  };
  const claim = (name: string, spare: string): string => {
    let free = name;
    while (taken.has(free) || clashes(taken, free)) free = `${spare}/${free}`;
    taken.add(free);
    return free;
  };
  const keep = async (
    source: FileHandle,
    { name, shown }: { name: string; shown: string },
  ): Promise<void> => {
    const { size } = await source.stat();
    if (artifacts.length >= limits.files)
      return leave(shown, `there are more than ${limits.files} artifacts`);
    if (size > bytesLeft)
      return leave(shown, `with it the artifacts would be larger than ${limits.bytes} bytes`);
    const copied = await copyInto(join(fresh, name), source, bytesLeft);
    bytesLeft -= copied.bytes;
    artifacts.push({
      name,
      size_bytes: copied.bytes,
      content_type: contentType(name),
      checksum: copied.checksum,
    });
  };

  return {
    artifacts,
    skipped,
    async text(name: string, text: string): Promise<void> {
      const path = join(fresh, `.${name}`);
      await writeWhole(path, text);
      await this.own(path, name);
    },
    /** A file that we made ourselves in the fresh directory, under another name. */
    async own(path: string, name: string): Promise<void> {
      const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
      taken.add(name);
      try {
        await keep(file, { name, shown: name });
      } finally {
        await file.close();
        await rm(path);
      }
    },
    async patch(): Promise<void> {
      const {
        staged: { baseCommit },
        env,
        clock,
      } = wanted;
      if (baseCommit === null) return leave('changes.patch', 'there is no base to compare with');
      const path = join(fresh, '.changes.patch');
      try {
        const patched = await makePatch({
          dirs,
          baseCommit,
          subpath: subpathOf(wanted),
          path,
          env,
          clock,
          signal,
        });
        for (const { name, why } of patched.skipped) leave(name, why);
        if (patched.bytes > 0) await this.own(path, 'changes.patch');
      } catch (thrown) {
        if (signal.aborted) throw thrown;
        // The other artifacts are worth having without it.
        leave('changes.patch', toFailureInfo(thrown).message);
      }
    },
    async tree(tree: Tree): Promise<void> {
      const { root, under, matches, spare } = tree;
      for await (const entry of entriesBeneath({ root, under, entriesMax: ENTRIES_MAX, skip: tree.skip })) {
        signal.throwIfAborted();
        if (!matches(entry.name)) continue;
        const whole = under === '' ? entry.name : `${under}/${entry.name}`;
        const source = entry.kind === 'link' ? await linkBeneath(root, whole) : whole;
        if (nameParts(entry.name) === null || /[\u0000-\u001f\u007f\ufffd]/.test(entry.name)) {
          leave(entry.name, 'its name holds characters that cannot be handed out');
        } else if (entry.kind === 'other') leave(entry.name, 'is neither a file nor a link');
        else if (source === null) leave(entry.name, 'is a link that leads nowhere or out of the task');
        else if (entry.kind === 'link' && /(^|\/)\.git(\/|$)/.test(source))
          leave(entry.name, 'is a link into .git');
        else {
          const file = await openFileBeneath(root, source);
          if (file === null) leave(entry.name, 'is not a file that can be read');
          else
            await keep(file, { name: claim(entry.name, spare), shown: entry.name }).finally(() =>
              file.close(),
            );
        }
      }
    },
  };
}

/** A file cannot be where another artifact needs a directory, nor the reverse. */
function clashes(taken: ReadonlySet<string>, name: string): boolean {
  for (let cut = name.indexOf('/'); cut >= 0; cut = name.indexOf('/', cut + 1)) {
    if (taken.has(name.slice(0, cut))) return true;
  }
  for (const other of taken) if (other.startsWith(`${name}/`)) return true;
  return false;
}

async function copyInto(
  path: string,
  source: FileHandle,
  bytesMax: number,
): Promise<{ bytes: number; checksum: string }> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const target = await open(path, 'wx', 0o600);
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(CHUNK_BYTES);
  let bytes = 0;
  try {
    while (bytes < bytesMax) {
      const { bytesRead } = await source.read(buffer, 0, Math.min(CHUNK_BYTES, bytesMax - bytes), bytes);
      if (bytesRead === 0) break;
      const part = buffer.subarray(0, bytesRead);
      hash.update(part);
      await target.writeFile(part);
      bytes += bytesRead;
    }
  } finally {
    await target.close();
  }
  return { bytes, checksum: `sha256:${hash.digest('hex')}` };
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false; // Not there is an answer here.
  }
}

/** Empty until the task has been collected. */
export async function listArtifacts(dirs: TaskDirs): Promise<readonly ArtifactView[]> {
  try {
    const index = JSON.parse(await readFile(dirs.index, 'utf8')) as Index;
    return index.version === 1 ? index.artifacts : [];
  } catch {
    return []; // Never collected, or removed with its task.
  }
}

export interface OpenArtifact {
  readonly view: ArtifactView;
  readonly body: ReadableStream<Uint8Array>;
}

/**
 * Null when there is none of that name, or it is no longer what was collected. Cancelling the body closes the
 * file.
 */
export async function openArtifact(dirs: TaskDirs, name: string): Promise<OpenArtifact | null> {
  const view = (await listArtifacts(dirs)).find((one) => one.name === name);
  const file = view === undefined ? null : await openFileBeneath(dirs.artifacts, name);
  if (view === undefined || file === null) return null;
  if ((await file.stat()).size !== view.size_bytes) {
    await file.close();
    return null;
  }
  return { view, body: streamed(file, view.size_bytes) };
}

function streamed(file: FileHandle, size: number): ReadableStream<Uint8Array> {
  let offset = 0;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const part = Buffer.alloc(Math.min(CHUNK_BYTES, size - offset));
      const { bytesRead } =
        part.length === 0 ? { bytesRead: 0 } : await file.read(part, 0, part.length, offset);
      offset += bytesRead;
      if (bytesRead > 0) controller.enqueue(part.subarray(0, bytesRead));
      if (bytesRead > 0 && offset < size) return;
      await file.close();
      if (offset < size) controller.error(new Error('the file became shorter while it was read'));
      else controller.close();
    },
    cancel: () => file.close(),
  });
}
