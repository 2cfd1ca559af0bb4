/**
 * Builds images from layers, each kept under the sum of what went into it: what is there is not built again.
 *
 *     <dir>/layers/<sum of inputs>.{tar,json}   a layer, and what it holds
 *     <dir>/<name>.json                         the record: image id, layers, sums
 *     <dir>/<name>.tar, <name>.spdx.json        the archive for an engine, and the SBOM
 *
 * Whatever is read back is compared with its recorded sum first. Nothing is pulled from a registry of images.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buildAgent } from '../agent/build.ts';
import { type ImageRecord, troubleOf } from '../src/runtime/built-images.ts';
import { writeArchive } from './archive.ts';
import { packDifference, packDirectory, unpack } from './layer.ts';
import { EPOCH_SECONDS, packagesOf, type Recipe, recipeNamed, SUITE } from './recipes.ts';
import { debianRoot } from './rootfs.ts';
import { run, sha256, sha256Of } from './run.ts';
import { type Component, debianComponents, npmComponents, spdx } from './sbom.ts';

/** Raised when the same inputs are to give another layer. */
const BUILDER = 1;

export interface Place {
  /** Where layers, archives and records are kept. */
  readonly dir: string;
  readonly mirror: string | null;
  readonly say: (line: string) => void;
}

interface KeptLayer {
  readonly digest: string;
  readonly bytes: number;
  readonly madeBy: string;
  /** All Debian packages up to here, or those of npm, or the agent. */
  readonly components: readonly Component[];
  readonly path: string;
}

export interface Built {
  readonly record: ImageRecord;
  readonly cached: boolean;
}

const processor = process.arch === 'arm64' ? 'arm64' : 'x64';
const architecture = processor === 'x64' ? 'amd64' : 'arm64';
const npmDir = (name: string): string => join(import.meta.dir, 'npm', name);

export const recordPath = (dir: string, name: string): string => join(dir, `${name}.json`);

export function readRecord(dir: string, name: string): ImageRecord | null {
  try {
    return JSON.parse(readFileSync(recordPath(dir, name), 'utf8')) as ImageRecord;
  } catch {
    return null; // Not built, or not whole: built again.
  }
}

export async function buildImage(place: Place, name: string): Promise<Built> {
  const recipe = recipeNamed(name);
  mkdirSync(join(place.dir, 'layers'), { recursive: true });
  const layers = [...(await layersOf(place, recipe)), await agentLayer(place)];
  const labels = {
    'agentic-sandbox.image': name,
    'agentic-sandbox.inputs': sha256Of(JSON.stringify([BUILDER, recipe, layers.map((one) => one.digest)])),
    'agentic-sandbox.suite': SUITE,
    'agentic-sandbox.versions': versions(layers),
    'org.opencontainers.image.title': `agentic-sandbox ${name}: ${recipe.summary}`,
  };
  const inputs = labels['agentic-sandbox.inputs'];
  const known = readRecord(place.dir, name);
  if (known?.inputs === inputs && (await troubleOf(place.dir, known)) === null)
    return { record: known, cached: true };
  place.say(`${name}: writing the image`);
  const tag = `agentic-sandbox/${name}:latest`;
  const [archive, sbom] = [join(place.dir, `${name}.tar`), join(place.dir, `${name}.spdx.json`)];
  const image = await writeArchive(`${archive}.new`, { tag, architecture, labels, layers });
  const components = allComponents(layers);
  writeFileSync(`${sbom}.new`, `${JSON.stringify(spdx(name, image, components), null, 1)}\n`);
  const record: ImageRecord = {
    version: 1,
    name,
    tag,
    image,
    inputs,
    archive: { sha256: await sha256(`${archive}.new`), bytes: statSync(`${archive}.new`).size },
    sbom: { sha256: await sha256(`${sbom}.new`), components: components.length },
    layers: layers.map((layer) => layer.digest),
  };
  for (const path of [archive, sbom]) renameSync(`${path}.new`, path);
  writeFileSync(`${recordPath(place.dir, name)}.new`, `${JSON.stringify(record, null, 2)}\n`);
  renameSync(`${recordPath(place.dir, name)}.new`, recordPath(place.dir, name));
  return { record, cached: false };
}

