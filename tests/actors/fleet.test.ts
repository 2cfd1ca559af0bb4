import { expect, test } from 'bun:test';
import type { ChildSpec, Told } from '../../src/actors/port.ts';
import { fold, remember } from '../../src/actors/step.ts';
import { Failure } from '../../src/failure.ts';
import type { ActorKind } from '../../src/journal.ts';
import { hitlInput, instanceInput, sessionInput, taskInput } from './inputs.ts';
import { machines, type World, world } from './world.ts';

const spec = (kind: ActorKind, id: string, input: object, parent: string | null = null): ChildSpec => ({
  id: `${kind}:${id}`,
  kind,
  input,
  restart: 'on-failure',
  graceMs: 1_000,
  parent,
});

const answer = {
  type: 'answer',
  at: 200,
  by: 'ada',
  answer: { text: null, option: '1', by: 'ada', at: 200 },
} as Told;
const stateOf = ({ fleet }: World, id: string) => (fleet.view(id) as { state: string } | null)?.state;

async function asking(w: World) {
  await w.fleet.start(spec('session', 's1', { ...sessionInput, task: null, adopted: true }), 100);
  await w.fleet.start(spec('hitl', 'h1', { ...hitlInput, task: null }, 'session:s1'), 100);
  await w.settle();
}

test('[S1] an event and all it told other actors are one batch', async () => {
  const w = world();
  await asking(w);
  const before = await w.journal.cursor();
  w.journal.knobs.away = 'unplugged';
  w.fleet.note('session:s1', { type: 'session.exited', at: 300, exitCode: 0, error: '' } as Told);
  await w.settle();
  const lost = await w.crash('lost');
  expect([stateOf(lost, 'session:s1'), stateOf(lost, 'hitl:h1')]).toEqual(['live', 'open']);
  lost.fleet.note('session:s1', { type: 'session.exited', at: 300, exitCode: 0, error: '' } as Told);
  await lost.settle();
  const entries = await lost.journal.feed(before, 100);
  expect(entries.map(({ actor, event }) => `${actor} ${event.type}`)).toEqual([
    'session:s1 session.exited',
    'hitl:h1 session.ended',
  ]);
  const after = await lost.crash('lost');
  expect([stateOf(after, 'session:s1'), stateOf(after, 'hitl:h1')]).toEqual(['exited', 'withdrawn']);
});

test('[S2] no promise is made and no effect runs before its batch is durable', async () => {
  const w = world();
  await asking(w);
  const gate = Promise.withResolvers<void>();
  w.journal.knobs.beforeWrite = () => gate.promise;
  let promised = false;
  const answered = w.fleet.send('hitl:h1', answer).then(() => {
    promised = true;
  });
  await w.settle();
  expect({ promised, asked: w.asked.length }).toEqual({ promised: false, asked: 0 });
  gate.resolve();
  await answered;
  await w.settle();
  expect(w.asked.map(({ port }) => port)).toEqual(['deliver']);
});

test('[S3] a restart restores every live actor and runs its open ports again', async () => {
  const w = world();
  await asking(w);
  await w.fleet.send('hitl:h1', answer);
  await w.settle();
  const next = await w.crash();
  expect(stateOf(next, 'hitl:h1')).toBe('answering');
  expect(next.asked.map(({ port, input }) => [port, (input as { key: string }).key])).toEqual([
    ['deliver', 'h1'],
  ]);
  await next.asked[0]?.done();
  expect(stateOf(next, 'hitl:h1')).toBe('answered');
  expect((next.fleet.view('session:s1') as { hitl_id: string | null }).hitl_id).toBeNull();
});

test('[S3] an alarm that was due while the server was down rings at once', async () => {
  const w = world();
  await asking(w);
  w.clock.set(70_000);
  const next = await w.crash();
  next.clock.increment(0);
  await next.settle();
  expect(stateOf(next, 'hitl:h1')).toBe('expired');
});

test('[S4] an actor that dies of a bug comes back with its ports, and not more often than the policy allows', async () => {
  const w = world();
  await asking(w);
  await w.fleet.send('hitl:h1', answer);
  await w.settle();
  let deaths = 0;
  while (w.asked.length > 0 && deaths < 20) {
    deaths += 1;
    await w.asked[0]?.fail(new TypeError('x is undefined'));
    w.clock.increment(5_000);
    await w.settle();
  }
  expect(deaths).toBe(6);
  expect(w.fleet.isLive('hitl:h1')).toBe(false);
});

test('[S4] an actor that dies again and again waits longer each time', async () => {
  const w = world();
  await asking(w);
  await w.fleet.send('hitl:h1', answer);
  await w.settle();
  for (const waitMs of [0, 200, 1_000]) {
    await w.asked[0]?.fail(new TypeError('x is undefined'));
    if (waitMs > 0) {
      w.clock.increment(waitMs - 1);
      await w.settle();
      expect(w.asked).toEqual([]);
    }
    w.clock.increment(1);
    await w.settle();
    expect(w.asked.map(({ port }) => port)).toEqual(['deliver']);
  }
});

test('[S2] whoever looks on and throws keeps no later promise from being kept', async () => {
  const w = world();
  await asking(w);
  let told = 0;
  w.fleet.watch(() => {
    told += 1;
    throw new TypeError('no such view');
  });
  await w.fleet.send('session:s1', { type: 'link.lost', at: 300 } as Told);
  await w.fleet.send('hitl:h1', answer);
  expect(told).toBeGreaterThan(1);
  expect(w.fleet.away()).toBeNull();
  expect(stateOf(await w.crash(), 'hitl:h1')).toBe('answering');
});

