/**
 * Agentshare: the files of `global`, of instances and of tasks. Every area has the same routes; those of
 * tasks only look.
 */
import { type Static, t } from 'elysia';
import { Failure } from '../failure.ts';
import type { StorageArea, StorageDesk, StoragePath, StoredFile } from '../storage.ts';
import { attachmentHeaders, isNamed } from './attachment.ts';
import { problemResponse } from './problem.ts';
import { type Asked, integer, json, type Route, route } from './route.ts';
import * as schemas from './schemas.ts';

const LIMIT_MAX = 1_000;
const LIMIT = 200;
const tag = 'storage';

/** All below it may send as much as a file may have; who may is looked at first. */
export const STORAGE_PATHS = '/api/v1/storage/';

const path = t.Optional(t.String({ maxLength: 4_096, description: 'from the root of the area' }));
const raw_path = t.Optional(
  t.String({
    maxLength: 12_288,
    description: 'instead of path: percent-encoded by its bytes, encoded once more in the URL; for any name',
  }),
);
const flag = (description: string) =>
  t.Optional(t.Union([t.Literal('true'), t.Literal('false')], { description }));

const where = { path, raw_path };
type Where = Static<ReturnType<typeof t.Object<typeof where>>>;

function pathOf({ path, raw_path }: Where): StoragePath {
  if (path !== undefined && raw_path !== undefined) {
    throw new Failure('bad-input', 'give either path or raw_path');
  }
  return raw_path === undefined ? { text: path ?? '', raw: false } : { text: raw_path, raw: true };
}

type Params = Readonly<Record<string, string>>;

interface Family {
  readonly path: string;
  readonly noun: string;
  readonly area: (params: Params) => StorageArea;
  /** Null: nobody writes there by a route. */
  readonly removes: 'operator' | 'admin' | null;
}

const instanceFamily = (leaf: 'inbox' | 'outbox' | 'workspace'): Family => ({
  path: `/api/v1/storage/instances/:name/${leaf}`,
  noun: `the ${leaf} of an instance`,
  area: ({ name = '' }) => ({ kind: 'instance', of: name, leaf }),
  removes: 'operator',
});

const taskFamily = (leaf: 'inbox' | 'outbox'): Family => ({
  path: `/api/v1/storage/tasks/:id/${leaf}`,
  noun: `the ${leaf} of a task`,
  area: ({ id = '' }) => ({ kind: 'task', of: id, leaf }),
  removes: null,
});

const families: readonly Family[] = [
  {
    path: '/api/v1/storage/global',
    noun: 'global, which all instances read',
    area: () => ({ kind: 'global' }),
    removes: 'admin',
  },
  ...(['inbox', 'outbox', 'workspace'] as const).map(instanceFamily),
  ...(['inbox', 'outbox'] as const).map(taskFamily),
  // Under the names that these have elsewhere, too.
  { ...instanceFamily('inbox'), path: '/api/v1/storage/inbox/:name' },
  { ...taskFamily('outbox'), path: '/api/v1/storage/outbox/:id' },
];

export const storageRoutes = (desk: StorageDesk): Route[] => [
  ...keptRoutes(desk),
  ...families.flatMap((family) => [
    ...lookRoutes(desk, family),
    ...(family.removes === null ? [] : changeRoutes(desk, family, family.removes)),
  ]),
];

function keptRoutes(desk: StorageDesk): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/storage/kept',
      role: 'viewer',
      tag,
      summary: 'What instances left that are not there any more; read it by its id in the place of a name',
      answers: { 200: json('the list', t.Object({ kept: t.Array(schemas.keptStorage) })) },
      run: async () => ({ kept: await desk.kept() }),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/storage/kept/:id',
      role: 'admin',
      tag,
      summary: 'Removes what an instance left, for good',
      answers: { 200: json('it is gone', t.Object({ instance_id: t.String() })) },
      async run({ params, caller }) {
        const id = params['id'] ?? '';
        await desk.removeKept(id, caller.name);
        return { instance_id: id };
      },
    }),
  ];
}

function lookRoutes(desk: StorageDesk, { path: at, noun, area }: Family): Route[] {
  return [
    route({
      method: 'GET',
      path: at,
      role: 'viewer',
      tag,
      summary: `What is in a directory of ${noun}; links are shown and not followed`,
      query: t.Object({
        ...where,
        after: t.Optional(t.String({ maxLength: 800, description: 'what `next` was in the last answer' })),
        limit: t.Optional(integer({ minimum: 1, maximum: LIMIT_MAX })),
      }),
      answers: {
        200: json(
          'a page, in the order of the names’ bytes',
          t.Object({
            root: t.String(),
            path: t.String(),
            entries: t.Array(schemas.storageEntry),
            next: t.Union([t.String(), t.Null()]),
          }),
        ),
      },
      async run({ params, query }) {
        const wanted = pathOf(query);
        const page = { after: query.after ?? null, limit: query.limit ?? LIMIT };
        const { entries, next } = await desk.list(area(params), wanted, page);
        return { root: rootOf(area(params)), path: wanted.text, entries, next };
      },
    }),
    route({
      method: 'GET',
      path: `${at}/_download`,
      role: 'viewer',
      tag,
      summary: `One file of ${noun}, or a range of it`,
      query: t.Object(where),
      answers: {
        200: { description: 'the file', schema: null, contentType: 'application/octet-stream' },
        206: {
          description: 'the range that was asked for',
          schema: null,
          contentType: 'application/octet-stream',
        },
      },
      async run({ params, query, request }) {
        return download(await desk.open(area(params), pathOf(query)), request);
      },
    }),
    ...(at.includes('/tasks/') || at.includes('/outbox/:id') ? [] : [usageRoute(desk, { at, noun, area })]),
  ];
}

