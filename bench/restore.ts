/**
 * `bun bench/restore.ts [--actors 10000,100000] [--rounds 3] [--sizes 100,1000,10000,100000] [--dir DIR]`
 *
 * What a start costs a house with many actors, what idle ones hold, and what a transition costs beside them.
 *
 * Restoring is compared with creating as many actors in memory: the same fleet, over no journal at all,
 * starts each of them and is told that it is durable. Births only: what they went through afterwards, and
 * what a journal in memory would add, is not counted, so that the bar is as low as it can be. Restoring is
 * opening a journal that another process has written, reading and parsing it, reviving every actor with its
 * view, and opening its ports. Each measurement is a process of its own, the two take turns, and medians
 * count. What was restored must be what was written: actors, newest entries, views and children. Redis has
 * the records of the file, copied. The files are warm in the system's cache. The last line is one JSON
 * object.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readWords } from '../scripts/arguments.ts';
import { redisServer } from '../tests/journal/redis-server.ts';
import type { Place, Timed, Wish } from './restore-child.ts';
import type { Held } from './restore-memory.ts';
import type { Costs, Spent, Stretch } from './restore-transitions.ts';
import { median, rounded } from './terminal-figures.ts';

const usage =
  'Usage: bun bench/restore.ts [--actors 10000,100000] [--rounds 3] [--sizes 100,…,100000] [--dir DIR]';
const { values: wanted } = readWords(usage, () =>
  parseArgs({
    options: {
      actors: { type: 'string', default: '10000,100000' },
      rounds: { type: 'string', default: '3' },
      sizes: { type: 'string', default: '100,1000,10000,100000' },
      dir: { type: 'string', default: tmpdir() },
      help: { type: 'boolean', short: 'h', default: false },
    },
  }),
);

const RESTORE_MAX = 3;
const IDLE_KIB_MAX = 64;
const FLAT_MAX = 1.5;
/** Stretches of transitions that each fleet runs. */
const TURNS = 7;
/** The difference of two is what each one more takes. */
const IDLE = [500, 2_500] as const;

const rounds = Array.from({ length: Number(wanted.rounds) }, (_, i) => i + 1);
const dir = mkdtempSync(join(wanted.dir, 'restore-bench-'));
const childPath = new URL('./restore-child.ts', import.meta.url).pathname;
const none: Place = { kind: 'none', path: '' };
const memory: Place = { kind: 'memory', path: '' };

function measured<Found>(wish: Wish): Found {
  const { do: what, count } = wish;
  const where = 'place' in wish ? `, ${wish.place.kind}` : '';
  process.stderr.write(`… ${what}, ${count}${where}\n`);
  const { stdout, success } = Bun.spawnSync([process.execPath, childPath, JSON.stringify(wish)], {
    stderr: 'inherit',
  });
  if (!success) throw new Error(`${what} of ${count}${where} could not be measured`);
  return JSON.parse(stdout.toString()) as Found;
}

interface Row {
  readonly journal: string;
  readonly actors: number;
  readonly createMs: number;
  readonly inMemoryMs: number;
  readonly restoreMs: number;
  readonly ratio: number;
}

function restoring(count: number, places: readonly Place[]): Row[] {
  const timed = (what: 'create' | 'fill' | 'restore', place: Place) =>
    measured<Timed>({ do: what, place, count });
  const [first, ...others] = places as [Place, ...Place[]];
  const written = timed('fill', first).digest;
  for (const place of others) measured<object>({ do: 'copy', from: first, place, count });
  const creates: number[] = [];
  const inMemory: number[] = [];
  const restores = places.map((): number[] => []);
  for (const _ of rounds) {
    creates.push(timed('create', none).ms);
    places.forEach((place, i) => {
      const found = timed('restore', place);
      if (found.live !== count || found.digest !== written)
        throw new Error(`${place.kind}: ${found.live} of ${count} restored, ${found.digest}, ${written}`);
      restores[i]?.push(found.ms);
    });
    inMemory.push(timed('create', memory).ms);
    // There and back, so that what slows with time weighs on both.
    creates.push(timed('create', none).ms);
  }
  return places.map(({ kind }, i) => {
    const [createMs, restoreMs] = [median(creates), median(restores[i] ?? [])];
    return {
      journal: kind,
      actors: count,
      createMs: Math.round(createMs),
      inMemoryMs: Math.round(median(inMemory)),
      restoreMs: Math.round(restoreMs),
      ratio: rounded(restoreMs / createMs, 2),
    };
  });
}

function idling() {
  const held = (count: number) => {
    const place: Place = { kind: 'sqlite', path: join(dir, `idle-${count}.db`) };
    const own = join(dir, `idle-${count}`);
    mkdirSync(own);
    measured<Timed>({ do: 'fill-idle', place, count, dir: own });
    return measured<Held>({ do: 'house', place, count, dir: own });
  };
  const houses = IDLE.map(held) as [Held, Held];
  const screens = IDLE.map((count) => measured<Held>({ do: 'screens', count })) as [Held, Held];
  const each = ([few, many]: [Held, Held], of: 'rssBytes' | 'heapBytes') =>
    rounded((many[of] - few[of]) / (IDLE[1] - IDLE[0]) / 1_024);
  const found = {
    agentRssKiB: each(houses, 'rssBytes'),
    agentHeapKiB: each(houses, 'heapBytes'),
    screenRssKiB: each(screens, 'rssBytes'),
    screenHeapKiB: each(screens, 'heapBytes'),
    descriptors: houses.map(({ descriptors }) => descriptors),
  };
  const { agentRssKiB, screenRssKiB, agentHeapKiB, screenHeapKiB } = found;
  return {
    ...found,
    beyondRssKiB: rounded(agentRssKiB - screenRssKiB),
    beyondHeapKiB: rounded(agentHeapKiB - screenHeapKiB),
  };
}

