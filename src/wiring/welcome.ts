/** The first words: whether the agents that should be there are. */
import { Failure } from '../failure.ts';
import type { AgentId } from '../ids.ts';
import type { InstanceView } from '../views.ts';
import { type House, until } from './house.ts';

/** How long the first words wait for agents that should be there. */
const WELCOME_MS = 20_000;

/** Waits until the agents that should be there are, but not for ever. */
export async function welcome(house: House): Promise<string> {
  const wanted = () =>
    (house.fleet.views('instance') as InstanceView[]).filter(
      ({ state }) => state === 'running' || state === 'starting' || state === 'provisioning',
    );
  const late = () => new Failure('timed-out', 'not yet');
  await Promise.all(
    wanted().map(({ name }) => {
      const look = () => (house.links.has(name as AgentId) ? true : null);
      return until(house, { fact: `link:${name}`, look, withinMs: WELCOME_MS, late }).catch(() => null);
    }),
  );
  const names = wanted().map(
    ({ name }) => `${name} ${house.links.has(name as AgentId) ? 'ready' : 'not connected yet'}`,
  );
  return names.length === 0 ? 'no instances yet' : names.join(', ');
}
