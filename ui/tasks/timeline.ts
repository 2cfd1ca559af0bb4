/**
 * The life of a task as a row of steps: what is behind it, where it is, what is ahead. Pure.
 */
import type { TaskState, TaskView } from '../../src/views.ts';

export interface Step {
  readonly state: TaskState;
  readonly phase: 'past' | 'present' | 'ahead' | 'skipped';
  /** When it was entered, when we know. */
  readonly at: string | null;
}

const road: readonly TaskState[] = [
  'PENDING',
  'STAGING',
  'PROVISIONING',
  'READY',
  'RUNNING',
  'COMPLETING',
  'COMPLETED',
];

/** `seen` has the instants of the states that were told to us, by the log or the feed. */
export function timeline(task: TaskView, seen: ReadonlyMap<TaskState, string>): Step[] {
  const known = new Map(seen).set('PENDING', task.created_at).set(task.state, task.state_changed_at);
  const place = road.indexOf(task.state);
  if (place >= 0) {
    return road.map((state, index) => ({
      state,
      phase: index < place || task.state === 'COMPLETED' ? 'past' : index === place ? 'present' : 'ahead',
      at: index <= place ? (known.get(state) ?? null) : null,
    }));
  }
  // It left the road: the last state that was told, or that left a trace, is how far it came.
  const told = road.map((state, index) => (known.has(state) ? index : 0));
  const furthest = Math.max(0, ...told, traceOf(task));
  const steps = road.slice(0, -1).map(
    (state, index): Step => ({
      state,
      phase: index <= furthest ? 'past' : 'skipped',
      at: known.get(state) ?? null,
    }),
  );
  return [...steps, { state: task.state, phase: 'present', at: task.state_changed_at }];
}

/** How far it must have come to have what it has. */
function traceOf({ session_id, agent_id, started_at }: TaskView): number {
  if (session_id !== null) return road.indexOf('RUNNING');
  if (agent_id !== null) return road.indexOf('PROVISIONING');
  return started_at === null ? 0 : road.indexOf('STAGING');
}
