/** `bun run sim`: schedules of tests/sim, by hand; see `--help`. */
import { parseArgs } from 'node:util';
import { games, isGame, lines } from '../tests/sim/games.ts';

const help = `Plays seeded schedules of the simulation and looks at every invariant after every step.

  bun run sim [--game house] [--from 1] [--schedules 10000]   many; prints those that fail
  bun run sim [--game house] --seed N                         one, a line for each step

  --game NAME       fleet (the fleet with its machines alone) or house (with the wiring, agents, links, runtime)
  --seed N          play this seed and print: time, actor, event, state → state
  --from N          the first seed (1)
  --schedules N     how many seeds (10000)
  --help            this

Exit codes: 0 nothing found, 1 something found, 2 a mistake in the arguments.`;

function wrong(why: string): never {
  console.error(`${why}\n\n${help}`);
  process.exit(2);
}

function wishes() {
  try {
    const options = {
      game: { type: 'string', default: 'house' },
      seed: { type: 'string' },
      from: { type: 'string', default: '1' },
      schedules: { type: 'string', default: '10000' },
      help: { type: 'boolean', default: false },
    } as const;
    return parseArgs({ options }).values;
  } catch (thrown) {
    return wrong(thrown instanceof Error ? thrown.message : String(thrown));
  }
}

const wish = wishes();
if (wish.help) {
  console.log(help);
  process.exit(0);
}
const { game } = wish;
if (!isGame(game)) wrong(`there is no game "${game}"`);
const number = (name: 'seed' | 'from' | 'schedules', fallback: number): number => {
  const value = Number(wish[name] ?? fallback);
  return Number.isInteger(value) && value >= 0 ? value : wrong(`--${name} must be a whole number`);
};
const isOne = wish.seed !== undefined;
const first = isOne ? number('seed', 1) : number('from', 1);
const count = isOne ? 1 : number('schedules', 10_000);
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
