import { expect, test } from 'bun:test';
import { sessionMachine, sessionView } from '../../src/actors/session.ts';
import { sessionInput } from './inputs.ts';
import { done, failed, told, walk } from './walk.ts';

const run = (events: Parameters<typeof walk>[2], input: object = sessionInput) =>
  walk(sessionMachine, input, events);
const view = (events: Parameters<typeof walk>[2]) => sessionView(run(events).living.snapshot as never);

const launched = done('launch', undefined, 110);
const lost = { type: 'link.lost', at: 120 };
const up = { type: 'link.up', at: 130 };
const exited = { type: 'session.exited', at: 200, exitCode: 3, error: '' };
const end = { type: 'end', at: 150, by: 'ada', graceMs: 500, reason: 'enough' };

test('[N1] a lost link detaches a session and the next link brings it back', () => {
  expect(view([launched, lost]).state).toBe('detached');
  expect(view([launched, lost, up]).state).toBe('live');
});

test('[N2] its agent tells its end, also while it was detached', () => {
  expect(view([launched, exited])).toMatchObject({ state: 'exited', exit_code: 3 });
  expect(view([launched, lost, exited])).toMatchObject({ state: 'exited', exit_code: 3 });
});

test('a process that was asked to end is killed, not exited', () => {
  const { living } = run([launched, end]);
  expect(living.ports['end']?.input).toEqual({ session: 's1', agent: 'local', graceMs: 500 });
  expect(view([launched, end, exited])).toMatchObject({ state: 'killed', reason: 'enough' });
});

test('an end that was asked for while detached is carried out when the agent is back', () => {
  expect(run([launched, lost, end]).living.ports).toEqual({});
  expect(Object.keys(run([launched, lost, end, up]).living.ports)).toEqual(['end']);
});

test('an end that was asked for before the launch is carried out after it', () => {
  expect(Object.keys(run([end, launched]).living.ports)).toEqual(['end']);
});

test('what could not be started is lost and says why', () => {
  expect(view([failed('launch', 'runtime-failed', 115)])).toMatchObject({
    state: 'lost',
    reason: 'launch failed',
  });
});

test('an adopted session is live from the start and launches nothing', () => {
  const { living } = run([], { ...sessionInput, adopted: true });
  expect(sessionView(living.snapshot as never).state).toBe('live');
  expect(living.ports).toEqual({});
});

test('[H1] it knows its one open question until that is closed', () => {
  const opened = { type: 'question.opened', at: 140, hitl: 'h1' };
  expect(view([launched, opened]).hitl_id).toBe('h1');
  expect(view([launched, opened, { type: 'question.closed', at: 150, hitl: 'h0' }]).hitl_id).toBe('h1');
  expect(view([launched, opened, { type: 'question.closed', at: 150, hitl: 'h1' }]).hitl_id).toBeNull();
});

test('its end is told to its question and its task', () => {
  const { acts } = run([launched, { type: 'question.opened', at: 140, hitl: 'h1' }, exited]);
  expect(told(acts, 'hitl:h1')).toEqual([{ type: 'session.ended', at: 200, wentOn: true } as never]);
  expect(told(acts, 'task:t1')[0]).toMatchObject({ type: 'session.ended', exitCode: 3 });
});
