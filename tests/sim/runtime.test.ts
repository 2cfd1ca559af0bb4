/** The runtime of the simulation is held to what every runtime must do. */
import type { Handle } from '../../src/runtime.ts';
import { runtimeContract } from '../contracts/runtime.ts';
import { FakeAgent } from './agents.ts';
import { FakeRuntimes } from './runtimes.ts';
import { SimTime } from './time.ts';

runtimeContract('the runtime of the simulation', async () => {
  const time = new SimTime();
  const world = { time, deeds: new Map(), faults: {}, chance: () => false };
  const all = new FakeRuntimes({
    time,
    spawn: (name, pid) => new FakeAgent(name, pid, world),
    latency: () => 0,
    fails: () => false,
    onGone: () => {},
    onDestroy: () => {},
  });
  return {
    runtime: all.doorOf({ isAlive: true }),
    again: () => all.doorOf({ isAlive: true }),
    spec: (name) => ({ name, instanceId: 'i-1', runtime: 'host' }),
    crash: async ({ name }: Handle) => all.end(name, 1),
    close: async () => {},
  };
});
