/**
 * The real Claude Code reaches its model by the gateway: it has a virtual key, what it uses is counted, a
 * budget stops it until a human raises it, and the death of the server in the middle of an answer costs it
 * nothing but a second try.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HitlView, TaskView } from '../../src/views.ts';
import type { UsageReport } from '../../src/views-usage.ts';
import type { ModelServer } from '../model-server/server.ts';
import { artifacts, end, made, question, repository, scriptedModel, taskOf, writeReport } from './ground.ts';
import { type House, openHouse, until } from './house.ts';

/** The real one: it may be in the gateway and in the operator's file, and nowhere else. */
const realKey = 'sk-ant-real-93f1c7-must-not-be-seen-anywhere';
/** A secret that a tool blurts out. */
const blurted = 'marker-of-a-secret-that-is-blurted-out';
const dir = mkdtempSync(join(tmpdir(), 'e2e-gateway-'));
const slowly = Array.from({ length: 80 }, (_, i) => `Line ${i} is being counted.`).join(' ');

let house: House;
let model: ModelServer;
let origin: string;

beforeAll(async () => {
  origin = repository(dir);
  model = scriptedModel({
    key: realKey,
    more: [
      {
        user: 'blurt it out',
        turns: [
          { error: { status: 402, type: 'billing_error', message: `there is no money for ${blurted}` } },
        ],
      },
      { user: 'count slowly', turns: [{ say: slowly, pace_ms: 40, use: [writeReport] }, { say: 'Done.' }] },
    ],
  });
  const keyFile = join(dir, 'real-key');
  writeFileSync(keyFile, `${realKey}\n`, { mode: 0o600 });
  const prices = join(dir, 'prices.json');
  writeFileSync(prices, JSON.stringify({ models: [{ match: '*', input: 3, output: 15 }] }));
  house = await openHouse('gateway', {
    AGENTIC_ANTHROPIC_BASE_URL: model.url,
    AGENTIC_ANTHROPIC_API_KEY: `file:${keyFile}`,
    AGENTIC_GATEWAY_LISTEN: '127.0.0.1:0',
    AGENTIC_MODEL_PRICES: prices,
    TASK_BLURTED: blurted,
  });
}, 60_000);
afterAll(async () => {
  await house?.close();
  await model?.stop();
  rmSync(dir, { recursive: true, force: true });
}, 30_000);

interface Wish {
  readonly mode?: 'headless' | 'interactive';
  readonly prompt: string;
  readonly budget?: object;
  readonly secrets?: readonly object[];
}

async function submit({ mode = 'headless', prompt, budget, secrets = [] }: Wish): Promise<string> {
  const manifest = {
    metadata: { name: prompt },
    repository: { url: origin, branch: 'main' },
    agent: { tool: 'claude', mode, prompt, model: 'sonnet' },
    // As a manifest that was written before there was a gateway: the real key is not asked for.
    secrets: [{ name: 'ANTHROPIC_API_KEY', source: 'env' }, ...secrets],
    lifecycle: { timeout: '5m', artifact_patterns: ['*.txt', '*.md'] },
    ...(budget ? { budget } : {}),
  };
  return (await house.post<{ task_id: string }>('tasks', { manifest })).task_id;
}

interface Process {
  readonly pid: number;
  readonly environment: string;
}

/** The processes that run for a task. */
function processes(task: string): Process[] {
  return readdirSync('/proc').flatMap((pid) => {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'latin1');
      const isIts = environment.split('\0').includes(`AGENTIC_TASK_ID=${task}`);
      return isIts ? [{ pid: Number(pid), environment }] : [];
    } catch {
      return []; // No process, or gone.
    }
  });
}

const environments = (task: string) => processes(task).map(({ environment }) => environment);
const pidsOf = (task: string) => processes(task).map(({ pid }) => pid);

const variable = (environment: string, name: string): string | undefined =>
  environment
    .split('\0')
    .find((line) => line.startsWith(`${name}=`))
    ?.slice(name.length + 1);

/** What the model says it was used, since a request of its list. */
const saidSince = (from: number) => {
  const used = model.requests.slice(from).flatMap(({ usage }) => usage ?? []);
  const sum = (name: 'input_tokens' | 'output_tokens') => used.reduce((all, one) => all + one[name], 0);
  return { requests: used.length, input_tokens: sum('input_tokens'), output_tokens: sum('output_tokens') };
};

let usedKey = '';
let gatewayUrl = '';

