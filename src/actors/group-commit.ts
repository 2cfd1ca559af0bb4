/**
 * What happens in one turn is written together, and nothing is promised before it is durable.
 *
 *   keep ──▶ open batch ──▶ sealed, with its records ──▶ on its way ──▶ written (watchers, ports) ──▶
 *   promised
 *                                    while the journal is away: kept, and tried again in the same order
 *
 * A batch is sealed at the end of the turn, or between two promises of one turn when it is large enough to be
 * worth a write: a few are on their way at once, so that the next transitions are made while the last ones
 * are written. What must be in one batch, an event and all it told others, is never parted. Batches are
 * numbered, and a journal writes none before the one before it (src/journal.ts).
 * Knows the journal, and nothing of actors.
 */
import { Failure, type FailureInfo, toFailureInfo } from '../failure.ts';
import type { ActorRecord, Batch, JournalEntry } from '../journal.ts';
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

/** Entries of one turn that are worth a write while the turn goes on. */
const WORTH_A_WRITE = 32;
/** Writes on their way at once: one in the journal's hands, and one that it finds when that is done. */
const ON_THEIR_WAY_MAX = 2;
/**
 * A journal whose every write is slow gets more in one: as many entries as come while one more write is
 * waited for. About so many come, and are written, in a millisecond.
 */
const PER_MS = 50;
/** Who begins to wait for a batch within this part of the time that there is for it shares one deadline. */
const SAME_DEADLINE = 0.1;

/** What is kept until the end of the turn, or until it is worth a write. */
interface Open {
  readonly kept: Kept[];
  readonly touched: Set<string>;
  readonly done: PromiseWithResolvers<void>;
}

/** What is ready to be written: the records are those after its last entry, whatever happens since. */
interface Sealed extends Open {
  readonly records: Map<string, ActorRecord>;
}

interface Sent {
  readonly batch: Batch;
  /** The first attempt to write it, begun at `at` after so many failures. */
  readonly first: Promise<number>;
  readonly at: number;
  readonly failures: number;
}

/** Whoever waits for the same batch, since about the same moment, waits together. */
interface Promised {
  readonly durable: Promise<void>;
  readonly since: number;
  readonly inTime: Promise<void>;
}

export class GroupCommit {
  readonly #given: Committing;
  #open: Open | null = null;
  readonly #sealed: Sealed[] = [];
  /** Entries of each actor that are not durable yet. */
  readonly #pending = new Map<string, number>();
  #waiting = 0;
  #onTheirWay = 0;
  #number = 0;
  /** What the last write took, whatever was in it. */
  #writeMs = 0;
  #finishedAt = 0;
  /** Batches are written, and found to be written, in their order. */
  #written: Promise<void> = Promise.resolve();
  #newest: Promise<void> = Promise.resolve();
  #promised: Promised | null = null;
  #away: FailureInfo | null = null;
  #failures = 0;
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

  /** Something of it is not durable yet. */
  isPending(actor: string): boolean {
    return this.#pending.has(actor);
  }

  /** Puts one entry into the batch of this turn. */
  keep(kept: Kept): void {
    if (!this.#open) {
      this.#open = { kept: [], touched: new Set(), done: Promise.withResolvers() };
      this.#open.done.promise.catch(() => {}); // Nobody may be waiting; the failure shows in `away`.
      this.#newest = this.#open.done.promise;
      this.#given.world.defer(() => this.#flush());
    }
    this.#open.kept.push(kept);
    this.#open.touched.add(kept.entry.actor);
    this.#count(kept.entry.actor, 1);
    this.#waiting += 1;
  }

  #count(actor: string, more: number): void {
    const now = (this.#pending.get(actor) ?? 0) + more;
    if (now <= 0) this.#pending.delete(actor);
    else this.#pending.set(actor, now);
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
    if (this.#waiting > this.#given.limits.pendingEntriesMax) {
      throw new Failure('busy', 'too many changes wait for the journal; try again in a moment');
    }
  }

