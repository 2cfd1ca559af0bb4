/** `bun run sim`: schedules of tests/sim, by hand; see `--help`. */
import { parseArgs } from 'node:util';
import { games, isGame, lines } from '../tests/sim/games.ts';
import { readWords, wholeNumber, wrongUse } from './arguments.ts';

const help = `Plays seeded schedules of the simulation and looks at every invariant after every step.

  bun run sim [--game house] [--from 1] [--schedules 10000]   many; prints those that fail
  bun run sim [--game house] --seed N                         one, a line for each step

  --game NAME       fleet (the fleet with its machines alone) or house (with the wiring, agents, links, runtime)
  --seed N          play this seed and print: time, actor, event, state → state
  --from N          the first seed (1)
  --schedules N     how many seeds (10000)
  --help            this

Exit codes: 0 nothing found, 1 something found, 64 a mistake in the arguments.`;

const { values: wish } = readWords(help, () =>
  parseArgs({
    options: {
      game: { type: 'string', default: 'house' },
      seed: { type: 'string' },
      from: { type: 'string', default: '1' },
      schedules: { type: 'string', default: '10000' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  }),
);
const { game, seed: only } = wish;
if (!isGame(game)) {
  wrongUse(help, `--game ${JSON.stringify(game)} is none; there are ${Object.keys(games).join(' and ')}`);
}
const isOne = only !== undefined;
const from = wholeNumber(help, { name: 'from', text: wish.from, least: 0 });
const schedules = wholeNumber(help, { name: 'schedules', text: wish.schedules, least: 1 });
const first = isOne ? wholeNumber(help, { name: 'seed', text: only, least: 0 }) : from;
const count = isOne ? 1 : schedules;
const startedAt = performance.now();
let failed = 0;
for (let seed = first; seed < first + count; seed++) {
  try {
    const ends = await games[game](seed, isOne ? { trace: lines((line) => console.log(line)) } : {});
    if (isOne) console.log(`\n${[...ends].sort().join('\n')}`);
  } catch (thrown) {
    failed += 1;
    console.log(thrown instanceof Error ? thrown.message : String(thrown));
  }
}
const seconds = (performance.now() - startedAt) / 1_000;
console.log(`${count} schedules of ${game} in ${seconds.toFixed(1)} s, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
