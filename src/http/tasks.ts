/** Tasks: submit, follow, steer, and take home what they made. */
import { t } from 'elysia';
import type { TaskDesk, TaskLog } from '../desk.ts';
import { Failure } from '../failure.ts';
import type { TaskView } from '../views.ts';
import { attachmentHeaders, isNamed } from './attachment.ts';
import type { Idempotency } from './idempotency.ts';
import { integer, json, type Route, route, strict } from './route.ts';
import * as schemas from './schemas.ts';
import type { Frame } from './sse.ts';
import type { Streams } from './streams.ts';

const LIMIT_MAX = 1_000;

export interface TaskDoor {
  readonly tasks: TaskDesk;
  readonly idempotency: Idempotency;
  readonly streams: Streams;
}

/** YAML or JSON as text, or JSON that wraps one of them. */
function manifestOf(body: string, contentType: string): string | object {
  if (body.trim() === '')
    throw new Failure(
      'bad-input',
      'the body is empty; send a manifest as application/yaml or application/json',
    );
  if (!/\bjson\b/i.test(contentType)) return body;
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch (thrown) {
    throw new Failure(
      'bad-input',
      `the body is not JSON: ${(thrown as Error).message}; for YAML send content-type application/yaml`,
    );
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new Failure('unprocessable', 'the manifest must be a map');
  }
  const { manifest_yaml: yaml, manifest } = parsed as Record<string, unknown>;
  if (typeof yaml === 'string') return yaml;
  if (typeof manifest === 'string' || (typeof manifest === 'object' && manifest !== null)) return manifest;
  return parsed;
}

const accepted =
  /^(application|text)\/(x-)?(yaml|json)\b|^text\/plain\b|^application\/[\w.+-]+\+(json|yaml)\b/i;

export function taskRoutes(door: TaskDoor): Route[] {
  const { tasks } = door;
  const there = (id = ''): TaskView => {
    const view = tasks.find(id);
    if (!view) throw new Failure('not-found', `there is no task "${id}"; see GET /api/v1/tasks`);
    return view;
  };
  return [
    ...listing(tasks, there),
    ...submitting(door),
    ...steering(tasks, there),
    ...following(door, there),
  ];
}

type There = (id: string | undefined) => TaskView;
const tag = 'tasks';
const labelsOf = (texts: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=');
      if (at <= 0) throw new Failure('bad-input', `label "${text}" is not of the form name=value`);
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );

function listing(tasks: TaskDesk, there: There): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/tasks',
      role: 'viewer',
      tag,
      summary: 'Tasks, newest first',
      query: t.Object({
        state: t.Optional(t.String({ description: 'one or more states, separated by commas' })),
        label: t.Optional(
          t.Union([t.String(), t.Array(t.String())], {
            description: 'name=value; may be given several times',
          }),
        ),
        limit: t.Optional(integer({ minimum: 1, maximum: LIMIT_MAX })),
        offset: t.Optional(integer({ minimum: 0 })),
      }),
      answers: {
        200: json('the list', t.Object({ tasks: t.Array(schemas.task), total_count: integer() })),
      },
      run({ query: { state = '', label = [], limit = 50, offset = 0 } }) {
        const states = state
          .split(',')
          .map((one) => one.trim().toUpperCase())
          .filter(Boolean);
        const unknown = states.find((one) => !(schemas.taskStates as readonly string[]).includes(one));
        if (unknown)
          throw new Failure('bad-input', `state "${unknown}" is none of ${schemas.taskStates.join(', ')}`);
        const labels = labelsOf([label].flat());
        const { tasks: found, total } = tasks.list({ states, labels, limit, offset });
        return { tasks: found, total_count: total };
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/tasks/:id',
      role: 'viewer',
      tag,
      summary: 'One task',
      answers: { 200: json('it', schemas.task) },
      run: ({ params }) => there(params['id']),
    }),
    route({
      method: 'GET',
      path: '/api/v1/tasks/:id/manifest',
      role: 'viewer',
      tag,
      summary: 'Its manifest with defaults filled in; secrets are references',
      answers: { 200: json('the manifest', t.Object({}, { additionalProperties: true })) },
      run: ({ params }) => tasks.manifest(there(params['id']).id),
    }),
  ];
}

function submitting({ tasks, idempotency }: TaskDoor): Route[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/tasks',
      role: 'operator',
      tag,
      summary: 'Submits a task: a manifest as YAML or JSON, or JSON with `manifest_yaml` or `manifest`',
      takes: 'text',
      accepts: { pattern: accepted, said: 'application/yaml or application/json' },
      body: t.String(),
      answers: {
        202: json(
          'it is accepted and durable',
          t.Object({ task_id: t.String(), accepted: t.Boolean(), task: schemas.task }),
        ),
      },
      async run({ body, request, caller }) {
        const contentType = request.headers.get('content-type') ?? '';
        const key = request.headers.get('idempotency-key');
        const submit = () => tasks.submit(manifestOf(body, contentType), caller.name);
        const task = await idempotency.once(key, { scope: `tasks of ${caller.name}`, body }, submit);
        return { task_id: task.id, accepted: true, task };
      },
    }),
  ];
}

