/** What the doors see of an agent beside its actor. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { agentDesk } from '../../src/wiring/agents.ts';
import { type Rig, rig } from './rig.ts';

let on: Rig;
beforeAll(async () => {
  on = await rig();
});
afterAll(() => on.remove());

test('[G35] by what an agent proved itself is shown while it is connected, and no longer', async () => {
  const desk = agentDesk(on.house);
  const link = await on.connect('web-1');
  expect(desk.find('web-1')?.proof).toEqual({ kind: 'peer-credentials', serial: null, not_after: null });
  on.listener.lost(link, 'unplugged');
  await on.settle();
  expect(desk.find('web-1')).toMatchObject({ state: 'disconnected', proof: null });
  expect(JSON.stringify(await on.journal.history('agent:web-1', 1, 100))).not.toContain('peer-credentials');
});
