/**
 * A small scripted model that speaks Anthropic's streaming Messages API: enough for one tool call and one
 * closing word.
 */

export interface Turn {
  /** What the model does with the conversation so far. */
  readonly say?: string;
  readonly bash?: string;
  readonly status?: number;
}

export interface ModelServer {
  readonly url: string;
  /** The texts of every user message that came, in order. */
  readonly heard: string[];
  readonly stop: () => void;
}

interface Block {
  type: string;
  text?: string;
  content?: unknown;
}
interface Body {
  model: string;
  stream?: boolean;
  tools?: unknown[];
  messages: { role: string; content: string | Block[] }[];
}

/** `script` is called with how many tool results the conversation holds. */
export function modelServer(script: (results: number) => Turn): ModelServer {
  const heard: string[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    async fetch(request) {
      if (new URL(request.url).pathname !== '/v1/messages') return new Response('{}', { status: 404 });
      const body = (await request.json()) as Body;
      const blocks = body.messages.flatMap((m) =>
        typeof m.content === 'string' ? [{ type: 'text', text: m.content }] : m.content,
      );
      heard.push(...blocks.flatMap((b) => (b.type === 'text' && b.text !== undefined ? [b.text] : [])));
      // Side errands (a title for the conversation) come without tools.
      const turn =
        (body.tools?.length ?? 0) === 0
          ? { say: 'Side errand' }
          : script(blocks.filter((b) => b.type === 'tool_result').length);
      if (turn.status !== undefined) {
        return Response.json(
          { type: 'error', error: { type: 'authentication_error', message: 'no such key' } },
          { status: turn.status },
        );
      }
      return body.stream === true ? streamed(body.model, turn) : Response.json(whole(body.model, turn));
    },
  });
  return { url: `http://127.0.0.1:${server.port}`, heard, stop: () => server.stop(true) };
}

const usage = {
  input_tokens: 100,
  cache_read_input_tokens: 7,
  cache_creation_input_tokens: 5,
  output_tokens: 1,
};

function whole(model: string, turn: Turn) {
  const block =
    turn.bash === undefined
      ? { type: 'text', text: turn.say ?? '' }
      : {
          type: 'tool_use',
          id: `toolu_${crypto.randomUUID()}`,
          name: 'Bash',
          input: { command: turn.bash, description: 'Do it' },
        };
  return {
    id: `msg_${crypto.randomUUID()}`,
    type: 'message',
    role: 'assistant',
    model,
    content: [block],
    stop_reason: turn.bash === undefined ? 'end_turn' : 'tool_use',
    stop_sequence: null,
    usage: { ...usage, output_tokens: 20 },
  };
}

function streamed(model: string, turn: Turn): Response {
  const message = whole(model, turn);
  const [block] = message.content;
  const delta =
    block !== undefined && 'input' in block
      ? { type: 'input_json_delta', partial_json: JSON.stringify(block.input) }
      : { type: 'text_delta', text: turn.say ?? '' };
  const start =
    block !== undefined && 'input' in block ? { ...block, input: {} } : { type: 'text', text: '' };
  const events = [
    { type: 'message_start', message: { ...message, content: [], stop_reason: null, usage } },
    { type: 'content_block_start', index: 0, content_block: start },
    { type: 'content_block_delta', index: 0, delta },
    { type: 'content_block_stop', index: 0 },
    {
      type: 'message_delta',
      delta: { stop_reason: message.stop_reason, stop_sequence: null },
      usage: { output_tokens: 20 },
    },
    { type: 'message_stop' },
  ];
  const text = events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('');
  return new Response(text, { headers: { 'content-type': 'text/event-stream' } });
}
