/**
 * The root of the supervision tree: every actor, its journal record and its open ports.
 *
 *   door ── send ──▶ step (pure) ──▶ batch ──▶ journal ──▶ effects run, waiters told, watchers called
 *                        └── tell/spawn: same batch
 *
 * Guarantees: an event and all it told other actors are one atomic batch [S1]; nothing is promised, and no
 * effect is run, before its batch is durable [S2]; a restart restores every live actor and opens its ports
 * again [S3]; an actor that dies of a bug comes back at most `max` times inside `withinMs` [S4].
 * Knows nothing of what the machines mean, nor of any adapter but the journal.
 */
import { Failure, type FailureInfo } from '../failure.ts';
import type { ActorKind, ActorRecord, JournalEntry } from '../journal.ts';
import { type FleetLimits, type FleetWorld, limitsDefault } from './fleet-world.ts';
import { type Committing, GroupCommit, type Written } from './group-commit.ts';
import { revive } from './kinds.ts';
import { type OpenPorts, openPorts } from './open-ports.ts';
import type { ChildSpec, Told } from './port.ts';
import { judge, type RestartPolicy } from './restarts.ts';
import { Roll } from './roll.ts';
import { type Act, born, type Living, remember, step } from './step.ts';

/** How often an actor may come back from a bug. */
const revival: Omit<RestartPolicy, 'restart'> = {
  max: 5,
  withinMs: 60_000,
  backoffMs: [0, 200, 1_000, 5_000],
};

export interface Change {
  readonly cursor: number;
  readonly entry: JournalEntry;
  readonly view: unknown;
}

interface Actor {
  readonly spec: ChildSpec;
  /** The spec as its record keeps it: the input of its birth is in its first entry. */
  readonly kept: ChildSpec;
  living: Living;
  live: boolean;
  /** The newest entry that is durable. */
  durable: number;
  deaths: readonly number[];
  /** After a bug its ports stay closed until then. */
  wakesAt: number;
  view: unknown;
}

export interface Fleet {
  /** Restores every live actor and runs its ports. Call once, before any door opens. */
  restore(): Promise<{ readonly live: number; readonly ended: number }>;
  /**
   * Starts an actor; durable when it resolves. Throws Failure('already-exists' | 'journal-away' | 'busy').
   */
  start(spec: ChildSpec, at: number): Promise<void>;
  /** Looks up actors that ended too long ago for memory, so that their names can be used again. */
  remind(ids: readonly string[]): Promise<void>;
  /**
   * Its view, also of one that `view` does not reach, which stays out of memory and of lists; null: never
   * was.
   */
  recall(id: string): Promise<unknown>;
  /** Sends an event; true when it changed the actor, and then that is durable. Throws as `start`. */
  send(id: string, event: Told): Promise<boolean>;
  /**
   * For facts: applied at once and written when the journal can; never refused. True when it changed the
   * actor.
   */
  note(id: string, event: Told): boolean;
  /** Several facts and commands as one batch; durable when it resolves. */
  together(apply: () => void): Promise<void>;
  /** Whether the actor's machine would do something with this event now. */
  can(id: string, event: Told): boolean;
  isLive(id: string): boolean;
  /** Null for an actor that never was, or that ended longer ago than memory reaches. */
  view(id: string): unknown;
  context(id: string): unknown;
  views(kind: ActorKind): readonly unknown[];
  /** Live children, oldest first. */
  children(parent: string): readonly ChildSpec[];
  specs(): readonly (ChildSpec & { readonly live: boolean; readonly seq: number })[];
  /** Called for every durable change, in order. */
  watch(listener: (change: Change) => void): () => void;
  /** Null while the journal takes what it is given. */
  away(): FailureInfo | null;
  /** Lets go of every port and writes what is pending. Actors stay live: the way back is `restore`. */
  close(): Promise<void>;
}

/** What the root works with; others stand in where somebody looks on at its seams, as the simulation does. */
export interface FleetParts {
  readonly openPorts: typeof openPorts;
  readonly groupCommit: (given: Committing) => GroupCommit;
}

export const fleetParts: FleetParts = { openPorts, groupCommit: (given) => new GroupCommit(given) };

export function fleet(world: FleetWorld, parts = fleetParts): Fleet {
  return new Root(world, parts);
}

class Root implements Fleet {
  readonly #world: FleetWorld;
  readonly #limits: FleetLimits;
  readonly #actors = new Roll<Actor>();
  readonly #watchers = new Set<(change: Change) => void>();
  readonly #ports: OpenPorts;
  readonly #commit: GroupCommit;
  #closed = false;

