/**
 * A scripted model that speaks the Anthropic Messages API, for tests and examples: no network, no cost, the
 * same words every time. Strict: a request that no rule foresees is refused in plain words and kept as a
 * fault, so that a test can end with `faults` being empty. What was asked is kept too (`requests`, or `GET
 * /requests` from another process).
 */
import { type Body, type Conversation, readConversation } from './conversation.ts';
import type { Scenario, Turn } from './scenario.ts';
import { messageEvents, problem, streamed, wholeMessage } from './wire.ts';

export interface ModelRequest {
  readonly at: string;
  readonly method: string;
  readonly path: string;
  /** Null for requests that are no conversation. */
  readonly conversation: Conversation | null;
  readonly status: number;
  /** What the answer said that it used; null where it said nothing. */
  readonly usage: { readonly input_tokens: number; readonly output_tokens: number } | null;
  /** Why it was refused, when the scenario did not foresee it. */
  readonly fault: string | null;
}

export interface ModelServer {
  readonly url: string;
  readonly requests: readonly ModelRequest[];
  readonly faults: () => string[];
  readonly stop: () => Promise<void>;
}

/** Only the newest are kept. */
const REQUESTS_MAX = 1_000;

interface Answer {
  readonly response: Response;
  readonly conversation?: Conversation;
  readonly usage?: ModelRequest['usage'];
  readonly fault?: string;
}

export function startModelServer(
  scenario: Scenario,
  { port = 0 }: { readonly port?: number } = {},
): ModelServer {
  const requests: ModelRequest[] = [];
  const server = Bun.serve({
    port,
    hostname: '127.0.0.1',
    idleTimeout: 0,
    async fetch(request) {
      const { pathname: path } = new URL(request.url);
      if (request.method === 'GET' && path === '/requests') return Response.json({ requests });
      const answered = await answer(scenario, request, path);
      const { response, conversation = null, usage = null, fault = null } = answered;
      requests.push({
        at: new Date().toISOString(),
        method: request.method,
        path,
        conversation,
        status: response.status,
        usage,
        fault,
      });
      if (requests.length > REQUESTS_MAX) requests.shift();
      return response;
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    requests,
    faults: () =>
      requests.flatMap((one) => (one.fault === null ? [] : [`${one.method} ${one.path}: ${one.fault}`])),
    stop: () => server.stop(true),
  };
}

async function answer(scenario: Scenario, request: Request, path: string): Promise<Answer> {
  const asks = request.method === 'GET' || request.method === 'HEAD';
  // Claude Code warms its connection up with HEAD / and, with some keys, lists the models.
  if (asks && path === '/') return { response: new Response(null, { status: 200 }) };
  if (asks && path === '/v1/models')
    return { response: Response.json({ data: [], has_more: false, first_id: null, last_id: null }) };
  const counting = path === '/v1/messages/count_tokens';
  if (request.method !== 'POST' || (path !== '/v1/messages' && !counting)) {
    return refused(404, 'not_found_error', `there is no ${request.method} ${path} here`);
  }
  if (scenario.key !== null && keyOf(request) !== scenario.key) {
    return { response: problem(401, 'authentication_error', 'invalid x-api-key') };
  }
  const body = (await request.json().catch(() => null)) as Body | null;
  if (typeof body !== 'object' || body === null)
    return refused(400, 'invalid_request_error', 'the body is no JSON object');
  const conversation = readConversation(body, counting);
  if (typeof conversation === 'string') return refused(400, 'invalid_request_error', conversation);
  if (counting) return { response: Response.json({ input_tokens: conversation.inputTokens }), conversation };
  return { ...(await turnAnswer(scenario, conversation)), conversation };
}

const keyOf = (request: Request): string | undefined =>
  request.headers.get('x-api-key') ?? request.headers.get('authorization')?.replace(/^Bearer /, '');

async function turnAnswer(scenario: Scenario, conversation: Conversation): Promise<Answer> {
  const turn = turnOf(scenario, conversation);
  if (typeof turn === 'string') return refused(400, 'invalid_request_error', turn);
  if (turn.delayMs > 0) await Bun.sleep(turn.delayMs);
  if (turn.error !== null)
    return { response: problem(turn.error.status, turn.error.type, turn.error.message) };
  const message = wholeMessage(turn, conversation);
  const { usage } = message;
  if (conversation.stream) return { response: streamed(messageEvents(turn, message), turn), usage };
  if (turn.hang) await new Promise<never>(() => {});
  return { response: Response.json(message), usage };
}

function turnOf(scenario: Scenario, conversation: Conversation): Turn | string {
  const { user, answers, tools } = conversation;
  if (tools.length === 0 && scenario.aside !== null) {
    return { say: scenario.aside, use: [], delayMs: 0, paceMs: 0, error: null, hang: false };
  }
  const at = scenario.rules.findIndex((rule) => rule.user.test(user));
  const rule = scenario.rules[at];
  if (rule === undefined)
    return `no rule of the scenario matches the newest user text: ${JSON.stringify(user.slice(0, 300))}`;
  const turn = rule.turns[answers];
  if (turn === undefined) {
    return `rules[${at}] has ${rule.turns.length} turns, and this would be turn ${answers + 1}; add it to the scenario`;
  }
  const strange = turn.use.find((use) => !tools.includes(use.tool));
  if (strange !== undefined)
    return `rules[${at}] uses the tool ${strange.tool}, which the request does not offer: ${tools.join(', ')}`;
  return turn;
}

const refused = (status: number, type: string, fault: string): Answer => ({
  response: problem(status, type, `the scripted model: ${fault}`),
  fault,
});
