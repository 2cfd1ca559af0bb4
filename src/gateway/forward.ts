/**
 * A request to a model, from its virtual key to the last byte of its answer.
 *
 *     whose key is it ─▶ a free slot ─▶ sound ─▶ is there budget ─▶ upstream ─▶ bytes back ─▶ what it used
 *
 * A slot is free again only once what the request used is durable: so a server that is killed forgets at most
 * what `SLOTS_MAX` requests of a session used. The tool is answered in the words of the API that it speaks.
 */
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import type { Spender, Tokens, Treasury } from '../spending.ts';
import { askingForUsage, withoutUsageChunk } from './chat-usage.ts';
import { type Provider, providerByPath, type Route, routeOf, type Trouble, troubled } from './dialect.ts';
import { charsAsked } from './guess.ts';
import type { VirtualKeys } from './keys.ts';
import type { Prices } from './prices.ts';
import type { Tallies } from './tallies.ts';
import { ask, headersBack, headersTo, passing, type Upstream, urlOf } from './upstream.ts';
import { type Used, usageReader } from './usage.ts';

/** Requests of one session at a time, and of all. */
export const SLOTS_MAX = 16;
const SLOTS_OF_ALL_MAX = 512;
/** What providers take at most. */
const BODY_BYTES_MAX = 32 << 20;
const MODEL_CHARS_MAX = 200;

export interface Forwarding {
  readonly upstreams: Readonly<Record<Provider, Upstream | null>>;
  readonly keys: VirtualKeys;
  readonly prices: Prices;
  readonly treasury: Treasury;
  readonly tallies: Tallies;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is told to the tool instead of an answer. */
class Refused extends Error {
  readonly trouble: Trouble;
  constructor(trouble: Trouble, message: string) {
    super(message);
    this.trouble = trouble;
  }
}

/** `agent`: only a key of one of its sessions is good; null: any. */
export type Forward = (request: Request, agent: string | null) => Promise<Response>;

export function forwarding(on: Forwarding): Forward {
  const slots = new Map<string, number>();
  let busy = 0;
  const take = ({ session }: Spender): (() => void) => {
    const mine = slots.get(session) ?? 0;
    if (mine >= SLOTS_MAX || busy >= SLOTS_OF_ALL_MAX) {
      throw new Refused('too-many', `${mine} requests are under way already; wait for one of them`);
    }
    slots.set(session, mine + 1);
    busy += 1;
    return () => {
      busy -= 1;
      const left = (slots.get(session) ?? 1) - 1;
      if (left > 0) slots.set(session, left);
      else slots.delete(session);
    };
  };
  return async (request, agent) => {
    // What asks for a tunnel names no path.
    const { pathname, search } = URL.parse(request.url) ?? { pathname: '', search: '' };
    const route = routeOf(request, pathname);
    const provider = route?.provider ?? providerByPath(request, pathname);
    let free = () => {};
    try {
      const spender = on.keys.find(keyOf(request));
      if (!spender || (agent !== null && spender.agent !== agent))
        throw new Refused('unknown-key', 'this is no key of a session that runs here');
      if (!route) throw new Refused('not-found', `${request.method} ${pathname} is not forwarded`);
      const upstream = on.upstreams[route.provider];
      if (!upstream) throw new Refused('not-found', `this server has no key for the ${provider} API`);
      free = take(spender);
      const response = await forwarded(on, { request, route, search, spender, upstream, free });
      on.tallies.answered(provider, response.status);
      return response;
    } catch (thrown) {
      free();
      const response = request.signal.aborted
        ? troubled(provider, 'busy', 'whoever asked has left')
        : refusal(on, provider, thrown);
      on.tallies.answered(provider, response.status);
      return response;
    }
  };
}

const keyOf = ({ headers }: Request): string =>
  headers.get('x-api-key') || headers.get('authorization')?.replace(/^Bearer /i, '') || '';

function refusal({ log }: Forwarding, provider: Provider, thrown: unknown): Response {
  if (thrown instanceof Refused) return troubled(provider, thrown.trouble, thrown.message);
  if (thrown instanceof Failure) {
    const trouble = thrown.code === 'busy' || thrown.code === 'journal-away' ? 'busy' : 'upstream';
    log.warn('a request to a model was not forwarded', { provider, why: thrown.message });
    return troubled(provider, trouble, thrown.message);
  }
  log.warn('a provider was not reached', { provider, why: String(thrown) });
  return troubled(provider, 'upstream', `the ${provider} API was not reached; the server's log says why`);
}

interface Incoming {
  readonly request: Request;
  readonly route: Route;
  readonly search: string;
  readonly spender: Spender;
  readonly upstream: Upstream;
  /** Gives the slot back; once. */
  readonly free: () => void;
}

async function forwarded(on: Forwarding, one: Incoming): Promise<Response> {
  const { request, route, search, spender, upstream } = one;
  const wanted = await wishOf(request, route);
  if (wanted.model !== null) {
    const wish = { model: wanted.model, hasPrice: on.prices.has(wanted.model) };
    const why = await on.treasury.admit(spender, wish, request.signal);
    if (why !== null) throw new Refused('out-of-budget', why);
  }
  const stop = new AbortController();
  request.signal.addEventListener('abort', () => stop.abort(request.signal.reason), { once: true });
  if (request.signal.aborted) throw request.signal.reason;
  const response = await ask({
    url: urlOf(upstream, route.upstreamPath, search),
    method: route.method,
    headers: headersTo(route.provider, request.headers, await upstream.key()),
    body: wanted.body,
    clock: on.clock,
    stop,
  });
  checked(response, one, stop);
  return answer(on, { ...one, wanted, response, stop });
}

/** What the provider says of the real key, and where it would rather send us, is not the tool's business. */
function checked(response: Response, { route, upstream }: Incoming, stop: AbortController): void {
  const { status } = response;
  if (status !== 401 && (status < 300 || status >= 400)) return;
  stop.abort(new Error('not wanted'));
  if (status === 401) {
    upstream.forgetKey();
    throw new Refused(
      'unknown-key',
      `the ${route.provider} API does not take this server's own key; tell its operator`,
    );
  }
  throw new Refused(
    'upstream',
    `the ${route.provider} API wants to send us elsewhere, which is not followed`,
  );
}

interface Wanted {
  /** Null: nothing is asked of a model. */
  readonly model: string | null;
  readonly body: Uint8Array | null;
  /** The chunk of usage is ours and is taken out again. */
  readonly ownUsage: boolean;
  /** Characters for the model to read. */
  readonly chars: number;
}

async function wishOf(request: Request, { method, counting }: Route): Promise<Wanted> {
  if (method === 'GET') return { model: null, body: null, ownUsage: false, chars: 0 };
  const body = await bodyOf(request);
  const text = new TextDecoder().decode(body);
  const json = jsonOf(text);
  const { model } = json;
  if (typeof model !== 'string' || model === '' || model.length > MODEL_CHARS_MAX) {
    throw new Refused('bad-request', 'model: name the model');
  }
  if (counting === 'none') return { model: null, body, ownUsage: false, chars: 0 };
  // Such an answer is made after it was answered: nobody is told what it used.
  if (json['background'] === true) throw new Refused('bad-request', 'background: leave it out');
  const asking = counting === 'chat' ? askingForUsage(json) : null;
  const chars = charsAsked(text);
  return asking === null
    ? { model, body, ownUsage: false, chars }
    : { model, body: new TextEncoder().encode(JSON.stringify(asking)), ownUsage: true, chars };
}

function jsonOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json === 'object' && json !== null) return json as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new Refused('bad-request', 'the body is no JSON object');
}