function usageRoute(
  desk: StorageDesk,
  { at, noun, area }: { at: string; noun: string; area: Family['area'] },
): Route {
  return route({
    method: 'GET',
    path: `${at}/_usage`,
    role: 'viewer',
    tag,
    summary: `How much there is, measured now: all of an instance together; here, of ${noun}`,
    answers: { 200: json('it', schemas.storageUse) },
    run: ({ params, request }) => desk.usage(area(params), request.signal),
  });
}

const rootOf = (area: StorageArea): string =>
  area.kind === 'global' ? 'global' : `${area.kind}s/${area.of}/${area.leaf}`;

const removed = { 200: json('it is gone', t.Object({ path: t.String(), removed: integer() })) };

function changeRoutes(
  desk: StorageDesk,
  { path: at, noun, area }: Family,
  removes: 'operator' | 'admin',
): Route[] {
  const place = { role: 'operator', tag } as const;
  const written = t.Object({ path: t.String(), size_bytes: integer() });
  const upload = async ({ params, query, request, seen }: Asked<Params, UploadQuery, unknown>) => {
    const wanted = pathOf(query);
    seen.params = { ...params, path: wanted.text };
    const { sizeBytes } = await desk.write(area(params), wanted, {
      body: request.body ?? empty(),
      bytes: lengthOf(request),
      isNew: request.headers.get('if-none-match')?.trim() === '*',
      makesParents: query.parents === 'true',
      isExecutable: query.executable === 'true',
    });
    return { path: wanted.text, size_bytes: sizeBytes };
  };
  const taking = {
    ...place,
    query: uploadQuery,
    takes: 'stream' as const,
    summary: `Writes a file into ${noun}: the body as it is, whole or not at all`,
    answers: { 201: json('it is there and durable', written) },
    run: upload,
  };
  return [
    route({ ...taking, method: 'POST', path: at }),
    route({ ...taking, method: 'PUT', path: at }),
    route({
      ...place,
      method: 'POST',
      path: `${at}/_mkdir`,
      summary: `Makes a directory in ${noun}, and what is missing above it`,
      query: t.Object(where),
      answers: { 200: json('it is there', t.Object({ path: t.String(), made: t.Boolean() })) },
      async run({ params, query, seen }) {
        const wanted = pathOf(query);
        seen.params = { ...params, path: wanted.text };
        return { path: wanted.text, made: await desk.makeDir(area(params), wanted) };
      },
    }),
    route({
      ...place,
      role: removes,
      method: 'DELETE',
      path: at,
      summary: `Removes a file, a link or a directory from ${noun}`,
      query: t.Object({ ...where, recursive: flag('also a directory with something in it') }),
      answers: removed,
      async run({ params, query, seen }) {
        const wanted = pathOf(query);
        seen.params = { ...params, path: wanted.text };
        const { count } = await desk.remove(area(params), wanted, query.recursive === 'true');
        return { path: wanted.text, removed: count };
      },
    }),
  ];
}

const uploadQuery = t.Object({
  ...where,
  parents: flag('make the directories that are missing above it'),
  executable: flag('let it be run'),
});
type UploadQuery = Static<typeof uploadQuery>;

async function* empty(): AsyncGenerator<Uint8Array> {}

function lengthOf(request: Request): number | null {
  const text = request.headers.get('content-length');
  return text === null ? null : Number(text);
}

interface Range {
  readonly from: number;
  readonly length: number;
}

/** Null: all of it. `unsatisfiable`: none of what is asked for is there. */
function rangeOf(header: string | null, size: number): Range | 'unsatisfiable' | null {
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '') ?? [];
  if (first === '' && last === '') return null; // Several ranges, or another unit: the whole is allowed too.
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { from: size - length, length };
  }
  const from = Number(first);
  const to = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== '' && Number(last) < from) return null;
  return from >= size ? 'unsatisfiable' : { from, length: to - from + 1 };
}

/** What a browser could take for a page of ours, or run, is only bytes. */
const active = /html|xml|svg|javascript|pdf/;

async function download(file: StoredFile, request: Request): Promise<Response> {
  const etag = `"${file.tag}"`;
  const { headers: asked } = request;
  const common = {
    etag,
    'last-modified': new Date(file.modifiedAt).toUTCString(),
    'cache-control': 'no-cache',
  };
  if (isNamed(asked.get('if-none-match'), etag)) {
    await file.close();
    return new Response(null, { status: 304, headers: common });
  }
  const isSame = asked.get('if-range') === null || asked.get('if-range') === etag;
  const range = isSame ? rangeOf(asked.get('range'), file.sizeBytes) : null;
  if (range === 'unsatisfiable') {
    await file.close();
    const detail = `the file has ${file.sizeBytes} bytes`;
    const title = 'The range is not there';
    const headers = { 'content-range': `bytes */${file.sizeBytes}` };
    return problemResponse(
      { status: 416, code: 'range-not-satisfiable', title, detail, headers },
      new URL(request.url).pathname,
    );
  }
  const { from, length } = range ?? { from: 0, length: file.sizeBytes };
  return new Response(file.read({ from, length }), {
    status: range === null ? 200 : 206,
    headers: {
      ...common,
      ...attachmentHeaders(file.name),
      'content-type': active.test(file.contentType) ? 'application/octet-stream' : file.contentType,
      'content-length': String(length),
      'accept-ranges': 'bytes',
      ...(range === null ? {} : { 'content-range': `bytes ${from}-${from + length - 1}/${file.sizeBytes}` }),
    },
  });
}
