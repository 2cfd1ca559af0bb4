/** Views of actors with what is observed beside them, as the feed and the doors show them. */
import type { AgentView, InstanceView, SessionView, TaskView } from '../views.ts';
import { observed } from './agents.ts';
import { stored } from './agentshare.ts';
import type { House } from './house.ts';
import { observedSession } from './sessions.ts';
import { told } from './task-desk.ts';

export const decorated =
  (house: House) =>
  (kind: string, view: unknown): unknown => {
    if (view === null) return view;
    if (kind === 'agent') return observed(house, view as AgentView);
    if (kind === 'instance') return stored(house, view as InstanceView);
    if (kind === 'session') return observedSession(house, view as SessionView);
    return kind === 'task' ? told(house, view as TaskView) : view;
  };
