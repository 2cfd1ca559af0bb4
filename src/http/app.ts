/**
 * The routes as one Elysia: authorised, validated, counted, and every error a problem document.
 *
 * The order is always the same: who is it, may it, is the request sound, then the route.
 */
import { Elysia, ValidationError } from 'elysia';
import { type Access, type Caller, demand } from '../access.ts';
import type { Clock } from '../clock.ts';
import { Failure, type FieldFault } from '../failure.ts';
import type { Log } from '../log.ts';
import { tokenOf } from './gate.ts';
import type { Metrics } from './metrics.ts';
import { type Problem, problem, problemOf, problemResponse } from './problem.ts';
import type { Method, Route } from './route.ts';

export interface AppOptions {
  readonly routes: readonly Route[];
  readonly access: Access;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Log;
}

export type App = (request: Request) => Promise<Response>;

const nobody: Caller = { name: 'anyone', role: 'viewer' };

export function app({ routes, access, metrics, clock, log }: AppOptions): App {
  const callers = new WeakMap<Request, Caller>();
  const patterns = new WeakMap<Request, string>();
  const elysia = new Elysia({ normalize: false, aot: false });
  for (const one of routes) {
    const { role } = one;
    elysia.route(one.method, one.path, (context: unknown) => answer(one, context as Context, callers), {
      // Before the body is looked at, so that a stranger learns nothing of what is expected here.
      transform({ request }: { request: Request }) {
        patterns.set(request, one.path);
        callers.set(
          request,
          role === 'open' ? nobody : demand(access.caller({ token: tokenOf(request), peerUid: null }), role),
        );
      },
      ...(one.query ? { query: one.query } : {}),
      ...(one.body ? { body: one.body } : {}),
      parse: one.takes === 'text' ? 'text' : parser(one.takes),
    } as never);
  }
  elysia.onError(({ error, code, request }) => {
    const { pathname } = new URL(request.url);
    if (code === 'NOT_FOUND') return problemResponse(missing(routes, request.method, pathname), pathname);
    const told = told4xx(error, code);
    if (told) return problemResponse(told, pathname);
    if (!(error instanceof Failure)) {
      const why = error instanceof Error ? error.message : String(error);
      log.error('a bug behind a route', {
        path: pathname,
        why,
        stack: error instanceof Error ? error.stack : null,
      });
    }
    return problemResponse(problemOf(error), pathname);
  });
  return async (request) => {
    const at = clock.now();
    const response = await elysia.handle(request);
    const { method } = request;
    metrics.requested({
      method,
      route: patterns.get(request) ?? 'none',
      status: response.status,
      ms: clock.now() - at,
    });
    return response;
  };
}

interface Context {
  readonly params: Record<string, string>;
  readonly query: unknown;
  readonly body: unknown;
  readonly request: Request;
}

async function answer(
  one: Route,
  { params, query, body, request }: Context,
  callers: WeakMap<Request, Caller>,
): Promise<Response> {
  const caller = callers.get(request);
  if (!caller) throw new Error(`${one.path} was not authorised`);
  const decoded = Object.fromEntries(
    Object.entries(params ?? {}).map(([name, value]) => [name, decode(value)]),
  );
  const given = await one.run({
    params: decoded,
    query: query as never,
    body: body as never,
    request,
    caller,
  });
  if (given instanceof Response) return given;
  const [status] = Object.keys(one.answers);
  return Response.json(given, { status: Number(status), headers: { 'cache-control': 'no-store' } });
}

function decode(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw new Failure('bad-input', `"${value}" in the path is not percent-encoded UTF-8`);
  }
}

/** JSON whatever the content type says, unless it says something else. */
const parser =
  (takes: Route['takes']) =>
  async ({ request }: { request: Request }) => {
    const type = request.headers.get('content-type') ?? '';
    const text = await request.text();
    if (text.trim() === '') return takes === 'optional-json' ? undefined : {};
    if (type !== '' && !/json/i.test(type)) throw new UnsupportedType(type);
    try {
      return JSON.parse(text) as unknown;
    } catch (thrown) {
      throw new Failure('bad-input', `the body is not JSON: ${(thrown as Error).message}`);
    }
  };

class UnsupportedType extends Error {
  readonly type: string;

  constructor(type: string) {
    super(type);
    this.type = type;
  }
}

function told4xx(error: unknown, code: unknown): Problem | null {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (cause instanceof UnsupportedType) {
    const detail = `content-type "${cause.type}" is not understood here; send application/json`;
    return {
      status: 415,
      code: 'unsupported-media-type',
      title: 'The content type is not understood',
      detail,
    };
  }
  if (cause instanceof Failure) return problemOf(cause);
  if (error instanceof ValidationError) return invalid(error);
  if (code === 'PARSE') return problem('bad-input', 'the body cannot be read');
  return null;
}

function invalid(error: ValidationError): Problem {
  const seen = new Set<string>();
  const faults = error.all.flatMap((one): FieldFault[] => {
    const { path = '', message = 'is not valid' } = one as { path?: string; message?: string };
    const dotted = path.replace(/^\//, '').replaceAll('/', '.');
    if (seen.has(dotted)) return [];
    seen.add(dotted);
    return [
      {
        path: dotted || error.type,
        message: /unexpected/i.test(message) ? 'is not known here; check its spelling' : message,
      },
    ];
  });
  const names = faults
    .map(({ path, message }) => `${path}: ${message}`)
    .slice(0, 5)
    .join('; ');
  return problem('bad-input', `the ${error.type} is not valid: ${names}`, faults);
}

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
