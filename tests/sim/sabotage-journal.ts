/** Journals that break one rule of durability each. */
import { Failure } from '../../src/failure.ts';
import type { MemoryJournal } from '../../src/journal/memory.ts';
import type { Batch } from '../../src/journal.ts';

export type BrokenJournal = (inner: MemoryJournal) => MemoryJournal;

/** The same sabotage of the journal that a restarted server finds. */
const over = (inner: MemoryJournal, broken: Partial<MemoryJournal>, again: BrokenJournal): MemoryJournal => ({
  ...inner,
  crash: (unacknowledged) => again(inner.crash(unacknowledged)),
  ...broken,
});

/** Every third batch goes the broken way. */
const sometimes =
  (append: (inner: MemoryJournal, batch: Batch) => Promise<number>): BrokenJournal =>
  (inner) => {
    let n = 0;
    const mine = (batch: Batch) => (++n % 3 === 0 ? append(inner, batch) : inner.append(batch));
    return over(inner, { append: mine }, sometimes(append));
  };

/** Some turns later. */
async function later(turns: number): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
}

const early = sometimes(async (inner, batch) => {
  const cursor = (await inner.cursor()) + batch.entries.length;
  void later(40)
    .then(() => inner.append(batch))
    .catch(() => {});
  return cursor;
});

const torn: BrokenJournal = (inner) => {
  const append = async ({ number, entries, records }: Batch): Promise<number> => {
    if (entries.length > 1) await inner.append({ entries: entries.slice(0, 1), records: [] });
    await later(1);
    const rest = entries.length > 1 ? entries.slice(1) : entries;
    return await inner.append({ ...(number ? { number } : {}), entries: rest, records });
  };
  return over(inner, { append }, torn);
};

/** The batch before is written when the next one comes; a kill takes the newest with it. */
const holding: BrokenJournal = (inner) => {
  let held: Promise<number> | null = null;
  const append = async (batch: Batch): Promise<number> => {
    await held;
    const cursor = (await inner.cursor()) + batch.entries.length;
    held = later(60)
      .then(() => inner.append(batch))
      .catch(() => 0);
    return cursor;
  };
  return over(inner, { append }, holding);
};

const forgetful: BrokenJournal = (inner) => {
  let isSecond = false;
  const live = async () => {
    const all = await inner.live();
    // Only a restarted server asks.
    const wasSecond = isSecond;
    isSecond = true;
    return wasSecond ? all : all.slice(0, -1);
  };
  return over(inner, { live }, forgetful);
};

/** Every third batch is refused once, some turns after it came; whoever appends it again is heard. */
const refusing =
  (append: (inner: MemoryJournal, batch: Batch) => Promise<number>): BrokenJournal =>
  (inner) => {
    let n = 0;
    const mine = async (batch: Batch) => {
      if (++n % 3 !== 0) return await append(inner, batch);
      await later(1);
      throw new Failure('journal-away', 'the cable is loose');
    };
    return over(inner, { append: mine }, refusing(append));
  };

/** This one breaks no rule: what comes behind a batch that was refused is refused as well. */
export const loose = refusing((inner, batch) => inner.append(batch));

/** Each batch is taken for itself. */
export const unordered = refusing((inner, { entries, records }) => inner.append({ entries, records }));

export const brokenJournals: readonly {
  readonly breaks: string;
  readonly what: string;
  readonly noticedBy: readonly string[];
  readonly within: number;
  readonly broken: BrokenJournal;
}[] = [
  {
    breaks: 'S1',
    what: 'a batch is acknowledged and not written',
    noticedBy: ['S1', 'S2'],
    within: 10,
    broken: sometimes(async (inner, batch) => {
      await inner.append({ ...batch, entries: [], records: [] });
      return (await inner.cursor()) + batch.entries.length;
    }),
  },
  {
    breaks: 'S2',
    what: 'a batch is acknowledged before it is written',
    noticedBy: ['S1', 'S2'],
    within: 10,
    broken: early,
  },
  {
    breaks: 'S9',
    what: 'entries are written without their record',
    noticedBy: ['S9', 'S2', 'S3'],
    within: 10,
    broken: sometimes((inner, batch) => inner.append({ ...batch, records: [] })),
  },
  {
    breaks: 'S9',
    what: 'records are written without their entries',
    noticedBy: ['S1', 'S9'],
    within: 10,
    broken: sometimes(async (inner, batch) => {
      await inner.append({ ...batch, entries: [] });
      return (await inner.cursor()) + batch.entries.length;
    }),
  },
  {
    breaks: 'S1',
    what: 'a batch is torn in two by a kill',
    noticedBy: ['S9', 'S1'],
    within: 20,
    broken: torn,
  },
  {
    breaks: 'S1',
    what: 'the last acknowledged batch is lost by a kill',
    noticedBy: ['S1', 'S2'],
    within: 20,
    broken: holding,
  },
  {
    breaks: 'S3',
    what: 'a restart forgets the newest actor',
    noticedBy: ['S3'],
    within: 20,
    broken: forgetful,
  },
];
