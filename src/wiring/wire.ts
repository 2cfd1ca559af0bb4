/** Fills every machine's ports with the world. The only file that joins a machine to an effect. */
import { agentMachine, agentView } from '../actors/agent.ts';
import { hitlMachine, hitlView } from '../actors/hitl.ts';
import { instanceMachine, instanceView } from '../actors/instance.ts';
import type { Effect, Kind, Kinds, Migration } from '../actors/kinds.ts';
import { sessionMachine, sessionView } from '../actors/session.ts';
import { taskMachine } from '../actors/task.ts';
import { taskView } from '../actors/task-view.ts';
import { hitlEffects } from './hitl.ts';
import type { House } from './house.ts';
import { instanceEffects, type Revoke } from './instances.ts';
import type { KeysFor } from './questions.ts';
import { sessionEffects } from './sessions.ts';
import { taskEffects, taskExtras } from './tasks.ts';

export interface Outside {
  readonly keysFor: KeysFor;
  readonly revoke: Revoke;
}

interface Wired {
  readonly machine: Kind['machine'];
  readonly view: unknown;
  readonly effects: object;
  /** From version 1 on, one for each step; the machine's version is one more than there are. */
  readonly migrations: readonly Migration[];
}

const kind = ({ machine, view, effects, migrations }: Wired): Kind => ({
  machine,
  migrations,
  version: migrations.length + 1,
  effects: effects as Readonly<Record<string, Effect>>,
  view: view as Kind['view'],
});

export function wire(house: House, { keysFor, revoke }: Outside): Kinds {
  return {
    instance: kind({
      machine: instanceMachine,
      view: instanceView,
      effects: instanceEffects(house, revoke),
      migrations: [],
    }),
    agent: kind({ machine: agentMachine, view: agentView, effects: {}, migrations: [] }),
    session: kind({
      machine: sessionMachine,
      view: sessionView,
      effects: sessionEffects(house, taskExtras(house)),
      migrations: [],
    }),
    task: kind({ machine: taskMachine, view: taskView, effects: taskEffects(house), migrations: [] }),
    hitl: kind({
      machine: hitlMachine,
      view: hitlView,
      effects: hitlEffects(house, keysFor),
      migrations: [],
    }),
  };
}
