/** The dashboard's files, with the headers that keep the page to itself. */
import { type Route, route } from './route.ts';

export interface Asset {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly type: string;
  /** Quoted, ready for the header. */
  readonly etag: string;
}

export interface Dashboard {
  /** By URL path; `/` is the page. */
  readonly files: ReadonlyMap<string, Asset>;
  readonly contentSecurityPolicy: string;
}

/** `isIn`: whether a request may see the page; others are asked to sign in. */
export function dashboardRoutes(
  { files, contentSecurityPolicy }: Dashboard,
  isIn: (request: Request) => boolean,
): Route[] {
  return [...files].map(([path, { body, type, etag }]) =>
    route({
      method: 'GET',
      path,
      role: 'open',
      tag: 'dashboard',
      summary: path === '/' ? 'The dashboard' : 'A part of the dashboard',
      answers: { 200: { description: 'the file', schema: null, contentType: type } },
      run({ request }) {
        if (path === '/' && !isIn(request)) {
          const location = '/sign-in?next=%2F';
          return new Response(null, { status: 303, headers: { location, 'cache-control': 'no-store' } });
        }
        const headers = {
          'content-type': type,
          etag: etag,
          // A name with a hash in it never changes; the page itself is asked for anew each time.
          'cache-control': path === '/' ? 'no-cache' : 'public, max-age=31536000, immutable',
          'content-security-policy': contentSecurityPolicy,
          'x-content-type-options': 'nosniff',
          'referrer-policy': 'no-referrer',
        };
        if (request.headers.get('if-none-match') === etag)
          return new Response(null, { status: 304, headers });
        return new Response(body, { headers });
      },
    }),
  );
}
