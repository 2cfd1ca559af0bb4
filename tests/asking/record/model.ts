/**
 * A scripted model for recordings: speaks just enough of the Anthropic Messages, OpenAI Responses and Chat
 * Completions streams for the real agent CLIs. A turn is taken per request that offers tools; other requests
 * (titles, token counts) get a constant.
 */
export type Turn =
  | { readonly text: string }
  | { readonly tool: string; readonly input: object; readonly text?: string }
  /** Says this much and then never goes on. */
  | { readonly hang: string };

export function scriptedModel(port: number, turns: readonly Turn[]): () => Promise<void> {
  let next = 0;
  const take = (wantsTools: boolean): Turn => (wantsTools ? turns[next++] : undefined) ?? { text: 'Done.' };
  const server = Bun.serve({
    port,
    hostname: '127.0.0.1',
    idleTimeout: 0,
    async fetch(request) {
      const path = new URL(request.url).pathname;
      if (request.method !== 'POST') return Response.json({ object: 'list', data: [] });
      const body: { tools?: unknown[]; stream?: boolean; model?: string } = Object(
        await request.json().catch(() => ({})),
      );
      const turn = take((body.tools?.length ?? 0) > 0);
      if (path.endsWith('/count_tokens')) return Response.json({ input_tokens: 10 });
      if (path.endsWith('/messages')) {
        if (body.stream !== true) return Response.json(wholeMessage(turn));
        return stream(messageEvents(turn), 'hang' in turn);
      }
      if (path.endsWith('/responses')) return stream(responseEvents(turn), 'hang' in turn);
      if (path.endsWith('/chat/completions')) return stream(chatEvents(turn), 'hang' in turn);
      return new Response('not here', { status: 404 });
    },
  });
  return () => server.stop(true);
}

function stream(events: readonly (readonly [string | null, object | string])[], hangs: boolean): Response {
  const body = new ReadableStream<Uint8Array>({
    start(control) {
      for (const [name, data] of events) {
        const text = typeof data === 'string' ? data : JSON.stringify(data);
        control.enqueue(
          new TextEncoder().encode(`${name === null ? '' : `event: ${name}\n`}data: ${text}\n\n`),
        );
      }
      if (!hangs) control.close();
    },
  });
  return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
}

function blocksOf(turn: Turn) {
  const blocks: { type: string; text?: string; id?: string; name?: string; input?: object }[] = [];
  const text = 'hang' in turn ? turn.hang : turn.text;
  if (text !== undefined && text !== '') blocks.push({ type: 'text', text });
  if ('tool' in turn) blocks.push({ type: 'tool_use', id: 'toolu_1', name: turn.tool, input: turn.input });
  return blocks;
}

function wholeMessage(turn: Turn): object {
  return {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'claude-sonnet-4-5',
    content: blocksOf(turn),
    stop_reason: 'tool' in turn ? 'tool_use' : 'end_turn',
    stop_sequence: null,
    usage: { input_tokens: 10, output_tokens: 10 },
  };
}

function messageEvents(turn: Turn): (readonly [string, object])[] {
  const events: (readonly [string, object])[] = [];
  const add = (type: string, rest: object) => events.push([type, { type, ...rest }]);
  add('message_start', { message: { ...wholeMessage({ text: '' }), stop_reason: null } });
  blocksOf(turn).forEach((block, index) => {
    if (block.type === 'text') {
      add('content_block_start', { index, content_block: { type: 'text', text: '' } });
      add('content_block_delta', { index, delta: { type: 'text_delta', text: block.text } });
    } else {
      add('content_block_start', { index, content_block: { ...block, input: {} } });
      add('content_block_delta', {
        index,
        delta: { type: 'input_json_delta', partial_json: JSON.stringify(block.input) },
      });
    }
    if (!('hang' in turn)) add('content_block_stop', { index });
  });
  if ('hang' in turn) return events;
  add('message_delta', {
    delta: { stop_reason: 'tool' in turn ? 'tool_use' : 'end_turn', stop_sequence: null },
    usage: { output_tokens: 10 },
  });
  add('message_stop', {});
  return events;
}

function responseEvents(turn: Turn): (readonly [string, object])[] {
  const item =
    'tool' in turn
      ? {
          type: 'function_call',
          id: 'fc_1',
          call_id: 'call_1',
          name: turn.tool,
          arguments: JSON.stringify(turn.input),
        }
      : {
          type: 'message',
          id: 'msg_1',
          role: 'assistant',
          content: [{ type: 'output_text', text: 'hang' in turn ? turn.hang : turn.text, annotations: [] }],
        };
  const events: (readonly [string, object])[] = [
    ['response.created', { type: 'response.created', response: { id: 'resp_1' } }],
  ];
  if ('hang' in turn) return events;
  events.push(['response.output_item.done', { type: 'response.output_item.done', output_index: 0, item }]);
  const usage = {
    input_tokens: 10,
    input_tokens_details: null,
    output_tokens: 10,
    output_tokens_details: null,
    total_tokens: 20,
  };
  events.push([
    'response.completed',
    { type: 'response.completed', response: { id: 'resp_1', usage, output: [item] } },
  ]);
  return events;
}

function chatEvents(turn: Turn): (readonly [null, object | string])[] {
  const chunk = (delta: object, finish: string | null) => ({
    id: 'c1',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'scripted',
    choices: [{ index: 0, delta, finish_reason: finish }],
  });
  if ('hang' in turn) return [[null, chunk({ role: 'assistant', content: turn.hang }, null)]];
  if (!('tool' in turn)) {
    return [
      [null, chunk({ role: 'assistant', content: turn.text }, null)],
      [null, chunk({}, 'stop')],
      [null, '[DONE]'],
    ];
  }
  const call = {
    index: 0,
    id: 'call_1',
    type: 'function',
    function: { name: turn.tool, arguments: JSON.stringify(turn.input) },
  };
  return [
    [null, chunk({ role: 'assistant', tool_calls: [call] }, null)],
    [null, chunk({}, 'tool_calls')],
    [null, '[DONE]'],
  ];
}
