/** What an answer used is read off its bytes as they pass, in every dialect, cut anywhere. */
import { afterEach, describe, expect, test } from 'bun:test';
import { prices } from '../../src/gateway/prices.ts';
import { usageReader } from '../../src/gateway/usage.ts';
import { noTokens } from '../../src/spending.ts';
import { events, sse, until, type World, world } from './world.ts';

let here: World | null = null;
afterEach(async () => {
  await here?.close();
  here = null;
});

const open = async (answer: () => Response): Promise<World> => {
  here = await world(answer);
  return here;
};

const anthropicUsage = {
  input_tokens: 12,
  cache_creation_input_tokens: 300,
  cache_read_input_tokens: 4_000,
  cache_creation: { ephemeral_5m_input_tokens: 100, ephemeral_1h_input_tokens: 200 },
  output_tokens: 1,
};
const model = 'claude-sonnet-4-5-20250929';
const anthropicStream = sse(
  ['message_start', { type: 'message_start', message: { id: 'm', model, usage: anthropicUsage } }],
  ['ping', { type: 'ping' }],
  [
    'content_block_delta',
    { type: 'content_block_delta', delta: { text: 'a "usage" of words: {"usage": 1}' } },
  ],
  ['message_delta', { type: 'message_delta', delta: {}, usage: { output_tokens: 55 } }],
  ['message_stop', { type: 'message_stop' }],
);
const anthropicTokens = { input: 12, output: 55, cacheRead: 4_000, cacheWrite: 100, cacheWriteLong: 200 };

const chatUsage = {
  prompt_tokens: 100,
  completion_tokens: 20,
  total_tokens: 120,
  prompt_tokens_details: { cached_tokens: 64 },
};
const chunk = (more: object) => ({ id: 'c', object: 'chat.completion.chunk', model: 'gpt-4.1', ...more });
const chatWords = [
  [null, chunk({ choices: [{ index: 0, delta: { content: 'Grüße ✓' } }], usage: null })],
  [null, chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage: null })],
] as const;
const chatLast = [null, chunk({ choices: [], usage: chatUsage })] as const;
const chatDone = [null, '[DONE]'] as const;
const openaiTokens = { ...noTokens, input: 36, output: 20, cacheRead: 64 };

const responsesUsage = {
  input_tokens: 100,
  input_tokens_details: { cached_tokens: 64 },
  output_tokens: 20,
  output_tokens_details: { reasoning_tokens: 8 },
};
const whole = { id: 'r', model: 'gpt-5', usage: responsesUsage };
const responsesStream = sse(
  ['response.created', { type: 'response.created', response: { id: 'r', model: 'gpt-5', usage: null } }],
  ['response.output_text.delta', { type: 'response.output_text.delta', delta: 'hi' }],
  ['response.completed', { type: 'response.completed', response: whole }],
);

