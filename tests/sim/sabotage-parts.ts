/** What stands in the place of a part of the product when it is sabotaged. */
import type { Fleet } from '../../src/actors/fleet.ts';
import { type Committing, GroupCommit, type Kept } from '../../src/actors/group-commit.ts';
import type { Effect, Kinds } from '../../src/actors/kinds.ts';
import { type EffectScope, listening, type Told } from '../../src/actors/port.ts';
import type { MemoryJournal } from '../../src/journal/memory.ts';
import type { ActorKind, Batch } from '../../src/journal.ts';
import type { HouseWorld, Server } from './house.ts';

// ── Parts of the fleet ──────────────────────────────────────────────────────

export class Eager extends GroupCommit {
  readonly #given: Committing;

  constructor(given: Committing) {
    super(given);
    this.#given = given;
  }

  override keep(kept: Kept): void {
    super.keep(kept);
    const { actor } = kept.entry;
    const records = this.#given.recordOf(actor);
    this.#given.onWritten({ kept: [], records, touched: new Set([actor]), first: 0 });
  }
}

export class Hasty extends GroupCommit {
  override promised(): Promise<void> {
    return Promise.resolve();
  }
}

/** What one actor tells another is written a turn later. */
export class Apart extends GroupCommit {
  readonly #defer: Committing['world']['defer'];
  #first: string | null = null;

  constructor(given: Committing) {
    super(given);
    this.#defer = given.world.defer;
  }

  override keep(kept: Kept): void {
    if (this.#first === null) this.#defer(() => (this.#first = null));
    this.#first ??= kept.entry.actor;
    if (kept.entry.actor === this.#first) super.keep(kept);
    else this.#defer(() => super.keep(kept));
  }
}

/** The same fleet with one method in the place of another. */
const over = (fleet: Fleet, broken: Partial<Fleet>): Fleet =>
  new Proxy(fleet, {
    get(target, name: keyof Fleet) {
      const method = target[name] as (...given: unknown[]) => unknown;
      return broken[name] ?? method.bind(target);
    },
  });

export const deaf =
  (to: (id: string, event: Told) => boolean) =>
  (fleet: Fleet): Fleet =>
    over(fleet, { note: (id, event) => !to(id, event) && fleet.note(id, event) });

/** What is sent always counts as taken. */
export const yes =
  (type: string) =>
  (fleet: Fleet): Fleet =>
    over(fleet, { send: async (id, event) => (await fleet.send(id, event)) || event.type === type });

type Runs = (input: unknown, scope: EffectScope & { send?(event: Told): void }) => unknown;

/** The same effects, each wrapped. */
function each(kinds: Kinds, wrap: (port: string, effect: Runs) => Runs): Kinds {
  const all = Object.entries(kinds).map(([kind, logic]) => {
    const effects = Object.entries(logic.effects).map(([port, effect]) => [
      port,
      wrap(port, effect as Runs) as Effect,
    ]);
    return [kind, { ...logic, effects: Object.fromEntries(effects) }];
  });
  return Object.fromEntries(all) as Record<ActorKind, Kinds[ActorKind]>;
}

/** Effects go on after their port was closed, and their outcomes are told all the same. */
export const zombies = (kinds: Kinds, server: Server): Kinds =>
  each(kinds, (port, effect) => (input, scope) => {
    const { signal } = new AbortController();
    const late = (event: Told) => {
      if (scope.signal.aborted) server.fleet.note(scope.actor, event);
      else scope.send?.(event);
    };
    const outcome = effect(input, { ...scope, signal, send: late });
    if (!(outcome instanceof Promise)) return outcome;
    return outcome.then((output) => {
      const at = server.clock.now();
      const type = `xstate.done.actor.${port}`;
      if (scope.signal.aborted) server.fleet.note(scope.actor, { type, at, output } as Told);
      return output;
    });
  });

/** A deadline that had passed when the server came back never rings. */
export const deafAlarms = (kinds: Kinds, server: Server): Kinds =>
  each(kinds, (port, effect) => (input, scope) => {
    const at = port === 'alarm' ? (input as { at: number | null }).at : null;
    const isLate = server.isRestoring && at !== null && at <= server.clock.now();
    return isLate ? listening : effect(input, scope);
  });

// ── Journal ─────────────────────────────────────────────────────────────────

/** What a server would write next that does not know that it was followed: it loses a link. */
function nextOf({ entries }: Batch): Batch {
  const last = entries.at(-1);
  if (!last) return { entries, records: [] };
  const event = { type: 'link.lost', at: last.at } as Told;
  return { entries: [{ ...last, seq: last.seq + 1, event }], records: [] };
}

/**
 * A batch of a server that was killed, or of one that should have been, comes in when its follower writes.
 */
export function unfenced(inner: MemoryJournal, { raw }: HouseWorld): MemoryJournal {
  const onTheWay = new Set<Batch>();
  let last: Batch | null = null;
  return {
    ...inner,
    async append(batch) {
      onTheWay.add(batch);
      const cursor = await inner.append(batch);
      onTheWay.delete(batch);
      last = batch;
      const { stale, memory } = raw;
      raw.stale = null;
      // Whoever does not know that it was followed knows nothing of the follower's numbers either.
      if (stale) await memory?.append({ entries: stale.entries, records: stale.records }).catch(() => {});
      return cursor;
    },
    crash(how) {
      const [stale] = onTheWay;
      raw.stale = stale ?? (last && nextOf(last));
      return inner.crash(how);
    },
  };
}
