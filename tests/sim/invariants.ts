/** What must hold after every step of a simulated schedule, with the rule of SPEC.md that it is of. */
import { fold, remember } from '../../src/actors/step.ts';
import type { ActorKind } from '../../src/journal.ts';
import type { World } from '../actors/world.ts';
import { machines } from '../actors/world.ts';

export interface Looked {
  readonly w: World;
  /** What callers were promised, and has not been looked at since: actor and event. */
  readonly promised: readonly { readonly actor: string; readonly type: string }[];
  /** After a kill and at the end everything is looked at, and every life folded. */
  readonly isWhole: boolean;
  /** Actors that may have changed since the last look: all of them after a kill. */
  readonly changed: readonly { readonly id: string; readonly kind: ActorKind; readonly live: boolean }[];
}

/** What is wrong; null when all is well. */
type Invariant = (looked: Looked) => Promise<string | null>;

interface Kept {
  readonly ports: Readonly<Record<string, unknown>>;
}

export const invariants: Readonly<Record<string, Invariant>> = {
  async '[S1] what was promised is in the journal'({ w: { journal }, promised }) {
    for (const { actor, type } of promised) {
      const entries = await journal.history(actor, 1, 1_000);
      if (!entries.some(({ event }) => event.type === type)) return `${type} of ${actor} is gone`;
    }
    return null;
  },

  async '[S2] an effect runs only once what asked for it is in the journal'({ w: { journal, asked } }) {
    for (const { actor, port } of asked) {
      const record = await journal.record(actor);
      if (!record || !(port in (record.snapshot as Kept).ports)) return `${port} of ${actor} runs`;
    }
    return null;
  },

  async '[S3] every living actor of the journal is alive'({ w: { journal, fleet } }) {
    for (const { actor } of await journal.live()) {
      // Its end may be on its way.
      if (fleet.view(actor) === null) return `${actor} was not restored`;
    }
    return null;
  },

  async '[S9] every actor is what its entries fold to, and none of them is missing'({
    w: { journal },
    changed,
    isWhole,
  }) {
    for (const { id, kind } of changed) {
      const entries = await journal.history(id, 1, 1_000);
      if (entries.some(({ seq }, i) => seq !== i + 1)) return `${id} has a hole in its log`;
      const kept = await journal.record(id);
      if (entries.length > 0 && !kept) return `${id} has entries and no record`;
      if (!kept) continue;
      if (kept.seq !== entries.length)
        return `${id} has ${entries.length} entries, its record says ${kept.seq}`;
      if (
        isWhole &&
        JSON.stringify(kept.snapshot) !== JSON.stringify(remember(fold(machines[kind], entries)))
      )
        return `${id} is something else`;
    }
    return null;
  },

  async '[H1] an open question is known to its session'({ w: { fleet }, changed }) {
    for (const { id, kind, live } of changed) {
      if (kind !== 'hitl' || !live) continue;
      const { session, id: mine } = fleet.context(id) as { session: string; id: string };
      const holder = fleet.context(`session:${session}`) as { hitl: string | null } | null;
      if (holder?.hitl !== mine) return `${id} is open and its session does not know it`;
    }
    return null;
  },
};
