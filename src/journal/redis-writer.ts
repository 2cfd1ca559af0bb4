/**
 * Writes batches to Redis: one transaction each, one at a time, only as the holder of the lease.
 *
 *   WATCH lease ──▶ is it mine? ──▶ MULTI … EXEC, WATCH lease, is it mine? ──▶ MULTI … (one round trip each)
 *
 * A connection that breaks while a batch is on its way leaves a doubt: it is in or it is not. Whoever
 * connects next touches the lease first, so that what the old connection still carries is refused, then reads
 * which batch was the last. The same batch appended again is answered by what was found, and never written
 * twice.
 */
import type { Redis } from 'ioredis';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { ActorKind, ActorRecord, Batch } from '../journal.ts';
import { Numbers } from './numbers.ts';
import { gather, putAway } from './redis-archive.ts';
import {
  type EntryText,
  eventFields,
  fieldsOfRecord,
  type Layout,
  logFields,
  message,
  stateWords,
} from './redis-layout.ts';
import { lostTo, renew } from './redis-lease.ts';
import { isAway, trouble } from './redis-trouble.ts';

/** What is known of an actor without asking: enough to write its next entry. */
interface Known {
  /** Its newest entry. */
  readonly last: number;
  /** Null: it has no record yet. */
  readonly live: boolean | null;
  /** Its place in the order of births, with its first record. */
  readonly birth: number;
}

const unborn: Known = { last: 0, live: null, birth: 0 };

interface Counts {
  readonly cursor: number;
  readonly births: number;
}

interface Doubt {
  readonly batch: Batch;
  readonly id: string;
  readonly after: Counts;
  /** Known once the connection was back. */
  isIn: boolean | null;
}

export interface WriterOptions {
  readonly redis: Redis;
  readonly layout: Layout;
  readonly clock: Clock;
  /** The number of our lease. */
  readonly token: string;
  /** The newest entries that the shared feed keeps, at least. */
  readonly eventsMax: number;
  readonly onLost: (why: Failure) => void;
}

