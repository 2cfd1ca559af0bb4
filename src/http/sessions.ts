/** Sessions: what runs on an agent, what it said, and its screen. */
import { t } from 'elysia';
import type { NewSession, RecordingDesk, SessionDesk } from '../desk.ts';
import { Failure } from '../failure.ts';
import type { Terminal } from '../terminal.ts';
import type { HitlView, SessionView } from '../views.ts';
import type { Idempotency } from './idempotency.ts';
import { momentOf, momentSaid } from './moments.ts';
import { noRecording } from './no-recording.ts';
import { integer, json, type Route, route, strict } from './route.ts';
import * as schemas from './schemas.ts';
import { screenBody } from './screen-body.ts';

const INPUT_BYTES_MAX = 64 << 10;
const OUTPUT_BYTES_MAX = 1 << 20;
const size = (what: string, fallback: number) =>
  t.Optional(integer({ minimum: 1, maximum: 1_000, description: `${what}; ${fallback} when absent` }));

const newSession = t.Optional(
  strict({
    command: t.Optional(
      t.String({
        minLength: 1,
        maxLength: 4_096,
        description: 'a program, not a line for a shell; bash when absent',
      }),
    ),
    args: t.Optional(t.Array(t.String({ maxLength: 128 << 10 }), { maxItems: 1_000 })),
    working_dir: t.Optional(t.String({ maxLength: 4_096 })),
    cwd: t.Optional(t.String({ maxLength: 4_096, description: 'another name of working_dir' })),
    session_name: t.Optional(
      t.String({ minLength: 1, maxLength: 100, pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$' }),
    ),
    session_type: t.Optional(
      t.Union([t.Literal('interactive'), t.Literal('headless'), t.Literal('background')]),
    ),
    env: t.Optional(
      t.Record(t.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]*$' }), t.String({ maxLength: 128 << 10 })),
    ),
    cols: size('columns of its terminal', 220),
    rows: size('rows of its terminal', 50),
    timeout_seconds: t.Optional(integer({ minimum: 0, maximum: 604_800, description: '0 is none' })),
  }),
);

function wantedOf(body: (typeof newSession)['static']): NewSession {
  const {
    command = 'bash',
    args = [],
    session_type: type = 'interactive',
    env = {},
    cols = 220,
    rows = 50,
  } = body ?? {};
  return {
    command,
    args,
    type,
    env,
    cols,
    rows,
    workingDir: body?.working_dir ?? body?.cwd ?? null,
    name: body?.session_name ?? null,
    timeoutSeconds: body?.timeout_seconds ?? 0,
    stdin: 'open',
  };
}

const base64 = /^[A-Za-z0-9+/]*={0,2}$/;

const bytesOf = (body: { readonly text?: string; readonly data_base64?: string }): Uint8Array => {
  const given = [body.text, body.data_base64].filter((one) => one !== undefined);
  if (given.length !== 1) throw new Failure('bad-input', 'give exactly one of text and data_base64');
  if (!base64.test(body.data_base64 ?? '')) throw new Failure('bad-input', 'data_base64 is not base64');
  const bytes =
    body.text === undefined ? Buffer.from(body.data_base64 ?? '', 'base64') : Buffer.from(body.text, 'utf8');
  if (bytes.length > INPUT_BYTES_MAX)
    throw new Failure('too-large', `input is at most ${INPUT_BYTES_MAX} bytes a call`);
  return bytes;
};

export interface SessionDoor {
  readonly sessions: SessionDesk;
  readonly recordings: RecordingDesk;
  readonly question: (id: string) => HitlView | null;
  readonly idempotency: Idempotency;
}

export function sessionRoutes({ sessions, recordings, question, idempotency }: SessionDoor): Route[] {
  const there = (id = ''): SessionView => {
    const view = sessions.find(id);
    if (!view) throw new Failure('not-found', `there is no session "${id}"; see GET /api/v1/sessions`);
    return view;
  };
  const terminalOf = async (id = ''): Promise<Terminal> => {
    return (await sessions.terminal(id)) ?? (await noRecording(recordings, id));
  };
  return [
    ...ofAgents({ sessions, idempotency }),
    ...listing(sessions, there),
    ...steering(sessions, there),
    ...reading({ sessions, there, terminalOf, question, recordings }),
  ];
}

type There = (id: string | undefined) => SessionView;
const tag = 'sessions';

function listing(sessions: SessionDesk, there: There): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/sessions',
      role: 'viewer',
      tag,
      summary: 'Sessions, newest last',
      query: t.Object({ agent: t.Optional(t.String()), live: t.Optional(t.Boolean()) }),
      answers: {
        200: json('the list', t.Object({ sessions: t.Array(schemas.session), total: integer() })),
      },
      run({ query: { agent, live } }) {
        const found = sessions.list({ ...(agent ? { agent } : {}), ...(live === undefined ? {} : { live }) });
        return { sessions: found, total: found.length };
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/sessions/:id',
      role: 'viewer',
      tag,
      summary: 'One session',
      answers: { 200: json('it', schemas.session) },
      run: ({ params }) => there(params['id']),
    }),
  ];
}