/** Debian's of the last layer that has any, and all of npm and our own. */
function allComponents(layers: readonly KeptLayer[]): readonly Component[] {
  const debian = layers.findLast((layer) => layer.components[0]?.kind === 'deb');
  const others = layers.filter((layer) => layer.components[0]?.kind !== 'deb');
  return [...(debian?.components ?? []), ...others.flatMap((layer) => layer.components)];
}

/** What an operator asks about first. */
const versions = (layers: readonly KeptLayer[]): string =>
  allComponents(layers)
    .filter(({ kind, name }) => kind !== 'deb' || ['git', 'nodejs', 'bash'].includes(name))
    .map(({ name, version }) => `${name}=${version}`)
    .join(' ');

async function layersOf(place: Place, recipe: Recipe): Promise<readonly KeptLayer[]> {
  const below = recipe.on === null ? [] : await layersOf(place, recipeNamed(recipe.on));
  const debian = recipe.packages.length > 0 ? [await debianLayer(place, recipe, below)] : [];
  const npm = recipe.npm === null ? [] : [await npmLayer(place, recipe.npm)];
  return [...below, ...debian, ...npm];
}

interface Wanted {
  readonly what: string;
  readonly inputs: readonly unknown[];
  /** Fills `tar`; `work` is empty and is removed. */
  readonly make: (tar: string, work: string) => Promise<readonly Component[]>;
}

/** The layer of these inputs: found and compared with its sum, or made. */
async function layer(place: Place, { what, inputs, make }: Wanted): Promise<KeptLayer> {
  const key = sha256Of(JSON.stringify([BUILDER, EPOCH_SECONDS, architecture, ...inputs])).slice(0, 32);
  const [tar, facts] = [join(place.dir, 'layers', `${key}.tar`), join(place.dir, 'layers', `${key}.json`)];
  if (existsSync(facts) && existsSync(tar)) {
    const known = JSON.parse(readFileSync(facts, 'utf8')) as KeptLayer;
    if (`sha256:${await sha256(tar)}` === known.digest) return { ...known, path: tar };
    place.say(`${what}: the kept layer is damaged, and is made again`);
  }
  const started = performance.now();
  const work = mkdtempSync(join(workDir(), 'image-'));
  // Others than us unpack in it (apt's own user, for one).
  chmodSync(work, 0o755);
  try {
    const components = await make(`${tar}.new`, work);
    const digest = `sha256:${await sha256(`${tar}.new`)}`;
    const made = { digest, bytes: statSync(`${tar}.new`).size, madeBy: what, components };
    renameSync(`${tar}.new`, tar);
    writeFileSync(`${facts}.new`, JSON.stringify(made));
    renameSync(`${facts}.new`, facts);
    const seconds = ((performance.now() - started) / 1_000).toFixed(0);
    place.say(`${what}: ${(made.bytes / 1e6).toFixed(0)} MB in ${seconds} s`);
    return { ...made, path: tar };
  } finally {
    rmSync(work, { recursive: true, force: true });
    rmSync(`${tar}.new`, { force: true });
  }
}

const SHARED_MEMORY = '/dev/shm';
const ROOM_BYTES = 6e9;

/** In memory where there is plenty: a package manager waits for its disk at every file. */
function workDir(): string {
  try {
    const { bavail, bsize, type } = statfsSync(SHARED_MEMORY);
    const isMemory = type === 0x01021994;
    return isMemory && bavail * bsize > ROOM_BYTES && !isNoExec(SHARED_MEMORY) ? SHARED_MEMORY : tmpdir();
  } catch {
    return tmpdir(); // There is none.
  }
}

const isNoExec = (mount: string): boolean =>
  readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[1] === mount && /\b(noexec|nodev)\b/.test(line.split(' ')[3] ?? ''));

function debianLayer(place: Place, recipe: Recipe, below: readonly KeptLayer[]): Promise<KeptLayer> {
  const packages = packagesOf(recipe);
  const added = below.length === 0 ? packages : recipe.packages;
  return layer(place, {
    what: `Debian packages of ${recipe.name}`,
    inputs: ['debian', SUITE, packages, below.map((one) => one.digest), readFileSync(rootfsFile, 'utf8')],
    async make(tar, work) {
      place.say(`${recipe.name}: fetching and installing ${added.length} Debian packages and what they need`);
      const root = join(work, 'root');
      const say = (line: string) => place.say(`${recipe.name}: ${line}`);
      const under = below.length === 0 ? null : join(work, 'below');
      const tars = below.map(({ path }) => path);
      if (under !== null) await unpack(tars, under);
      await debianRoot({ dir: root, packages: added, on: under, mirror: place.mirror, say });
      await (under === null ? packDirectory(root, tar) : packDifference(root, under, tar));
      return debianComponents(root);
    },
  });
}

