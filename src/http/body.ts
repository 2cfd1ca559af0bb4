/** The body of a request, as far as it may be long, and only of a type that the route understands. */
import { Failure } from '../failure.ts';
import type { Route } from './route.ts';

export class UnsupportedType extends Error {
  constructor(type: string, instead: string) {
    super(`content-type "${type}" is not understood here; send ${instead}`);
  }
}

const json = { pattern: /^(application|text)\/(json|[\w.+-]+\+json)\b/i, said: 'application/json' };

export async function bodyOf(request: Request, route: Route, bytesMax: number): Promise<unknown> {
  const { takes = 'json', accepts = json } = route;
  const type = request.headers.get('content-type') ?? '';
  const text = await textOf(request, bytesMax);
  if (text.trim() !== '' && type !== '' && !accepts.pattern.test(type)) {
    throw new UnsupportedType(type, accepts.said);
  }
  if (takes === 'text') return text;
  if (text.trim() === '') return {};
  try {
    return JSON.parse(text) as unknown;
  } catch (thrown) {
    throw new Failure('bad-input', `the body is not JSON: ${(thrown as Error).message}`);
  }
}

async function textOf(request: Request, bytesMax: number): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of request.body ?? []) {
    bytes += part.length;
    if (bytes > bytesMax) throw new Failure('too-large', `a body has at most ${bytesMax} bytes`);
    parts.push(part);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts));
  } catch {
    throw new Failure('bad-input', 'the body is not UTF-8');
  }
}