export class Writer {
  readonly #given: WriterOptions;
  readonly #known = new Map<string, Known>();
  #counts: Counts = { cursor: 0, births: 0 };
  #batches = 0;
  #doubt: Doubt | null = null;
  /** The lease is watched, and was ours when that began. */
  #isArmed = false;
  #lost: Failure | null = null;
  readonly #order = new Numbers();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(given: WriterOptions) {
    this.#given = given;
  }

  /** The connection is there, for the first time or again. */
  arrived(): Promise<void> {
    this.#isArmed = false;
    return this.#inTurn(() => this.#arm());
  }

  /** Durable as far as Redis' `appendfsync` goes when it resolves. Throws as `Journal.append`. */
  append(batch: Batch): Promise<number> {
    return this.#inTurn(() => this.#append(batch));
  }

  /** As `Journal.archive`. */
  archive(actors: readonly string[]): Promise<number> {
    return this.#inTurn(async () => {
      if (!this.#isArmed && !this.#lost) await this.#arm();
      if (this.#lost) throw this.#lost;
      const { redis, layout } = this.#given;
      const gathered = await gather(redis, layout, actors);
      if (gathered.length === 0) return 0;
      const multi = redis.multi();
      for (const one of gathered) putAway(multi, layout, one);
      await this.#exec(multi);
      return gathered.length;
    });
  }

  settled(): Promise<unknown> {
    return this.#turn;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work).catch((thrown: unknown) => {
      throw trouble(thrown, 'write the journal in Redis');
    });
    this.#turn = mine.catch(() => {});
    return mine;
  }

  async #arm(): Promise<void> {
    const { redis, layout, token } = this.#given;
    if (this.#lost) return;
    if (!(await renew(redis, layout, token))) return this.#lose();
    const [, , found, meta] = await Promise.all([
      // This connection may have watched the lease already, and that has just been touched.
      redis.unwatch(),
      redis.watch(layout.lease),
      redis.hget(layout.lease, 'token'),
      redis.hmget(layout.meta, 'cursor', 'births', 'batch'),
    ]);
    if (found !== token) return this.#lose();
    const [cursor, births, batch] = meta;
    const there: Counts = { cursor: Number(cursor ?? 0), births: Number(births ?? 0) };
    const isIn = this.#doubt !== null && batch === this.#doubt.id;
    if (this.#doubt) this.#doubt.isIn ??= isIn;
    const least = isIn && this.#doubt ? this.#doubt.after : this.#counts;
    if (there.cursor < least.cursor) {
      const less = `it is at ${there.cursor} and was at ${least.cursor}`;
      const why = `Redis came back with less than it had acknowledged (${less}): it does not write everything`;
      return this.#lose(
        new Failure('wrong-state', `${why} to disk at once; see appendfsync in docs/redis.md`),
      );
    }
    this.#counts = there;
    if (isIn) this.#known.clear();
    this.#isArmed = true;
  }

  async #lose(why?: Failure): Promise<void> {
    const { redis, layout, onLost } = this.#given;
    this.#lost ??= why ?? (await lostTo(redis, layout));
    onLost(this.#lost);
  }

  async #append(batch: Batch): Promise<number> {
    if (!this.#isArmed && !this.#lost) await this.#arm();
    if (this.#lost) throw this.#lost;
    // Before the doubt is looked at: that is about the batch before this one.
    this.#order.check(batch);
    const doubt = this.#doubt;
    this.#doubt = null;
    if (doubt?.isIn && isSame(doubt.batch, batch)) {
      this.#order.wrote(batch);
      return doubt.after.cursor;
    }
    await this.#learn(batch);
    const plan = this.#plan(batch);
    await this.#write(batch, plan);
    this.#counts = plan.after;
    this.#order.wrote(batch);
    for (const [actor, known] of plan.known) {
      // What has ended is seldom heard of again.
      if (known.live === false) this.#known.delete(actor);
      else this.#known.set(actor, known);
    }
    return plan.after.cursor;
  }

  /** Asks what is not known of the actors in a batch. */
  async #learn({ entries, records }: Batch): Promise<void> {
    const { redis, layout } = this.#given;
    const actors = new Set([...entries, ...records].map(({ actor }) => actor));
    const strange = [...actors].filter((actor) => !this.#known.has(actor));
    if (strange.length === 0) return;
    const found = await Promise.all(
      strange.map((actor) =>
        Promise.all([
          redis.hmget(layout.actor(actor), 'last', 'live', 'birth'),
          redis.hget(layout.archived(actor), 'seq'),
        ]),
      ),
    );
    found.forEach(([[last, live, birth], archived], i) => {
      const isLive = birth == null ? null : live === '1';
      const newest = Math.max(Number(last ?? 0), Number(archived ?? 0));
      const known = { last: newest, live: isLive, birth: Number(birth ?? 0) };
      this.#known.set(strange[i] as string, known);
    });
  }

  #plan({ entries, records }: Batch): Plan {
    const known = new Map<string, Known>();
    const now = (actor: string) => known.get(actor) ?? this.#known.get(actor) ?? unborn;
    let { cursor, births } = this.#counts;
    const texts: EntryText[] = [];
    for (const entry of entries) {
      const before = now(entry.actor);
      if (entry.seq <= before.last) {
        const there = `append to ${entry.actor}: entry ${entry.seq} is already there`;
        throw new Failure('wrong-state', there);
      }
      known.set(entry.actor, { ...before, last: entry.seq });
      cursor += 1;
      texts.push({ entry, cursor, event: JSON.stringify(entry.event) });
    }
    const changes = records.map((record): RecordChange => {
      const { last, live, ...before } = now(record.actor);
      const isBorn = live === null;
      const birth = isBorn ? ++births : before.birth;
      known.set(record.actor, { last, live: record.live, birth });
      return { record, birth, isBorn, hasTurned: live !== record.live };
    });
    return { texts, changes, known, after: { cursor, births } };
  }

  async #write(batch: Batch, plan: Plan): Promise<void> {
    const { redis, layout, token } = this.#given;
    const id = `${token}.${++this.#batches}`;
    const multi = redis.multi();
    const states = new Map(batch.records.map(({ actor, snapshot }) => [actor, stateWords(snapshot)]));
    for (const text of plan.texts) this.#addEntry(multi, text, states.get(text.entry.actor) ?? '');
    for (const change of plan.changes) this.#addRecord(multi, change, plan.known);
    for (const [actor, { last }] of plan.known)
      if (!states.has(actor)) multi.hset(layout.actor(actor), 'last', last);
    const { cursor, births } = plan.after;
    multi.hset(layout.meta, 'cursor', cursor, 'births', births, 'batch', id);
    try {
      await this.#exec(multi);
    } catch (thrown) {
      if (isAway(thrown)) this.#doubt = { batch, id, after: plan.after, isIn: null };
      throw thrown;
    }
  }

  /** One write, one round trip; what is asked behind it is for the next transaction. */
  async #exec(multi: Multi): Promise<void> {
    const { redis, layout, token } = this.#given;
    this.#isArmed = false;
    const [done, , found] = await Promise.all([
      multi.exec(),
      redis.watch(layout.lease),
      redis.hget(layout.lease, 'token'),
    ]);
    if (done === null) {
      await this.#lose();
      throw this.#lost;
    }
    const [failed] = done.flatMap(([error]) => error ?? []);
    if (failed) throw failed;
    if (found === token) this.#isArmed = true;
    else await this.#lose();
  }

  #addEntry(multi: Multi, text: EntryText, state: string): void {
    const { layout, eventsMax } = this.#given;
    const { entry, cursor } = text;
    multi.xadd(layout.log(entry.actor), `${entry.seq}-0`, ...logFields(text));
    multi.xadd(layout.events, 'MAXLEN', '~', eventsMax, `${cursor}-0`, ...eventFields(text, state));
    multi.publish(layout.channel(entry.kind), message(text, state));
  }

  #addRecord(multi: Multi, change: RecordChange, known: ReadonlyMap<string, Known>): void {
    const { layout } = this.#given;
    const { record, birth, isBorn, hasTurned } = change;
    const { actor, kind, live, snapshot } = record;
    const last = `${known.get(actor)?.last ?? 0}`;
    const fields = [...fieldsOfRecord(record), 'state', stateWords(snapshot), 'last', last];
    multi.hset(layout.actor(actor), ...fields, ...(isBorn ? ['birth', `${birth}`] : []));
    if (isBorn) for (const index of indices(layout, kind, null)) multi.zadd(index, birth, actor);
    if (!hasTurned) return;
    for (const index of indices(layout, kind, !live)) multi.zrem(index, actor);
    for (const index of indices(layout, kind, live)) multi.zadd(index, birth, actor);
    if (live) multi.zrem(layout.endedSince, actor);
    else multi.zadd(layout.endedSince, 0, actor);
  }
}

type Multi = ReturnType<Redis['multi']>;

interface RecordChange {
  readonly record: ActorRecord;
  /** Its place in the order of births. */
  readonly birth: number;
  /** This is its first record. */
  readonly isBorn: boolean;
  /** From living to ended, or back. */
  readonly hasTurned: boolean;
}

interface Plan {
  readonly texts: readonly EntryText[];
  readonly changes: readonly RecordChange[];
  readonly known: ReadonlyMap<string, Known>;
  readonly after: Counts;
}

const indices = (layout: Layout, kind: ActorKind, live: boolean | null): string[] => [
  layout.index(null, live),
  layout.index(kind, live),
];

const isSame = (a: Batch, b: Batch): boolean =>
  a.entries.length === b.entries.length && JSON.stringify(a.entries) === JSON.stringify(b.entries);