const rootfsFile = join(import.meta.dir, 'rootfs.ts');

function npmLayer(place: Place, tool: NonNullable<Recipe['npm']>): Promise<KeptLayer> {
  const lock = readFileSync(join(npmDir(tool.name), 'bun.lock'), 'utf8');
  return layer(place, {
    what: `npm packages of ${tool.name}`,
    inputs: ['npm', tool, lock, processor],
    async make(tar, work) {
      place.say(`${tool.name}: fetching its npm packages, each compared with the sum in its lock file`);
      const [fetched, root] = [join(work, 'fetched'), join(work, 'root')];
      mkdirSync(fetched, { recursive: true });
      for (const file of ['package.json', 'bun.lock'])
        copyFileSync(join(npmDir(tool.name), file), join(fetched, file));
      // No script of a package is run.
      const words = [
        'install',
        '--frozen-lockfile',
        '--ignore-scripts',
        '--linker=hoisted',
        '--backend=copyfile',
      ];
      await run({ command: [process.execPath, ...words], cwd: fetched, env: { HOME: work } });
      return putTool({ tool, fetched, root, tar, lock });
    },
  });
}

interface Putting {
  readonly tool: NonNullable<Recipe['npm']>;
  readonly fetched: string;
  readonly root: string;
  readonly tar: string;
  readonly lock: string;
}

/** `/opt/<tool>/node_modules` as it was fetched, and the program by its name in /usr/local/bin. */
async function putTool({ tool, fetched, root, tar, lock }: Putting): Promise<readonly Component[]> {
  const home = join(root, 'opt', tool.name);
  mkdirSync(home, { recursive: true });
  mkdirSync(join(root, 'usr/local/bin'), { recursive: true });
  const modules = join(fetched, 'node_modules');
  const program = tool.program[processor];
  if (!existsSync(join(modules, program))) throw new Error(`${tool.name}: its packages have no ${program}`);
  renameSync(modules, join(home, 'node_modules'));
  for (const stray of ['.bin', '.cache', '.bun-tag'])
    rmSync(join(home, 'node_modules', stray), { recursive: true, force: true });
  chmodSync(join(home, 'node_modules', program), 0o755);
  const inside = `/opt/${tool.name}/node_modules`;
  const link = join(root, 'usr/local/bin', tool.name);
  if (tool.helpers === undefined) symlinkSync(`${inside}/${program}`, link);
  else {
    const script = `#!/bin/sh\nPATH="${inside}/${tool.helpers[processor]}:$PATH" exec "${inside}/${program}" "$@"\n`;
    writeFileSync(link, script, { mode: 0o755 });
    chmodSync(link, 0o755);
  }
  await packDirectory(root, tar);
  return npmComponents(lock, installed(join(home, 'node_modules')));
}

function installed(modules: string): ReadonlySet<string> {
  const names = readdirSync(modules).flatMap((name) =>
    name.startsWith('@') ? readdirSync(join(modules, name)).map((inner) => `${name}/${inner}`) : [name],
  );
  return new Set(names);
}

/** On top of every image, so that a new agent makes no other layer new. */
async function agentLayer(place: Place): Promise<KeptLayer> {
  const work = mkdtempSync(join(tmpdir(), 'image-agent-'));
  try {
    const binary = join(work, 'usr/local/bin/agent-client');
    mkdirSync(dirname(binary), { recursive: true });
    await buildAgent(binary);
    chmodSync(binary, 0o755);
    const { version } = JSON.parse(readFileSync(join(import.meta.dir, '../agent/package.json'), 'utf8'));
    const sum = await sha256(binary);
    return await layer(place, {
      what: 'the agent client',
      inputs: ['agent', sum],
      async make(tar) {
        await packDirectory(work, tar);
        return [{ kind: 'generic', name: 'agentic-sandbox-agent-client', version: String(version) }];
      },
    });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