async function bodyOf(request: Request): Promise<Uint8Array> {
  const tooLarge = () => new Refused('too-large', `a request has at most ${BODY_BYTES_MAX >> 20} MiB`);
  if (Number(request.headers.get('content-length') ?? 0) > BODY_BYTES_MAX) throw tooLarge();
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of request.body ?? []) {
    size += piece.length;
    if (size > BODY_BYTES_MAX) throw tooLarge();
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

interface Answering extends Incoming {
  readonly wanted: Wanted;
  readonly response: Response;
  readonly stop: AbortController;
}

function answer(on: Forwarding, one: Answering): Response {
  const { response, route, wanted, stop, free } = one;
  const { status, body } = response;
  const headers = headersBack(response.headers);
  const isStream = /^text\/event-stream\b/i.test(headers.get('content-type') ?? '');
  const costs = route.counting !== 'none' && status < 300;
  const reader = costs ? usageReader(route.counting as never, isStream) : null;
  const cut = wanted.ownUsage && isStream && costs ? withoutUsageChunk() : null;
  let isWhole = body === null;
  const ended = () => {
    settle(on, one, isWhole ? reader?.used() : reader?.left(wanted.chars)).finally(free);
  };
  if (!body) {
    ended();
    return new Response(null, { status, headers });
  }
  const pass = (piece: Uint8Array | null): Uint8Array => {
    if (piece === null) isWhole = true;
    else reader?.feed(piece);
    return cut ? cut(piece) : (piece ?? new Uint8Array());
  };
  const broke = (why: string) =>
    on.log.warn('a provider broke an answer off', {
      provider: route.provider,
      session: one.spender.session,
      why,
    });
  return new Response(passing(body, { clock: on.clock, stop, pass, ended, broke }), { status, headers });
}

/** An answer may name its model otherwise than it was asked for, and its price was looked at before. */
function costOf({ costOf: of }: Prices, names: readonly (string | null)[], tokens: Tokens): number | null {
  const costs = names.flatMap((name) => (name === null ? [] : [of(name, tokens)]));
  return costs.find((cost) => cost !== null) ?? null;
}

/** Never throws: what cannot be written down is told. */
async function settle(on: Forwarding, one: Answering, used: Used | null | undefined): Promise<void> {
  const { spender, wanted, route } = one;
  if (!used) return;
  const model = (used.model ?? wanted.model ?? 'unknown').slice(0, MODEL_CHARS_MAX);
  const use = { model, tokens: used.tokens, costUsd: costOf(on.prices, [model, wanted.model], used.tokens) };
  on.tallies.used(route.provider, use);
  await on.treasury.spent(spender, use).catch((thrown) => {
    on.log.error('what a model used was not written down', { ...spender, model, why: String(thrown) });
  });
}
