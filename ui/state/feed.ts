/**
 * Keeps the house true: lists from GET, then every event, then lists again whenever something may be missing.
 *
 * The stream opens first and its events wait until the lists are in; so nothing that happens between the two
 * is lost. Metrics are not events; agents and sessions are polled while someone looks.
 */
import type { AgentView, EventView, HitlView, InstanceView, SessionView, TaskView } from '../../src/views.ts';
import { call, onUnauthenticated } from '../wire/api.ts';
import { problemOf } from '../wire/problem.ts';
import { follow } from '../wire/sse.ts';
import { isOlder, type Snapshot, withEvents, withHistory, withSnapshot } from './house.ts';
import { noteTrouble } from './notes.ts';
import { connection, house, signedOut } from './store.ts';

const pollMs = 4000;
const historyWanted = 200;

let stop: (() => void) | null = null;
let waiting: EventView[] | null = null;

/** Called once. */
export function startFeed(): void {
  stop?.();
  waiting = [];
  stop = follow({
    path: 'events?follow=true',
    onEvent: ({ event, data }) => {
      if (event === 'gap' || event === 'reset') void refresh();
      else take(data);
    },
    onState: (state, problem) => {
      connection.set({ link: state, problem, since: Date.now() });
      if (state === 'live') void refresh();
    },
  });
}

function take(text: string): void {
  const event = parse(text);
  if (!event) return;
  if (waiting) waiting.push(event);
  else house.set(withEvents(house.get(), [event]));
}

function parse(text: string): EventView | null {
  try {
    const event = JSON.parse(text) as EventView;
    return typeof event.id === 'number' && typeof event.actor === 'string' ? event : null;
  } catch {
    return null;
  }
}

/** Reads every list again. Events that come meanwhile are applied after it. */
export async function refresh(): Promise<void> {
  waiting ??= [];
  try {
    const [snapshot, history] = await Promise.all([lists(), recentEvents()]);
    const held = waiting;
    waiting = null;
    house.set(withEvents(withHistory(withSnapshot(house.get(), snapshot), history), held));
  } catch (thrown) {
    const held = waiting ?? [];
    waiting = null;
    house.set(withEvents(house.get(), held));
    const problem = problemOf(thrown);
    if (problem.status !== 401 && problem.status !== 0) noteTrouble('Could not load the lists', thrown);
  }
}

async function lists(): Promise<Snapshot> {
  const [agents, sessions, tasks, questions, instances] = await Promise.all([
    call<{ agents: AgentView[] }>('agents'),
    call<{ sessions: SessionView[] }>('sessions'),
    call<{ tasks: TaskView[]; total_count: number }>('tasks?limit=100'),
    call<{ requests: HitlView[] }>('hitl?state=all'),
    call<{ instances: InstanceView[] }>('instances'),
  ]);
  return {
    agents: agents.agents,
    sessions: sessions.sessions,
    tasks: tasks.tasks,
    tasksTotal: tasks.total_count,
    questions: questions.requests,
    instances: instances.instances,
  };
}

/**
 * The newest page of the feed. `last_event_id` is the newest cursor, so one page before it is what we want.
 */
async function recentEvents(): Promise<EventView[]> {
  const tip = await call<{ last_event_id: number | string }>('events?limit=1');
  const after = Math.max(0, Number(tip.last_event_id) - historyWanted);
  const page = await call<{ events: EventView[] }>(`events?after=${after}&limit=${historyWanted}`);
  return page.events;
}

/** More tasks than the first page. */
export async function loadOlderTasks(): Promise<void> {
  const offset = house.get().tasks.size;
  const page = await call<{ tasks: TaskView[]; total_count: number }>(`tasks?limit=100&offset=${offset}`);
  house.set(withSnapshot(house.get(), { tasks: page.tasks, tasksTotal: page.total_count }));
}

/** An answer of the API is as good as an event, and often comes first; when it comes later, it is old. */
export function learn(snapshot: {
  task?: TaskView;
  question?: HitlView;
  instance?: InstanceView;
  session?: SessionView;
}): void {
  const before = house.get();
  const { task, question, instance, session } = snapshot;
  house.set({
    ...before,
    tasks:
      task && !isOlder(task, before.tasks.get(task.id))
        ? new Map(before.tasks).set(task.id, task)
        : before.tasks,
    questions: question ? new Map(before.questions).set(question.hitl_id, question) : before.questions,
    instances:
      instance && !isOlder(instance, before.instances.get(instance.name))
        ? new Map(before.instances).set(instance.name, instance)
        : before.instances,
    sessions: session ? new Map(before.sessions).set(session.session_id, session) : before.sessions,
  });
}

async function poll(): Promise<void> {
  if (document.hidden || connection.get().link !== 'live' || waiting) return;
  const [agents, sessions] = await Promise.all([
    call<{ agents: AgentView[] }>('agents'),
    call<{ sessions: SessionView[] }>('sessions'),
  ]);
  if (!waiting) house.set(withSnapshot(house.get(), { agents: agents.agents, sessions: sessions.sessions }));
}

/** Silence is right: the stream tells of a lost server, and the next poll comes. */
export function startPolling(): void {
  setInterval(() => void poll().catch(() => {}), pollMs);
  document.addEventListener('visibilitychange', () => void poll().catch(() => {}));
  onUnauthenticated(() => signedOut.set(true));
}
