/**
 * Where the reader is: the hash, as a path and a query. Hashes need nothing of the server and survive a
 * reload.
 */
import { cell, useCell } from '../state/store.ts';

export interface Route {
  readonly path: readonly string[];
  readonly query: URLSearchParams;
}

export function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#?\/?/, '').split('?');
  const parts = path
    .split('/')
    .filter((part) => part !== '')
    .map(decoded);
  return { path: parts, query: new URLSearchParams(query) };
}

/** A half-typed escape is only text. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const route = cell(parseRoute(location.hash));
addEventListener('hashchange', () => route.set(parseRoute(location.hash)));

export function useRoute(): Route {
  return useCell(route);
}

export function to(...parts: readonly string[]): string {
  return `#/${parts.map(encodeURIComponent).join('/')}`;
}

export function go(hash: string): void {
  location.hash = hash;
}

/** Changes the query in place: going back leaves the page, not the tab. */
export function setQuery(name: string, value: string | null): void {
  const { path, query } = parseRoute(location.hash);
  const next = new URLSearchParams(query);
  if (value === null || value === '') next.delete(name);
  else next.set(name, value);
  const tail = next.size > 0 ? `?${next}` : '';
  history.replaceState(null, '', to(...path) + tail);
  route.set(parseRoute(location.hash));
}
