/**
 * Images by name: those that `bun run images:build` made, known by their records, and any that the engine
 * has.
 *
 * Of our own the record tells the id, and the engine must have that very one; when it has not, the archive is
 * loaded, after its sum was compared. Nothing is ever pulled.
 */
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../failure.ts';
import { IMAGE_NAME, type ImageRecord, sumOf } from './built-images.ts';
import { type Engine, engineFailure, isMissing } from './engine.ts';

export const IMAGE_DEFAULT = 'base';
/** Of an image of ours. */

export function builtImage(dir: string, name: string): ImageRecord | null {
  if (!IMAGE_NAME.test(name)) return null;
  const path = join(dir, `${name}.json`);
  if (!existsSync(path)) return null;
  const record = JSON.parse(readFileSync(path, 'utf8')) as ImageRecord;
  if (record.version === 1 && record.name === name && /^sha256:[0-9a-f]{64}$/.test(record.image))
    return record;
  throw new Failure(
    'runtime-failed',
    `${path} is no record of an image; run \`bun run images:build ${name}\``,
  );
}

/** The id of the image in the engine. Throws Failure('not-found') that says what to do. */
export async function imageIn(engine: Engine, dir: string, name: string): Promise<string> {
  const record = builtImage(dir, name);
  if (record !== null) {
    if ((await idOf(engine, record.image)) === null) await load(engine, dir, record);
    return record.image;
  }
  const found = await idOf(engine, name);
  if (found !== null) return found;
  const build = IMAGE_NAME.test(name) ? `build it with \`bun run images:build ${name}\`, or ` : '';
  throw new Failure(
    'not-found',
    `there is no image "${name}": ${build}load one of yours into ${engine.kind}; nothing is pulled`,
  );
}

async function idOf({ docker }: Engine, reference: string): Promise<string | null> {
  try {
    const { Id } = await docker.getImage(reference).inspect();
    return Id.startsWith('sha256:') ? Id : `sha256:${Id}`;
  } catch (thrown) {
    // A reference that is none names no image either.
    if (isMissing(thrown) || (thrown as { statusCode?: number }).statusCode === 400) return null;
    throw engineFailure(`look for image ${reference}`, thrown);
  }
}

async function load(engine: Engine, dir: string, { name, image, archive }: ImageRecord): Promise<void> {
  const path = join(dir, `${name}.tar`);
  const again = `run \`bun run images:build ${name}\``;
  if (!existsSync(path))
    throw new Failure('not-found', `image ${name}: its archive ${path} is gone; ${again}`);
  if ((await sumOf(path)) !== archive.sha256)
    throw new Failure(
      'runtime-failed',
      `image ${name}: ${path} is not what was built: its sum is another; ${again}`,
    );
  try {
    const said = await engine.docker.loadImage(createReadStream(path) as never);
    // The engine works while it is read.
    for await (const _ of said as AsyncIterable<unknown>);
  } catch (thrown) {
    throw engineFailure(`load image ${name}`, thrown);
  }
  if ((await idOf(engine, image)) === null)
    throw new Failure('runtime-failed', `image ${name}: ${engine.kind} took it and has it by another id`);
}
