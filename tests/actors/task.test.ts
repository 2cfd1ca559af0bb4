import { expect, test } from 'bun:test';
import { taskMachine } from '../../src/actors/task.ts';
import { taskView } from '../../src/actors/task-view.ts';
import { collected, place, staged, taskInput, run as toRun } from './inputs.ts';
import { done, failed, walk } from './walk.ts';

const run = (events: Parameters<typeof walk>[2], input: object = taskInput) =>
  walk(taskMachine, input, events);
const view = (events: Parameters<typeof walk>[2], input: object = taskInput) =>
  taskView(run(events, input).living.snapshot as never);

const rang = { type: 'alarm.rang', at: 110 };
const toStaged = [rang, done('stage', staged, 120)];
const toReady = [...toStaged, done('acquire', place, 130)];
const toRunning = [...toReady, done('prepare', toRun, 140)];
const over = { type: 'session.ended', at: 200, exitCode: 0, reason: null };
const toCompleting = [...toRunning, over];
const wound = done('windUp', undefined, 300);
const cancel = { type: 'cancel', at: 150, by: 'ada', reason: 'enough' };

test('it walks every state in order, without skipping one', () => {
  const path = [
    [],
    [rang],
    toStaged,
    toReady,
    toRunning,
    toCompleting,
    [...toCompleting, done('collect', collected, 250), wound],
  ];
  expect(path.map((events) => view(events).state)).toEqual([
    'PENDING',
    'STAGING',
    'PROVISIONING',
    'READY',
    'RUNNING',
    'COMPLETING',
    'COMPLETED',
  ]);
});

test('running starts its session under its agent', () => {
  const spawned = run(toRunning).acts.find((act) => act.do === 'spawn');
  expect(spawned).toMatchObject({ spec: { id: 'session:s1', parent: 'agent:local', input: { task: 't1' } } });
});

test('[L1] however it ends, what was made is released before it has ended', () => {
  for (const events of [
    [...toStaged, cancel],
    [...toRunning, cancel, done('collect', collected, 250)],
    [rang, failed('stage', 'bad-input', 130)],
  ]) {
    const { living } = run(events);
    expect(Object.keys(living.ports)).toEqual(['windUp']);
    expect(living.snapshot.status).toBe('active');
  }
});

test('[L2] it can be cancelled in every state before its end', () => {
  for (const events of [[], [rang], toStaged, toReady]) {
    expect(view([...events, cancel, wound])).toMatchObject({ state: 'CANCELLED', error: 'enough' });
  }
  for (const events of [toRunning, toCompleting]) {
    expect(view([...events, cancel, done('collect', collected, 250), wound]).state).toBe('CANCELLED');
  }
});

test('[L3] the first verdict stands', () => {
  const events = [
    ...toRunning,
    cancel,
    done('collect', { ...collected, failure: { code: 'timed-out', message: 'x' } }, 250),
  ];
  expect(view([...events, wound])).toMatchObject({ state: 'CANCELLED', failure: { code: 'cancelled' } });
});

test('[L4] a question makes it wait, and its end lets it work on', () => {
  const opened = { type: 'question.opened', at: 160, hitl: 'h1' };
  expect(view([...toRunning, opened])).toMatchObject({
    state: 'RUNNING',
    waiting_for_human: true,
    hitl_id: 'h1',
  });
  const closed = { type: 'question.closed', at: 170, hitl: 'h1' };
  expect(view([...toRunning, opened, closed])).toMatchObject({ waiting_for_human: false, hitl_id: null });
});

test('[L5] its timeout runs from the start of the tool and fails it', () => {
  const { living } = run(toRunning);
  expect(living.ports['deadline']?.input).toEqual({ at: 140 + 60_000 });
  const late = [
    ...toRunning,
    { type: 'alarm.rang', at: 60_140 },
    done('collect', collected, 60_200),
    done('windUp', undefined, 60_300),
  ];
  expect(view(late, { ...taskInput, retries: 0 })).toMatchObject({
    state: 'FAILED',
    failure: { code: 'timed-out' },
  });
});

test('[L6] a failure that may pass is tried again after its backoff, as often as the manifest says', () => {
  const fail = [rang, failed('stage', 'staging-failed', 130), done('windUp', undefined, 140)];
  const { living } = run(fail);
  expect(view(fail)).toMatchObject({ state: 'PENDING', attempt: 2, failure: null });
  expect(living.ports['alarm']?.input).toEqual({ at: 1_140 });
  expect(view([...fail, ...fail]).state).toBe('FAILED');
});

test('a failure that cannot pass is not tried again', () => {
  expect(view([rang, failed('stage', 'bad-input', 130), wound])).toMatchObject({
    state: 'FAILED',
    attempt: 1,
  });
});

test('a failed task keeps the instance that was made for it when its manifest says so', () => {
  const made = [
    ...toStaged,
    done('acquire', { ...place, made: true }, 130),
    done('prepare', toRun, 140),
    over,
  ];
  const lost = { ...collected, failure: { code: 'bad-input', message: 'exit 1' }, exitCode: 1 };
  const events = [...made, done('collect', lost, 250)];
  const keeping = { ...taskInput, preserve: true };
  expect(run(events, keeping).living.ports['windUp']?.input).toMatchObject({ keep: true });
  expect(view([...events, wound], keeping)).toMatchObject({ state: 'FAILED_PRESERVED', exit_code: 1 });
});

test('a hang that is only to be told lets it go on', () => {
  const hung = { type: 'task.hung', at: 170, message: 'no output for 10 minutes', fatal: false };
  expect(view([...toRunning, hung]).state).toBe('RUNNING');
  expect(view([...toRunning, { ...hung, fatal: true }]).state).toBe('COMPLETING');
});