  /**
   * Resolves when everything kept so far is durable. Throws Failure('journal-away') when that takes too long.
   */
  promised(): Promise<void> {
    const durable = this.#newest;
    if ((this.#open?.kept.length ?? 0) >= WORTH_A_WRITE) {
      this.#seal();
      this.#send();
    }
    const { world, limits } = this.#given;
    const now = world.clock.now();
    if (
      this.#promised?.durable !== durable ||
      now - this.#promised.since > limits.promiseMs * SAME_DEADLINE
    ) {
      this.#promised = { durable, since: now, inTime: this.#inTime(durable) };
    }
    return this.#promised.inTime;
  }

  /** Refuses promises from now on. */
  refuse(): void {
    this.#isClosed = true;
  }

  /** Writes what is pending, unless the journal is away. */
  async finish(): Promise<void> {
    while (this.#onTheirWay > 0 || this.#waiting > 0) {
      this.#flush();
      await this.#written;
      // Nothing more will be sent: the journal is away, and nobody waits for it any longer.
      if (this.#onTheirWay === 0 && this.#away) return this.#abandon([]);
    }
  }

  #inTime(durable: Promise<void>): Promise<void> {
    const { clock } = this.#given.world;
    return new Promise((resolve, reject) => {
      const timer = clock.setTimeout(() => {
        const late =
          'the journal did not answer in time; the change may still be carried out, so look before you repeat';
        reject(new Failure('journal-away', late));
      }, this.#given.limits.promiseMs);
      durable.then(resolve, reject).finally(() => clock.clearTimeout(timer));
    });
  }

  #flush(): void {
    // What cannot go yet gathers, and goes together.
    if (this.#onTheirWay < ON_THEIR_WAY_MAX && !this.#away) this.#seal();
    this.#send();
  }

  #seal(): void {
    if (!this.#open) return;
    const records = new Map<string, ActorRecord>();
    for (const actor of this.#open.touched)
      for (const record of this.#given.recordOf(actor)) records.set(actor, record);
    this.#sealed.push({ ...this.#open, records });
    this.#open = null;
  }

  #send(): void {
    while (this.#sealed.length > 0 && this.#onTheirWay < ON_THEIR_WAY_MAX && !this.#away) {
      const batches = this.#next();
      const number = ++this.#number;
      const entries = batches.flatMap(({ kept }) => kept.map(({ entry }) => entry));
      const newest = new Map(batches.flatMap(({ records }) => [...records]));
      const batch: Batch = { entries, records: [...newest.values()], number };
      this.#onTheirWay += 1;
      this.#waiting -= entries.length;
      const first = this.#given.world.journal.append(batch);
      first.catch(() => {}); // Looked at when the one before it is done.
      const sent = { batch, first, at: this.#given.world.clock.now(), failures: this.#failures };
      this.#written = this.#written.then(() => this.#finished(batches, sent));
    }
  }

  /** The oldest that are sealed, as many as one write should take. */
  #next(): readonly Sealed[] {
    const most = Math.max(WORTH_A_WRITE, this.#writeMs * PER_MS);
    let [count, entries] = [0, 0];
    do entries += this.#sealed[count++]?.kept.length ?? 0;
    while (count < this.#sealed.length && entries + (this.#sealed[count]?.kept.length ?? 0) <= most);
    return this.#sealed.splice(0, count);
  }

  /** The next ones go first, so that they are written while whoever waits for these is told. */
  async #finished(batches: readonly Sealed[], sent: Sent): Promise<void> {
    const { world, onWritten } = this.#given;
    const cursor = await this.#taken(sent).catch((thrown) => {
      this.#isClosed = true;
      world.fatal(thrown);
      return null;
    });
    this.#onTheirWay -= 1;
    if (cursor === null) return this.#abandon(batches);
    const kept = batches.flatMap((one) => one.kept);
    const touched = new Set(batches.flatMap((one) => [...one.touched]));
    for (const { entry } of kept) this.#count(entry.actor, -1);
    // A bug of whoever looks on is none of the next batches'.
    try {
      this.#flush();
      onWritten({ kept, records: sent.batch.records, touched, first: cursor - kept.length + 1 });
    } catch (thrown) {
      const why = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
      world.log.error('a bug: what is durable could not be told', { why });
    }
    for (const { done } of batches) done.resolve();
  }

  /** Keeps trying while the journal is away; null when the server closes first. */
  async #taken({ batch, first, at, failures }: Sent): Promise<number | null> {
    const { journal, clock, log } = this.#given.world;
    let [attempt, since, seen] = [first, at, failures];
    for (;;) {
      try {
        const cursor = await attempt;
        this.#took(since, batch.entries.length);
        if (this.#away) log.info('journal is back', { entries: batch.entries.length });
        this.#away = null;
        return cursor;
      } catch (thrown) {
        const failure = toFailureInfo(thrown);
        if (failure.code !== 'journal-away') throw thrown;
        // What was refused only because it came behind one that failed is written as soon as that is.
        const isBehind = this.#failures !== seen;
        if (!isBehind) this.#fail(failure);
        if (this.#isClosed && !isBehind) return null;
        if (!isBehind) await new Promise<void>((resolve) => clock.setTimeout(resolve, RETRY_MS));
      }
      [attempt, since, seen] = [journal.append(batch), clock.now(), this.#failures];
    }
  }

  /** A write that began at `since` is done. It may have waited for the one before it. */
  #took(since: number, entries: number): void {
    const now = this.#given.world.clock.now();
    this.#writeMs = now - Math.max(since, this.#finishedAt) - entries / PER_MS;
    this.#finishedAt = now;
  }

  #fail(failure: FailureInfo): void {
    const { journal, log } = this.#given.world;
    // A journal that knew without being asked has said so itself.
    if (!this.#away && !journal.trouble()) log.error('journal is away', { failure });
    this.#away = failure;
    this.#failures += 1;
  }

  /** The server ends before these are durable, and nothing behind them will be. */
  #abandon(batches: readonly Sealed[]): void {
    const why = new Failure('journal-away', 'the server stopped before it was durable');
    for (const { done } of [...batches, ...this.#sealed]) done.reject(why);
    this.#open?.done.reject(why);
    this.#sealed.length = 0;
    this.#open = null;
    this.#waiting = 0;
    this.#pending.clear();
  }
}
