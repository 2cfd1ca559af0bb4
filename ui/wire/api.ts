/**
 * The REST API from the browser: JSON in, JSON out, and every failure a `Trouble` with the server's own
 * words.
 *
 * Who is there is in a cookie, which the browser sends by itself. A 401 is also told to `onUnauthenticated`,
 * so that one dialog asks to sign in again whoever made the call.
 */
import { problemFrom, Trouble, unreachable } from './problem.ts';

const listeners = new Set<() => void>();

export function onUnauthenticated(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export interface Send {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** A file, as it is. */
  readonly body?: Blob;
  /** Sent as JSON unless `text` is given. */
  readonly json?: unknown;
  readonly text?: { readonly body: string; readonly type: string };
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** Path below `/api/v1`, without a leading slash. */
export async function call<T>(path: string, send: Send = {}): Promise<T> {
  const response = await request(path, send);
  const body = await response.text();
  return (body ? JSON.parse(body) : null) as T;
}

export async function request(path: string, send: Send = {}): Promise<Response> {
  const { method = 'GET', json, text, body, headers } = send;
  const init: RequestInit = {
    method,
    headers: { accept: 'application/json', ...headers },
  };
  if (send.signal) init.signal = send.signal;
  if (body) Object.assign(init, { body });
  else if (text)
    Object.assign(init, { body: text.body, headers: { ...init.headers, 'content-type': text.type } });
  else if (json !== undefined) {
    Object.assign(init, {
      body: JSON.stringify(json),
      headers: { ...init.headers, 'content-type': 'application/json' },
    });
  }
  const response = await fetch(`/api/v1/${path}`, init).catch((cause: unknown) => {
    if (send.signal?.aborted) throw cause;
    throw new Trouble(unreachable(cause));
  });
  if (response.ok) return response;
  if (response.status === 401) for (const listener of listeners) listener();
  throw new Trouble(problemFrom(response.status, await response.text()));
}

export function post<T>(path: string, json: unknown = {}): Promise<T> {
  return call<T>(path, { method: 'POST', json });
}

/** One path segment. Names of artifacts keep their slashes. */
export function segment(name: string): string {
  return name.split('/').map(encodeURIComponent).join('/');
}
