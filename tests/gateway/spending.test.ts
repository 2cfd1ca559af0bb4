/** What models cost, in the house: who is told, who may go on, and what a process is given for it. */
import { afterEach, describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import type { TaskContext } from '../../src/actors/task-ports.ts';
import { Failure } from '../../src/failure.ts';
import type { AgentId, SessionId, TaskId } from '../../src/ids.ts';
import type { Spender, Use } from '../../src/spending.ts';
import { keysFor } from '../../src/terminal/asking-keys.ts';
import type { HitlView } from '../../src/views.ts';
import { hitlDesk } from '../../src/wiring/hitl.ts';
import { treasury } from '../../src/wiring/spending.ts';
import { taskDesk } from '../../src/wiring/task-desk.ts';
import { usageDesk } from '../../src/wiring/usage.ts';
import { onScreen, type Rig, rig, until } from '../wiring/rig.ts';

const secret = 'marker-of-a-secret-51c0';
const env = {
  PATH: process.env['PATH'] ?? '',
  AGENTIC_ANTHROPIC_API_KEY: 'sk-real-marker',
  AGENTIC_BUDGET_WAIT_SECONDS: '60',
  TASK_TOKEN: secret,
  ANTHROPIC_API_KEY: secret,
};

let here: Rig | null = null;
afterEach(async () => {
  await here?.remove();
  here = null;
});

const open = async (more: Record<string, string> = {}): Promise<Rig> => {
  here = await rig(undefined, undefined, { ...env, ...more });
  return here;
};

const desk = ({ house }: Rig) =>
  taskDesk(house, () => {
    throw new Error('nobody reads its log');
  });
const command = { tool: 'command', command: 'bash', args: ['-c', 'true'], instance: 'local' };
const contextOf = ({ house }: Rig, id: string) => house.fleet.context(`task:${id}`) as TaskContext;

interface Running {
  readonly spender: Spender;
  readonly env: Readonly<Record<string, string>>;
}

/** A task whose command was launched. */
async function running(on: Rig, manifest: object): Promise<Running> {
  const link = on.house.links.has('local' as AgentId) ? null : await on.connect('local');
  const { id } = await desk(on).submit({ metadata: { name: 'Count' }, agent: command, ...manifest }, 'ada');
  on.clock.increment(1);
  await until('the launch', () => {
    on.clock.increment(1);
    return (link?.launches.length ?? 0) > 0;
  });
  const launch = link?.launches[0];
  const session = launch?.session as SessionId;
  await until('it to run', () => desk(on).find(id)?.state === 'RUNNING');
  return { spender: { session, agent: 'local' as AgentId, task: id as TaskId }, env: launch?.env ?? {} };
}

const use = (input: number, costUsd: number | null = 0.5): Use => ({
  model: 'claude-sonnet-4-5',
  tokens: { input, output: 10, cacheRead: 0, cacheWrite: 0, cacheWriteLong: 0 },
  costUsd,
});
const wish = { model: 'claude-sonnet-4-5', hasPrice: true };
const never = new AbortController().signal;

const everything = async ({ journal }: Rig): Promise<string> =>
  JSON.stringify([await journal.live(), await journal.feed(0, 1_000)]);

describe('what was used', () => {
  test('[V5] is the task’s and its agent’s, by day and model, and survives a crash', async () => {
    const on = await open();
    const { spender } = await running(on, {});
    const ask = treasury(on.house, () => true);
    await ask.spent(spender, use(100));
    await ask.spent(spender, use(50, null));
    here = await on.crash();
    const task = desk(here).find(spender.task ?? '');
    expect(task?.usage).toMatchObject({ requests: 2, input_tokens: 150, output_tokens: 20, cost_usd: 0.5 });
    const report = usageDesk(here.house).report({ agent: 'local', days: 1, tasks: 10 });
    const sums = { requests: 2, total_tokens: 170, unpriced_requests: 1 };
    expect(report).toMatchObject({
      total: sums,
      days: [sums],
      models: [{ model: 'claude-sonnet-4-5', ...sums }],
      agents: [{ agent_id: 'local', ...sums }],
      tasks: [{ task_id: spender.task, name: 'Count', ...sums }],
    });
    expect(usageDesk(here.house).report({ agent: 'other', days: 1, tasks: 10 }).total.requests).toBe(0);
  });

  test('[V5] in a person’s terminal is the agent’s alone', async () => {
    const on = await open();
    const { spender } = await running(on, {});
    const ask = treasury(on.house, () => true);
    const person = { ...spender, task: null };
    expect(await ask.admit(person, wish, never)).toBeNull();
    await ask.spent(person, use(7));
    expect(desk(on).find(spender.task ?? '')?.usage).toBeNull();
    expect(usageDesk(on.house).report({ agent: undefined, days: 1, tasks: 1 }).total.input_tokens).toBe(7);
  });

  test('[V6] while it could not be written down nothing is forwarded', async () => {
    const on = await open();
    const { spender } = await running(on, {});
    await expect(treasury(on.house, () => false).admit(spender, wish, never)).rejects.toThrow('starting');
  });
});

const openQuestion = ({ house }: Rig): HitlView | undefined => hitlDesk(house, keysFor).list({})[0];

describe('[V7] a used-up budget', () => {
  test('asks once, and the answer lets all who wait go on, also after a crash', async () => {
    const on = await open();
    const { spender } = await running(on, { budget: { tokens: 100 } });
    const ask = treasury(on.house, () => true);
    expect(await ask.admit(spender, wish, never)).toBeNull();
    await ask.spent(spender, use(390));
    const waiting = [1, 2, 3].map(() => ask.admit(spender, wish, never));
    const question = await until('the question', () => openQuestion(on));
    expect(question).toMatchObject({ source: 'api', kind: 'choice', session_id: spender.session });
    expect(question.prompt).toContain('400 tokens of its budget of 100 tokens');
    expect(question.options[0]?.label).toBe('Raise it by half, to 600 tokens');
    const answers = hitlDesk(on.house, keysFor);
    await expect(answers.answer(question.hitl_id, { text: 'much' }, 'ada')).rejects.toThrow('no amount');
    await answers.answer(question.hitl_id, { option: 'raise' }, 'ada');
    expect(await Promise.all(waiting)).toEqual([null, null, null]);
    expect(answers.list({ state: 'all' })).toHaveLength(1);
    const events = (await on.journal.history(`task:${spender.task}`, 1, 1_000)).map(
      ({ event }) => event.type,
    );
    expect(events.filter((type) => type === 'budget.exceeded')).toHaveLength(1);
    here = await on.crash();
    expect(contextOf(here, spender.task ?? '').budget).toEqual({ tokens: 600, usd: null });
  });

  test('waits for its turn while the screen asks something', async () => {
    const on = await open();
    const { spender } = await running(on, { agent: { ...command, mode: 'interactive' }, budget: { usd: 1 } });
    on.judge(spender.session, onScreen('Proceed?'));
    await until('the screen’s question', () => openQuestion(on));
    const ask = treasury(on.house, () => true);
    await ask.spent(spender, use(1, 2));
    const waiting = ask.admit(spender, wish, never);
    await on.settle();
    expect(hitlDesk(on.house, keysFor).list({})).toHaveLength(1);
    on.judge(spender.session, null);
    const question = await until('the question', () => openQuestion(on));
    expect(question.options[1]?.label).toBe('Raise it to $4.50');
    await hitlDesk(on.house, keysFor).answer(question.hitl_id, { text: '$3' }, 'ada');
    expect(await waiting).toBeNull();
    expect(contextOf(on, spender.task ?? '').budget).toEqual({ tokens: null, usd: 3 });
  });

  test('stops the task when a human says so', async () => {
    const on = await open({ AGENTIC_BUDGET_TOKENS: '5' });
    const { spender } = await running(on, {});
    const ask = treasury(on.house, () => true);
    await ask.spent(spender, use(10));
    const waiting = ask.admit(spender, wish, never);
    const question = await until('the question', () => openQuestion(on));
    await hitlDesk(on.house, keysFor).answer(question.hitl_id, { option: 'stop' }, 'ada');
    await until('the end', () => contextOf(on, spender.task ?? '').verdict === 'cancelled');
    expect(contextOf(on, spender.task ?? '').failure?.message).toContain('ada chose to stop it');
    await on.pass(60_000);
    expect(await waiting).toContain(spender.task ?? '');
  });
});

describe('[V8] a request that waits for a budget', () => {
  test('is refused after its time, naming the task and its budget', async () => {
    const on = await open();
    const { spender } = await running(on, { budget: { tokens: 5 } });
    const ask = treasury(on.house, () => true);
    await ask.spent(spender, use(10));
    const waiting = ask.admit(spender, wish, never);
    await until('the question', () => openQuestion(on));
    await on.pass(61_000);
    const why = await waiting;
    expect(why).toContain(`task ${spender.task}`);
    expect(why).toContain('20 tokens of its budget of 5 tokens');
  });

  test('[V5] is refused at once when its model has no price and the budget is in dollars', async () => {
    const on = await open();
    const { spender } = await running(on, { budget: { usd: 5 } });
    const why = await treasury(on.house, () => true).admit(spender, { ...wish, hasPrice: false }, never);
    expect(why).toContain('AGENTIC_MODEL_PRICES');
  });
});

describe('a process', () => {
  const secrets = [
    { name: 'ANTHROPIC_API_KEY', source: 'env' },
    { name: 'TASK_TOKEN', source: 'env' },
    { name: 'A_FILE_ONE', source: 'env', key: 'TASK_TOKEN', deliver: 'file' },
  ];

  test('[V1] [V2] [V11] is given a virtual key and its secrets, of which nothing is remembered', async () => {
    const on = await open();
    const { spender, env: given } = await running(on, { secrets });
    const key = `key-1-of-${spender.session}`;
    expect(given).toMatchObject({
      ANTHROPIC_BASE_URL: 'http://127.0.0.1:1',
      ANTHROPIC_AUTH_TOKEN: key,
      ANTHROPIC_API_KEY: key,
      TASK_TOKEN: secret,
    });
    const file = given['A_FILE_ONE_FILE'] as string;
    expect(existsSync(file)).toBeTrue();
    expect(given['A_FILE_ONE']).toBeUndefined();
    const told = (await everything(on)) + on.log.join('');
    for (const one of [secret, key, env.AGENTIC_ANTHROPIC_API_KEY]) expect(told).not.toContain(one);
    await on.house.credentials.files.drop(spender.session);
    expect(existsSync(file)).toBeFalse();
  });

  test('[V13] whose manifest leaves the gateway aside is given its own key', async () => {
    const on = await open();
    const { env: given } = await running(on, { secrets, gateway: 'off' });
    expect(given['ANTHROPIC_API_KEY']).toBe(secret);
    expect(given['ANTHROPIC_BASE_URL']).toBeUndefined();
    expect(given['ANTHROPIC_AUTH_TOKEN']).toBeUndefined();
  });
});

test('[V13] what cannot be kept is refused when it is submitted', async () => {
  const on = await open({ AGENTIC_ANTHROPIC_API_KEY: '' });
  const faultOf = async (more: object) => {
    const manifest = { metadata: { name: 'x' }, agent: command, ...more };
    const failure = await desk(on)
      .submit(manifest, 'ada')
      .catch((thrown: unknown) => thrown);
    return failure instanceof Failure ? failure.faults?.[0]?.path : null;
  };
  expect(await faultOf({ gateway: 'on' })).toBe('gateway');
  expect(await faultOf({ budget: { tokens: 5 } })).toBe('budget');
  expect(await faultOf({ gateway: 'off', budget: { tokens: 5 } })).toBe('budget');
  expect(await faultOf({ gateway: 'perhaps' })).toBe('gateway');
});
