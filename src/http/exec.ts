/** One command on one agent, waited for or followed. */
import { t } from 'elysia';
import type { Clock } from '../clock.ts';
import type { ExecDesk, ExecPart, ExecWanted } from '../desk.ts';
import { integer, json, type Route, route, strict } from './route.ts';
import { type Frame, wantsStream } from './sse.ts';
import type { Streams } from './streams.ts';

/** Kept of each stream when the answer is one document. */
const STREAM_BYTES_MAX = 1 << 20;
const TIMEOUT_SECONDS = 300;

const wanted = strict({
  command: t.String({ minLength: 1, maxLength: 4_096, description: 'a program, not a line for a shell' }),
  args: t.Optional(t.Array(t.String({ maxLength: 128 << 10 }), { maxItems: 1_000 })),
  working_dir: t.Optional(t.String({ maxLength: 4_096 })),
  env: t.Optional(
    t.Record(t.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]*$' }), t.String({ maxLength: 128 << 10 })),
  ),
  timeout_seconds: t.Optional(
    integer({ minimum: 1, maximum: 86_400, description: `${TIMEOUT_SECONDS} when absent` }),
  ),
  stdin: t.Optional(t.String({ maxLength: 1 << 20 })),
});

const outcome = t.Object({
  session_id: t.String(),
  exit_code: t.Union([integer(), t.Null()]),
  reason: t.Union([t.String(), t.Null()]),
  stdout: t.String(),
  stderr: t.String(),
  duration_ms: integer(),
  truncated: t.Boolean({
    description: 'a stream was longer than 1 MiB; all of it is at /sessions/{id}/output',
  }),
});

export interface ExecDoor {
  readonly exec: ExecDesk;
  readonly clock: Clock;
  readonly streams: Streams;
}

export function execRoutes({ exec, clock, streams }: ExecDoor): Route[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/agents/:id/exec',
      role: 'operator',
      tag: 'exec',
      summary:
        'Runs a command and waits; with `Accept: text/event-stream` its output comes as it is said. Leaving ends it.',
      body: wanted,
      answers: { 200: json('it has ended', outcome) },
      async run({ params, body, request, caller }) {
        const {
          command,
          args = [],
          working_dir: workingDir = '',
          env = {},
          timeout_seconds: timeoutSeconds = TIMEOUT_SECONDS,
        } = body;
        const stdin = body.stdin ?? null;
        const what: ExecWanted = {
          agent: params['id'] ?? '',
          command,
          args,
          workingDir,
          env,
          timeoutSeconds,
          stdin,
        };
        if (!wantsStream(request))
          return await gathered(
            exec.run(what, caller.name, AbortSignal.any([request.signal, streams.closing])),
            clock,
          );
        return streams.open(request, (signal) => frames(exec.run(what, caller.name, signal)));
      },
    }),
  ];
}

async function* frames(parts: AsyncIterable<ExecPart>): AsyncGenerator<Frame> {
  for await (const part of parts) {
    if ('ended' in part) {
      const { session_id, exit_code, reason } = part.ended;
      yield { id: null, event: 'completed', data: JSON.stringify({ session_id, exit_code, reason }) };
    } else {
      const data = JSON.stringify({ data_base64: Buffer.from(part.bytes).toString('base64') });
      yield { id: null, event: part.stream, data };
    }
  }
}

async function gathered(parts: AsyncIterable<ExecPart>, clock: Clock) {
  const startedAt = clock.now();
  const kept = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  const sizes = { stdout: 0, stderr: 0 };
  let truncated = false;
  const text = (stream: 'stdout' | 'stderr') => Buffer.concat(kept[stream]).toString('utf8');
  for await (const part of parts) {
    if ('ended' in part) {
      const { session_id, exit_code, reason } = part.ended;
      return {
        session_id,
        exit_code,
        reason,
        stdout: text('stdout'),
        stderr: text('stderr'),
        duration_ms: clock.now() - startedAt,
        truncated,
      };
    }
    const room = STREAM_BYTES_MAX - sizes[part.stream];
    if (part.bytes.length > room) truncated = true;
    if (room <= 0) continue;
    const piece = part.bytes.subarray(0, room);
    kept[part.stream].push(piece);
    sizes[part.stream] += piece.length;
  }
  throw new Error('exec ended without an end');
}
