/**
 * Layers: a tar of a directory, or of what one directory has more than another, and always the same bytes for
 * the same files: sorted, times cut off at the epoch, owners as numbers.
 */
import { createHash } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { EPOCH_SECONDS } from './recipes.ts';
import { run } from './run.ts';

/** A layer's word for "this is not here any more": an empty file with this before its name. */
const WHITEOUT = '.wh.';

export async function packDirectory(dir: string, tar: string): Promise<void> {
  await pack({ dir, tar, names: [...walk(dir).keys()] });
}

/** What `dir` has that `below` has not, or has otherwise; what it lacks is whited out. */
export async function packDifference(dir: string, below: string, tar: string): Promise<void> {
  const [ours, theirs] = [walk(dir), walk(below)];
  const names = [...ours].filter(([name, facts]) => theirs.get(name) !== facts).map(([name]) => name);
  const gone = [...theirs.keys()].filter((name) => !ours.has(name) && ours.has(parent(name)));
  for (const name of gone) {
    const path = join(dir, dirname(name), WHITEOUT + name.slice(name.lastIndexOf('/') + 1));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, '', { mode: 0o644 });
    names.push(join(dirname(name), WHITEOUT + name.slice(name.lastIndexOf('/') + 1)));
  }
  // A directory in which something changed comes along, so that its owner and mode are told too.
  const dirs = names.flatMap((name) => above(name));
  await pack({ dir, tar, names: [...new Set([...names, ...dirs])].sort() });
}

const parent = (name: string): string => (name.includes('/') ? dirname(name) : '');

function above(name: string): string[] {
  const up = parent(name);
  return up === '' ? [] : [...above(up), up];
}

/** Every entry by its name, with all that makes it what it is but its time. */
function walk(root: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>([['', 'd']]);
  const visit = (prefix: string): void => {
    for (const entry of readdirSync(join(root, prefix)).sort()) {
      const name = prefix === '' ? entry : `${prefix}/${entry}`;
      const path = join(root, name);
      const { mode, uid, gid, rdev } = lstatSync(path);
      const facts = `${mode.toString(8)} ${uid} ${gid} ${rdev}`;
      if ((mode & 0o170000) === 0o100000) found.set(name, `${facts} ${hashOf(path)}`);
      else if ((mode & 0o170000) === 0o120000) found.set(name, `${facts} ${readlinkSync(path)}`);
      else found.set(name, facts);
      if ((mode & 0o170000) === 0o040000) visit(name);
    }
  };
  visit('');
  return found;
}

const hashOf = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

async function pack({
  dir,
  tar,
  names,
}: {
  dir: string;
  tar: string;
  names: readonly string[];
}): Promise<void> {
  const list = `${tar}.names`;
  writeFileSync(
    list,
    `${names
      .filter((name) => name !== '')
      .sort()
      .join('\0')}\0`,
  );
  try {
    await run({
      command: [
        'tar',
        '--create',
        `--file=${tar}`,
        '--format=gnu',
        '--no-recursion',
        '--numeric-owner',
        `--mtime=@${EPOCH_SECONDS}`,
        '--clamp-mtime',
        '--null',
        `--files-from=${list}`,
      ],
      cwd: dir,
    });
  } finally {
    rmSync(list, { force: true });
  }
}

/**
 * Unpacks layers over one another, the lowest first. Whiteouts among ours never hide what a later layer
 * needs.
 */
export async function unpack(tars: readonly string[], dir: string): Promise<void> {
  mkdirSync(dir, { recursive: true });
  for (const tar of tars) {
    await run({
      command: ['tar', '--extract', `--file=${tar}`, '--numeric-owner', '--same-permissions'],
      cwd: dir,
    });
    for (const name of walk(dir).keys()) {
      const at = name.lastIndexOf('/') + 1;
      if (!name.slice(at).startsWith(WHITEOUT)) continue;
      rmSync(join(dir, name), { force: true });
      rmSync(join(dir, name.slice(0, at), name.slice(at + WHITEOUT.length)), {
        recursive: true,
        force: true,
      });
    }
  }
}
