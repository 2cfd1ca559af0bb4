/**
 * The cookie of a signed-in browser. By TLS its name begins with `__Host-`, so that no other name or port can
 * have set it; on plain HTTP, which is the loopback, it has our port in it, as cookies do not tell ports
 * apart.
 */
import { LASTS_MS } from './browsers.ts';
import type { Client } from './seen.ts';

export const cookieName = (secure: boolean, port: number): string =>
  secure ? `__Host-agentic-${port}` : `agentic-${port}`;

/** Read at the door, where it is known whether the connection is secure. */
const read = new WeakMap<Request, string>();

/** Looks for the cookie in a request, for `cookieOf` to find. */
export function readCookie(request: Request, { secure }: Client, port: number): void {
  const name = cookieName(secure, port);
  for (const pair of (request.headers.get('cookie') ?? '').split(';')) {
    const at = pair.indexOf('=');
    if (pair.slice(0, at).trim() !== name) continue;
    const value = pair.slice(at + 1).trim();
    if (/^[A-Za-z0-9_-]{43}$/.test(value)) read.set(request, value);
    return;
  }
}

export const cookieOf = (request: Request): string | null => read.get(request) ?? null;

/** Null: it is taken back. */
export function setCookie(secret: string | null, { secure }: Client, port: number): string {
  const age = secret === null ? 0 : LASTS_MS / 1_000;
  const flags = `Path=/; HttpOnly; SameSite=Strict; Max-Age=${age}${secure ? '; Secure' : ''}`;
  return `${cookieName(secure, port)}=${secret ?? ''}; ${flags}`;
}
