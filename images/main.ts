/** `bun run images:build [NAME…]`, `images:list`, `images:verify [NAME…]`. */
import { createReadStream } from 'node:fs';
import { join, resolve } from 'node:path';
import { systemClock } from '../src/clock.ts';
import { type ImageRecord, troubleOf } from '../src/runtime/built-images.ts';
import { type Engine, findEngine } from '../src/runtime/engine.ts';
import { buildImage, readRecord } from './build.ts';
import { recipeNamed, recipes } from './recipes.ts';
import { load, smoke } from './smoke.ts';

const usage = `Usage: bun run images:build [--no-smoke] [NAME…] | images:list | images:verify [NAME…]

Images: ${recipes.map(({ name, summary }) => `${name} (${summary})`).join(', ')}. Without a name: base.
They are kept in AGENTIC_IMAGES_DIR, or <AGENTIC_DATA_DIR>/images. What is built already is not built again.
Needs mmdebstrap and root; AGENTIC_DEBIAN_MIRROR names another archive (a snapshot, for the same versions again).
`;

const env = process.env;
const dir = resolve(env['AGENTIC_IMAGES_DIR'] || join(env['AGENTIC_DATA_DIR'] || '.run', 'images'));
const say = (line: string): void => void process.stderr.write(`${line}\n`);
const tell = (line: string): void => void process.stdout.write(`${line}\n`);
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;

async function engine(): Promise<Engine | null> {
  const { engine: found, notes } = await findEngine({
    path: env['PATH'] ?? '',
    runtimeDir: env['XDG_RUNTIME_DIR'] ?? null,
    engineHosts: [env['CONTAINER_HOST'], env['DOCKER_HOST']].flatMap((host) => host || []),
    clock: systemClock,
  });
  if (found === null) for (const note of notes) say(note);
  return found;
}

async function build(names: readonly string[], wantsSmoke: boolean): Promise<number> {
  const on = wantsSmoke ? await engine() : null;
  if (wantsSmoke && on === null) say('no engine: what is built is not tried');
  for (const name of names) {
    const started = performance.now();
    const { record, cached } = await buildImage(
      { dir, mirror: env['AGENTIC_DEBIAN_MIRROR'] || null, say },
      name,
    );
    const seconds = ((performance.now() - started) / 1_000).toFixed(0);
    tell(
      `${name}: ${record.image} ${megabytes(record.archive.bytes)}, ${cached ? 'kept' : 'built'} in ${seconds} s`,
    );
    if (on !== null) await tried(on, record);
  }
  return 0;
}

async function tried(on: Engine, record: ImageRecord): Promise<void> {
  await load(on.docker, createReadStream(join(dir, `${record.name}.tar`)));
  tell(`${record.name}: says ${await smoke(on, record.image, recipeNamed(record.name))}`);
}

function list(): number {
  for (const { name, on, summary } of recipes) {
    const record = readRecord(dir, name);
    const state =
      record === null ? 'not built' : `${record.image.slice(0, 19)} ${megabytes(record.archive.bytes)}`;
    tell(`${name.padEnd(9)} ${state.padEnd(28)} ${summary}${on === null ? '' : ` (on ${on})`}`);
  }
  return 0;
}

async function verify(names: readonly string[]): Promise<number> {
  const built = names.flatMap((name) => {
    const record = readRecord(dir, name);
    if (record === null) say(`${name}: not built`);
    return record ?? [];
  });
  let wrong = names.length - built.length;
  for (const record of built) {
    const why = await troubleOf(dir, record);
    if (why !== null) wrong += 1;
    tell(
      `${record.name}: ${why ?? `${record.image} is as it was built, ${record.sbom.components} components`}`,
    );
  }
  return wrong === 0 && names.length > 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const [verb = '', ...words] = process.argv.slice(2);
  if ([verb, ...words].some((word) => word === '--help' || word === '-h')) {
    process.stdout.write(usage);
    return 0;
  }
  const flags = words.filter((word) => word.startsWith('-'));
  const names = words.filter((word) => !word.startsWith('-'));
  for (const name of names) recipeNamed(name);
  if (flags.some((flag) => flag !== '--no-smoke')) throw new Error(usage);
  switch (verb) {
    case 'build':
      return await build(names.length > 0 ? names : ['base'], !flags.includes('--no-smoke'));
    case 'list':
      return list();
    case 'verify': {
      const all = recipes.map(({ name }) => name).filter((name) => readRecord(dir, name) !== null);
      return await verify(names.length > 0 ? names : all);
    }
    default:
      throw new Error(usage);
  }
}

process.exit(
  await main().catch((thrown) => {
    say(`images: ${thrown instanceof Error ? thrown.message : thrown}`);
    return 1;
  }),
);
