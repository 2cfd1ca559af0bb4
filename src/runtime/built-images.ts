/** The images that `bun run images:build` keeps, for whoever wants to know what there is. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageDesk } from '../desk.ts';
import { Failure } from '../failure.ts';
import type { ImageView } from '../views-images.ts';

export const IMAGE_NAME = /^[a-z][a-z0-9-]{0,30}$/;
const IMAGES_MAX = 1_000;

/** `<dir>/<name>.json`, which images/build.ts writes. */
export interface ImageRecord {
  readonly version: 1;
  readonly name: string;
  readonly tag: string;
  /** The same in every engine. */
  readonly image: string;
  /** The sum of everything that went in. */
  readonly inputs: string;
  readonly archive: { readonly sha256: string; readonly bytes: number };
  readonly sbom: { readonly sha256: string; readonly components: number };
  readonly layers: readonly string[];
}

/** `dir` need not be there: nothing was built yet. */
export function builtImages(dir: string): ImageDesk {
  const known = async (name: string): Promise<ImageRecord> => {
    const kept = IMAGE_NAME.test(name) ? await keptIn(dir, name) : null;
    if (kept !== null) return kept;
    const cure = `build it with \`bun run images:build ${IMAGE_NAME.test(name) ? name : 'base'}\``;
    throw new Failure('not-found', `there is no image "${name}" of ours; ${cure}, or see GET /api/v1/images`);
  };
  return {
    async list() {
      const names = (await filesOf(dir)).flatMap((file) => file.match(/^([^.]+)\.json$/)?.[1] ?? []);
      const wanted = names.filter((name) => IMAGE_NAME.test(name)).sort();
      const found = wanted.slice(0, IMAGES_MAX).map(async (name) => {
        const kept = await keptIn(dir, name);
        return kept === null ? [] : [await viewOf(dir, kept)];
      });
      return (await Promise.all(found)).flat();
    },
    async verify(name) {
      const kept = await known(name);
      return { ...(await viewOf(dir, kept)), trouble: await troubleOf(dir, kept) };
    },
    async sbom(name) {
      const { sbom } = await known(name);
      const path = join(dir, `${name}.spdx.json`);
      const text = await readFile(path).catch(() => null);
      if (text !== null && createHash('sha256').update(text).digest('hex') === sbom.sha256) return text;
      const why = text === null ? 'is gone' : 'is not what was built';
      const cure = `build the image again: \`bun run images:build ${name}\``;
      throw new Failure('runtime-failed', `the SBOM of image ${name} ${why}; ${cure}`);
    },
  };
}

async function filesOf(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw thrown;
  }
}

/** Null: there is none, or none that is whole. */
async function keptIn(dir: string, name: string): Promise<ImageRecord | null> {
  try {
    const kept = JSON.parse(await readFile(join(dir, `${name}.json`), 'utf8')) as ImageRecord;
    return kept.version === 1 && kept.name === name ? kept : null;
  } catch {
    return null;
  }
}

async function viewOf(dir: string, kept: ImageRecord): Promise<ImageView> {
  const { name, tag, image, archive, sbom, layers } = kept;
  const { mtimeMs } = await stat(join(dir, `${name}.json`));
  return {
    name,
    tag,
    image_id: image,
    size_bytes: archive.bytes,
    built_at: new Date(mtimeMs).toISOString(),
    layers: layers.length,
    components: sbom.components,
  };
}

/** Null: archive and SBOM are, byte for byte, what was built. */
export async function troubleOf(
  dir: string,
  { name, archive, sbom }: Pick<ImageRecord, 'name' | 'archive' | 'sbom'>,
): Promise<string | null> {
  for (const [file, sum] of [
    [`${name}.tar`, archive.sha256],
    [`${name}.spdx.json`, sbom.sha256],
  ] as const) {
    let found: string;
    try {
      found = await sumOf(join(dir, file));
    } catch (thrown) {
      return `${file} cannot be read (${(thrown as NodeJS.ErrnoException).code ?? thrown}); build it again`;
    }
    if (found !== sum) return `${file} is not what was built: its sum is another; build it again`;
  }
  return null;
}

/** SHA-256, hex. */
export async function sumOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const bytes of createReadStream(path)) hash.update(bytes as Uint8Array);
  return hash.digest('hex');
}