describe('[V5] what a stream used is counted, and the stream is not changed', () => {
  test.each([
    ['Anthropic messages', '/v1/messages', anthropicStream, anthropicTokens, model],
    [
      'chat completions',
      '/v1/chat/completions',
      sse(...chatWords, chatLast, chatDone),
      openaiTokens,
      'gpt-4.1',
    ],
    ['responses', '/v1/responses', responsesStream, openaiTokens, 'gpt-5'],
  ])(
    '%s',
    async (_name, path, stream, tokens, named) => {
      for (const cut of [1, 7, 100_000]) {
        const { post, uses, close } = await open(() => events(stream, cut));
        const body = { model: 'asked', max_tokens: 5, stream: true, stream_options: { include_usage: true } };
        const response = await post(path, body);
        expect(await response.text()).toBe(stream);
        await until('the use to be told', () => uses.length > 0);
        expect(uses).toMatchObject([{ model: named, tokens }]);
        await close();
        here = null;
      }
    },
    20_000,
  );

  test.each([
    [
      'Anthropic messages',
      '/v1/messages',
      { model, usage: { ...anthropicUsage, output_tokens: 55 } },
      anthropicTokens,
    ],
    ['chat completions', '/v1/chat/completions', chunk({ choices: [{}], usage: chatUsage }), openaiTokens],
    ['responses', '/v1/responses', whole, openaiTokens],
  ])('%s that come whole', async (_name, path, answer, tokens) => {
    const { post, uses } = await open(() => Response.json(answer));
    expect(await (await post(path, { model: 'asked', max_tokens: 5 })).json()).toEqual(answer);
    await until('the use to be told', () => uses.length > 0);
    expect(uses).toMatchObject([{ tokens }]);
  });

  test('an answer that names its model otherwise, without a price, costs what was asked for', async () => {
    const [name, nobody] = ['claude-haiku-4-5', 'nobody-knows-1'];
    const usage = { input_tokens: 1_000_000, output_tokens: 0 };
    const { post, uses } = await open(() => Response.json({ type: 'message', model: nobody, usage }));
    await (await post('/v1/messages', { model: name, max_tokens: 5 })).text();
    await (await post('/v1/messages', { model: nobody, max_tokens: 5 })).text();
    await until('the uses to be told', () => uses.length > 1);
    expect(uses.map(({ costUsd }) => costUsd)).toEqual([1, null]);
  });

  test('of an answer that breaks off what it had said counts', async () => {
    const begun = anthropicStream.slice(0, anthropicStream.indexOf('event: message_delta'));
    const { post, uses } = await open(() => events(begun, 50));
    await (await post('/v1/messages', { model, stream: true })).text();
    await until('the use to be told', () => uses.length > 0);
    expect(uses[0]?.tokens).toEqual({ ...anthropicTokens, output: 1 });
  });

  /** Reads until `last` has come, and leaves. */
  const readTo = async (response: Response, last: string) => {
    const reader = response.body?.getReader();
    const decoder = new TextDecoder();
    for (let text = ''; !text.includes(last); ) text += decoder.decode((await reader?.read())?.value);
    await reader?.cancel();
  };
  /** Says so much, and tells what was used only once nobody waits for it any more. */
  const holdingBack = (stream: string): Response => {
    const body = new ReadableStream<Uint8Array>({
      start: (control) => control.enqueue(new TextEncoder().encode(stream)),
    });
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  };
  const words = 'word '.repeat(800);

  test('[V15] who leaves before an answer says what it used has it counted by its length', async () => {
    const start = { type: 'message_start', message: { model, usage: anthropicUsage } };
    const delta = { type: 'content_block_delta', delta: { type: 'text_delta', text: words } };
    const picture = `data:image/png;base64,${'A'.repeat(100_000)}`;
    const asked = { model, stream: true, stream_options: { include_usage: true }, messages: words };
    const input = Math.ceil((JSON.stringify(asked).length + ',"image":'.length) / 4);
    const cases = [
      ['/v1/messages', sse([null, start], [null, delta]), { ...anthropicTokens, output: 1_003 }],
      [
        '/v1/chat/completions',
        sse([null, chunk({ choices: [{ delta: { content: words } }] })]),
        { ...noTokens, input, output: 1_000 },
      ],
      [
        '/v1/responses',
        sse([null, { type: 'response.output_text.delta', delta: words }]),
        { ...noTokens, input, output: 1_000 },
      ],
    ] as const;
    for (const [path, stream, tokens] of cases) {
      const { post, uses, close } = await open(() => holdingBack(stream));
      await readTo(await post(path, { ...asked, image: picture }), 'word "');
      await until('the use to be told', () => uses.length > 0);
      expect(uses).toMatchObject([{ model, tokens }]);
      await close();
      here = null;
    }
  });

  test('[V15] who leaves once it has said so has it counted as it was said', async () => {
    const { post, uses } = await open(() => holdingBack(anthropicStream));
    await readTo(await post('/v1/messages', { model, stream: true }), 'message_stop');
    await until('the use to be told', () => uses.length > 0);
    expect(uses).toMatchObject([{ model, tokens: anthropicTokens }]);
  });

  test('[V15] an answer that would be made in the background is refused', async () => {
    const { post, uses } = await open(() => Response.json({ id: 'r', status: 'queued', usage: null }));
    const response = await post('/v1/responses', { model, background: true });
    expect([response.status, await response.text()]).toEqual([400, expect.stringContaining('background')]);
    expect(uses).toEqual([]);
  });

  test('an error, a count of tokens and a list of models use nothing', async () => {
    const { post, uses, gateway, key, tallies } = await open(() =>
      Response.json({ usage: { input_tokens: 5 } }, { status: 429 }),
    );
    await (await post('/v1/messages', { model })).text();
    await (await post('/v1/messages/count_tokens', { model })).text();
    await (await fetch(`${gateway.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).text();
    await until('all to be answered', () => tallies.counts().requests.some(({ count }) => count === 2));
    expect(uses).toEqual([]);
  });
});

describe('[V5] who streams chat completions without asking for usage', () => {
  test('is counted all the same and sees the stream that was asked for', async () => {
    for (const cut of [1, 9, 100_000]) {
      let options: unknown = null;
      here = await world(async (request) => {
        options = ((await request.json()) as { stream_options: unknown }).stream_options;
        return events(sse(...chatWords, chatLast, chatDone), cut);
      });
      const { post, uses, close } = here;
      const response = await post('/v1/chat/completions', { model: 'gpt-4.1', stream: true });
      expect(await response.text()).toBe(sse(...chatWords, chatDone));
      expect(options).toEqual({ include_usage: true });
      await until('the use to be told', () => uses.length > 0);
      expect(uses).toMatchObject([{ model: 'gpt-4.1', tokens: openaiTokens }]);
      await close();
      here = null;
    }
  }, 20_000);
});

describe('[V5] prices', () => {
  test('a cost is the sum over every kind of token; a model without a price has none', () => {
    const table = prices(null);
    const million = { input: 1e6, output: 1e6, cacheRead: 1e6, cacheWrite: 1e6, cacheWriteLong: 1e6 };
    expect(table.costOf(model, million)).toBeCloseTo(3 + 15 + 0.3 + 3.75 + 6, 9);
    expect(table.costOf('claude-opus-4-5-20251101', { ...noTokens, output: 1e6 })).toBe(25);
    expect(table.costOf('nobody-knows-1', million)).toBeNull();
    expect(table.has('nobody-knows-1')).toBeFalse();
  });

  test('a long prompt, caches included, has a price of its own for all of its request', () => {
    const table = prices(null);
    const short = { ...noTokens, input: 40_000, cacheRead: 60_000, output: 1_000_000 };
    expect(table.costOf('claude-haiku-5-5', short)).toBeCloseTo(0.004 + 0.0006 + 0.5, 9);
    const long = { ...short, input: 40_001 };
    expect(table.costOf('claude-haiku-5-5', long)).toBeCloseTo(0.0200005 + 0.003 + 2.5, 9);
    const wrong = '{"models": [{"match": "x", "input": 1, "output": 1, "long": {"input": 2, "output": 2}}]}';
    expect(() => prices(wrong)).toThrow('"over" for "x"');
  });

  test('no name is taken for another that begins like it', () => {
    const table = prices(null);
    const cost = (name: string) => table.costOf(name, { ...noTokens, output: 1e6 });
    expect([cost('claude-opus-5'), cost('claude-opus-5-5'), cost('claude-opus-5-20260724')]).toEqual([
      25, 20, 25,
    ]);
    expect([cost('gpt-5.5'), cost('gpt-5.5-2026-04-01'), cost('gpt-5.5-pro')]).toEqual([30, 30, null]);
  });

  test("an operator's table comes first, and what is wrong with it is named", () => {
    const own = { models: [{ match: 'claude-sonnet-4-5*', input: 1, output: 2 }] };
    const million = { ...noTokens, input: 1e6, cacheRead: 1e6, cacheWriteLong: 1e6 };
    expect(prices(JSON.stringify(own)).costOf(model, million)).toBe(3);
    expect(() => prices('{"models": [{"match": "x", "input": "much", "output": 1}]}')).toThrow(
      '"input" for "x"',
    );
    expect(() => prices('[]')).toThrow('no list "models"');
    expect(() => prices('nothing')).toThrow('is not JSON');
  });
});

test('[V5] a line without an end takes a bounded amount of memory, and what comes after it is read', () => {
  const reader = usageReader('anthropic', true);
  const piece = new Uint8Array(1 << 20).fill(97);
  for (let i = 0; i < 40; i++) reader.feed(piece);
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 400; i++) reader.feed(piece);
  expect(process.memoryUsage.rss() - before).toBeLessThan(64 << 20);
  reader.feed(new TextEncoder().encode(`\n${anthropicStream}`));
  expect(reader.used()?.tokens).toEqual(anthropicTokens);
});
