/** One measurement of bench/restore.ts in a process of its own; says what it found as one line of JSON. */
import { systemClock } from '../src/clock.ts';
import { memoryJournal } from '../src/journal/memory.ts';
import { openJournal } from '../src/journal/open.ts';
import type { Journal } from '../src/journal.ts';
import { silentLog } from '../src/log.ts';
import { idle, plan } from './restore-fleet.ts';
import { type Held, houseHeld, screensHeld } from './restore-memory.ts';
import { type Costs, costs } from './restore-transitions.ts';
import { create, digest, fill, fleetOver, noJournal } from './restore-world.ts';

export interface Place {
  readonly kind: 'none' | 'memory' | 'sqlite' | 'redis';
  /** A file, or the socket of a Redis. */
  readonly path: string;
}

export type Wish =
  | { readonly do: 'create' | 'fill' | 'restore'; readonly place: Place; readonly count: number }
  /** `dir`: where recordings may be made. */
  | {
      readonly do: 'fill-idle' | 'house';
      readonly place: Place;
      readonly count: number;
      readonly dir: string;
    }
  /** The live actors of another journal, as they are. */
  | { readonly do: 'copy'; readonly from: Place; readonly place: Place; readonly count: number }
  | { readonly do: 'screens'; readonly count: number }
  | { readonly do: 'costs'; readonly place: Place; readonly count: number; readonly dir: string };

export interface Timed {
  readonly ms: number;
  readonly live: number;
  readonly digest: string;
}

const COPIED_AT_ONCE = 500;

const fail = (why: Error) => {
  throw why;
};

function open({ kind, path }: Place): Promise<Journal> {
  if (kind === 'none') return Promise.resolve(noJournal());
  if (kind === 'memory') return Promise.resolve(memoryJournal());
  const place = kind === 'sqlite' ? { kind, path } : { kind, url: path, prefix: 'bench' };
  return openJournal(place, { clock: systemClock, log: silentLog, onLost: fail });
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

async function timed({ do: what, place, count }: Wish & { readonly place: Place }): Promise<Timed> {
  const wanted = what === 'fill-idle' ? idle(count) : plan(count);
  const startedAt = performance.now();
  const journal = await open(place);
  const root = fleetOver(journal, what.startsWith('fill') ? 'willing' : 'mute');
  if (what === 'create') await create(root, wanted);
  else if (what === 'restore') await root.restore();
  else await fill(root, wanted);
  await turn();
  const ms = performance.now() - startedAt;
  const live = root.specs().filter((spec) => spec.live).length;
  const found = { ms, live, digest: digest(root) };
  await root.close();
  await journal.close();
  return found;
}

async function copy(from: Place, to: Place): Promise<{ readonly copied: number }> {
  const [source, target] = [await open(from), await open(to)];
  const records = await source.live();
  for (let at = 0; at < records.length; at += COPIED_AT_ONCE)
    await target.append({ entries: [], records: records.slice(at, at + COPIED_AT_ONCE) });
  await source.close();
  await target.close();
  return { copied: records.length };
}

async function measure(wish: Wish): Promise<Timed | Held | Costs | { readonly copied: number }> {
  if (wish.do === 'copy') return await copy(wish.from, wish.place);
  if (wish.do === 'screens') return await screensHeld(wish.count);
  if (wish.do === 'costs') return await costs(await open(wish.place), wish.count, wish.dir);
  if (wish.do === 'house') return await houseHeld(await open(wish.place), wish.dir);
  return await timed(wish);
}

const found = await measure(JSON.parse(Bun.argv[2] ?? '') as Wish);
process.stdout.write(`${JSON.stringify(found)}\n`);
process.exit(0);
