/** A turn in the words of the Messages API: whole, as a stream of events, or as an error. */
import type { Conversation } from './conversation.ts';
import type { Turn } from './scenario.ts';

type Block =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'tool_use'; readonly id: string; readonly name: string; readonly input: object };

export interface WireEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** Texts are streamed in pieces of this many characters. */
const PIECE_CHARS = 24;

const id = (prefix: string): string => `${prefix}_${crypto.randomUUID().replaceAll('-', '').slice(0, 24)}`;

export function wholeMessage(turn: Turn, conversation: Conversation) {
  const content: Block[] = [
    ...(turn.say === null ? [] : [{ type: 'text', text: turn.say } as const]),
    ...turn.use.map(
      (use) => ({ type: 'tool_use', id: id('toolu'), name: use.tool, input: use.input }) as const,
    ),
  ];
  return {
    id: id('msg'),
    type: 'message',
    role: 'assistant',
    model: conversation.model,
    content,
    stop_reason: turn.use.length > 0 ? 'tool_use' : 'end_turn',
    stop_sequence: null,
    usage: {
      input_tokens: conversation.inputTokens,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      output_tokens: Math.max(1, Math.ceil(JSON.stringify(content).length / 4)),
    },
  };
}

/** Every event of the message; one that hangs lacks its end. */
export function messageEvents(turn: Turn, whole: ReturnType<typeof wholeMessage>): WireEvent[] {
  const { content, stop_reason, usage, ...message } = whole;
  const start = { ...message, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } };
  const events: WireEvent[] = [
    { type: 'message_start', message: start },
    { type: 'ping' },
    ...content.flatMap(blockEvents),
  ];
  if (turn.hang) return events;
  return [
    ...events,
    {
      type: 'message_delta',
      delta: { stop_reason, stop_sequence: null },
      usage: { output_tokens: usage.output_tokens },
    },
    { type: 'message_stop' },
  ];
}

function blockEvents(block: Block, index: number): WireEvent[] {
  const delta = (one: object): WireEvent => ({ type: 'content_block_delta', index, delta: one });
  const [start, deltas] =
    block.type === 'text'
      ? [{ ...block, text: '' }, pieces(block.text).map((text) => delta({ type: 'text_delta', text }))]
      : [
          { ...block, input: {} },
          pieces(JSON.stringify(block.input)).map((json) =>
            delta({ type: 'input_json_delta', partial_json: json }),
          ),
        ];
  return [
    { type: 'content_block_start', index, content_block: start },
    ...deltas,
    { type: 'content_block_stop', index },
  ];
}

function pieces(text: string): string[] {
  const chars = [...text];
  const count = Math.ceil(chars.length / PIECE_CHARS);
  return Array.from({ length: count }, (_, i) =>
    chars.slice(i * PIECE_CHARS, (i + 1) * PIECE_CHARS).join(''),
  );
}

/** `gone` is told when the client has hung up. */
export function streamed(events: readonly WireEvent[], turn: Turn): Response {
  const encoder = new TextEncoder();
  let gone = false;
  const body = new ReadableStream<Uint8Array>({
    async start(control) {
      for (const event of events) {
        if (gone) return;
        if (turn.paceMs > 0) await Bun.sleep(turn.paceMs);
        control.enqueue(encoder.encode(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`));
      }
      if (!turn.hang) control.close();
    },
    cancel() {
      gone = true;
    },
  });
  return new Response(body, {
    headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' },
  });
}

export function problem(status: number, type: string, message: string): Response {
  return Response.json({ type: 'error', error: { type, message }, request_id: id('req') }, { status });
}
