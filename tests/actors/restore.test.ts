/**
 * Every machine must come back as it was from JSON, in every state it can reach.
 * Goal: nobody adds a state, or puts a Map in context, that only breaks on a restart.
 * Method: walk breadth-first over the events below, remember at each new state, recall, compare; and the
 * recalled state must step on exactly as the one that was never written.
 */
import { expect, test } from 'bun:test';
import type { AnyStateMachine } from 'xstate';
import type { Told } from '../../src/actors/port.ts';
import { born, type Living, recall, remember, step } from '../../src/actors/step.ts';
import * as inputs from './inputs.ts';
import { done, failed } from './walk.ts';
import { machines } from './world.ts';

const at = 1_000;
const plain = (type: string, more: object = {}): Told => ({ type, at, ...more });

const cases: readonly [keyof typeof machines, object, readonly Told[], number][] = [
  [
    'hitl',
    inputs.hitlInput,
    [
      plain('answer', { answer: { text: 'y', option: null, by: 'ada', at } }),
      plain('withdraw'),
      plain('supersede'),
      plain('session.ended'),
      plain('alarm.rang'),
      done('deliver', undefined, at),
      failed('deliver', 'agent-gone', at),
    ],
    7,
  ],
  [
    'session',
    inputs.sessionInput,
    [
      done('launch', undefined, at),
      failed('launch', 'agent-gone', at),
      plain('link.lost'),
      plain('link.up'),
      plain('session.exited', { exitCode: 0, error: '' }),
      plain('session.missing', { reason: 'x' }),
      plain('end', { graceMs: 1, reason: 'x' }),
      done('end', undefined, at),
      plain('question.opened', { hitl: 'h' }),
      plain('resized', { cols: 9, rows: 9 }),
      plain('recording.failed', { reason: 'x' }),
    ],
    7,
  ],
  [
    'agent',
    inputs.agentInput,
    [
      plain('link.up', { facts: inputs.agentFacts, isSetUp: true }),
      plain('link.up', { facts: inputs.agentFacts, isSetUp: false }),
      plain('link.lost', { reason: 'x' }),
      plain('reserve', { task: 't1' }),
      plain('release', { task: 't1' }),
      plain('heartbeat.missed'),
      plain('heartbeat.seen'),
      plain('setup.moved', { setup: 'x', isSetUp: false }),
      plain('remove'),
      plain('instance.stopped'),
      plain('sessions.settled', { adopted: ['s'], ended: [], lost: [] }),
    ],
    7,
  ],
  [
    'instance',
    inputs.instanceInput,
    [
      done('create', inputs.handle, at),
      failed('create', 'runtime-failed', at),
      plain('alarm.rang'),
      done('start', inputs.handle, at),
      failed('start', 'runtime-failed', at),
      plain('runtime.exited', { reason: 'x' }),
      plain('stop'),
      plain('restart'),
      plain('reprovision'),
      plain('reset'),
      plain('destroy'),
      plain('limits.changed', { crashes: { max: 9, withinMs: 1, backoffMs: [1] } }),
      plain('crashes.exceeded', { crashes: 6, reason: 'x' }),
      done('stop', undefined, at),
      failed('stop', 'runtime-failed', at),
      done('destroy', undefined, at),
      failed('destroy', 'runtime-failed', at),
    ],
    10,
  ],
  [
    'task',
    inputs.taskInput,
    [
      plain('alarm.rang'),
      done('stage', inputs.staged, at),
      failed('stage', 'staging-failed', at),
      done('acquire', inputs.place, at),
      done('prepare', inputs.run, at),
      plain('question.opened', { hitl: 'h' }),
      plain('session.ended', { exitCode: 0, reason: null }),
      plain('cancel', { reason: 'x' }),
      done('collect', inputs.collected, at),
      failed('collect', 'bad-input', at),
      done('windUp', undefined, at),
    ],
    11,
  ],
];

const keyOf = ({ snapshot }: Living) => {
  const { crashTimes, attempt, verdict, wanted } = snapshot.context as Record<string, unknown>;
  return JSON.stringify([snapshot.value, crashTimes, attempt, verdict, wanted]);
};

function reach(machine: AnyStateMachine, input: object, events: readonly Told[]): Living[] {
  const found = new Map<string, Living>();
  const queue = [born(machine, input).next];
  while (queue.length > 0) {
    const living = queue.shift() as Living;
    if (found.has(keyOf(living))) continue;
    found.set(keyOf(living), living);
    for (const event of events) {
      const stepped = step(machine, living, event);
      if (stepped) queue.push(stepped.next);
    }
  }
  return [...found.values()];
}

const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

for (const [name, input, events, statesMin] of cases) {
  test(`[S10] ${name}: every state it can reach survives JSON and steps on as if nothing had happened`, () => {
    const machine = machines[name];
    const reached = reach(machine, input, events);
    for (const living of reached) {
      const back = recall(machine, json(remember(living)) as never, living.seq);
      expect(json(remember(back))).toEqual(json(remember(living)));
      expect(back.snapshot.status).toBe(living.snapshot.status);
      for (const event of events) {
        const [a, b] = [step(machine, living, event), step(machine, back, event)];
        expect(json(b && [remember(b.next), b.acts])).toEqual(json(a && [remember(a.next), a.acts]));
      }
    }
    const states = new Set(reached.map(({ snapshot: { value } }) => JSON.stringify(value)));
    expect(states.size).toBeGreaterThanOrEqual(statesMin);
  });
}