  constructor(world: FleetWorld, parts: FleetParts) {
    this.#world = world;
    this.#limits = { ...limitsDefault, ...world.limits };
    this.#commit = parts.groupCommit({
      world,
      limits: this.#limits,
      recordOf: (id) => this.#recordOf(id),
      onWritten: (written) => this.#written(written),
    });
    this.#ports = parts.openPorts({
      kinds: world.kinds,
      send: (id, event) => void this.note(id, event),
      died: (id, thrown) => this.#die(id, thrown),
      clock: world.clock,
    });
  }

  async restore() {
    const { journal, kinds } = this.#world;
    const live = await journal.live();
    for (const record of live) this.#adopt(record);
    let ended = 0;
    for (const kind of Object.keys(kinds) as ActorKind[]) {
      const records = await journal.records({
        kind,
        live: false,
        limit: Math.min(this.#limits.endedKeptMax, 1_000),
      });
      for (const record of [...records].reverse()) {
        this.#adopt(record);
        ended += 1;
      }
    }
    for (const record of live) this.#openPortsOf(record.actor);
    return { live: live.length, ended };
  }

  async start(spec: ChildSpec, at: number) {
    this.#commit.mayPromise();
    if (this.isLive(spec.id)) {
      throw new Failure('already-exists', `${spec.id} exists already; choose another name or use that one`);
    }
    this.#spawn(spec, at);
    await this.#commit.promised();
  }

  async remind(ids: readonly string[]) {
    for (const id of ids) {
      if (this.#actors.has(id)) continue;
      const record = await this.#world.journal.record(id);
      if (record && !this.#actors.has(id)) this.#adopt(record);
    }
  }

  async recall(id: string) {
    const record = this.#actors.has(id) ? null : await this.#world.journal.record(id);
    if (!record || this.#actors.has(id)) return this.view(id);
    const { kinds } = this.#world;
    return kinds[record.kind].view(revive(kinds, record).snapshot);
  }

  async send(id: string, event: Told) {
    this.#commit.mayPromise();
    const changed = this.#apply(id, event);
    // Also when nothing changed: what the caller saw must be durable before it is told so.
    await this.#commit.promised();
    return changed;
  }

  note(id: string, event: Told) {
    // What happens while the server closes is found again by the next one.
    return !this.#closed && this.#apply(id, event);
  }

  async together(apply: () => void) {
    this.#commit.mayPromise();
    apply();
    await this.#commit.promised();
  }

  can(id: string, event: Told) {
    const actor = this.#actors.get(id);
    if (!actor?.live) return false;
    const { machine } = this.#world.kinds[actor.spec.kind];
    return machine.getTransitionData(actor.living.snapshot, event as never).length > 0;
  }

  isLive(id: string) {
    return this.#actors.get(id)?.live ?? false;
  }

  view(id: string) {
    return this.#actors.get(id)?.view ?? null;
  }

  context(id: string) {
    return this.#actors.get(id)?.living.snapshot.context ?? null;
  }

  views(kind: ActorKind) {
    return Array.from(this.#actors.ofKind(kind), ({ view }) => view);
  }

  children(parent: string) {
    return Array.from(this.#actors.childrenOf(parent), ({ spec }) => spec);
  }

  specs() {
    return Array.from(this.#actors.all(), ({ spec, live, living }) => ({ ...spec, live, seq: living.seq }));
  }

  watch(listener: (change: Change) => void) {
    this.#watchers.add(listener);
    return () => void this.#watchers.delete(listener);
  }

  away() {
    return this.#commit.away;
  }

  async close() {
    this.#closed = true;
    this.#commit.refuse();
    this.#ports.closeAll();
    await this.#commit.finish();
  }

  #adopt(record: ActorRecord) {
    const living = revive(this.#world.kinds, record);
    const spec = record.spec as ChildSpec;
    const view = this.#world.kinds[record.kind].view(living.snapshot);
    const { live, seq: durable } = record;
    this.#actors.enter({ spec, kept: spec, living, live, durable, deaths: [], wakesAt: 0, view });
    if (!record.live) this.#forgetOld(record.kind);
  }

  #spawn(spec: ChildSpec, at: number) {
    const { machine, view } = this.#world.kinds[spec.kind];
    const before = this.#actors.get(spec.id);
    const { next, acts } = born(machine, spec.input, (before?.living.seq ?? 0) + 1);
    const actor: Actor = {
      spec,
      kept: { ...spec, input: null },
      living: next,
      live: next.snapshot.status === 'active',
      durable: before?.durable ?? 0,
      deaths: [],
      wakesAt: 0,
      view: view(next.snapshot),
    };
    this.#actors.enter(actor);
    this.#record(actor, { type: 'born', at, input: spec.input, parent: spec.parent } as Told);
    this.#perform(acts);
  }

  #apply(id: string, event: Told): boolean {
    const actor = this.#actors.get(id);
    if (!actor?.live) return false;
    const { machine, view } = this.#world.kinds[actor.spec.kind];
    let stepped: ReturnType<typeof step>;
    try {
      stepped = step(machine, actor.living, event);
    } catch (thrown) {
      this.#die(id, thrown);
      return true;
    }
    if (!stepped) return false;
    actor.living = stepped.next;
    actor.live = stepped.next.snapshot.status === 'active';
    actor.view = view(stepped.next.snapshot);
    this.#record(actor, event);
    this.#perform(stepped.acts);
    return true;
  }

  #perform(acts: readonly Act[]) {
    for (const act of acts) {
      if (act.do === 'tell') this.#apply(act.to, act.event);
      else if (!this.isLive(act.spec.id)) this.#spawn(act.spec, act.at);
    }
  }

  #record(actor: Actor, event: Told) {
    const { spec, living, view, live } = actor;
    const entry = { actor: spec.id, kind: spec.kind, seq: living.seq, at: event.at, event };
    this.#commit.keep({ entry, view });
    if (live) return;
    this.#actors.end(actor);
    this.#forgetOld(spec.kind);
  }

  #written({ kept, records, touched, first }: Written) {
    for (const { actor, seq } of records) {
      const held = this.#actors.get(actor);
      if (held) held.durable = seq;
    }
    kept.forEach(({ entry, view }, i) => {
      for (const watcher of this.#watchers) watcher({ cursor: first + i, entry, view });
    });
    // Before the promise is kept to whoever waits: its effects run no later than its answer.
    for (const id of touched) this.#openPortsOf(id);
  }

  #recordOf(id: string): ActorRecord[] {
    const actor = this.#actors.get(id);
    if (!actor) return [];
    const { spec, kept, living, live } = actor;
    const { version } = this.#world.kinds[spec.kind];
    return [
      { actor: id, kind: spec.kind, version, seq: living.seq, live, spec: kept, snapshot: remember(living) },
    ];
  }

  /** Runs and ends ports so that exactly the durable ones run. */
  #openPortsOf(id: string) {
    const actor = this.#actors.get(id);
    if (!actor || this.#closed || this.#world.clock.now() < actor.wakesAt) return;
    this.#ports.match(actor.spec, actor.live ? actor.living.ports : {}, actor.durable);
  }

  #die(id: string, thrown: unknown) {
    const actor = this.#actors.get(id);
    if (!actor?.live) return;
    const { clock, log } = this.#world;
    const at = clock.now();
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    log.error('actor died of a bug', {
      actor: id,
      message,
      stack: thrown instanceof Error ? thrown.stack : null,
    });
    const verdict = judge(
      { ...revival, restart: actor.spec.restart },
      { history: actor.deaths, exit: 'failed', at },
    );
    this.#ports.closeAllOf(id);
    actor.living = { ...actor.living, seq: actor.living.seq + 1 };
    if (verdict.do === 'restart') {
      actor.deaths = verdict.history;
      actor.wakesAt = at + verdict.afterMs;
      this.#record(actor, { type: 'actor.died', at, message, verdict: verdict.do } as Told);
      clock.setTimeout(() => {
        actor.wakesAt = 0;
        this.#openPortsOf(id);
      }, verdict.afterMs);
      return;
    }
    actor.live = false;
    this.#record(actor, { type: 'actor.died', at, message, verdict: verdict.do } as Told);
    if (actor.spec.parent)
      this.#apply(actor.spec.parent, { type: 'child.failed', at, child: id, message } as Told);
  }

  /** Forgets the oldest ended actors of a kind beyond the limit; the journal keeps them. */
  #forgetOld(kind: ActorKind) {
    const { endedKeptMax } = this.#limits;
    for (;;) {
      const oldest = this.#actors.surplus(kind, endedKeptMax);
      // One that is not written yet stays; the next one to end tries again.
      if (!oldest || this.#commit.isPending(oldest.spec.id)) return;
      this.#actors.forget(oldest);
    }
  }
}
