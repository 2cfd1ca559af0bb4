/**
 * Everything the page knows of the server, as plain immutable values, and how it changes.
 *
 * Two inputs only: a snapshot (the lists, as GET gave them) and events (each carries its actor's view after
 * it). Both are pure, so the order "snapshot, then the events that came meanwhile" always ends in the
 * server's state.
 */
import type { AgentView, EventView, HitlView, InstanceView, SessionView, TaskView } from '../../src/views.ts';

export type Link = 'connecting' | 'live' | 'lost' | 'refused';

export interface House {
  readonly agents: ReadonlyMap<string, AgentView>;
  readonly sessions: ReadonlyMap<string, SessionView>;
  readonly tasks: ReadonlyMap<string, TaskView>;
  readonly questions: ReadonlyMap<string, HitlView>;
  readonly instances: ReadonlyMap<string, InstanceView>;
  /** The newest of the feed, oldest first. */
  readonly events: readonly EventView[];
  readonly tasksTotal: number;
  /** False until the first snapshot: an empty list means nothing before that. */
  readonly isLoaded: boolean;
}

export interface Snapshot {
  readonly agents?: readonly AgentView[];
  readonly sessions?: readonly SessionView[];
  readonly tasks?: readonly TaskView[];
  readonly tasksTotal?: number;
  readonly questions?: readonly HitlView[];
  readonly instances?: readonly InstanceView[];
}

export const eventsKept = 500;

export const emptyHouse: House = {
  agents: new Map(),
  sessions: new Map(),
  tasks: new Map(),
  questions: new Map(),
  instances: new Map(),
  events: [],
  tasksTotal: 0,
  isLoaded: false,
};

/** Lists that the snapshot names replace ours; tasks are added to, because they come in pages. */
export function withSnapshot(house: House, snapshot: Snapshot): House {
  const { agents, sessions, tasks, questions, instances } = snapshot;
  return {
    ...house,
    agents: agents ? keyed(agents, (one) => one.id) : house.agents,
    sessions: sessions ? keyed(sessions, (one) => one.session_id) : house.sessions,
    tasks: tasks ? keyed([...house.tasks.values(), ...tasks], (one) => one.id) : house.tasks,
    questions: questions ? keyed(questions, (one) => one.hitl_id) : house.questions,
    instances: instances ? keyed(instances, (one) => one.name) : house.instances,
    tasksTotal: snapshot.tasksTotal ?? house.tasksTotal,
    isLoaded: true,
  };
}

/** Applies what happened. An event that is already in the feed changes nothing. */
export function withEvents(house: House, events: readonly EventView[]): House {
  const newest = house.events.at(-1)?.id ?? 0;
  const fresh = events.filter((event) => event.id > newest);
  if (fresh.length === 0) return house;
  const next = {
    ...house,
    agents: new Map(house.agents),
    sessions: new Map(house.sessions),
    tasks: new Map(house.tasks),
    questions: new Map(house.questions),
    instances: new Map(house.instances),
    events: [...house.events, ...fresh].slice(-eventsKept),
  };
  for (const event of fresh) apply(next, event);
  return { ...next, tasksTotal: house.tasksTotal + next.tasks.size - house.tasks.size };
}

/** Older entries of the feed, as history; they change no view. */
export function withHistory(house: House, events: readonly EventView[]): House {
  const oldest = house.events[0]?.id ?? Number.POSITIVE_INFINITY;
  const older = events.filter((event) => event.id < oldest);
  return older.length === 0 ? house : { ...house, events: [...older, ...house.events].slice(-eventsKept) };
}

interface Draft {
  agents: Map<string, AgentView>;
  sessions: Map<string, SessionView>;
  tasks: Map<string, TaskView>;
  questions: Map<string, HitlView>;
  instances: Map<string, InstanceView>;
}

function apply(draft: Draft, event: EventView): void {
  const view = event.data;
  if (typeof view !== 'object' || view === null) return;
  switch (actorKind(event.actor)) {
    case 'agent':
      if (has(view, 'id')) put(draft.agents, view.id, withMetrics(view as AgentView, draft.agents));
      break;
    case 'session':
      if (has(view, 'session_id')) {
        draft.sessions.set(view.session_id, withCounts(view as SessionView, draft.sessions));
      }
      break;
    case 'task':
      if (has(view, 'id')) draft.tasks.set(view.id, view as TaskView);
      break;
    case 'hitl':
      if (has(view, 'hitl_id')) draft.questions.set(view.hitl_id, view as HitlView);
      break;
    case 'instance':
      if (has(view, 'name')) put(draft.instances, view.name, view as InstanceView);
      break;
  }
}

const over: ReadonlySet<string> = new Set(['gone', 'destroyed']);

function put<V extends { state: string }>(map: Map<string, V>, key: string, view: V): void {
  if (over.has(view.state)) map.delete(key);
  else map.set(key, view);
}

/** Metrics are telemetry, not life: an event may not carry them, and that does not make them unknown. */
function withMetrics(view: AgentView, agents: ReadonlyMap<string, AgentView>): AgentView {
  const before = agents.get(view.id);
  if (!before) return view;
  return {
    ...view,
    metrics: view.metrics ?? before.metrics,
    system_info: view.system_info ?? before.system_info,
    last_heartbeat: view.last_heartbeat ?? before.last_heartbeat,
  };
}

/** What is counted and who watches are not events: an event's zero does not make them unknown. */
function withCounts(view: SessionView, sessions: ReadonlyMap<string, SessionView>): SessionView {
  const before = sessions.get(view.session_id);
  if (!before) return view;
  const isOver = view.ended_at !== null;
  return {
    ...view,
    output_bytes: Math.max(view.output_bytes, before.output_bytes),
    controller: isOver ? null : (view.controller ?? before.controller),
    observers: isOver ? [] : view.observers.length > 0 ? view.observers : before.observers,
  };
}

/** True for an answer that was made before what an event has told since. */
export function isOlder<
  V extends Pick<TaskView, 'state_changed_at'> | Pick<InstanceView, 'state_changed_at'>,
>(view: V, known: V | undefined): boolean {
  if (!known) return false;
  return new Date(view.state_changed_at).getTime() < new Date(known.state_changed_at).getTime();
}

export function actorKind(actor: string): string {
  const colon = actor.indexOf(':');
  return colon < 0 ? actor : actor.slice(0, colon);
}

export function actorId(actor: string): string {
  return actor.slice(actor.indexOf(':') + 1);
}

function has<K extends string>(view: object, key: K): view is Record<K, string> {
  return key in view && typeof (view as Record<string, unknown>)[key] === 'string';
}

function keyed<V>(values: readonly V[], key: (value: V) => string): ReadonlyMap<string, V> {
  return new Map(values.map((value) => [key(value), value]));
}
