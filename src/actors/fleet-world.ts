/** What the fleet needs from outside, and its limits. */
import type { Clock } from '../clock.ts';
import type { Journal } from '../journal.ts';
import type { Log } from '../log.ts';
import type { Kinds } from './kinds.ts';

export interface FleetWorld {
  readonly clock: Clock;
  readonly journal: Journal;
  readonly kinds: Kinds;
  readonly log: Log;
  /** Runs a function after the current turn; what happens in one turn is one write. */
  readonly defer: (fn: () => void) => void;
  /** The journal refused a batch for good, as when another server writes it: nothing can go on. */
  readonly fatal: (thrown: unknown) => void;
  readonly limits?: Partial<FleetLimits>;
}

export interface FleetLimits {
  /** Ended actors of each kind whose view stays in memory; older ones are read from the journal. */
  readonly endedKeptMax: number;
  /** Transitions waiting for a journal that is away; beyond it commands are refused. */
  readonly pendingEntriesMax: number;
  /** How long a command waits for its durability before it is told that nothing is promised. */
  readonly promiseMs: number;
}

export const limitsDefault: FleetLimits = {
  endedKeptMax: 2_000,
  pendingEntriesMax: 50_000,
  promiseMs: 10_000,
};
