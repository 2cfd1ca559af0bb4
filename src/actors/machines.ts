/** Every machine with what is needed to read its life, and nothing that acts. */
import type { ActorKind } from '../journal.ts';
import { agentMachine, agentView } from './agent.ts';
import { hitlMachine, hitlView } from './hitl.ts';
import { instanceMachine } from './instance.ts';
import { instanceView } from './instance-view.ts';
import type { Logic, Migration } from './kinds.ts';
import { sessionMachine, sessionView } from './session.ts';
import { taskMachine } from './task.ts';
import { taskView } from './task-view.ts';

/** `migrations`: from version 1 on, one for each step; the version is one more than there are. */
const logic = (machine: Logic['machine'], view: unknown, migrations: readonly Migration[] = []): Logic => ({
  machine,
  migrations,
  version: migrations.length + 1,
  view: view as Logic['view'],
});

export const machines: Readonly<Record<ActorKind, Logic>> = {
  instance: logic(instanceMachine, instanceView),
  agent: logic(agentMachine, agentView),
  session: logic(sessionMachine, sessionView),
  task: logic(taskMachine, taskView),
  hitl: logic(hitlMachine, hitlView),
};
