/** The OpenAPI 3.1 document, made from the table of routes: what is not in it is not served. */
import type { TSchema } from 'elysia';
import { type Answer, type Route, route } from './route.ts';
import { problemSchema } from './schemas.ts';

const problemRef = { $ref: '#/components/responses/Problem' };

export function openApiDocument(routes: readonly Route[], version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const one of routes) {
    const path = one.path.replace(/:(\w+)/g, '{$1}').replace('*', '{name}');
    paths[path] = { ...paths[path], [one.method.toLowerCase()]: operation(one, path) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'agentic-sandbox',
      version,
      summary: 'Persistent coding agents on your own hardware',
      license: { name: 'AGPL-3.0-only', identifier: 'AGPL-3.0-only' },
    },
    servers: [{ url: '/' }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: 'An operator token. Not asked on the loopback while there are none.',
        },
      },
      responses: {
        Problem: {
          description: 'A problem document (RFC 9457)',
          content: { 'application/problem+json': { schema: plain(problemSchema) } },
        },
      },
    },
  };
}

/** TypeBox keeps its own notes under symbols; JSON has none of them. */
const plain = (schema: TSchema): object => JSON.parse(JSON.stringify(schema)) as object;

const idOf = (method: string, path: string): string => {
  const words = path
    .replace(/^\/api\/v1/, '')
    .split(/[^A-Za-z0-9]+/)
    .filter(Boolean);
  return method.toLowerCase() + words.map((word) => word.slice(0, 1).toUpperCase() + word.slice(1)).join('');
};

function operation({ method, role, tag, summary, query, body, takes, answers }: Route, path: string): object {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
  const inPath = names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } }));
  return {
    operationId: idOf(method, path),
    tags: [tag],
    summary,
    description: role === 'open' ? 'Open to whoever can reach the server.' : `Takes the role ${role}.`,
    security: role === 'open' ? [] : [{ token: [role] }, {}],
    parameters: [...inPath, ...inQuery(query)],
    ...(body ? { requestBody: requestBody(body, takes) } : {}),
    ...(takes === 'stream' ? { requestBody: anyBytes } : {}),
    responses: {
      ...Object.fromEntries(Object.entries(answers).map(([status, answer]) => [status, response(answer)])),
      default: problemRef,
    },
  };
}

function inQuery(query: TSchema | undefined): object[] {
  const { properties = {}, required = [] } = (query ? plain(query) : {}) as {
    properties?: Record<string, { description?: string }>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    ...(schema.description ? { description: schema.description } : {}),
    schema,
  }));
}

const anyBytes = {
  required: true,
  content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
};

function requestBody(body: TSchema, takes: Route['takes']): object {
  const schema = plain(body);
  if (takes !== 'text')
    return { required: takes !== 'optional-json', content: { 'application/json': { schema } } };
  const object = { type: 'object', description: 'see docs/tasks.md' };
  return {
    required: true,
    content: { 'application/yaml': { schema: { type: 'string' } }, 'application/json': { schema: object } },
  };
}

function response({ description, schema, contentType }: Answer): object {
  if (schema) return { description, content: { 'application/json': { schema: plain(schema) } } };
  return contentType ? { description, content: { [contentType]: {} } } : { description };
}

export const openApiRoute = (document: () => object): Route =>
  route({
    method: 'GET',
    path: '/openapi.json',
    role: 'open',
    tag: 'documents',
    summary: 'This document',
    answers: { 200: { description: 'OpenAPI 3.1', schema: null, contentType: 'application/json' } },
    run: () => document(),
  });
