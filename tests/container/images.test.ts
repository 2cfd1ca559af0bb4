/** Every image of images/, as it was built for these tests, tried in a real engine. */
import { beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readRecord } from '../../images/build.ts';
import { recipeNamed } from '../../images/recipes.ts';
import { smoke } from '../../images/smoke.ts';
import { systemClock } from '../../src/clock.ts';
import { troubleOf } from '../../src/runtime/built-images.ts';
import { type Engine, findEngine } from '../../src/runtime/engine.ts';
import { engineSocket, imagesDir } from './ground.ts';

/** A package of the image, and how its tool shows that it is that very one. */
const tools = {
  base: 'git',
  dev: 'nodejs',
  claude: '@anthropic-ai/claude-code',
  codex: '@openai/codex',
  opencode: 'opencode-ai',
} as const;

let engine: Engine;
beforeAll(async () => {
  const hosts = { engineHosts: [`unix://${engineSocket}`], path: '', runtimeDir: null, clock: systemClock };
  engine = (await findEngine(hosts)).engine as Engine;
});

interface Sbom {
  readonly packages: readonly { readonly name: string; readonly versionInfo: string }[];
}

describe.each(Object.keys(tools) as (keyof typeof tools)[])('image %s', (name) => {
  test('[M6] is what was built, and its SBOM has the versions of what is in it', async () => {
    const record = readRecord(imagesDir, name);
    if (record === null) throw new Error(`${name} was not built`);
    expect(await troubleOf(imagesDir, record)).toBeNull();
    const said = await smoke(engine, record.image, recipeNamed(name));
    const { packages } = JSON.parse(readFileSync(join(imagesDir, `${name}.spdx.json`), 'utf8')) as Sbom;
    const found = packages.find((one) => one.name === tools[name])?.versionInfo;
    expect(found).toMatch(/\d+\.\d+/);
    // The image itself is the first, with the id that the engine has it by.
    expect(packages[0]?.versionInfo).toBe(record.image);
    if (name === 'claude' || name === 'codex' || name === 'opencode') expect(said).toContain(found as string);
  });
});
