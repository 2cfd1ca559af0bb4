/**
 * What the fleet must know of each kind of actor: its machine, its view, its effects, and how a
 * snapshot of an older version becomes one of today's.
 */
import type { AnyMachineSnapshot, AnyStateMachine } from 'xstate';
import { Failure } from '../failure.ts';
import type { ActorKind, ActorRecord } from '../journal.ts';
import { type Living, type Remembered, recall } from './step.ts';

/** An effect with its types forgotten; wiring/wire.ts checks them where it fills the holes. */
export type Effect = (input: never, scope: never) => unknown;

/** Takes a remembered state one version on. Pure. */
export type Migration = (kept: Remembered) => Remembered;

/** What is needed to read an actor's life. */
export interface Logic {
  readonly machine: AnyStateMachine;
  /** One more than the number of migrations. */
  readonly migrations: readonly Migration[];
  readonly version: number;
  view(snapshot: AnyMachineSnapshot): unknown;
}

export interface Kind extends Logic {
  readonly effects: Readonly<Record<string, Effect>>;
}

export type Kinds = Readonly<Record<ActorKind, Kind>>;

/** Brings a record back to life, over as many versions as it is old. */
export function revive(kinds: Kinds, record: ActorRecord): Living {
  const logic = kinds[record.kind];
  return recall(logic.machine, migrated(logic, record), record.seq);
}

/** A record's snapshot as the present version of its machine would have written it. */
export function migrated({ migrations, version }: Logic, record: ActorRecord): Remembered {
  if (record.version > version) {
    throw new Failure(
      'wrong-state',
      `${record.actor} was written by version ${record.version} of the ${record.kind} machine and this server ` +
        `knows ${version}; start the newer server again`,
    );
  }
  const steps = migrations.slice(record.version - 1);
  return steps.reduce((state, migrate) => migrate(state), record.snapshot as Remembered);
}
