/**
 * One actor's life as a pure function: `(state, event) → (state, what should happen)`.
 *
 * This is the only place that asks XState for a transition. What is remembered of an actor is
 * plain JSON: the state's value, its context, and the ports it has open with the input they were
 * opened with. `fold` of an actor's entries gives its remembered state again, always.
 */
import {
  type AnyActorScope,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  createActor,
  type StateValue,
} from 'xstate';
import type { ChildSpec, Told } from './port.ts';

/** A port that is open: run while the actor stays in the state that opened it. */
export interface OpenPort {
  readonly src: string;
  readonly input: unknown;
  /** The entry that opened it; a port opened again is another one. */
  readonly seq: number;
}

/** What the journal keeps as an actor's snapshot. */
export interface Remembered {
  readonly value: StateValue;
  readonly context: unknown;
  readonly ports: Readonly<Record<string, OpenPort>>;
}

/** An actor's state in memory. */
export interface Living {
  readonly snapshot: AnyMachineSnapshot;
  readonly ports: Readonly<Record<string, OpenPort>>;
  readonly seq: number;
}

export type Act =
  | { readonly do: 'tell'; readonly to: string; readonly event: Told }
  | { readonly do: 'spawn'; readonly spec: ChildSpec; readonly at: number };

export interface Stepped {
  readonly next: Living;
  readonly acts: readonly Act[];
}

/** Entries of the fleet about an actor, which its machine never sees. */
export const fleetEvents: ReadonlySet<string> = new Set(['born', 'actor.died', 'actor.revived']);

interface Executed {
  readonly type: string;
  readonly params?: unknown;
}

interface SpawnParams {
  readonly id: string;
  readonly src: string;
  readonly input: unknown;
}

/** The ports that the active states of a snapshot invoke, by id. */
function invokedBy(snapshot: AnyMachineSnapshot): Set<string> {
  const ids = new Set<string>();
  for (const node of snapshot._nodes) for (const invoke of node.invoke) ids.add(invoke.id);
  return ids;
}

function actsOf(actions: readonly Executed[]): Act[] {
  const acts: Act[] = [];
  for (const { type, params } of actions) {
    if (type === 'tell') {
      const { to, event } = params as { to: string | null; event: Told };
      if (to !== null) acts.push({ do: 'tell', to, event });
    } else if (type === 'spawn') {
      const { spec, at } = params as { spec: ChildSpec; at: number };
      acts.push({ do: 'spawn', spec, at });
    }
  }
  return acts;
}

interface Moved {
  readonly snapshot: AnyMachineSnapshot;
  readonly actions: readonly Executed[];
  readonly before: Readonly<Record<string, OpenPort>>;
  readonly seq: number;
}

function settle({ snapshot, actions, before, seq }: Moved): Stepped {
  const ports: Record<string, OpenPort> = {};
  if (snapshot.status === 'active') {
    const active = invokedBy(snapshot);
    for (const [id, port] of Object.entries(before)) if (active.has(id)) ports[id] = port;
    for (const { type, params } of actions) {
      if (type !== 'xstate.spawnChild') continue;
      const { id, src, input } = params as SpawnParams;
      if (active.has(id)) ports[id] = { src, input, seq };
    }
  }
  return { next: { snapshot, ports, seq }, acts: actsOf(actions) };
}

const scopes = new WeakMap<AnyStateMachine, AnyActorScope>();

/**
 * What XState's own `transition` makes anew for every step, an actor that is never run and its first state
 * with it: twice the cost of the step itself. It depends on nothing but the machine, so one will do.
 */
function scopeOf(machine: AnyStateMachine, actions: Executed[]): AnyActorScope {
  let scope = scopes.get(machine);
  if (!scope) {
    const self = createActor(machine);
    const nothing = () => {};
    scope = {
      self,
      id: '',
      sessionId: '',
      system: self.system,
      logger: nothing,
      defer: nothing,
      emit: nothing,
      stopChild: nothing,
      actionExecutor: nothing,
    };
    scopes.set(machine, scope);
  }
  scope.actionExecutor = (action) => void actions.push(action);
  return scope;
}

/** `seq` is above 1 for an actor that takes the name of one that ended: the log of the name goes on. */
export function born(machine: AnyStateMachine, input: unknown, seq = 1): Stepped {
  const actions: Executed[] = [];
  const snapshot = machine.getInitialSnapshot(scopeOf(machine, actions), input as never);
  if (snapshot.status === 'error') throw snapshot.error;
  return settle({ snapshot, actions, before: {}, seq });
}

/** Null when the machine has no transition for the event in its state: nothing happened. */
export function step(machine: AnyStateMachine, now: Living, event: Told): Stepped | null {
  if (now.snapshot.status !== 'active') return null;
  if (machine.getTransitionData(now.snapshot, event as never).length === 0) return null;
  // Transitions of children are not XState's business here, so none are kept in the snapshot.
  const actions: Executed[] = [];
  const scope = scopeOf(machine, actions);
  const before = { ...now.snapshot, children: {} };
  const snapshot = machine.transition(before as never, event as never, scope);
  return settle({ snapshot, actions, before: now.ports, seq: now.seq + 1 });
}

export const remember = ({ snapshot, ports }: Living): Remembered => ({
  value: snapshot.value,
  context: snapshot.context,
  ports,
});

const resolved = new WeakMap<AnyStateMachine, Map<string, AnyMachineSnapshot>>();

/**
 * A machine's snapshot in a state, whatever its context. Resolving costs ten times the rest of a recall, and
 * a machine has few states.
 */
function snapshotIn(machine: AnyStateMachine, value: StateValue): AnyMachineSnapshot {
  const known = resolved.get(machine) ?? new Map<string, AnyMachineSnapshot>();
  resolved.set(machine, known);
  const name = JSON.stringify(value);
  const found = known.get(name) ?? machine.resolveState({ value, context: {} as never });
  known.set(name, found);
  return found;
}

export function recall(machine: AnyStateMachine, { value, context, ports }: Remembered, seq: number): Living {
  const snapshot = { ...snapshotIn(machine, value), context } as AnyMachineSnapshot;
  return { snapshot, ports, seq };
}

/** Recomputes an actor from its entries; a name that was used again begins at its last birth. */
export function fold(
  machine: AnyStateMachine,
  entries: readonly { readonly seq: number; readonly event: { readonly type: string } }[],
): Living {
  const [first, ...rest] = entries.slice(entries.findLastIndex(({ event }) => event.type === 'born'));
  const input = (first?.event as { input?: unknown } | undefined)?.input;
  let living = born(machine, input, first?.seq).next;
  for (const { seq, event } of rest) {
    const stepped = fleetEvents.has(event.type) ? null : step(machine, living, event as Told);
    living = stepped ? stepped.next : { ...living, seq };
  }
  return living;
}
