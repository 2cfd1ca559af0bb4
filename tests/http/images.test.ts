/** Images of our own, over HTTP. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type House, house } from './world.ts';

let on: House;
beforeEach(async () => {
  on = await house();
});
afterEach(() => on.remove());

const sum = (text: string): string => createHash('sha256').update(text).digest('hex');
const sbom = '{"spdxVersion": "SPDX-2.3"}\n';
const dir = () => join(on.dir, 'images');

/** What images/build.ts leaves. */
function built(name: string): void {
  mkdirSync(dir(), { recursive: true });
  writeFileSync(join(dir(), `${name}.tar`), 'layers');
  writeFileSync(join(dir(), `${name}.spdx.json`), sbom);
  const record = {
    version: 1,
    name,
    tag: `agentic-sandbox/${name}:latest`,
    image: `sha256:${'0'.repeat(64)}`,
    inputs: sum('inputs'),
    archive: { sha256: sum('layers'), bytes: 6 },
    sbom: { sha256: sum(sbom), components: 104 },
    layers: ['sha256:1', 'sha256:2'],
  };
  writeFileSync(join(dir(), `${name}.json`), JSON.stringify(record));
}

test('[M5] the list is empty before anything was built, and names what was, passing over what is no image', async () => {
  expect(await (await on.get('/api/v1/images')).json()).toEqual({ images: [] });
  built('dev');
  built('base');
  writeFileSync(join(dir(), 'half.json'), '{"version": 1');
  const { images } = (await (await on.get('/api/v1/images')).json()) as { images: object[] };
  const shared = { size_bytes: 6, layers: 2, components: 104, image_id: `sha256:${'0'.repeat(64)}` };
  expect(images).toMatchObject([
    { ...shared, name: 'base', tag: 'agentic-sandbox/base:latest' },
    { ...shared, name: 'dev', built_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT/) },
  ]);
});

test('[M5] an image is compared with its build, and what is wrong is said with the cure', async () => {
  built('base');
  const verify = async () =>
    (await (await on.post('/api/v1/images/base/verify')).json()) as { trouble: string | null };
  expect(await verify()).toMatchObject({ name: 'base', trouble: null });
  writeFileSync(join(dir(), 'base.tar'), 'layerz');
  expect((await verify()).trouble).toContain('base.tar is not what was built');
  rmSync(join(dir(), 'base.tar'));
  expect((await verify()).trouble).toContain('build it again');
});

test('[M5] its SBOM is handed out as it was written, or not at all', async () => {
  built('base');
  const got = await on.get('/api/v1/images/base/sbom');
  expect([got.headers.get('content-type'), await got.text()]).toEqual(['application/spdx+json', sbom]);
  writeFileSync(join(dir(), 'base.spdx.json'), '{}');
  const spoilt = await on.get('/api/v1/images/base/sbom');
  expect(await spoilt.json()).toMatchObject({
    code: 'runtime-failed',
    detail: expect.stringContaining('images:build base'),
  });
});

test('[M5] one that was never built, or has no name of an image, is not found', async () => {
  for (const name of ['dev', '..%2fbase', 'base.spdx', 'BASE']) {
    const got = await on.get(`/api/v1/images/${name}/sbom`);
    expect([name, got.status]).toEqual([name, 404]);
  }
  const { detail } = (await (await on.get('/api/v1/images/dev/sbom')).json()) as { detail: string };
  expect(detail).toContain('bun run images:build dev');
});
