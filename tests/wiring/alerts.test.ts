/** What an operator must hear of is an event of its own in the log and in the feed, not only a state. */
import { expect, test } from 'bun:test';
import type { ChildSpec, Told } from '../../src/actors/port.ts';
import type { InstanceView } from '../../src/views.ts';
import { eventDesk } from '../../src/wiring/events.ts';
import { handle, instanceInput, sessionInput } from '../actors/inputs.ts';
import { type World, world } from '../actors/world.ts';

const instance: ChildSpec = {
  id: 'instance:local',
  kind: 'instance',
  input: { ...instanceInput, crashes: { max: 1, withinMs: 60_000, backoffMs: [0] } },
  restart: 'always',
  graceMs: 1_000,
  parent: null,
};

const asked = (w: World, port: string) => w.asked.find((one) => one.port === port);
const exited = (at: number) => ({ type: 'runtime.exited', at, reason: 'exited with 1' }) as Told;

async function crashed(w: World): Promise<void> {
  await w.fleet.start(instance, 100);
  await w.settle();
  await asked(w, 'create')?.done(handle);
  for (let crash = 0; crash < 2; crash++) {
    w.clock.increment(1_000);
    await w.settle();
    await asked(w, 'start')?.done(handle);
    await w.fleet.send('instance:local', exited(w.clock.now()));
  }
  await w.settle();
}

test('[I4] an instance that crashes too often raises an alert once, also for who listens later', async () => {
  const w = world();
  const live: string[] = [];
  const events = eventDesk(w.fleet, w.journal, (_, view) => view);
  events.watch(({ event_type }) => live.push(event_type));
  await crashed(w);
  expect((w.fleet.view('instance:local') as InstanceView).state).toBe('crash-looping');
  const alerts = (types: readonly string[]) => types.filter((type) => type === 'instance.crash_looping');
  expect(alerts(live)).toHaveLength(1);
  expect(alerts((await events.read(0, 1_000)).map(({ event_type }) => event_type))).toHaveLength(1);
  const entries = await w.journal.history('instance:local', 1, 1_000);
  expect(entries.at(-1)?.event).toMatchObject({
    type: 'crashes.exceeded',
    crashes: 2,
    reason: 'exited with 1',
  });
  // The one that crashed it and the alert are one batch: nobody sees the one without the other.
  const next = await w.crash('lost');
  expect(await next.journal.history('instance:local', 1, 1_000)).toEqual(entries);
  await next.fleet.send('instance:local', { type: 'reset', at: 3_000 });
  expect((next.fleet.view('instance:local') as InstanceView).state).toBe('stopped');
});

test('a recording that fails is told in the log of its session, and changes nothing of it', async () => {
  const w = world();
  const spec: ChildSpec = { ...instance, id: 'session:s1', kind: 'session', input: sessionInput };
  await w.fleet.start(spec, 100);
  await w.settle();
  await asked(w, 'launch')?.done();
  const before = w.fleet.view('session:s1');
  expect(
    w.fleet.note('session:s1', { type: 'recording.failed', at: 200, reason: 'no space' } as Told),
  ).toBeTrue();
  expect(w.fleet.view('session:s1')).toEqual(before);
  const events = eventDesk(w.fleet, w.journal, (_, view) => view);
  await w.settle();
  expect((await events.read(0, 1_000)).at(-1)?.event_type).toBe('session.recording_failed');
});
