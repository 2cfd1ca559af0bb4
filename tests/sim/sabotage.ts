/**
 * Journals that break one rule of durability each. The simulation must notice every one of them, or it would
 * not notice when we do.
 */
import type { MemoryJournal } from '../../src/journal/memory.ts';
import type { Batch } from '../../src/journal.ts';

type Sabotage = (inner: MemoryJournal) => MemoryJournal;

/** The same sabotage of the journal that a restarted server finds. */
const over = (inner: MemoryJournal, broken: Partial<MemoryJournal>, again: Sabotage): MemoryJournal => ({
  ...inner,
  crash: (unacknowledged) => again(inner.crash(unacknowledged)),
  ...broken,
});

/** Every third batch. */
const sometimes = (): (() => boolean) => {
  let n = 0;
  return () => ++n % 3 === 0;
};

const broken =
  (append: (inner: MemoryJournal, batch: Batch) => Promise<number>): Sabotage =>
  (inner) => {
    const now = sometimes();
    const mine: Sabotage = broken(append);
    return over(inner, { append: (batch) => (now() ? append(inner, batch) : inner.append(batch)) }, mine);
  };

export const sabotages: Readonly<Record<string, Sabotage>> = {
  'a batch is acknowledged and not written': broken(
    async (inner, { entries }) => (await inner.cursor()) + entries.length,
  ),
  'a batch is acknowledged before it is written': broken(async (inner, batch) => {
    const cursor = (await inner.cursor()) + batch.entries.length;
    setTimeout(() => void inner.append(batch).catch(() => {}), 1);
    return cursor;
  }),
  'entries are written without their record': broken((inner, { entries }) =>
    inner.append({ entries, records: [] }),
  ),
  'records are written without their entries': broken(async (inner, { entries, records }) => {
    await inner.append({ entries: [], records });
    return (await inner.cursor()) + entries.length;
  }),
  'a batch is torn in two by a kill': (inner) =>
    over(
      inner,
      {
        async append({ entries, records }) {
          if (entries.length > 1) await inner.append({ entries: entries.slice(0, 1), records: [] });
          const rest = entries.length > 1 ? entries.slice(1) : entries;
          await new Promise((resolve) => setImmediate(resolve));
          return await inner.append({ entries: rest, records });
        },
      },
      sabotages['a batch is torn in two by a kill'] as Sabotage,
    ),
  'the last acknowledged batch is lost by a kill': (inner) => {
    let held: Promise<number> | null = null;
    const again = sabotages['the last acknowledged batch is lost by a kill'] as Sabotage;
    return over(
      inner,
      {
        async append(batch) {
          // The one before is written when this one comes; a kill takes the newest with it.
          await held;
          const cursor = (await inner.cursor()) + batch.entries.length;
          held = new Promise((resolve) => setTimeout(() => resolve(inner.append(batch).catch(() => 0)), 2));
          return cursor;
        },
      },
      again,
    );
  },
  'a restart forgets the newest actor': (inner) =>
    over(
      inner,
      { live: async () => (await inner.live()).slice(0, -1) },
      sabotages['a restart forgets the newest actor'] as Sabotage,
    ),
};
