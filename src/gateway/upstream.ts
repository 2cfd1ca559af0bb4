/**
 * One request to a provider: its own headers and nothing else of the caller's, the real key, no redirect, and
 * an answer whose bytes come as they are, at the reader's pace. Whoever leaves on one side ends the other.
 */
import type { Clock } from '../clock.ts';
import type { Provider } from './dialect.ts';

/** Until an answer begins; a model may think that long. */
const BEGIN_MS = 15 * 60_000;
/** Between two pieces of an answer that has begun. */
const SILENCE_MS = 5 * 60_000;

export interface Upstream {
  readonly baseUrl: string;
  /** The real key. Throws a Failure when it cannot be read. */
  key(): Promise<string>;
  /** The provider does not take it: read it again next time. */
  forgetKey(): void;
}

const asked = new Set([
  'accept',
  'anthropic-beta',
  'anthropic-version',
  'content-type',
  'idempotency-key',
  'openai-beta',
  'user-agent',
  'x-app',
]);
const answered = new Set([
  'cache-control',
  'content-type',
  'openai-processing-ms',
  'openai-version',
  'request-id',
  'retry-after',
  'retry-after-ms',
  'x-request-id',
  'x-should-retry',
]);
const answeredLike = /^(anthropic-ratelimit|x-ratelimit)-/;

export function headersTo(provider: Provider, from: Headers, key: string): Headers {
  const headers = new Headers([...from].filter(([name]) => asked.has(name)));
  // Usage is read off the bytes, so they come as they are.
  headers.set('accept-encoding', 'identity');
  if (provider === 'anthropic') headers.set('x-api-key', key);
  else headers.set('authorization', `Bearer ${key}`);
  return headers;
}

export const headersBack = (from: Headers): Headers =>
  new Headers([...from].filter(([name]) => answered.has(name) || answeredLike.test(name)));

/** The caller's query goes along; it cannot change where the request goes. */
export function urlOf({ baseUrl }: Upstream, path: string, search: string): string {
  const url = new URL(baseUrl + path);
  url.search = search;
  return url.href;
}

export interface Asking {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: Uint8Array | null;
  readonly clock: Clock;
  /** Ends it, also after it has begun. */
  readonly stop: AbortController;
}

/** Throws what fetch throws, or 'too late' by way of `stop`. */
export async function ask({ url, method, headers, body, clock, stop }: Asking): Promise<Response> {
  const timer = clock.setTimeout(() => stop.abort(new Error('no answer began in time')), BEGIN_MS);
  try {
    return await fetch(url, {
      method,
      headers,
      body: body as Uint8Array<ArrayBuffer> | null,
      redirect: 'manual',
      signal: stop.signal,
    });
  } finally {
    clock.clearTimeout(timer);
  }
}

export interface Passing {
  readonly clock: Clock;
  readonly stop: AbortController;
  /** Sees every piece; what it gives is sent on instead. Null: that was the last one. */
  pass(piece: Uint8Array | null): Uint8Array;
  /** Called once, when nothing comes any more, whoever has ended it. */
  ended(): void;
  /** The provider has broken off, and so the reader was. */
  broke(why: string): void;
}

/** The answer's bytes, asked for only when the reader wants more. */
export function passing(body: ReadableStream<Uint8Array>, { clock, stop, pass, ended, broke }: Passing) {
  const reader = body.getReader();
  let isOver = false;
  const over = (): void => {
    if (isOver) return;
    isOver = true;
    ended();
  };
  // Also when nobody ever asks for the first piece.
  stop.signal.addEventListener('abort', over, { once: true });
  /** The end of the request is the end of its answer, also of a reading that waits. */
  const next = async () => {
    const timer = clock.setTimeout(() => {
      broke('it fell silent');
      stop.abort(new Error('the provider fell silent'));
    }, SILENCE_MS);
    try {
      return await reader.read();
    } finally {
      clock.clearTimeout(timer);
    }
  };
  return new ReadableStream<Uint8Array>(
    {
      async pull(control) {
        try {
          for (;;) {
            const { done, value } = await next();
            const piece = pass(done ? null : value);
            if (piece.length > 0) control.enqueue(piece);
            if (done) {
              over();
              control.close();
            }
            if (done || piece.length > 0) return;
          }
        } catch (thrown) {
          if (!stop.signal.aborted) broke(String(thrown));
          stop.abort(thrown);
          over();
          // Without a reason, which would be printed beside the log.
          control.error();
        }
      },
      cancel(reason) {
        stop.abort(reason);
        over();
      },
    },
    { highWaterMark: 0 },
  );
}
