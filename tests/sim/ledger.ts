/**
 * A journal that keeps the ground truth: what has been acknowledged, and so must be there for ever. It stands
 * between the memory journal and whatever a sabotage puts before it, and is believed.
 */
import type { MemoryJournal } from '../../src/journal/memory.ts';
import type { ActorRecord, FeedEntry, JournalEntry } from '../../src/journal.ts';

export interface Life {
  readonly entries: JournalEntry[];
  record: ActorRecord | null;
}

/** What is durable, by actor. */
export class Ledger {
  readonly lives = new Map<string, Life>();
  /** Actors that something durable happened to since the last look. */
  readonly touched = new Set<string>();
  /** Batches that are on their way. */
  pending = 0;

  of(actor: string): Life | null {
    return this.lives.get(actor) ?? null;
  }

  has(actor: string, type: string): boolean {
    return this.lives.get(actor)?.entries.some(({ event }) => event.type === type) ?? false;
  }

  take(entries: readonly JournalEntry[], records: readonly ActorRecord[]): void {
    for (const entry of entries) {
      const life = this.lives.get(entry.actor) ?? { entries: [], record: null };
      this.lives.set(entry.actor, life);
      life.entries.push(entry);
      this.touched.add(entry.actor);
    }
    for (const record of records) {
      const life = this.lives.get(record.actor) ?? { entries: [], record: null };
      this.lives.set(record.actor, life);
      life.record = record;
      this.touched.add(record.actor);
    }
  }
}

export function kept(inner: MemoryJournal, ledger: Ledger): MemoryJournal {
  return {
    ...inner,
    async append(batch) {
      ledger.pending += 1;
      try {
        const cursor = await inner.append(batch);
        ledger.take(batch.entries, batch.records);
        return cursor;
      } finally {
        ledger.pending -= 1;
      }
    },
  };
}

/** All entries of a journal. */
export async function everything(journal: MemoryJournal): Promise<FeedEntry[]> {
  const all: FeedEntry[] = [];
  for (;;) {
    const more = await journal.feed(all.length, 1_000);
    all.push(...more);
    if (more.length < 1_000) return all;
  }
}
