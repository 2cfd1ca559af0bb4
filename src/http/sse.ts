/**
 * Server-sent events (WHATWG HTML, 9.2): one stream of frames from one async iterable.
 *
 * A reader that does not read holds up its own iterable and nothing else. Bun ends a response that is silent
 * for some seconds, hence the comment while there is nothing to say.
 */
import { type Clock, sleep } from '../clock.ts';
import { problemOf } from './problem.ts';

export interface Frame {
  /** Null: this frame cannot be resumed from. */
  readonly id: string | number | null;
  readonly event: string;
  readonly data: string;
}

const HEARTBEAT_MS = 8_000;

const encoder = new TextEncoder();

const oneLine = (text: string) => text.replace(/[\r\n\0]/g, ' ');

/** `retry` would tell the browser's own EventSource what ours does by itself. */
export function frameText({ id, event, data }: Frame): string {
  const head = id === null ? '' : `id: ${oneLine(String(id))}\n`;
  const lines = data.split(/\r\n|\n|\r/).map((line) => `data: ${line}\n`);
  return `${head}event: ${oneLine(event)}\n${lines.join('')}\n`;
}

export interface StreamOptions {
  readonly clock: Clock;
  /** Aborted when the client leaves; the stream adds its own reasons to it. */
  readonly signal: AbortSignal;
  /** Aborted when the server drains. */
  readonly closing: AbortSignal;
  /** Called once, however it ended. */
  readonly onEnd: () => void;
}

/** `make` is given the signal that ends its iterable. */
export function eventStream(
  make: (signal: AbortSignal) => AsyncIterable<Frame>,
  options: StreamOptions,
): Response {
  const { clock, closing, onEnd } = options;
  const left = new AbortController();
  const signal = AbortSignal.any([options.signal, closing, left.signal]);
  signal.addEventListener('abort', onEnd, { once: true });
  if (signal.aborted) onEnd();
  const frames = make(signal)[Symbol.asyncIterator]();
  let next: Promise<IteratorResult<Frame> | null> | null = null;
  const body = new ReadableStream<Uint8Array>(
    {
      start: (controller) => controller.enqueue(encoder.encode(': hello\n\n')),
      async pull(controller) {
        next ??= frames.next().catch((thrown: unknown) => {
          if (!signal.aborted) controller.enqueue(encoder.encode(frameText(troubleFrame(thrown))));
          return null;
        });
        const quiet = new AbortController();
        const heartbeat = sleep(clock, HEARTBEAT_MS, quiet.signal).then(
          () => 'quiet' as const,
          () => 'quiet' as const,
        );
        const ended = new Promise<null>((resolve) => {
          if (signal.aborted) return resolve(null);
          signal.addEventListener('abort', () => resolve(null), { once: true, signal: quiet.signal });
        });
        const first = await Promise.race([next, heartbeat, ended]);
        quiet.abort();
        if (first === 'quiet') return controller.enqueue(encoder.encode(': quiet\n\n'));
        next = null;
        if (first === null || first.done) {
          left.abort();
          return controller.close();
        }
        controller.enqueue(encoder.encode(frameText(first.value)));
      },
      cancel: () => left.abort(),
    },
    { highWaterMark: 1 },
  );
  return new Response(body, {
    headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
  });
}

function troubleFrame(thrown: unknown): Frame {
  const { code, title, detail } = problemOf(thrown);
  return { id: null, event: 'error', data: JSON.stringify({ code, title, detail }) };
}

export const wantsStream = (request: Request): boolean =>
  (request.headers.get('accept') ?? '').includes('text/event-stream');
