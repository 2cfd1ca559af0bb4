/**
 * The two APIs that models are spoken to in: which requests are forwarded, and how each says that something
 * went wrong. Whatever is not in the table is not forwarded, so no path can lead anywhere else.
 */
export type Provider = 'anthropic' | 'openai';

/** How usage stands in an answer. `none`: the answer costs nothing. */
export type Counting = 'anthropic' | 'chat' | 'responses' | 'none';

export interface Route {
  readonly provider: Provider;
  readonly method: 'GET' | 'POST';
  /** Appended to the upstream's base URL. */
  readonly upstreamPath: string;
  readonly counting: Counting;
}

const post = (provider: Provider, upstreamPath: string, counting: Counting): Route => ({
  provider,
  method: 'POST',
  upstreamPath,
  counting,
});

/** An upstream of Anthropic's dialect is named without `/v1`, one of OpenAI's with it, as their tools do. */
const posted: Readonly<Record<string, Route>> = {
  '/v1/messages': post('anthropic', '/v1/messages', 'anthropic'),
  '/v1/messages/count_tokens': post('anthropic', '/v1/messages/count_tokens', 'none'),
  '/v1/chat/completions': post('openai', '/chat/completions', 'chat'),
  '/v1/responses': post('openai', '/responses', 'responses'),
};

/** Both dialects list their models at one path; only Anthropic's callers say their version. */
export function providerOf(headers: Headers): Provider {
  return headers.has('anthropic-version') || headers.get('x-api-key') ? 'anthropic' : 'openai';
}

export function routeOf(request: Request, pathname: string): Route | null {
  if (request.method === 'POST') return Object.hasOwn(posted, pathname) ? (posted[pathname] ?? null) : null;
  if (request.method !== 'GET' || pathname !== '/v1/models') return null;
  const provider = providerOf(request.headers);
  const upstreamPath = provider === 'anthropic' ? '/v1/models' : '/models';
  return { provider, method: 'GET', upstreamPath, counting: 'none' };
}

/** What a path that is not forwarded was most likely meant to be. */
export const providerByPath = (request: Request, pathname: string): Provider =>
  pathname.startsWith('/v1/messages') ? 'anthropic' : providerOf(request.headers);

export type Trouble =
  | 'bad-request'
  | 'unknown-key'
  | 'out-of-budget'
  | 'not-found'
  | 'too-large'
  | 'too-many'
  | 'upstream'
  | 'busy';

interface Words {
  readonly status: number;
  readonly anthropic: string;
  readonly openai: string;
}

/**
 * Claude Code asks once more for none of the 4xx but 400, 408, 409 and 429 (tried with 2.1): 402, which its
 * provider has for trouble with billing, ends its turn with our words.
 */
const words: Readonly<Record<Trouble, Words>> = {
  'bad-request': { status: 400, anthropic: 'invalid_request_error', openai: 'invalid_request_error' },
  'unknown-key': { status: 401, anthropic: 'authentication_error', openai: 'invalid_api_key' },
  'out-of-budget': { status: 402, anthropic: 'billing_error', openai: 'insufficient_quota' },
  'not-found': { status: 404, anthropic: 'not_found_error', openai: 'not_found' },
  'too-large': { status: 413, anthropic: 'request_too_large', openai: 'request_too_large' },
  'too-many': { status: 429, anthropic: 'rate_limit_error', openai: 'rate_limit_exceeded' },
  upstream: { status: 502, anthropic: 'api_error', openai: 'server_error' },
  busy: { status: 503, anthropic: 'overloaded_error', openai: 'server_error' },
};

export function troubled(provider: Provider, trouble: Trouble, message: string): Response {
  const { status, anthropic, openai } = words[trouble];
  const body =
    provider === 'anthropic'
      ? { type: 'error', error: { type: anthropic, message } }
      : { error: { message, type: openai, param: null, code: openai } };
  const later: Record<string, string> = { 'retry-after': '1' };
  // The libraries of both providers heed it.
  const never: Record<string, string> = { 'x-should-retry': 'false' };
  const retry = status === 429 || status === 503 ? later : status === 402 ? never : {};
  return Response.json(body, { status, headers: retry });
}
