/**
 * The routes as one Elysia: authorised, validated, counted, and every error a problem document.
 *
 * The order is always the same: who is it, may it, is the request sound, then the route.
 */
import { Elysia } from 'elysia';
import { type Access, type Caller, demand } from '../access.ts';
import type { Audit } from '../audit.ts';
import type { Clock } from '../clock.ts';
import type { Recall } from '../desk.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import { bodyOf, UnsupportedType } from './body.ts';
import { sameOriginOnly, shownBy } from './gate.ts';
import type { Metrics } from './metrics.ts';
import { type Problem, problem, problemOf, problemResponse } from './problem.ts';
import type { Method, Route } from './route.ts';
import { type Client, isUnsafe, noted, type Seen, seenOf, unknownClient } from './seen.ts';
import { checking, queryOf } from './validation.ts';

export interface AppOptions {
  readonly routes: readonly Route[];
  readonly access: Access;
  readonly audit: Audit;
  readonly recall: Recall;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Log;
  readonly bodyBytesMax: number;
}

export type App = (request: Request, client?: Client) => Promise<Response>;

const nobody: Caller = { name: 'anyone', role: 'viewer', via: 'none', id: null };
/** Others are counted as one, so that nobody can make up labels. */
const methods: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

export function app(options: AppOptions): App {
  const { routes, metrics, clock, log, audit } = options;
  const seenBy = new WeakMap<Request, Seen>();
  const seenIn = (request: Request): Seen => seenBy.get(request) ?? seenOf(unknownClient);
  const told = (request: Request, known: Problem): Response => {
    seenIn(request).code = known.code;
    return problemResponse(known, new URL(request.url).pathname);
  };
  const elysia = new Elysia({ normalize: false, aot: false });
  for (const one of routes) {
    const answering = answerer(one, options);
    const answer = (context: unknown) => {
      const { request, params } = context as Context;
      const seen = seenIn(request);
      seen.route = one.path;
      return answering(request, params ?? {}, seen);
    };
    // The body is left alone here: it is read once it is known who sends it.
    elysia.route(one.method, one.path, answer, { parse: () => 'unread' } as never);
  }
  elysia.onError(({ error, code, request }) => {
    const { pathname } = new URL(request.url);
    if (code === 'NOT_FOUND') return told(request, missing(routes, request.method, pathname));
    if (error instanceof UnsupportedType) return told(request, unsupported(error));
    if (!(error instanceof Failure)) {
      const why = error instanceof Error ? error.message : String(error);
      const stack = error instanceof Error ? error.stack : null;
      log.error('a bug behind a route', { path: pathname, why, stack });
    }
    return told(request, problemOf(error));
  });
  return async (request, client = unknownClient) => {
    const at = clock.now();
    const seen = seenOf(client);
    seenBy.set(request, seen);
    let response = await elysia.handle(request);
    const method = methods.includes(request.method) ? request.method : 'other';
    const ended = { method, status: response.status, ms: clock.now() - at };
    try {
      await noted(audit, seen, ended);
    } catch (thrown) {
      void response.body?.cancel();
      response = told(request, problemOf(thrown));
    }
    metrics.requested({ ...ended, route: seen.route ?? 'none', status: response.status });
    return response;
  };
}

interface Context {
  readonly request: Request;
  /** Percent-decoded, but for `*`; null where that is impossible. */
  readonly params?: Readonly<Record<string, string | null>>;
}

type Answering = (
  request: Request,
  params: Readonly<Record<string, string | null>>,
  seen: Seen,
) => Promise<Response>;

/** What a path names that may have ended longer ago than memory reaches. */
const ofActor = /^\/api\/v1\/(task|session|hitl)s?\/:id(\/|$)/;

function answerer(one: Route, { access, audit, recall, bodyBytesMax }: AppOptions): Answering {
  const [, kind] = ofActor.exec(one.path) ?? [];
  const checkQuery = one.query ? checking('query', one.query) : null;
  const checkBody = one.body ? checking('body', one.body) : null;
  const [status] = Object.keys(one.answers);
  return async (request, given, seen) => {
    // What a refusal was about is noted too; of what cannot be decoded, what can be.
    seen.params = Object.fromEntries(
      Object.entries(given).filter((one): one is [string, string] => one[1] !== null),
    );
    // First of all, so that a stranger learns nothing of what is expected here.
    seen.caller = one.role === 'open' ? nobody : access.caller(shownBy(request));
    const caller = one.role === 'open' ? nobody : demand(seen.caller, one.role);
    if (isUnsafe(one.method)) {
      if (caller.via === 'cookie') sameOriginOnly(request);
      await audit.ready();
    }
    const params = named(given);
    seen.params = params;
    const query = checkQuery && one.query ? checkQuery(queryOf(request.url, one.query)) : {};
    const body = checkBody?.(await bodyOf(request, one, bodyBytesMax));
    if (kind) await recall(`${kind}:${params['id']}`);
    const answered = await one.run({ params, query, body, request, caller, seen });
    if (answered instanceof Response) return answered;
    return Response.json(answered, { status: Number(status), headers: { 'cache-control': 'no-store' } });
  };
}

function named(given: Readonly<Record<string, string | null>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => {
      // The router decodes names, and leaves the rest of a path as it came.
      const plain = name === '*' ? decoded(value) : value;
      if (plain !== null) return [name, plain];
      throw new Failure('bad-input', `${name} in the path is not percent-encoded UTF-8`);
    }),
  );
}

function decoded(text: string | null): string | null {
  try {
    return text === null ? null : decodeURIComponent(text);
  } catch {
    return null; // The caller says which part of the path it is.
  }
}

const unsupported = ({ message }: UnsupportedType): Problem => ({
  status: 415,
  code: 'unsupported-media-type',
  title: 'The content type is not understood',
  detail: message,
});

/** 405 where another method would do. */
function missing(routes: readonly Route[], method: string, pathname: string): Problem {
  const matches = (path: string) =>
    new RegExp(
      `^${path
        .replace(/[.+?^$()|[\]\\]/g, '\\$&')
        .replace(/:\w+/g, '[^/]+')
        .replace('*', '.+')}$`,
    ).test(pathname);
  const methods = [...new Set(routes.filter(({ path }) => matches(path)).map((one): Method => one.method))];
  if (methods.length === 0) return problem('not-found', `there is no ${method} ${pathname}; see /docs`);
  const allow = methods.includes('GET') ? ['HEAD', ...methods] : methods;
  const detail = `${pathname} takes ${allow.join(', ')}`;
  return {
    status: 405,
    code: 'method-not-allowed',
    title: 'That method is not for this',
    detail,
    headers: { allow: allow.join(', ') },
  };
}
