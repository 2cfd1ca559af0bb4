/** Fills every machine's ports with the world. The only file that joins a machine to an effect. */
import type { Effect, Kind, Kinds, Logic } from '../actors/kinds.ts';
import { machines } from '../actors/machines.ts';
import { hitlEffects } from './hitl.ts';
import type { House } from './house.ts';
import { instanceEffects, type OfIdentity } from './instances.ts';
import type { KeysFor } from './questions.ts';
import { sessionEffects } from './sessions.ts';
import { launchExtras, taskEffects } from './tasks.ts';

export interface Outside extends OfIdentity {
  readonly keysFor: KeysFor;
}

const kind = (logic: Logic, effects: object): Kind => ({
  ...logic,
  effects: effects as Readonly<Record<string, Effect>>,
});

export function wire(house: House, { keysFor, ...identity }: Outside): Kinds {
  return {
    instance: kind(machines.instance, instanceEffects(house, identity)),
    agent: kind(machines.agent, {}),
    session: kind(machines.session, sessionEffects(house, launchExtras(house))),
    task: kind(machines.task, taskEffects(house)),
    hitl: kind(machines.hitl, hitlEffects(house, keysFor)),
  };
}
