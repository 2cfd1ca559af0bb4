/** Everything durable that happens, as pages or as one stream that can be taken up again. */
import { t } from 'elysia';
import type { EventDesk } from '../desk.ts';
import { Failure } from '../failure.ts';
import type { EventView } from '../views.ts';
import { integer, json, type Route, route } from './route.ts';
import * as schemas from './schemas.ts';
import { type Frame, wantsStream } from './sse.ts';
import type { Streams } from './streams.ts';

const PAGE = 500;
const LIMIT_MAX = 1_000;

export interface EventDoor {
  readonly events: EventDesk;
  readonly streams: Streams;
}

const cursorOf = (text: string | null): number | null => {
  if (text === null || text === '') return null;
  const cursor = Number(text);
  if (Number.isSafeInteger(cursor) && cursor >= 0) return cursor;
  throw new Failure('bad-input', `"${text}" is not an id of this stream; leave it out to start from now`);
};

export function eventRoutes({ events, streams }: EventDoor): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/events',
      role: 'viewer',
      tag: 'events',
      summary:
        'Events after a cursor; with `follow=true` or `Accept: text/event-stream` as a stream, from `Last-Event-ID` or now on',
      query: t.Object({
        after: t.Optional(t.String()),
        limit: t.Optional(integer({ minimum: 1, maximum: LIMIT_MAX })),
        follow: t.Optional(t.Boolean()),
      }),
      answers: {
        200: json('a page', t.Object({ events: t.Array(schemas.event), last_event_id: integer() })),
      },
      async run({ query, request }) {
        const after = cursorOf(request.headers.get('last-event-id') ?? query.after ?? null);
        if (query.follow || wantsStream(request)) {
          return streams.open(request, (signal) => followed(events, after, signal));
        }
        const found = await events.read(after ?? 0, query.limit ?? 100);
        return { events: found, last_event_id: found.at(-1)?.id ?? after ?? 0 };
      },
    }),
  ];
}

/** Each event once and in order: read while there are any, then told; a reader that is slow reads again. */
async function* followed(events: EventDesk, from: number | null, signal: AbortSignal): AsyncGenerator<Frame> {
  let after = from ?? (await events.cursor());
  let bell = Promise.withResolvers<void>();
  const off = events.watch(() => bell.resolve());
  signal.addEventListener('abort', () => bell.resolve(), { once: true });
  try {
    while (!signal.aborted) {
      bell = Promise.withResolvers();
      const page: readonly EventView[] = await events.read(after, PAGE);
      for (const event of page) {
        after = event.id;
        yield { id: event.id, event: event.event_type, data: JSON.stringify(event) };
      }
      if (page.length === 0 && !signal.aborted) await bell.promise;
    }
  } finally {
    off();
  }
}
