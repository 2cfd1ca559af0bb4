/**
 * Looking back: what an actor was after any of its entries, what changed between two of them, and whether
 * its stored state is what its entries say.
 *
 *   entries 1…n ──▶ fold (step.ts) ──▶ state at n
 *
 * Pure: reads nothing, and tells nobody.
 */
import type { ActorRecord, JournalEntry } from '../journal.ts';
import { type Logic, migrated } from './kinds.ts';
import { fold, type Remembered, recall, remember } from './step.ts';

/** An actor's state after its entry `seq`, as plain JSON. */
export interface StateAt extends Remembered {
  readonly seq: number;
  readonly live: boolean;
  readonly view: unknown;
}

export interface Difference {
  /** Dotted, as in `context.exitCode`; a part that holds a dot is in brackets. */
  readonly path: string;
  readonly from: unknown;
  readonly to: unknown;
}

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value ?? null));

/** `entries`: from the first one on, without a hole. */
export function stateAt(logic: Logic, entries: readonly JournalEntry[]): StateAt {
  const living = fold(logic.machine, entries);
  const last = entries.at(-1)?.event as { readonly type: string; readonly verdict?: string } | undefined;
  const gaveUp = last?.type === 'actor.died' && last.verdict !== 'restart';
  return {
    ...(plain(remember(living)) as Remembered),
    seq: living.seq,
    live: living.snapshot.status === 'active' && !gaveUp,
    view: plain(logic.view(living.snapshot)),
  };
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What differs between two pieces of plain JSON; lists are compared as wholes. */
export function differences(from: unknown, to: unknown, path = ''): Difference[] {
  if (isMap(from) && isMap(to)) {
    const names = new Set([...Object.keys(from), ...Object.keys(to)]);
    return [...names].flatMap((name) => differences(from[name] ?? null, to[name] ?? null, under(path, name)));
  }
  return JSON.stringify(from) === JSON.stringify(to) ? [] : [{ path, from, to }];
}

const under = (path: string, name: string): string => {
  if (/[.[\]]/.test(name)) return `${path}[${JSON.stringify(name)}]`;
  return path === '' ? name : `${path}.${name}`;
};

/** How a record differs from what its entries fold to; nothing when all is well. */
export function verify(
  logic: Logic,
  record: ActorRecord,
  entries: readonly JournalEntry[],
): readonly Difference[] {
  const own = entries.filter(({ seq }) => seq <= record.seq);
  const hole = own.findIndex(({ seq }, i) => seq !== i + 1);
  if (hole >= 0 || own.length !== record.seq) {
    const missing = hole >= 0 ? hole + 1 : own.length + 1;
    return [{ path: `entry ${missing}`, from: 'missing', to: null }];
  }
  const stored = plain(remember(recall(logic.machine, migrated(logic, record), record.seq)));
  const { view: _, seq, live, ...folded } = stateAt(logic, own);
  return differences({ ...(stored as object), seq: record.seq, live: record.live }, { ...folded, seq, live });
}