function steering(sessions: SessionDesk, there: There): Route[] {
  return [
    route({
      method: 'DELETE',
      path: '/api/v1/sessions/:id',
      role: 'operator',
      tag,
      summary: 'Sends it a signal: TERM when none is named, also KILL, INT, HUP, …',
      query: t.Object({ signal: t.Optional(t.String({ maxLength: 20 })) }),
      answers: {
        200: json(
          'it was sent',
          t.Object({ session_id: t.String(), signal: t.String(), status: t.String() }),
        ),
      },
      async run({ params, query, caller }) {
        const { session_id } = there(params['id']);
        const signal = query.signal ?? 'TERM';
        await sessions.signal(session_id, signal, caller.name);
        return { session_id, signal: signal.toUpperCase().replace(/^SIG/, ''), status: 'signaled' };
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/sessions/:id/input',
      role: 'operator',
      tag,
      summary: 'Types into it',
      body: strict({ text: t.Optional(t.String()), data_base64: t.Optional(t.String()) }),
      answers: { 202: json('it was handed on', t.Object({ session_id: t.String(), bytes: integer() })) },
      run({ params, body, caller }) {
        const { session_id } = there(params['id']);
        const bytes = bytesOf(body);
        sessions.input(session_id, bytes, caller.name);
        return { session_id, bytes: bytes.length };
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/sessions/:id/resize',
      role: 'operator',
      tag,
      summary: 'Gives its terminal another size',
      body: strict({
        cols: integer({ minimum: 1, maximum: 1_000 }),
        rows: integer({ minimum: 1, maximum: 1_000 }),
      }),
      answers: { 200: json('its new size', schemas.session) },
      run({ params, body: { cols, rows }, caller }) {
        const { session_id } = there(params['id']);
        sessions.resize(session_id, { cols, rows }, caller.name);
        return { ...there(session_id), cols, rows };
      },
    }),
  ];
}

interface Readable {
  readonly sessions: SessionDesk;
  readonly there: There;
  readonly terminalOf: (id: string | undefined) => Promise<Terminal>;
  readonly question: SessionDoor['question'];
  readonly recordings: RecordingDesk;
}

function reading({ sessions, there, terminalOf, question, recordings }: Readable): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/sessions/:id/screen',
      role: 'viewer',
      tag,
      summary:
        'Its screen as text, once everything it said has been drawn; or as it was at a time or an offset',
      query: t.Object({
        at: t.Optional(t.String({ maxLength: 40, description: momentSaid })),
        offset: t.Optional(integer({ minimum: 0, description: 'everything below it is on the screen' })),
      }),
      answers: { 200: json('the screen', schemas.screen) },
      async run({ params, query: { at, offset }, request }) {
        const id = params['id'] ?? '';
        if (at !== undefined && offset !== undefined)
          throw new Failure('bad-input', 'give one of at and offset');
        // Of a session that is in memory no more there is the past.
        const end = sessions.find(id) ? null : { offset: Number.MAX_SAFE_INTEGER };
        const place = offset === undefined ? end : { offset };
        const moment = at === undefined ? place : momentOf('at', at);
        if (moment) {
          const { screen, at: shown, gaps } = await recordings.screen(id, moment, request.signal);
          return screenBody(id, screen, { at: shown, gaps, question: null });
        }
        const view = there(id);
        const screen = await (await terminalOf(view.session_id)).screen();
        return screenBody(view.session_id, screen, {
          at: null,
          gaps: await recordings.gapsBefore(view.session_id, screen.offset),
          question: view.hitl_id === null ? null : question(view.hitl_id),
        });
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/sessions/:id/output',
      role: 'viewer',
      tag,
      summary:
        'Recorded bytes from an offset; X-Next-Offset is where to go on, X-Gap-Bytes what is missing before them',
      query: t.Object({
        from: t.Optional(integer({ minimum: 0 })),
        max: t.Optional(integer({ minimum: 1, maximum: OUTPUT_BYTES_MAX })),
      }),
      answers: {
        200: {
          description: 'raw bytes; none at the end',
          schema: null,
          contentType: 'application/octet-stream',
        },
      },
      async run({ params, query: { from = 0, max = OUTPUT_BYTES_MAX } }) {
        const terminal = await terminalOf(there(params['id']).session_id);
        const slice = await terminal.read(from, max);
        return new Response(slice.bytes as Uint8Array<ArrayBuffer>, {
          headers: {
            'content-type': 'application/octet-stream',
            'x-offset': String(slice.from),
            'x-next-offset': String(slice.next),
            'x-gap-bytes': String(slice.gapBytes),
            'x-stream': slice.stream,
          },
        });
      },
    }),
  ];
}

function ofAgents({ sessions, idempotency }: Pick<SessionDoor, 'sessions' | 'idempotency'>): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/agents/:id/sessions',
      role: 'viewer',
      tag,
      summary: 'Sessions of an agent',
      answers: {
        200: json('the list', t.Object({ agent_id: t.String(), sessions: t.Array(schemas.session) })),
      },
      run: ({ params }) => ({
        agent_id: params['id'],
        sessions: sessions.list({ agent: params['id'] ?? '' }),
      }),
    }),
    route({
      method: 'POST',
      path: '/api/v1/agents/:id/sessions',
      role: 'operator',
      tag,
      summary: 'Starts a session; with an Idempotency-Key the same request again gives the same session',
      body: newSession,
      takes: 'optional-json',
      answers: { 201: json('its process runs', schemas.session) },
      run({ params, body, request, caller }) {
        const agent = params['id'] ?? '';
        const key = request.headers.get('idempotency-key');
        const start = () => sessions.create(agent, wantedOf(body), caller.name);
        return idempotency.once(key, { scope: `${caller.name} ${agent}`, body }, start);
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/agents/:id/sessions/:name',
      role: 'operator',
      tag,
      summary: 'Ends the session of that name',
      answers: { 204: { description: 'it was told to end', schema: null } },
      async run({ params, caller }) {
        const named = sessions.list({ agent: params['id'] ?? '', live: true });
        const found = named.find(({ session_name: name }) => name === params['name']);
        if (!found)
          throw new Failure(
            'not-found',
            `agent ${params['id']} has no live session named "${params['name']}"`,
          );
        await sessions.signal(found.session_id, 'KILL', caller.name);
        return new Response(null, { status: 204 });
      },
    }),
  ];
}
