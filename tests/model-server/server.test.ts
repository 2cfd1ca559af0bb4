/** The scripted model on its own: what it answers, and what it refuses. */
import { afterEach, describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readScenario } from './scenario.ts';
import { type ModelServer, startModelServer } from './server.ts';

const scenario = readScenario({
  key: 'a-key',
  aside: 'A title',
  rules: [
    {
      user: 'write',
      turns: [{ say: 'On it.', use: [{ tool: 'Bash', input: { command: 'ls' } }] }, { say: 'Done.' }],
    },
    { user: 'fail', turns: [{ error: { status: 529, type: 'overloaded_error', message: 'busy' } }] },
  ],
});

let model: ModelServer | null = null;
afterEach(async () => {
  await model?.stop();
  model = null;
});

interface Wire {
  type?: string;
  content?: { type: string; id?: string; text?: string }[];
  stop_reason?: string;
  error?: { message: string };
}

const bash = { name: 'Bash', input_schema: {} };
const user = (content: unknown) => ({ role: 'user', content });

async function ask(messages: unknown[], over: object = {}, key = 'a-key') {
  model ??= startModelServer(scenario);
  return fetch(`${model.url}/v1/messages?beta=true`, {
    method: 'POST',
    headers: { 'x-api-key': key, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', max_tokens: 10, tools: [bash], messages, ...over }),
  });
}

async function answer(...request: Parameters<typeof ask>): Promise<Wire> {
  return (await (await ask(...request)).json()) as Wire;
}

/** The conversation after the tool was used, with `id` in the result. */
async function afterTool(id?: string): Promise<unknown[]> {
  const first = await answer([user('write it')]);
  const use = first.content?.find((block) => block.type === 'tool_use')?.id;
  return [
    user('write it'),
    { role: 'assistant', content: first.content },
    user([
      { type: 'tool_result', tool_use_id: id ?? use, content: 'ok' },
      { type: 'text', text: '<system-reminder>x</system-reminder>' },
    ]),
  ];
}

describe('a scripted model', () => {
  test('takes the turns of the rule that the newest user text matches', async () => {
    const first = await answer([user('write it')]);
    expect(first.content?.map((block) => block.type)).toEqual(['text', 'tool_use']);
    expect(first.stop_reason).toBe('tool_use');
    const last = await answer(await afterTool());
    expect(last.content).toEqual([{ type: 'text', text: 'Done.' }]);
    expect(model?.requests.at(-1)?.conversation?.results).toEqual([
      { tool: 'Bash', text: 'ok', isError: false },
    ]);
    expect(model?.faults()).toEqual([]);
  });

  test('streams the same message as events whose pieces add up', async () => {
    const response = await ask([user('write it')], { stream: true });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const events = (await response.text())
      .split('\n\n')
      .filter(Boolean)
      .map((e) => JSON.parse(e.split('\ndata: ')[1] ?? ''));
    expect([events[0].type, events.at(-1).type]).toEqual(['message_start', 'message_stop']);
    const pieces = events
      .filter((e) => e.delta?.type === 'input_json_delta')
      .map((e) => e.delta.partial_json);
    expect(JSON.parse(pieces.join(''))).toEqual({ command: 'ls' });
    expect(events.find((e) => e.type === 'message_delta').delta.stop_reason).toBe('tool_use');
  });

  test('refuses what no rule foresees and keeps it as a fault', async () => {
    expect((await ask([user('dance')])).status).toBe(400);
    expect((await answer(await afterTool('toolu_other'))).error?.message).toContain('unexpected tool_use_id');
    expect((await answer([user('write it')], { tools: [{ name: 'Read' }] })).error?.message).toContain(
      'Bash',
    );
    expect((await fetch(`${model?.url}/v1/complete`, { method: 'POST' })).status).toBe(404);
    expect(model?.faults()).toHaveLength(4);
    expect(model?.faults()[0]).toContain('no rule of the scenario matches the newest user text: "dance"');
  });

  test('answers side errands, counts, probes, wrong keys and scripted errors', async () => {
    expect((await answer([user('title?')], { tools: [] })).content?.[0]?.text).toBe('A title');
    expect((await ask([user('write it')], {}, 'another')).status).toBe(401);
    expect((await ask([user('fail')])).status).toBe(529);
    expect((await fetch(`${model?.url}/`, { method: 'HEAD' })).status).toBe(200);
    const count = await fetch(`${model?.url}/v1/messages/count_tokens`, {
      method: 'POST',
      headers: { authorization: 'Bearer a-key' },
      body: JSON.stringify({ model: 'm', messages: [user('hi')] }),
    });
    expect(((await count.json()) as { input_tokens: number }).input_tokens).toBeGreaterThan(0);
    expect(model?.faults()).toEqual([]);
  });

  test('says which field of a scenario is wrong', () => {
    const read = (value: unknown) => () => readScenario(value);
    expect(read({ rules: [] })).toThrow('rules is empty');
    expect(read({ rules: [{ user: '(', turns: [{ say: 'x' }] }] })).toThrow(
      'rules[0].user is no regular expression',
    );
    expect(read({ rules: [{ user: 'x', turns: [{ sya: 'x' }] }] })).toThrow(
      'rules[0].turns[0] has an unknown field sya',
    );
    expect(read({ rules: [{ user: 'x', turns: [{}] }] })).toThrow('rules[0].turns[0] does nothing');
  });

  test('runs from the command line and prints its URL', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'e2e-model-'));
    await Bun.write(
      join(dir, 's.json'),
      JSON.stringify({ rules: [{ user: 'hi', turns: [{ say: 'Hello.' }] }] }),
    );
    const child = Bun.spawn([process.execPath, join(import.meta.dir, 'main.ts'), join(dir, 's.json')], {
      stdout: 'pipe',
    });
    const { value } = await child.stdout.getReader().read();
    const url = new TextDecoder().decode(value).trim();
    const response = await fetch(`${url}/requests`);
    expect(await response.json()).toEqual({ requests: [] });
    child.kill();
    await child.exited;
    rmSync(dir, { recursive: true });
  });
});
