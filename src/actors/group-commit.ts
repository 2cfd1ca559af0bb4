/**
 * What happens in one turn is one write, and nothing is promised before it is durable.
 *
 *   keep ──▶ batch of this turn ──▶ journal ──▶ written (watchers, ports) ──▶ promised
 *                  while the journal is away: kept, and tried again
 *
 * One batch is on its way at a time; the next one gathers meanwhile. Knows the journal, and nothing of
 * actors.
 */
import { Failure, type FailureInfo, toFailureInfo } from '../failure.ts';
import type { ActorRecord, JournalEntry } from '../journal.ts';
import type { FleetLimits, FleetWorld } from './fleet-world.ts';

/** Waits between attempts to write when the journal is away. */
const RETRY_MS = 500;

export interface Kept {
  readonly entry: JournalEntry;
  /** The actor's view after it. */
  readonly view: unknown;
}

export interface Written {
  readonly kept: readonly Kept[];
  readonly records: readonly ActorRecord[];
  readonly touched: ReadonlySet<string>;
  /** The cursor of the first entry. */
  readonly first: number;
}

export interface Committing {
  readonly world: Pick<FleetWorld, 'journal' | 'clock' | 'log' | 'defer' | 'fatal'>;
  readonly limits: Pick<FleetLimits, 'pendingEntriesMax' | 'promiseMs'>;
  /** The newest record of an actor, asked when its batch is written. */
  readonly recordOf: (actor: string) => readonly ActorRecord[];
  /** It is durable. */
  readonly onWritten: (written: Written) => void;
}

interface Batch {
  readonly kept: Kept[];
  readonly touched: Set<string>;
  readonly done: PromiseWithResolvers<void>;
}

export class GroupCommit {
  readonly #given: Committing;
  #batch: Batch | null = null;
  #writing: Promise<void> | null = null;
  #away: FailureInfo | null = null;
  #isClosed = false;

  constructor(given: Committing) {
    this.#given = given;
  }

  /** Null while the journal takes what it is given. */
  get away(): FailureInfo | null {
    if (this.#away) return this.#away;
    const trouble = this.#given.world.journal.trouble();
    return trouble && toFailureInfo(trouble);
  }

  /** It waits for its batch to be written. */
  isPending(actor: string): boolean {
    return this.#batch?.touched.has(actor) ?? false;
  }

  /** Puts one entry into the batch of this turn. */
  keep(kept: Kept): void {
    if (!this.#batch) {
      this.#batch = { kept: [], touched: new Set(), done: Promise.withResolvers() };
      this.#batch.done.promise.catch(() => {}); // Nobody may be waiting; the failure shows in `away`.
      this.#given.world.defer(() => this.#flush());
    }
    this.#batch.kept.push(kept);
    this.#batch.touched.add(kept.entry.actor);
  }

  /**
   * Commands are refused while nothing can be promised; facts are not. Throws Failure('busy' |
   * 'journal-away').
   */
  mayPromise(): void {
    if (this.#isClosed) throw new Failure('busy', 'the server is shutting down; try again when it is back');
    const { away } = this;
    if (away) {
      const refusal = new Failure('journal-away', `nothing can be promised just now: ${away.message}`);
      refusal.retryAfterSeconds = 2;
      throw refusal;
    }
    if ((this.#batch?.kept.length ?? 0) > this.#given.limits.pendingEntriesMax) {
      throw new Failure('busy', 'too many changes wait for the journal; try again in a moment');
    }
  }

  /**
   * Resolves when everything kept so far is durable. Throws Failure('journal-away') when that takes too long.
   */
  promised(): Promise<void> {
    const durable = this.#batch ? this.#batch.done.promise : (this.#writing ?? Promise.resolve());
    const { world, limits } = this.#given;
    return new Promise((resolve, reject) => {
      const timer = world.clock.setTimeout(() => {
        const late =
          'the journal did not answer in time; the change may still be carried out, so look before you repeat';
        reject(new Failure('journal-away', late));
      }, limits.promiseMs);
      durable.then(resolve, reject).finally(() => world.clock.clearTimeout(timer));
    });
  }

  /** Refuses promises from now on. */
  refuse(): void {
    this.#isClosed = true;
  }

  /** Writes what is pending, unless the journal is away. */
  async finish(): Promise<void> {
    while (this.#writing || this.#batch) {
      this.#flush();
      await this.#writing;
    }
  }

  #flush(): void {
    if (this.#writing || !this.#batch) return;
    const batch = this.#batch;
    this.#batch = null;
    this.#writing = this.#write(batch).finally(() => {
      this.#writing = null;
      if (this.#batch) this.#given.world.defer(() => this.#flush());
    });
  }

  async #write({ kept, touched, done }: Batch): Promise<void> {
    const { world, recordOf, onWritten } = this.#given;
    const records = [...touched].flatMap(recordOf);
    const entries = kept.map(({ entry }) => entry);
    const cursor = await this.#appendUntilTaken(entries, records).catch((thrown) => {
      world.fatal(thrown);
      return null;
    });
    if (cursor === null) {
      return done.reject(new Failure('journal-away', 'the server stopped before it was durable'));
    }
    onWritten({ kept, records, touched, first: cursor - entries.length + 1 });
    done.resolve();
  }

  /** Keeps trying while the journal is away; null when the server closes first. */
  async #appendUntilTaken(
    entries: readonly JournalEntry[],
    records: readonly ActorRecord[],
  ): Promise<number | null> {
    const { journal, clock, log } = this.#given.world;
    for (;;) {
      try {
        const cursor = await journal.append({ entries, records });
        if (this.#away) log.info('journal is back', { entries: entries.length });
        this.#away = null;
        return cursor;
      } catch (thrown) {
        const failure = toFailureInfo(thrown);
        if (failure.code !== 'journal-away') throw thrown;
        // A journal that knew without being asked has said so itself.
        if (!this.#away && !journal.trouble()) log.error('journal is away', { failure });
        this.#away = failure;
        if (this.#isClosed) return null;
        await new Promise<void>((resolve) => clock.setTimeout(resolve, RETRY_MS));
      }
    }
  }
}
