/**
 * Recordings: which there are, what is in one, taking one home, looking for text in all, and removing one.
 */
import { t } from 'elysia';
import type { Exported, RecordingDesk } from '../desk.ts';
import { Failure } from '../failure.ts';
import { instantOf, momentOf, momentSaid, secondsOf } from './moments.ts';
import { integer, json, type Route, route } from './route.ts';
import * as schemas from './schemas.ts';

const LIMIT_MAX = 200;
const LIMIT = 50;
const tag = 'recordings';
const before = t.Optional(t.String({ maxLength: 600, description: 'what `next` was in the last answer' }));
const limit = t.Optional(integer({ minimum: 1, maximum: LIMIT_MAX }));
const next = t.Union([t.String(), t.Null()]);
const moment = t.Optional(t.String({ maxLength: 40, description: momentSaid }));

export const recordingRoutes = (desk: RecordingDesk): Route[] => [
  ...listing(desk),
  ...searching(desk),
  ...exporting(desk),
];

function listing(desk: RecordingDesk): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/recordings',
      role: 'viewer',
      tag,
      summary: 'Recordings, newest first, also of sessions that are forgotten otherwise',
      query: t.Object({ agent: t.Optional(t.String()), task: t.Optional(t.String()), before, limit }),
      answers: {
        200: json(
          'a page; `next` is what to give as `before` for the next one, also when this one is short',
          t.Object({ recordings: t.Array(schemas.recording), next }),
        ),
      },
      run: ({ query: { agent = null, task = null, before = null, limit = LIMIT } }) =>
        desk.list({ agent, task, before, limit }),
    }),
    route({
      method: 'GET',
      path: '/api/v1/sessions/:id/recording',
      role: 'viewer',
      tag,
      summary: 'One recording, with its changes of size, its gaps and its end',
      query: t.Object({
        from: t.Optional(integer({ minimum: 0, description: 'the first offset of its marks' })),
      }),
      answers: {
        200: json(
          'it; `next_mark_offset` is where to go on for more of its marks, null when that is all',
          t.Object({
            ...schemas.recording.properties,
            marks: t.Array(schemas.recordingMark),
            next_mark_offset: t.Union([integer(), t.Null()]),
          }),
        ),
      },
      async run({ params, query: { from = 0 } }) {
        const { recording, marks, next_offset } = await desk.find(params['id'] ?? '', from);
        return { ...recording, marks, next_mark_offset: next_offset };
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/sessions/:id/recording',
      role: 'admin',
      tag,
      summary: 'Removes the recording of a session that has ended, for good',
      answers: {
        200: json('it is gone', t.Object({ session_id: t.String(), removed: schemas.recordingRemoved })),
      },
      run: async ({ params, caller }) => ({
        session_id: params['id'],
        removed: await desk.remove(params['id'] ?? '', caller.name),
      }),
    }),
  ];
}

function searching(desk: RecordingDesk): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/recordings/search',
      role: 'viewer',
      tag,
      summary: 'Lines that hold `q`, of all recordings: the newest recording first, its lines as they came',
      query: t.Object({
        q: t.String({ minLength: 2, maxLength: 200, description: 'upper and lower case are one' }),
        agent: t.Optional(t.String()),
        task: t.Optional(t.String()),
        from: t.Optional(t.String({ maxLength: 40, description: 'RFC 3339: nothing said before it' })),
        to: t.Optional(t.String({ maxLength: 40, description: 'RFC 3339: nothing said after it' })),
        before,
        limit,
      }),
      answers: {
        200: json(
          'what was found, which may be nothing yet; `next` is what to give as `before` to go on, null at the end',
          t.Object({ items: t.Array(schemas.foundLine), next }),
        ),
      },
      async run({ query: { q, agent = null, task = null, from, to, before = null, limit = LIMIT } }) {
        const since = from === undefined ? null : instantOf('from', from);
        const until = to === undefined ? null : instantOf('to', to);
        if (since !== null && until !== null && since > until) {
          throw new Failure('bad-input', `from ${from} is after to ${to}; give the earlier one as from`);
        }
        const asked = { q: q.toLowerCase(), agent, task, since, until, before, limit };
        const { found, next } = await desk.search(asked);
        return { items: found, next };
      },
    }),
  ];
}

function exporting(desk: RecordingDesk): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/sessions/:id/recording.cast',
      role: 'viewer',
      tag,
      summary: 'It as an asciicast v2 file; of a live session what there is so far',
      query: t.Object({
        from: moment,
        to: moment,
        idle_limit: t.Optional(
          t.String({ maxLength: 10, description: 'seconds that no pause is longer, such as 2 or 0.5' }),
        ),
      }),
      answers: {
        200: { description: 'the file', schema: null, contentType: 'application/x-asciicast' },
      },
      async run({ params, query: { from, to, idle_limit }, request }) {
        const wish = {
          from: from === undefined ? null : momentOf('from', from),
          to: to === undefined ? null : momentOf('to', to),
          idleLimit: idle_limit === undefined ? null : secondsOf('idle_limit', idle_limit),
        };
        const cast = await desk.cast(params['id'] ?? '', wish, request.signal);
        return file(cast, { type: 'application/x-asciicast', ending: 'cast' });
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/sessions/:id/recording.txt',
      role: 'viewer',
      tag,
      summary: 'It as text that a person can read: what scrolled off its screen, then what is on it',
      answers: { 200: { description: 'the file', schema: null, contentType: 'text/plain; charset=utf-8' } },
      async run({ params }) {
        const text = await desk.text(params['id'] ?? '');
        return file(text, { type: 'text/plain; charset=utf-8', ending: 'txt' });
      },
    }),
  ];
}

function file({ name, pieces }: Exported, { type, ending }: { type: string; ending: string }): Response {
  const encoder = new TextEncoder();
  const reading = pieces[Symbol.asyncIterator]();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        let piece = await reading.next();
        while (!piece.done && piece.value === '') piece = await reading.next();
        if (piece.done) controller.close();
        else controller.enqueue(encoder.encode(piece.value));
      },
      cancel: () => void reading.return?.(),
    },
    { highWaterMark: 1 },
  );
  return new Response(body, {
    headers: {
      'content-type': type,
      'content-disposition': `attachment; filename="${name}.${ending}"`,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "sandbox; default-src 'none'",
    },
  });
}
