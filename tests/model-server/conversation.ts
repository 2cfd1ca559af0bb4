/**
 * A request of the Messages API as the real one would judge it: its shape, and that every tool result answers
 * a tool use of the message before. And what a rule needs of it: the newest words of the user, and the
 * answers given since.
 */
export interface Conversation {
  readonly model: string;
  readonly stream: boolean;
  readonly tools: readonly string[];
  /** The newest text of the user, without the reminders that Claude Code adds. */
  readonly user: string;
  /** Messages of the assistant since then. */
  readonly answers: number;
  /** What tools answered since then, in order. */
  readonly results: readonly ToolResult[];
  /** A rough count, a token for four characters. */
  readonly inputTokens: number;
}

export interface ToolResult {
  readonly tool: string;
  readonly text: string;
  readonly isError: boolean;
}

interface Block {
  readonly type: string;
  readonly text?: string;
  readonly id?: string;
  readonly name?: string;
  readonly tool_use_id?: string;
  readonly content?: string | readonly Block[];
  readonly is_error?: boolean;
}

interface Message {
  readonly role: string;
  readonly content: string | readonly Block[];
}

export interface Body {
  readonly model?: unknown;
  readonly max_tokens?: unknown;
  readonly stream?: unknown;
  readonly tools?: readonly { readonly name?: unknown }[];
  readonly messages?: readonly Message[];
}

/** Text that is not the user's: what Claude Code wraps in tags of its own. */
const reminders = /<(system-reminder|local-command-[a-z]+|command-[a-z]+)>.*?<\/\1>/gs;

/** A string says what is wrong with the request. */
export function readConversation(body: Body, counting = false): Conversation | string {
  if (typeof body.model !== 'string' || body.model === '') return 'model: Field required';
  if (!counting && !(typeof body.max_tokens === 'number' && body.max_tokens > 0))
    return 'max_tokens: Field required';
  if (!Array.isArray(body.messages) || body.messages.length === 0)
    return 'messages: at least one message is required';
  const messages: readonly Message[] = body.messages;
  const wrong = messages
    .map((message, i) => messageFault(message, messages[i - 1], i))
    .find((fault) => fault !== null);
  if (wrong !== undefined) return wrong;
  const newest = messages.findLastIndex((message) => message.role === 'user' && words(message) !== '');
  const since = messages.slice(newest + 1);
  return {
    model: body.model,
    stream: body.stream === true,
    tools: (body.tools ?? []).flatMap((tool) => (typeof tool.name === 'string' ? [tool.name] : [])),
    user: newest < 0 ? '' : words(messages[newest]!),
    answers: since.filter((message) => message.role === 'assistant').length,
    results: results(messages, newest + 1),
    inputTokens: Math.ceil(JSON.stringify(body).length / 4),
  };
}

const blocks = (message: Message): readonly Block[] =>
  typeof message.content === 'string' ? [{ type: 'text', text: message.content }] : message.content;

function messageFault(message: Message, before: Message | undefined, at: number): string | null {
  if (!['user', 'assistant', 'system'].includes(message.role)) return `messages.${at}.role: unexpected value`;
  if (typeof message.content !== 'string' && !Array.isArray(message.content))
    return `messages.${at}.content: Field required`;
  if (blocks(message).length === 0) return `messages.${at}: must have non-empty content`;
  const asked =
    before?.role === 'assistant' ? blocks(before).flatMap((b) => (b.type === 'tool_use' ? [b.id] : [])) : [];
  const answered = blocks(message).flatMap((b) => (b.type === 'tool_result' ? [b.tool_use_id] : []));
  const unasked = answered.find((id) => !asked.includes(id));
  if (unasked !== undefined)
    return `messages.${at}: unexpected tool_use_id in tool_result blocks: ${unasked}`;
  const open = asked.find((id) => !answered.includes(id));
  return open === undefined ? null : `messages.${at}: tool_use ids without tool_result blocks: ${open}`;
}

function words(message: Message): string {
  const texts = blocks(message).flatMap((b) => (b.type === 'text' ? [b.text ?? ''] : []));
  return texts.join('\n').replace(reminders, '').trim();
}

function results(messages: readonly Message[], from: number): ToolResult[] {
  const names = new Map(
    messages.flatMap(blocks).flatMap((b) => (b.type === 'tool_use' ? [[b.id, b.name ?? ''] as const] : [])),
  );
  return messages
    .slice(from)
    .flatMap(blocks)
    .flatMap((block) => {
      if (block.type !== 'tool_result') return [];
      const text =
        typeof block.content === 'string'
          ? block.content
          : (block.content ?? []).map((part) => part.text ?? '').join('\n');
      return [{ tool: names.get(block.tool_use_id) ?? '', text, isError: block.is_error === true }];
    });
}