interface Beside extends Costs {
  readonly journal: string;
  readonly few: number;
  readonly fewCpu: number;
  readonly all: number;
  readonly allCpu: number;
}

/** A fleet of a size in a process of its own, that waits for its turns. */
function waiting(kind: 'none' | 'sqlite', count: number) {
  const own = join(dir, `costs-${kind}-${count}`);
  mkdirSync(own);
  process.stderr.write(`… transitions, a fleet of ${count}, ${kind}\n`);
  const wish: Wish = { do: 'costs', place: { kind, path: join(own, 'journal.db') }, count, dir: own };
  const child = Bun.spawn([process.execPath, childPath, JSON.stringify(wish)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  const next = async <Found>(): Promise<Found> => {
    while (!rest.includes('\n')) {
      const { value, done } = await lines.read();
      if (done) throw new Error(`the fleet of ${count} ended`);
      rest += value;
    }
    const at = rest.indexOf('\n');
    const line = rest.slice(0, at);
    rest = rest.slice(at + 1);
    return JSON.parse(line) as Found;
  };
  return {
    next,
    ask<Found>(line: 'stretch' | 'end'): Promise<Found> {
      child.stdin.write(`${line}\n`);
      child.stdin.flush();
      return next<Found>();
    },
  };
}

/** Fleets of all sizes are there at once and take turns: what slows one of them slows them all. */
async function transitions(kind: 'none' | 'sqlite'): Promise<Beside[]> {
  const fleets: { readonly fleet: ReturnType<typeof waiting>; readonly stretches: Stretch[] }[] = [];
  for (const count of wanted.sizes.split(',').map(Number)) {
    const fleet = waiting(kind, count);
    await fleet.next<'ready'>();
    fleets.push({ fleet, stretches: [] });
  }
  for (let turn = 0; turn < TURNS; turn++)
    for (const { fleet, stretches } of fleets) stretches.push(await fleet.ask<Stretch>('stretch'));
  const found: Beside[] = [];
  for (const { fleet, stretches } of fleets) {
    const { actors, ...looks } = await fleet.ask<Costs>('end');
    const of = (who: keyof Stretch, what: keyof Spent) => median(stretches.map((one) => one[who][what]));
    const spent = { few: of('few', 'wall'), fewCpu: of('few', 'cpu') };
    const costs = { ...spent, all: of('all', 'wall'), allCpu: of('all', 'cpu'), ...looks };
    const inShort = Object.entries(costs).map(([name, value]) => [name, rounded(value, 2)]);
    found.push({ journal: kind, actors, ...Object.fromEntries(inShort) } as Beside);
  }
  return found;
}

function table(rows: readonly object[]): void {
  const lines = [Object.keys(rows[0] ?? {}), ...rows.map((row) => Object.values(row).map(String))];
  const widths = (lines[0] ?? []).map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  for (const line of lines) console.log(line.map((cell, i) => cell.padStart(widths[i] ?? 0)).join('  '));
  console.log('');
}

const verdict = (value: number, max: number, what: string) =>
  console.log(`${value <= max ? 'ok    ' : 'missed'}  ${what}: ${value} <= ${max}`);

function flatness(journal: string, sizes: readonly Beside[]) {
  const [first, last] = [sizes[0] as Beside, sizes.at(-1) as Beside];
  const times = (what: 'few' | 'fewCpu' | 'all' | 'allCpu') => rounded(last[what] / first[what], 2);
  const found = { few: times('few'), fewCpu: times('fewCpu'), all: times('all'), allCpu: times('allCpu') };
  const over = journal === 'none' ? 'no journal' : journal;
  const beside = `beside ${last.actors} actors / beside ${first.actors}, over ${over}`;
  verdict(found.few, FLAT_MAX, `a transition of the same few ${beside}`);
  verdict(found.fewCpu, FLAT_MAX, 'the same in processor time, the collector and the journal included');
  verdict(found.all, FLAT_MAX, `a transition of one after the other ${beside}`);
  verdict(found.allCpu, FLAT_MAX, 'the same in processor time');
  return { journal, ...found };
}

const redis = await redisServer();
try {
  const rows = wanted.actors.split(',').flatMap((text) => {
    redis.cli('flushall');
    const sqlite: Place = { kind: 'sqlite', path: join(dir, `${text}.db`) };
    return restoring(Number(text), [sqlite, { kind: 'redis', path: redis.path }]);
  });
  const idle = idling();
  const costs = { none: await transitions('none'), sqlite: await transitions('sqlite') };
  table(rows);
  table([{ ...idle, descriptors: idle.descriptors.join(' and ') }]);
  table([...costs.none, ...costs.sqlite]);
  for (const { journal, actors, ratio } of rows)
    verdict(ratio, RESTORE_MAX, `${actors} actors from ${journal}, restored / created in memory`);
  verdict(idle.beyondRssKiB, IDLE_KIB_MAX, 'KiB of RSS of an idle agent with one session, beyond its screen');
  verdict(idle.beyondHeapKiB, IDLE_KIB_MAX, 'KiB of heap of the same');
  const flat = Object.entries(costs).map(([journal, sizes]) => flatness(journal, sizes));
  console.log(JSON.stringify({ rows, idle, costs, flat }));
} finally {
  await redis.close();
  rmSync(dir, { recursive: true, force: true });
}
process.exit(0);