test('[V1] [V5] headless Claude Code works with a virtual key, and every token of its model is counted', async () => {
  const from = model.requests.length;
  const id = await submit({ prompt: 'Please count the lines of notes.txt.' });
  const [environment = ''] = await until('Claude Code to run', () => {
    const found = environments(id).filter((one) => variable(one, 'ANTHROPIC_AUTH_TOKEN'));
    return found.length > 0 ? found : null;
  });
  expect(environment).not.toContain(realKey);
  gatewayUrl = variable(environment, 'ANTHROPIC_BASE_URL') ?? '';
  usedKey = variable(environment, 'ANTHROPIC_AUTH_TOKEN') ?? '';
  expect(gatewayUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  expect(usedKey).toMatch(/^agk_[\w-]{43}$/);
  const task = await end(house, id, model);
  expect(task).toMatchObject({ state: 'COMPLETED', error: null });
  expect(new TextDecoder().decode((await artifacts(house, id)).get('report.md'))).toBe(made['report.md']);
  expect(model.faults()).toEqual([]);
  const said = saidSince(from);
  expect(said.requests).toBeGreaterThan(2);
  expect(task.usage).toMatchObject({ ...said, unpriced_requests: 0 });
  expect(task.usage?.cost_usd).toBeCloseTo((said.input_tokens * 3 + said.output_tokens * 15) / 1e6, 9);
  const report = await house.get<UsageReport>('usage');
  expect(report.total).toMatchObject(said);
  expect(report.agents).toMatchObject([{ agent_id: 'local', ...said }]);
  expect(report.days).toMatchObject([said]);
  expect(report.tasks).toMatchObject([{ task_id: id, ...said }]);
  const metrics = await (await fetch(`${house.url()}/metrics`)).text();
  expect(metrics).toContain(
    `agentic_model_tokens_total{provider="anthropic",kind="output"} ${said.output_tokens}`,
  );
}, 120_000);

test('[V2] a virtual key is void once its task is over, and written down nowhere', async () => {
  const ask = () =>
    fetch(`${gatewayUrl}/v1/messages`, {
      method: 'POST',
      headers: { authorization: `Bearer ${usedKey}` },
      body: '{}',
    });
  const refused = await until('the key to be void', async () => {
    const response = await ask();
    return response.status === 401 ? response : null;
  });
  expect(await refused.json()).toMatchObject({ type: 'error', error: { type: 'authentication_error' } });
  for (const secret of [realKey, usedKey]) {
    const search = Bun.spawnSync(['grep', '-rlF', secret, house.dataDir]);
    expect({ found: search.stdout.toString(), code: search.exitCode }).toEqual({ found: '', code: 1 });
    expect(house.log()).not.toContain(secret);
  }
});

test('[V1] interactive Claude Code asks its person as ever', async () => {
  const from = model.requests.length;
  const id = await submit({ mode: 'interactive', prompt: 'Please start the release notes of 1.0.' });
  const asked = await question(house, id);
  expect(asked).toMatchObject({ source: 'screen', kind: 'choice' });
  const yes = asked.options.find((option) => /^yes$/i.test(option.label.trim()));
  await house.post(`hitl/${asked.hitl_id}/respond`, { option: yes?.id });
  const task = await end(house, id, model);
  expect(task).toMatchObject({ state: 'COMPLETED', error: null });
  expect(task.usage).toMatchObject(saidSince(from));
  expect(model.faults()).toEqual([]);
}, 120_000);

/** The tool has a whole turn to take before it asks its model again. */
const budgetQuestion = async (id: string): Promise<HitlView> => {
  const asked = await until(`the budget of ${id} to be asked for`, async () => {
    const { requests } = await house.get<{ requests: HitlView[] }>('hitl?state=open');
    return requests.find((one) => one.task_id === id);
  });
  expect(asked).toMatchObject({ source: 'api', kind: 'choice', task_id: id });
  expect(asked.prompt).toContain(id);
  expect(asked.options.map((option) => option.id)).toEqual(['raise', 'raise-more', 'stop']);
  return asked;
};

test('[V7] a budget that is used up holds Claude Code back until a human raises it', async () => {
  const id = await submit({ prompt: 'Please count the lines of notes.txt.', budget: { tokens: 1_000 } });
  const asked = await budgetQuestion(id);
  const held = await taskOf(house, id);
  expect(held).toMatchObject({ state: 'RUNNING', waiting_for_human: true, budget: { tokens_left: 0 } });
  await house.post(`hitl/${asked.hitl_id}/respond`, { text: '10,000,000 tokens' });
  const task = await end(house, id, model);
  expect(task).toMatchObject({ state: 'COMPLETED', error: null, budget: { tokens: 10_000_000, usd: null } });
  const { entries } = await house.get<{ entries: { type: string }[] }>(`actors/task:${id}/log?limit=200`);
  const kinds = entries.map(({ type }) => type);
  expect(kinds.filter((kind) => kind === 'budget.exceeded')).toHaveLength(1);
  expect(kinds.filter((kind) => kind === 'budget.changed')).toHaveLength(1);
}, 120_000);

test('[V8] a human who does not raise it lets the tool be told, which asks no more', async () => {
  const from = model.requests.length;
  const id = await submit({ prompt: 'Please count the lines of notes.txt.', budget: { usd: 0.000_001 } });
  const asked = await budgetQuestion(id);
  await house.post(`hitl/${asked.hitl_id}/withdraw`);
  const task = await end(house, id, model);
  expect(task.state).toBe('FAILED');
  expect(task.error).toContain('API Error: 402');
  expect(task.error).toContain(`of its budget of $0.00`);
  expect(task.usage?.requests).toBe(saidSince(from).requests);
}, 120_000);

test('[V12] a secret in a tool’s own words is in its terminal, and not in what the server keeps of them', async () => {
  const secrets = [{ name: 'TASK_BLURTED', source: 'env' }];
  const id = await submit({ prompt: 'Please blurt it out.', secrets });
  const task = await end(house, id, model);
  expect(task.error).toContain('there is no money for ***');
  const { bytes } = await house.bytes(`sessions/${task.session_id}/output`);
  expect(Buffer.from(bytes).toString()).toContain(blurted);
  const search = Bun.spawnSync([
    'grep',
    '-lF',
    blurted,
    join(house.dataDir, 'journal.db'),
    `${house.dataDir}/journal.db-wal`,
  ]);
  expect(search.stdout.toString()).toBe('');
  expect(house.log()).not.toContain(blurted);
  expect(JSON.stringify(await house.get(`actors/task:${id}`))).not.toContain(blurted);
}, 120_000);

test('[V11] a secret as a file is there for its session, and gone after the server was killed meanwhile', async () => {
  const manifest = {
    metadata: { name: 'Read a file' },
    agent: {
      tool: 'command',
      command: 'bash',
      args: ['-c', 'cat "$TASK_BLURTED_FILE" >/dev/null && sleep 600'],
    },
    secrets: [{ name: 'TASK_BLURTED', source: 'env', deliver: 'file' }],
  };
  const { task_id: id } = await house.post<{ task_id: string }>('tasks', { manifest });
  const file = await until('the command to run', () =>
    environments(id)
      .map((one) => variable(one, 'TASK_BLURTED_FILE') ?? '')
      .find(Boolean),
  );
  expect(readFileSync(file, 'utf8')).toBe(blurted);
  const command = await until('it to have read it', () => environments(id).find((one) => one.includes(file)));
  expect(command).not.toContain(blurted);
  await house.kill9();
  for (const pid of pidsOf(id)) process.kill(pid, 'SIGKILL');
  await house.start();
  await until('the file to be gone', () => !existsSync(file));
  await end(house, id, model);
}, 120_000);

test('[V6] after kill -9 of the server in the middle of an answer the tool asks again, and nothing is forgotten', async () => {
  const from = model.requests.length;
  const id = await submit({ prompt: 'Please count slowly.' });
  const isAnswering = () =>
    model.requests.slice(from).some(({ conversation }) => conversation?.user.includes('count slowly'));
  await until('the model to answer', isAnswering);
  const before = await taskOf(house, id);
  await house.kill9();
  await house.start();
  const task = await end(house, id, model);
  expect(task).toMatchObject({ state: 'COMPLETED', error: null, attempt: 1 });
  const said = saidSince(from);
  expect(said.requests).toBeGreaterThan(2);
  // The answer that was cut off is the only one that is not counted.
  expect(task.usage?.requests).toBeGreaterThanOrEqual(said.requests - 1);
  expect(task.usage?.requests).toBeGreaterThan((before as TaskView).usage?.requests ?? 0);
  expect(new TextDecoder().decode((await artifacts(house, id)).get('report.md'))).toBe(made['report.md']);
}, 180_000);

test('[V1] the real key is in nothing that the server wrote or tells', async () => {
  const search = Bun.spawnSync(['grep', '-rlF', realKey, house.dataDir]);
  expect({ found: search.stdout.toString(), code: search.exitCode }).toEqual({ found: '', code: 1 });
  expect(house.log()).not.toContain(realKey);
  const told = await Promise.all(
    ['tasks', 'usage', 'actors', 'hitl?state=all', 'sessions', 'agents'].map((path) =>
      house.get<unknown>(path),
    ),
  );
  expect(JSON.stringify(told)).not.toContain(realKey);
});