function steering(tasks: TaskDesk, there: There): Route[] {
  const reason = t.Optional(strict({ reason: t.Optional(t.String({ maxLength: 1_000 })) }));
  const cancelled = {
    200: json('it is being cancelled', t.Object({ success: t.Boolean(), task: schemas.task })),
  };
  const cancel = async (id: string | undefined, body: (typeof reason)['static'], by: string) => {
    const why = body?.reason || 'cancelled on request';
    return { success: true, task: await tasks.cancel(there(id).id, why, by) };
  };
  return [
    route({
      method: 'DELETE',
      path: '/api/v1/tasks/:id',
      role: 'operator',
      tag,
      summary: 'Cancels it, in any state',
      body: reason,
      takes: 'optional-json',
      answers: cancelled,
      run: ({ params, body, caller }) => cancel(params['id'], body, caller.name),
    }),
    route({
      method: 'POST',
      path: '/api/v1/tasks/:id/cancel',
      role: 'operator',
      tag,
      summary: 'Cancels it, in any state',
      body: reason,
      takes: 'optional-json',
      answers: cancelled,
      run: ({ params, body, caller }) => cancel(params['id'], body, caller.name),
    }),
    route({
      method: 'POST',
      path: '/api/v1/tasks/:id/retry',
      role: 'operator',
      tag,
      summary: 'Submits the manifest of a task that has ended once more, as a new task',
      answers: { 202: json('the new task', schemas.task) },
      run: ({ params, caller }) => tasks.retry(there(params['id']).id, caller.name),
    }),
  ];
}

async function* frames(logs: AsyncIterable<TaskLog>): AsyncGenerator<Frame> {
  for await (const { id, event, data } of logs) yield { id, event, data };
}

function following({ tasks, streams }: TaskDoor, there: There): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/tasks/:id/logs',
      role: 'viewer',
      tag,
      summary:
        'What it says, as server-sent events, from the beginning or from `Last-Event-ID` on, until it has ended',
      query: t.Object({
        after: t.Optional(t.String({ description: 'as Last-Event-ID, for those who cannot set headers' })),
        follow: t.Optional(t.String()),
      }),
      answers: {
        200: {
          description: 'stdout, stderr, state, progress, question, then completed or error',
          schema: null,
          contentType: 'text/event-stream',
        },
      },
      run({ params, query, request }) {
        const { id } = there(params['id']);
        const after = request.headers.get('last-event-id') ?? query.after ?? null;
        return streams.open(request, (signal) => frames(tasks.logs(id, after, signal)));
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/tasks/:id/artifacts',
      role: 'viewer',
      tag,
      summary: 'What it made',
      answers: {
        200: json('the list', t.Object({ task_id: t.String(), artifacts: t.Array(schemas.artifact) })),
      },
      async run({ params }) {
        const { id } = there(params['id']);
        return { task_id: id, artifacts: await tasks.artifacts(id) };
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/tasks/:id/artifacts/*',
      role: 'viewer',
      tag,
      summary: 'One artifact; its ETag is its checksum',
      answers: { 200: { description: 'the file', schema: null, contentType: 'application/octet-stream' } },
      async run({ params, request }) {
        const { id } = there(params['id']);
        const name = params['*'] ?? '';
        const found = isPlain(name) ? await tasks.artifact(id, name) : null;
        if (!found)
          throw new Failure(
            'not-found',
            `task ${id} has no artifact "${name}"; see GET /api/v1/tasks/${id}/artifacts`,
          );
        return download(found, request);
      },
    }),
  ];
}

/** A name below the outbox, as the list has them: it leads nowhere else. */
const isPlain = (name: string): boolean =>
  !name.includes('\0') && name.split('/').every((part) => part !== '' && part !== '.' && part !== '..');

type Found = NonNullable<Awaited<ReturnType<TaskDesk['artifact']>>>;

function download({ view, body }: Found, request: Request): Response {
  const etag = `"${view.checksum}"`;
  if (isNamed(request.headers.get('if-none-match'), etag)) {
    void body.cancel();
    return new Response(null, { status: 304, headers: { etag } });
  }
  const file = view.name.split('/').at(-1) ?? 'artifact';
  return new Response(body, {
    headers: {
      'content-type': view.content_type,
      'content-length': String(view.size_bytes),
      ...attachmentHeaders(file),
      etag,
    },
  });
}
