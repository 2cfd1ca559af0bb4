/** Writers over a real fleet: each sends one event after the other, and waits until it is durable. */
import { fleet } from '../src/actors/fleet.ts';
import type { Kind, Kinds } from '../src/actors/kinds.ts';
import type { ChildSpec, Told } from '../src/actors/port.ts';
import { sessionMachine, sessionView } from '../src/actors/session.ts';
import { systemClock } from '../src/clock.ts';
import type { Batch, Journal } from '../src/journal.ts';
import { silentLog } from '../src/log.ts';
import { sessionInput } from '../tests/actors/inputs.ts';
import { quantile } from './terminal-figures.ts';

export interface Written {
  /** Entries and bytes of every batch, in order. */
  readonly batches: readonly { readonly entries: number; readonly records: number; readonly bytes: number }[];
  readonly transitions: number;
  readonly ms: number;
  readonly p50: number;
  readonly p99: number;
}

const session: Kind = {
  machine: sessionMachine,
  migrations: [],
  version: 1,
  view: sessionView as Kind['view'],
  // Launching never ends: a session that waits is as good a writer as any.
  effects: { launch: () => new Promise(() => {}), end: () => new Promise(() => {}), alarm: () => () => {} },
};

const kinds: Kinds = { instance: session, agent: session, session, task: session, hitl: session };

const spec = (i: number): ChildSpec => ({
  id: `session:${i}`,
  kind: 'session',
  input: { ...sessionInput, id: `${i}` },
  restart: 'never',
  graceMs: 1_000,
  parent: null,
});

/** So long, the first part of it not counted. */
export interface Load {
  readonly writers: number;
  readonly warmUpMs: number;
  readonly ms: number;
}

export async function load(journal: Journal, { writers, warmUpMs, ms }: Load): Promise<Written> {
  const batches: { entries: number; records: number; bytes: number }[] = [];
  let isCounting = false;
  const counted: Journal = {
    ...journal,
    append(batch: Batch) {
      if (isCounting)
        batches.push({ entries: batch.entries.length, records: batch.records.length, bytes: 0 });
      if (isCounting && batches.length % 64 === 1)
        (batches.at(-1) as { bytes: number }).bytes = sizeOf(batch);
      return journal.append(batch);
    },
  };
  const root = fleet({
    clock: systemClock,
    journal: counted,
    kinds,
    log: silentLog,
    defer: setImmediate,
    fatal: (thrown) => {
      throw thrown;
    },
  });
  await root.together(() => {});
  await Promise.all(Array.from({ length: writers }, (_, i) => root.start(spec(i), Date.now())));
  const took: number[] = [];
  let isOver = false;
  const writer = async (i: number): Promise<void> => {
    for (let n = 0; !isOver; n++) {
      const type = n % 2 === 0 ? 'question.opened' : 'question.closed';
      const event = { type, at: Date.now(), hitl: `h${i}` } as Told;
      const from = performance.now();
      await root.send(`session:${i}`, event);
      if (isCounting) took.push(performance.now() - from);
    }
  };
  const all = Array.from({ length: writers }, (_, i) => writer(i));
  await Bun.sleep(warmUpMs);
  isCounting = true;
  const startedAt = performance.now();
  await Bun.sleep(ms);
  isCounting = false;
  const elapsed = performance.now() - startedAt;
  isOver = true;
  await Promise.all(all);
  await root.close();
  return {
    batches: sized(batches),
    transitions: took.length,
    ms: elapsed,
    p50: quantile(took, 0.5),
    p99: quantile(took, 0.99),
  };
}

/** What of a batch must reach the disk, whatever it is put into. */
const sizeOf = ({ entries, records }: Batch): number =>
  Buffer.byteLength(JSON.stringify(entries)) + Buffer.byteLength(JSON.stringify(records));

/** Measuring every batch would cost as much as writing it: the others are as large, entry by entry. */
function sized(batches: readonly { entries: number; records: number; bytes: number }[]): Written['batches'] {
  const measured = batches.filter(({ bytes }) => bytes > 0);
  const sum = (of: (one: (typeof measured)[number]) => number) =>
    measured.reduce((all, one) => all + of(one), 0);
  const each =
    sum(({ bytes }) => bytes) /
    Math.max(
      1,
      sum(({ entries }) => entries),
    );
  return batches.map((one) => ({ ...one, bytes: Math.round(one.entries * each) }));
}
