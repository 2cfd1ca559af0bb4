/** The simulation notices every sabotage, by an invariant, and docs/simulation.md shows them as they are. */
import { describe, expect, test } from 'bun:test';
import { noticed, sabotages } from './sabotage.ts';

describe('[S15] the simulation notices when', () => {
  for (const sabotage of sabotages) {
    test(sabotage.what, async () => {
      const found = await noticed(sabotage);
      expect(found?.message ?? `nothing in ${sabotage.within} schedules`).toMatch(/^\[[A-Z]+\d+\] /);
      expect(sabotage.noticedBy).toContain(found?.by ?? '');
    }, 240_000);
  }
});

test('docs/simulation.md shows what is broken, what notices, and within how many schedules', async () => {
  const page = await Bun.file(`${import.meta.dir}/../../docs/simulation.md`).text();
  const rows = [...page.matchAll(/^\| ([A-Z]+\d+) +\| (.+?) +\| (fleet|house) +\| (.+?) +\| (\d+) +\|$/gm)];
  const shown = rows.map(([, ...cells]) => cells.join(' | '));
  const wanted = sabotages.map(({ breaks, what, game, noticedBy, within }) =>
    [breaks, what, game, noticedBy.join(', '), String(within)].join(' | '),
  );
  expect(shown).toEqual(wanted);
});
