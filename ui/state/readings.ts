/**
 * What the views ask of the house: order, counts and what belongs together. Pure.
 */
import type { AgentView, EventView, HitlView, SessionView, TaskState, TaskView } from '../../src/views.ts';
import { plural } from '../words.ts';
import { actorKind, type House } from './house.ts';

const asking: ReadonlySet<HitlView['state']> = new Set(['open', 'answering']);

/** Open or being delivered; what expires first comes first, then the oldest. */
export function openQuestions(house: House): HitlView[] {
  return [...house.questions.values()]
    .filter((question) => asking.has(question.state))
    .sort(
      (a, b) =>
        (a.expires_at_ms ?? Number.POSITIVE_INFINITY) - (b.expires_at_ms ?? Number.POSITIVE_INFINITY) ||
        a.created_at_ms - b.created_at_ms,
    );
}

/** Those that are over, the newest end first. */
export function pastQuestions(house: House): HitlView[] {
  return [...house.questions.values()]
    .filter((question) => !asking.has(question.state))
    .sort((a, b) => (b.ended_at_ms ?? b.created_at_ms) - (a.ended_at_ms ?? a.created_at_ms));
}

/** The order of ids is no help to a reader: names are. */
export function agentsByName(house: House): AgentView[] {
  return [...house.agents.values()].sort((a, b) => a.id.localeCompare(b.id, undefined, { numeric: true }));
}

export function isLive(session: SessionView): boolean {
  return session.state === 'starting' || session.state === 'live' || session.state === 'detached';
}

/** Live ones first, those that ask before the others, then the newest. */
export function sessionsInOrder(house: House, agent?: string): SessionView[] {
  return [...house.sessions.values()]
    .filter((session) => agent === undefined || session.agent_id === agent)
    .sort(
      (a, b) =>
        Number(isLive(b)) - Number(isLive(a)) ||
        Number(b.hitl_id !== null) - Number(a.hitl_id !== null) ||
        b.created_at.localeCompare(a.created_at),
    );
}

export const taskGroups = {
  active: ['PENDING', 'STAGING', 'PROVISIONING', 'READY', 'RUNNING', 'COMPLETING'],
  completed: ['COMPLETED'],
  failed: ['FAILED', 'FAILED_PRESERVED'],
  cancelled: ['CANCELLED'],
} as const satisfies Record<string, readonly TaskState[]>;

export type TaskGroup = keyof typeof taskGroups;

export function isOver(task: TaskView): boolean {
  return !(taskGroups.active as readonly TaskState[]).includes(task.state);
}

export interface TaskFilter {
  readonly group: TaskGroup | 'all' | 'waiting';
  /** Matches name, id, tool, agent and repository, without case. */
  readonly words: string;
}

/** Newest first. */
export function tasksMatching(house: House, { group, words }: TaskFilter): TaskView[] {
  const wanted = words.trim().toLowerCase();
  return [...house.tasks.values()]
    .filter(
      (task) => group === 'all' || (group === 'waiting' ? task.waiting_for_human : inGroup(task, group)),
    )
    .filter((task) => wanted === '' || taskWords(task).includes(wanted))
    .sort((a, b) => b.created_at.localeCompare(a.created_at) || b.id.localeCompare(a.id));
}

function inGroup(task: TaskView, group: TaskGroup): boolean {
  return (taskGroups[group] as readonly TaskState[]).includes(task.state);
}

function taskWords(task: TaskView): string {
  return [task.name, task.id, task.tool, task.agent_id ?? '', task.repository?.url ?? '']
    .join(' ')
    .toLowerCase();
}

export interface EventFilter {
  readonly kinds: ReadonlySet<string>;
  readonly words: string;
}

/** Newest first; no kinds means all. */
export function eventsMatching(events: readonly EventView[], { kinds, words }: EventFilter): EventView[] {
  const wanted = words.trim().toLowerCase();
  return events
    .filter((event) => kinds.size === 0 || kinds.has(actorKind(event.actor)))
    .filter((event) => wanted === '' || `${event.event_type} ${event.actor}`.toLowerCase().includes(wanted))
    .toReversed();
}

export function hostWords(agent: AgentView): string {
  const facts = agent.system_info;
  const parts = [
    // Its name alone could be taken for what the machine is: hosts are called `vm`, too.
    agent.hostname === '' ? '' : `hostname ${agent.hostname}`,
    agent.ip_address,
    facts?.os ?? '',
    facts ? plural(facts.cpu_cores, 'core') : '',
  ];
  return parts.filter((part) => part !== '').join(' · ') || 'No facts yet';
}
