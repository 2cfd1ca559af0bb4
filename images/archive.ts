/**
 * An image as one file that `docker load` and `podman load` take. Its id is the sum of its configuration,
 * which names the sum of every layer: the same layers and configuration, the same id, in every engine.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream, statSync } from 'node:fs';
import { AGENT_UID, EPOCH_SECONDS } from './recipes.ts';

export interface Layer {
  /** `sha256:…` of the tar. */
  readonly digest: string;
  readonly path: string;
  readonly madeBy: string;
}

export interface ImageFacts {
  readonly tag: string;
  readonly architecture: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly layers: readonly Layer[];
}

/** Writes the archive and returns the image's id. */
export async function writeArchive(file: string, facts: ImageFacts): Promise<string> {
  const config = JSON.stringify(configOf(facts));
  const id = createHash('sha256').update(config).digest('hex');
  const layerName = (layer: Layer) => `${layer.digest.slice('sha256:'.length)}.tar`;
  const manifest = [{ Config: `${id}.json`, RepoTags: [facts.tag], Layers: facts.layers.map(layerName) }];
  const out = createWriteStream(file);
  const put = async (bytes: Uint8Array) => void (out.write(bytes) || (await once(out, 'drain')));
  const entry = async (name: string, size: number, body: AsyncIterable<Uint8Array>) => {
    await put(header(name, size));
    for await (const bytes of body) await put(bytes);
    await put(new Uint8Array((512 - (size % 512)) % 512));
  };
  const text = async (name: string, content: string) => {
    const bytes = Buffer.from(content);
    await entry(name, bytes.length, once1(bytes));
  };
  await text(`${id}.json`, config);
  for (const layer of facts.layers)
    await entry(layerName(layer), statSync(layer.path).size, createReadStream(layer.path));
  await text('manifest.json', JSON.stringify(manifest));
  await put(new Uint8Array(1_024));
  out.end();
  await once(out, 'close');
  return `sha256:${id}`;
}

async function* once1(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** A ustar header (POSIX.1-1988) of an ordinary file. */
function header(name: string, size: number): Uint8Array {
  const block = Buffer.alloc(512);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits - 1, '0')}\0`;
  block.write(name, 0, 100);
  block.write(octal(0o644, 8), 100);
  block.write(octal(0, 8), 108);
  block.write(octal(0, 8), 116);
  block.write(octal(size, 12), 124);
  block.write(octal(EPOCH_SECONDS, 12), 136);
  block.write('        ', 148);
  block.write('0', 156);
  block.write('ustar\x0000', 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

function configOf({ architecture, labels, layers }: ImageFacts): object {
  const created = new Date(EPOCH_SECONDS * 1_000).toISOString();
  return {
    architecture,
    os: 'linux',
    created,
    config: {
      User: `${AGENT_UID}:${AGENT_UID}`,
      Env: ['PATH=/usr/local/bin:/usr/bin:/bin', 'LANG=C.UTF-8', 'HOME=/home/agent'],
      Entrypoint: ['/usr/bin/tini', '--'],
      Cmd: ['/usr/local/bin/agent-client'],
      WorkingDir: '/home/agent',
      Labels: Object.fromEntries(Object.entries(labels).sort()),
    },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
    history: layers.map((layer) => ({ created, created_by: layer.madeBy })),
  };
}