test('[S5] a failure is not a bug: it becomes data and the actor lives by it', async () => {
  const w = world();
  await asking(w);
  await w.fleet.send('hitl:h1', answer);
  await w.settle();
  await w.asked[0]?.fail(new Failure('undeliverable', 'still asks'));
  expect(w.fleet.view('hitl:h1')).toMatchObject({
    state: 'undeliverable',
    failure: { message: 'still asks' },
  });
});

test('[S6] while the journal is away commands are refused, facts are kept, and both catch up', async () => {
  const w = world();
  await asking(w);
  w.journal.knobs.away = 'disk full';
  w.fleet.note('session:s1', { type: 'link.lost', at: 300 });
  await w.settle();
  expect(w.fleet.away()).toMatchObject({ code: 'journal-away' });
  expect(w.fleet.send('hitl:h1', answer)).rejects.toMatchObject({
    code: 'journal-away',
    retryAfterSeconds: 2,
  });
  // Refused as a promise that can be waited for, and not thrown at whoever only attached a handler.
  const refused = w.fleet.together(() => {}).catch((thrown: Failure) => thrown.code);
  expect(await refused).toBe('journal-away');
  w.journal.knobs.away = null;
  w.clock.increment(1_000);
  await w.settle();
  expect(w.fleet.away()).toBeNull();
  await w.fleet.send('hitl:h1', answer);
  const next = await w.crash();
  expect([stateOf(next, 'session:s1'), stateOf(next, 'hitl:h1')]).toEqual(['detached', 'answering']);
});

test('[S7] an outcome that comes after its port was closed changes nothing', async () => {
  const w = world();
  await asking(w);
  await w.fleet.send('hitl:h1', answer);
  await w.settle();
  const late = w.asked[0];
  await w.fleet.send('session:s1', { type: 'session.exited', at: 300, exitCode: 0, error: '' } as Told);
  await w.settle();
  expect(late?.signal.aborted).toBe(true);
  expect(stateOf(w, 'hitl:h1')).toBe('answered');
  await late?.fail(new Failure('undeliverable', 'too late'));
  expect(stateOf(w, 'hitl:h1')).toBe('answered');
});

test('[S8] a name that ended may be used again, and its log goes on', async () => {
  const w = world();
  await w.fleet.start(spec('instance', 'local', instanceInput), 100);
  await w.settle();
  await w.fleet.send('instance:local', { type: 'destroy', at: 200 });
  await w.settle();
  await w.asked.find(({ port }) => port === 'destroy')?.done();
  expect(w.fleet.isLive('instance:local')).toBe(false);
  await w.fleet.start(spec('instance', 'local', { ...instanceInput, createdAt: 500 }), 500);
  const entries = await w.journal.history('instance:local', 1, 100);
  expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, i) => i + 1));
  expect(entries.filter(({ event }) => event.type === 'born')).toHaveLength(2);
  const next = await w.crash();
  expect(stateOf(next, 'instance:local')).toBe('provisioning');
  expect(w.fleet.start(spec('instance', 'local', instanceInput), 600)).rejects.toMatchObject({
    code: 'already-exists',
  });
});

test('[S9] every actor folded from its log is what the journal remembers of it', async () => {
  const w = world();
  await asking(w);
  await w.fleet.send('hitl:h1', answer);
  await w.settle();
  await w.asked[0]?.fail(new TypeError('a bug'));
  w.clock.increment(1_000);
  await w.settle();
  await w.asked[0]?.done();
  await w.fleet.start(spec('task', 't1', taskInput), 100);
  w.clock.increment(1_000);
  await w.settle();
  await w.fleet.send('task:t1', { type: 'cancel', at: 9_000, reason: 'enough' } as Told);
  await w.settle();
  for (const { id, kind } of w.fleet.specs()) {
    const kept = await w.journal.record(id);
    const folded = fold(machines[kind], await w.journal.history(id, 1, 1_000));
    expect(JSON.parse(JSON.stringify(remember(folded)))).toEqual(kept?.snapshot as never);
    expect(folded.seq).toBe(kept?.seq as number);
  }
});

test('a batch that another writer made impossible is fatal, and promises nothing', async () => {
  const w = world();
  await asking(w);
  await w.journal.append({
    entries: [{ actor: 'hitl:h1', kind: 'hitl', seq: 2, at: 1, event: { type: 'withdraw' } }],
    records: [],
  });
  expect(w.fleet.send('hitl:h1', answer)).rejects.toBeInstanceOf(Failure);
  await w.settle();
  expect(w.fatal).toHaveLength(1);
});

test('watchers hear every change once, in order, with its cursor and its view', async () => {
  const w = world();
  const heard: string[] = [];
  const off = w.fleet.watch(({ cursor, entry, view }) =>
    heard.push(`${cursor} ${entry.actor} ${entry.event.type} ${(view as { state: string }).state}`),
  );
  await asking(w);
  await w.fleet.send('hitl:h1', answer);
  off();
  await w.fleet.send('hitl:h1', { type: 'session.ended', at: 300 });
  expect(heard).toEqual([
    '1 session:s1 born live',
    '2 hitl:h1 born open',
    '3 session:s1 question.opened live',
    '4 hitl:h1 answer answering',
  ]);
});
