/** What a session said, followed as it is said, or as lines of text. */
import { t } from 'elysia';
import { rfc3339 } from '../clock.ts';
import type { RecordingDesk, SessionDesk } from '../desk.ts';
import { Failure } from '../failure.ts';
import { newId } from '../ids.ts';
import type { Terminal, Viewer } from '../terminal.ts';
import { noRecording } from './no-recording.ts';
import { integer, json, type Route, route } from './route.ts';
import type { Frame } from './sse.ts';
import type { Streams } from './streams.ts';

const PIECE_BYTES = 48 << 10;
const LIMIT_MAX = 5_000;

export interface TranscriptDoor {
  readonly sessions: SessionDesk;
  readonly recordings: RecordingDesk;
  readonly streams: Streams;
}

const line = t.Object({
  offset: integer({ description: 'of its first byte' }),
  at: t.String({ format: 'date-time' }),
  stream: t.String(),
  text: t.String({ description: 'without colours and cursor movements' }),
});

export function transcriptRoutes({ sessions, recordings, streams }: TranscriptDoor): Route[] {
  const terminalOf = async (id = ''): Promise<Terminal> => {
    const terminal = sessions.find(id) ? await sessions.terminal(id) : null;
    return terminal ?? (await noRecording(recordings, id));
  };
  return [
    route({
      method: 'GET',
      path: '/api/v1/sessions/:id/stream',
      role: 'viewer',
      tag: 'sessions',
      summary:
        'What it says, as server-sent events; an id is the offset to go on from, also as `Last-Event-ID`',
      query: t.Object({ from: t.Optional(integer({ minimum: 0 })) }),
      answers: {
        200: { description: 'output, gap, then session_end', schema: null, contentType: 'text/event-stream' },
      },
      async run({ params, query, request }) {
        const last = Number(request.headers.get('last-event-id') ?? query.from ?? 0);
        if (!Number.isSafeInteger(last) || last < 0) {
          throw new Failure(
            'bad-input',
            'Last-Event-ID is not an offset of this stream; leave it out to start from the beginning',
          );
        }
        const terminal = await terminalOf(params['id']);
        return streams.open(request, (signal) => said(terminal, last, signal));
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/sessions/:id/transcript',
      role: 'viewer',
      tag: 'sessions',
      summary: 'What it said as lines of text, all of them or those that hold `q`',
      query: t.Object({
        q: t.Optional(t.String({ maxLength: 200, description: 'upper and lower case are one' })),
        from: t.Optional(integer({ minimum: 0 })),
        limit: t.Optional(integer({ minimum: 1, maximum: LIMIT_MAX })),
      }),
      answers: {
        200: json(
          'lines; next_offset is where to go on, null at the end',
          t.Object({
            session_id: t.String(),
            items: t.Array(line),
            next_offset: t.Union([integer(), t.Null()]),
          }),
        ),
      },
      async run({ params, query: { q = '', from = 0, limit = 500 } }) {
        const { lines, next } = await recordings.lines(params['id'] ?? '', {
          q: q.toLowerCase(),
          from,
          limit,
        });
        const items = lines.map(({ offset, at, stream, text }) => ({
          offset,
          at: rfc3339(at),
          stream,
          text,
        }));
        return { session_id: params['id'], items, next_offset: next };
      },
    }),
  ];
}

/** Everything from an offset on, until the session has ended. */
async function* said(terminal: Terminal, from: number, signal: AbortSignal): AsyncGenerator<Frame> {
  let bell = Promise.withResolvers<void>();
  const ending: { told: { readonly exit_code: unknown; readonly reason: unknown } | null } = { told: null };
  const listener: Viewer = {
    id: newId(),
    label: 'stream',
    send() {
      bell.resolve();
      return 0;
    },
    tell({ type, exit_code, reason }) {
      if (type !== 'closed') return;
      ending.told = { exit_code, reason };
      bell.resolve();
    },
  };
  const attachment = terminal.attach(listener, { role: 'observer', from: terminal.nextOffset() });
  signal.addEventListener('abort', () => bell.resolve(), { once: true });
  try {
    for (let at = from; !signal.aborted; ) {
      bell = Promise.withResolvers();
      const isOver = ending.told !== null;
      const slice = await terminal.read(at, PIECE_BYTES);
      if (slice.gapBytes > 0) {
        yield { id: slice.from, event: 'gap', data: JSON.stringify({ offset: at, bytes: slice.gapBytes }) };
      }
      if (slice.bytes.length > 0) {
        at = slice.next;
        const data_base64 = Buffer.from(slice.bytes).toString('base64');
        yield {
          id: at,
          event: 'output',
          data: JSON.stringify({ offset: slice.from, stream: slice.stream, data_base64 }),
        };
      } else if (isOver) {
        return yield { id: at, event: 'session_end', data: JSON.stringify(ending.told) };
      } else {
        await bell.promise;
      }
    }
  } finally {
    attachment.detach();
  }
}
