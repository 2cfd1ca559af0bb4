/**
 * Server-sent events over fetch: unlike EventSource it says why a connection failed.
 *
 * `sseParser` is pure. `follow` reconnects with backoff and resumes with `Last-Event-ID`, until it is told to
 * stop or the server answers with something that a retry cannot mend (4xx).
 */

import { request } from './api.ts';
import { backoffMs } from './backoff.ts';
import { type Problem, problemOf, Trouble } from './problem.ts';

export interface ServerEvent {
  readonly id: string | null;
  readonly event: string;
  readonly data: string;
}

/** Feed it text as it comes; it calls back once per complete event. */
export function sseParser(onEvent: (event: ServerEvent) => void): (chunk: string) => void {
  let rest = '';
  let id: string | null = null;
  let event = '';
  let lines: string[] = [];
  const line = (text: string) => {
    if (text === '') {
      if (lines.length > 0) onEvent({ id, event: event || 'message', data: lines.join('\n') });
      event = '';
      lines = [];
      return;
    }
    const colon = text.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? '' : text.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') lines.push(value);
    else if (field === 'event') event = value;
    else if (field === 'id') id = value;
  };
  return (chunk) => {
    rest += chunk;
    // A lone CR at the very end may be half of a CRLF; it waits for the next chunk.
    const ready = rest.endsWith('\r') ? rest.slice(0, -1) : rest;
    const parts = ready.split(/\r\n|\n|\r/);
    const tail = parts.pop() ?? '';
    rest = tail + rest.slice(ready.length);
    for (const part of parts) line(part);
  };
}

export interface Follow {
  /** Path below `/api/v1`. */
  readonly path: string;
  readonly lastEventId?: string | null;
  readonly onEvent: (event: ServerEvent) => void;
  /** `live` each time the stream opens, `lost` each time it ends; the problem when there is one. */
  readonly onState: (state: 'live' | 'lost' | 'refused', problem: Problem | null) => void;
  /** True ends the stream for good, e.g. after a `completed`. */
  readonly isDone?: () => boolean;
}

export function follow(options: Follow): () => void {
  const stop = new AbortController();
  void run(options, stop.signal);
  return () => stop.abort();
}

async function run(options: Follow, signal: AbortSignal): Promise<void> {
  let last = options.lastEventId ?? null;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const headers = { accept: 'text/event-stream', ...(last === null ? {} : { 'last-event-id': last }) };
      const response = await request(options.path, { headers, signal });
      failures = 0;
      options.onState('live', null);
      await read(response, signal, (event) => {
        if (event.id !== null) last = event.id;
        options.onEvent(event);
      });
      if (options.isDone?.()) return;
      options.onState('lost', null);
    } catch (thrown) {
      if (signal.aborted) return;
      const problem = problemOf(thrown);
      const refused = thrown instanceof Trouble && problem.status >= 400 && problem.status < 500;
      options.onState(refused ? 'refused' : 'lost', problem);
      if (refused && problem.status !== 429) return;
    }
    await pause(backoffMs(failures++, Math.random()), signal);
  }
}

async function read(
  response: Response,
  signal: AbortSignal,
  onEvent: (event: ServerEvent) => void,
): Promise<void> {
  const reader = response.body?.getReader();
  if (!reader) return;
  const decoder = new TextDecoder();
  const parse = sseParser(onEvent);
  while (!signal.aborted) {
    const { done, value } = await reader.read();
    if (done) return;
    parse(decoder.decode(value, { stream: true }));
  }
  await reader.cancel();
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
