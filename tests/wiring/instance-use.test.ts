/** What an instance uses, and how often that is looked at. */
import { expect, test } from 'bun:test';
import { SimulatedClock } from 'xstate';
import type { Usage } from '../../src/runtime.ts';
import type { House } from '../../src/wiring/house.ts';
import { instanceUse } from '../../src/wiring/instance-use.ts';

function ground(answer: () => Promise<Usage | null>) {
  const clock = new SimulatedClock();
  const looks = { count: 0 };
  const usage = () => {
    looks.count += 1;
    return answer();
  };
  const handle = { version: 1, runtime: 'host', name: 'box', instanceId: 'i-1' };
  const fleet = {
    view: (id: string) => (id === 'instance:box' ? { name: 'box', instance_id: 'i-1' } : null),
    context: () => ({ handle }),
  };
  const house = { clock, fleet, runtimes: new Map([['host', { usage }]]) } as unknown as House;
  return { use: instanceUse(house), clock, looks };
}

test('[O17] what an instance uses is measured when it is asked for, once for all who ask within two seconds', async () => {
  const { use, clock, looks } = ground(async () => ({ cpuPercent: 12, memoryBytes: 9, processes: 3 }));
  const told = await Promise.all([use('box'), use('box')]);
  expect(told[0]).toMatchObject({ cpu_percent: 12, memory_bytes: 9, processes: 3 });
  expect([told[1], looks.count]).toEqual([told[0], 1]);
  clock.increment(1_999);
  await use('box');
  expect(looks.count).toBe(1);
  clock.increment(1);
  await use('box');
  expect(looks.count).toBe(2);
});

test('[O17] one that does not run uses nothing, and what failed is tried again', async () => {
  let fails = true;
  const { use, looks } = ground(async () => {
    if (fails) throw new Error('the engine is away');
    return null;
  });
  await expect(use('box')).rejects.toThrow('away');
  fails = false;
  expect(await use('box')).toMatchObject({ cpu_percent: null, memory_bytes: null, processes: null });
  expect(looks.count).toBe(2);
  await expect(use('another')).rejects.toMatchObject({ code: 'not-found' });
});
