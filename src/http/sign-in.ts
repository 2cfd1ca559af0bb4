/** Signing in and out: a page without a script, and the cookie that it is for. */
import { t } from 'elysia';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Browsers } from './browsers.ts';
import { cookieOf, setCookie } from './cookie.ts';
import { rateLimit, sameOriginOnly } from './gate.ts';
import { type Route, route } from './route.ts';
import { signInPage, signInStyle } from './sign-in-page.ts';

export interface SignInDoor {
  readonly browsers: Browsers;
  readonly hasTokens: () => boolean;
  /** Of the dashboard. */
  readonly port: () => number;
  readonly clock: Clock;
  /** Called once a browser is signed out, for what it still holds open. */
  readonly revoked: () => void;
}

/** Tries, by one address and by all together. */
const ATTEMPTS = { perSecond: 1 / 6, burst: 10 };
const ATTEMPTS_OF_ALL = { perSecond: 5, burst: 100 };

/** A path of ours and nothing else: whatever leads elsewhere is the dashboard. */
export function ownPath(text: string | undefined): string {
  if (text === undefined || !/^\/[^/\\]/.test(text) || /[\p{Cc}\\]/u.test(text)) return '/';
  try {
    const { origin, pathname, search } = new URL(text, 'http://localhost');
    if (origin !== 'http://localhost' || pathname.startsWith('//')) return '/';
    return /^\/sign-(in|out)$/.test(pathname) ? '/' : `${pathname}${search}`;
  } catch {
    return '/';
  }
}

const headers = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  // Without a referrer a form would be sent with the origin "null".
  'referrer-policy': 'same-origin',
};

const page = (status: number, trouble: string | null): Response =>
  new Response(signInPage(trouble), {
    status,
    headers: { ...headers, 'content-type': 'text/html; charset=utf-8' },
  });

const seeOther = (location: string, more: Record<string, string> = {}): Response =>
  new Response(null, { status: 303, headers: { ...headers, location, ...more } });

const query = t.Object({ next: t.Optional(t.String({ maxLength: 2_000 })) });

export function signInRoutes(door: SignInDoor): Route[] {
  const { browsers, hasTokens, port, clock, revoked } = door;
  const slowDown = limited(clock);
  return [
    route({
      method: 'GET',
      path: '/sign-in',
      role: 'open',
      tag: 'dashboard',
      summary: 'Asks for an operator token; `next` is a path of this server to go on to',
      query,
      answers: { 200: { description: 'HTML', schema: null, contentType: 'text/html' } },
      run: ({ query: { next } }) => (hasTokens() ? page(200, null) : seeOther(ownPath(next))),
    }),
    route({
      method: 'GET',
      path: '/sign-in/style.css',
      role: 'open',
      tag: 'dashboard',
      summary: 'How that page looks',
      answers: { 200: { description: 'CSS', schema: null, contentType: 'text/css' } },
      run: () =>
        new Response(signInStyle, {
          headers: { 'content-type': 'text/css; charset=utf-8', 'x-content-type-options': 'nosniff' },
        }),
    }),
    route({
      method: 'POST',
      path: '/sign-in',
      role: 'open',
      tag: 'dashboard',
      summary: 'Takes a token from the page and sets the cookie of this browser',
      query,
      body: t.String(),
      takes: 'text',
      accepts: {
        pattern: /^application\/x-www-form-urlencoded\b/i,
        said: 'application/x-www-form-urlencoded',
      },
      answers: { 303: { description: 'signed in; on to `next`', schema: null } },
      async run({ request, body, query: { next }, seen }) {
        sameOriginOnly(request);
        slowDown(seen.client.address ?? 'unknown');
        const token = new URLSearchParams(body).get('token')?.trim() ?? '';
        try {
          const { secret, caller } = await browsers.signIn(token);
          seen.caller = caller;
          return seeOther(ownPath(next), { 'set-cookie': setCookie(secret, seen.client, port()) });
        } catch (thrown) {
          if (!(thrown instanceof Failure) || thrown.code !== 'unauthenticated') throw thrown;
          seen.code = thrown.code;
          return page(
            401,
            token === '' ? 'Give a token.' : 'That token is not known here, or it has expired.',
          );
        }
      },
    }),
    route({
      method: 'POST',
      path: '/sign-out',
      role: 'open',
      tag: 'dashboard',
      summary: 'Ends the session of this browser',
      answers: { 303: { description: 'signed out', schema: null } },
      async run({ request, seen }) {
        sameOriginOnly(request);
        const secret = cookieOf(request);
        seen.caller = secret === null ? null : await browsers.signOut(secret);
        revoked();
        return seeOther('/sign-in', { 'set-cookie': setCookie(null, seen.client, port()) });
      },
    }),
  ];
}

/** Throws Failure('over-quota'). */
function limited(clock: Clock): (address: string) => void {
  const [one, all] = [rateLimit(clock, ATTEMPTS), rateLimit(clock, ATTEMPTS_OF_ALL)];
  return (address) => {
    try {
      one(address);
      all('everybody');
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
      const failure = new Failure('over-quota', 'too many attempts to sign in; wait, then try again');
      failure.retryAfterSeconds = thrown.retryAfterSeconds;
      throw failure;
    }
  };
}
