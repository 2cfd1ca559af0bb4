/**
 * Writes the files a tool needs before it starts. Whole or not at all: a new file beside the old one, then a
 * rename. A file to be merged keeps what it has: objects deep, lists as sets, the rest replaced.
 */
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { ToolFile } from '../../agent/tools/tool.ts';
import { Failure } from '../failure.ts';
import { newSecret } from '../ids.ts';
import { at, type Dir, descend, openIn } from '../share/dir.ts';
import { isMap } from './shape.ts';

/** A configuration file of a tool is small; more is not read. */
const MERGE_BYTES_MAX = 8 << 20;
const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;

/**
 * `roots`: directories that nobody but us can exchange. Below them the instance may lay down what it likes:
 * each step is opened by descriptor and follows no link. Throws Failure('wrong-state') for what is in the
 * way.
 */
export async function writeToolFiles(files: readonly ToolFile[], roots: readonly string[]): Promise<void> {
  for (const file of files) {
    const root = roots.find((one) => file.path.startsWith(`${one}/`));
    if (root === undefined) throw new Error(`${file.path} is in none of ${roots.join(', ')}`);
    const parts = file.path.slice(root.length + 1).split('/');
    const name = parts.pop() as string;
    const dir = await makeWay(root, parts);
    try {
      const text = 'text' in file ? file.text : await mergedText(dir, name, file.merge);
      await writeIn(dir, name, { text, mode: file.mode });
    } finally {
      await dir.handle.close();
    }
  }
}

/** In a directory of ours, which is made when it is missing. */
export async function writeWhole(path: string, text: string, mode = 0o600): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const dir = await descend(dirname(path), []);
  if (dir === null) throw blocked(dirname(path));
  try {
    await writeIn(dir, basename(path), { text, mode });
  } finally {
    await dir.handle.close();
  }
}

const blocked = (path: string): Failure =>
  new Failure('wrong-state', `prepare the tool: ${path} is a link or no directory; remove it`);

/** The caller closes it. */
async function makeWay(root: string, parts: readonly string[]): Promise<Dir> {
  await mkdir(root, { recursive: true, mode: 0o700 });
  let dir = await descend(root, []);
  if (dir === null) throw blocked(root);
  for (const part of parts) {
    const above: Dir = dir;
    try {
      await mkdir(at(above, part), { mode: 0o700 }).catch((thrown) => {
        if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown;
      });
      dir = await openIn(above, part);
    } finally {
      await above.handle.close();
    }
    if (dir === null) throw blocked(`${above.path}/${part}`);
  }
  return dir;
}

async function writeIn(
  dir: Dir,
  name: string,
  { text, mode }: { readonly text: string; readonly mode: number },
): Promise<void> {
  // The name cannot be guessed and must not exist, so nobody can lay a link there first.
  const fresh = `${name}.${newSecret().slice(0, 12)}`;
  const file = await open(at(dir, fresh), 'wx', mode);
  try {
    try {
      await file.writeFile(text);
      // By descriptor: by now another file may have that name.
      await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(at(dir, fresh), at(dir, name));
  } catch (thrown) {
    await rm(at(dir, fresh), { force: true });
    throw thrown;
  }
}

async function mergedText(dir: Dir, name: string, wanted: unknown): Promise<string> {
  return `${JSON.stringify(merged(await present(dir, name), wanted), null, 2)}\n`;
}

async function present(dir: Dir, name: string): Promise<unknown> {
  const path = `${dir.path}/${name}`;
  const wrong = (why: string, cause?: unknown) =>
    new Failure('wrong-state', `prepare the tool: ${path} ${why}`, { cause });
  let file: FileHandle;
  try {
    // A link would make us read what the instance may not, and a pipe wait for a writer for ever.
    file = await open(at(dir, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT') return {};
    if (code === 'ELOOP') throw wrong('is a link; put a file there');
    throw thrown;
  }
  let text: string;
  try {
    const facts = await file.stat();
    if (!facts.isFile()) throw wrong('is no file; remove it');
    if (facts.size > MERGE_BYTES_MAX) throw wrong(`has more than ${MERGE_BYTES_MAX} bytes; remove it`);
    text = await file.readFile('utf8');
  } finally {
    await file.close();
  }
  if (text.trim() === '') return {};
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw wrong('is not JSON; mend or remove it', cause);
  }
}

function merged(old: unknown, wanted: unknown): unknown {
  if (Array.isArray(old) && Array.isArray(wanted)) return [...new Set([...old, ...wanted])];
  if (!isMap(old) || !isMap(wanted)) return wanted;
  const keys = [...new Set([...Object.keys(old), ...Object.keys(wanted)])];
  return Object.fromEntries(
    keys.map((key) => {
      if (!Object.hasOwn(wanted, key)) return [key, old[key]];
      return [key, Object.hasOwn(old, key) ? merged(old[key], wanted[key]) : wanted[key]];
    }),
  );
}
