/** `bun run sim [--from 1] [--schedules 10000] | --seed N`: schedules of tests/sim, by hand. */
import { parseArgs } from 'node:util';
import { play } from '../tests/sim/game.ts';

const { values: wanted } = parseArgs({
  options: {
    seed: { type: 'string' },
    from: { type: 'string', default: '1' },
    schedules: { type: 'string', default: '10000' },
  },
});

const first = Number(wanted.seed ?? wanted.from);
const count = wanted.seed === undefined ? Number(wanted.schedules) : 1;
const startedAt = performance.now();
const failed: string[] = [];
for (let seed = first; seed < first + count; seed++) {
  try {
    const ends = await play(seed);
    if (wanted.seed !== undefined) console.log(ends.join('\n'));
  } catch (thrown) {
    failed.push(thrown instanceof Error ? thrown.message : String(thrown));
    console.log(failed.at(-1));
  }
}
const seconds = (performance.now() - startedAt) / 1_000;
console.log(`${count} schedules in ${seconds.toFixed(1)} s, ${failed.length} failed`);
process.exit(failed.length === 0 ? 0 : 1);
