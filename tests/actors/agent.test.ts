import { expect, test } from 'bun:test';
import { agentMachine, agentView } from '../../src/actors/agent.ts';
import { agentFacts, agentInput } from './inputs.ts';
import { walk } from './walk.ts';

const view = (events: Parameters<typeof walk>[2]) =>
  agentView(walk(agentMachine, agentInput, events).living.snapshot as never);

const up = { type: 'link.up', at: 200, facts: agentFacts, isSetUp: true };
const reserve = (task: string) => ({ type: 'reserve', at: 210, task });

test('[P1] an agent is reserved by one task at a time', () => {
  const { living, ignored } = walk(agentMachine, agentInput, [up, reserve('t1'), reserve('t2')]);
  expect(agentView(living.snapshot as never)).toMatchObject({ state: 'busy', task_id: 't1' });
  expect(ignored).toEqual(['reserve']);
});

test('[P2] only the task that reserved it can release it', () => {
  const events = [up, reserve('t1'), { type: 'release', at: 220, task: 't2' }];
  expect(view(events)).toMatchObject({ state: 'busy', task_id: 't1' });
  expect(view([...events, { type: 'release', at: 230, task: 't1' }])).toMatchObject({
    state: 'ready',
    task_id: null,
  });
});

test('[P3] a reservation outlives the link', () => {
  const lost = { type: 'link.lost', at: 220, reason: 'gone' };
  expect(view([up, reserve('t1'), lost])).toMatchObject({ state: 'disconnected', task_id: 't1' });
  expect(view([up, reserve('t1'), lost, { ...up, at: 230 }])).toMatchObject({
    state: 'busy',
    connected_at: 230,
  });
});

test('an agent that is not set up takes no task', () => {
  const setting = { type: 'setup.moved', at: 205, setup: 'installing:git', isSetUp: false };
  expect(view([up, setting, reserve('t1')])).toMatchObject({
    state: 'provisioning',
    setup_status: 'installing:git',
  });
  expect(view([up, setting, { ...setting, setup: 'ready', isSetUp: true }]).state).toBe('ready');
});

test('a missed heartbeat makes it stale, the next one ready or busy again', () => {
  const missed = { type: 'heartbeat.missed', at: 300 };
  const seen = { type: 'heartbeat.seen', at: 310 };
  expect(view([up, missed]).state).toBe('stale');
  expect(view([up, missed, seen]).state).toBe('ready');
  expect(view([up, reserve('t1'), missed, seen]).state).toBe('busy');
});
