/**
 * A hostile program in an instance tries every way out that we know, and each ends at the wall that is meant
 * for it; the same probes work where they may.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './ground.ts';
import type { Family, Way, World } from './way.ts';
import { ways } from './ways.ts';
import { openPrison, type Prison } from './ways-ground.ts';

/** At a time; what changes the same files is one after the other. */
const AT_ONCE = 3;
const alone: readonly Family[] = ['files', 'identity'];

let prison: Prison;
beforeAll(async () => {
  prison = await openPrison();
}, 240_000);
afterAll(async () => {
  await prison?.close();
}, 90_000);

interface Tried {
  readonly way: Way;
  readonly saw: string;
  readonly isRight: boolean;
}

async function tried(way: Way, world: World): Promise<Tried> {
  const saw = (await way.run(world).catch((thrown) => `thrown: ${thrown}`)).trim();
  return { way, saw, isRight: way.sees.test(saw) };
}

const line = ({ way, saw, isRight }: Tried): string => {
  const word = isRight ? (way.isControl ? 'works  ' : 'refused') : 'WRONG  ';
  return `${word} ${way.family.padEnd(8)} ${way.from.padEnd(9)} ${way.tries}: ${saw.replace(/\s+/g, ' ').slice(0, 160)}`;
};

async function tryAll(family: Family): Promise<void> {
  const waiting = ways.filter((way) => way.family === family);
  const done = new Map<Way, Tried>();
  const next = async (): Promise<void> => {
    for (let way = waiting.shift(); way !== undefined; way = waiting.shift())
      done.set(way, await tried(way, prison.world));
  };
  await Promise.all(Array.from({ length: alone.includes(family) ? 1 : AT_ONCE }, next));
  const all = ways.flatMap((way) => done.get(way) ?? []);
  process.stdout.write(`${all.map(line).join('\n')}\n`);
  expect(all.filter(({ isRight }) => !isRight).map(line)).toEqual([]);
}

describe('[R31] there is no way out of an instance', () => {
  test('by the network', () => tryAll('network'), 240_000);
  test('by the engine or the kernel', () => tryAll('engine'), 240_000);
  test('by files', () => tryAll('files'), 240_000);
  test('as somebody else', () => tryAll('identity'), 240_000);

  test('and what the probes would reach is there', async () => {
    expect(await prison.whatIsClosed()).toEqual([]);
  });
});

test('[R31] docs/containers.md shows every way that is tried, and there are forty at least', () => {
  const page = readFileSync(join(root, 'docs', 'containers.md'), 'utf8');
  const rows = [
    ...page.matchAll(/^\| (network|engine|files|identity) +\| (\w+) +\| (.+?) +\| (refused|works) +\|$/gm),
  ];
  const shown = rows.map(([, ...cells]) => cells.join(' | '));
  const wanted = ways.map(({ family, from, tries, isControl }) =>
    [family, from, tries, isControl ? 'works' : 'refused'].join(' | '),
  );
  expect(shown).toEqual(wanted);
  const refused = ways.filter(({ isControl }) => !isControl);
  expect(refused.length).toBeGreaterThan(40);
  expect(new Set(ways.map(({ family, tries }) => `${family} ${tries}`)).size).toBe(ways.length);
});
