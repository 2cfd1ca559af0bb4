/** The document and the pages: what they say is what is served, and they need nothing from elsewhere. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { front } from '../../src/http/doors.ts';
import type { Route } from '../../src/http/route.ts';
import { type House, house, problemOf } from './world.ts';

interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly required: boolean }[];
  readonly requestBody?: { readonly required: boolean; readonly content: Readonly<Record<string, object>> };
  readonly responses: Readonly<Record<string, { readonly description?: string; readonly $ref?: string }>>;
}

interface Document {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly securitySchemes: Readonly<Record<string, object>> };
}

let on: House;
let routes: readonly Route[];
let document: Document;
let operations: readonly { readonly path: string; readonly method: string; readonly operation: Operation }[];
beforeAll(async () => {
  on = await house();
  ({ routes } = front(on, { closing: new AbortController().signal, httpPort: () => 0 }));
  document = (await (await on.get('/openapi.json')).json()) as Document;
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
});
afterAll(() => on.remove());

/** Every value in a document, with where it is. */
function* walk(value: unknown, at = '#'): Generator<{ at: string; value: unknown }> {
  yield { at, value };
  if (typeof value !== 'object' || value === null) return;
  for (const [name, inner] of Object.entries(value)) yield* walk(inner, `${at}/${name}`);
}

describe('the OpenAPI document', () => {
  test('[W32] has every route, and only those', () => {
    const documented = operations.map(({ method, path }) => `${method.toUpperCase()} ${path}`);
    const served = routes.map(
      ({ method, path }) => `${method} ${path.replace(/:(\w+)/g, '{$1}').replace('*', '{name}')}`,
    );
    expect(documented.sort()).toEqual(served.sort());
    expect(new Set(served).size).toBe(served.length);
  });

  test('[W32] is OpenAPI 3.1: what must be there is there, names are unique, references lead somewhere', () => {
    expect(document.openapi).toStartWith('3.1.');
    expect(document.info).toMatchObject({ title: 'agentic-sandbox', version: '1.2.3' });
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^[A-Za-z][A-Za-z0-9]*$/);
    const tags = new Set(document.tags.map(({ name }) => name));
    for (const { operation, path } of operations) {
      expect([path, operation.summary !== '', operation.tags.every((tag) => tags.has(tag))]).toEqual([
        path,
        true,
        true,
      ]);
      for (const scheme of operation.security.flatMap((one) => Object.keys(one))) {
        expect(Object.keys(document.components.securitySchemes)).toContain(scheme);
      }
      const statuses = Object.entries(operation.responses);
      for (const [status, answer] of statuses) {
        expect(status).toMatch(/^([1-5]\d\d|default)$/);
        expect(answer.description !== undefined || answer.$ref !== undefined).toBe(true);
      }
      expect(statuses.map(([status]) => status)).toContain('default');
    }
    const found = new Map([...walk(document)].map(({ at, value }) => [at, value]));
    const references = [...walk(document)].filter(({ at }) => at.endsWith('/$ref'));
    expect(references.length).toBeGreaterThan(0);
    for (const { value } of references) expect([value, found.has(String(value))]).toEqual([value, true]);
  });

  test('[W32] declares each parameter of a path once, and none that is not in it', () => {
    for (const { path, operation } of operations) {
      const inPath = operation.parameters.filter((one) => one.in === 'path');
      const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name as string);
      expect([path, inPath.map(({ name }) => name)]).toEqual([path, names]);
      expect(new Set(names).size).toBe(names.length);
      for (const { required } of inPath) expect(required).toBe(true);
      const keys = operation.parameters.map((one) => `${one.in} ${one.name}`);
      expect([path, new Set(keys).size]).toEqual([path, keys.length]);
    }
  });

  test('[W32] has schemas of JSON Schema 2020-12 only, with numbers that are numbers', () => {
    const types = ['string', 'number', 'integer', 'boolean', 'object', 'array', 'null'];
    for (const { at, value } of walk(document)) {
      if (!at.includes('/schema') || typeof value !== 'object' || value === null || Array.isArray(value))
        continue;
      const { type, format, nullable, minimum } = value as Record<string, unknown>;
      if (at.endsWith('/properties')) continue;
      if (typeof type === 'string') expect([at, types]).toEqual([at, expect.arrayContaining([type])]);
      expect([at, nullable]).toEqual([at, undefined]);
      expect([at, format === 'numeric' || format === 'integer' || format === 'boolean']).toEqual([at, false]);
      if (minimum !== undefined)
        expect([at, type]).toEqual([at, expect.stringMatching(/^(integer|number)$/)]);
    }
  });

  test('[W32] says which body a route takes, and who may ask', () => {
    for (const { method, path: pattern, body, takes, role } of routes) {
      const path = pattern.replace(/:(\w+)/g, '{$1}').replace('*', '{name}');
      const operation = document.paths[path]?.[method.toLowerCase()];
      const isTaken = body !== undefined || takes === 'stream';
      expect([path, operation?.requestBody !== undefined]).toEqual([path, isTaken]);
      if (body) expect(operation?.requestBody?.required).toBe(takes !== 'optional-json');
      expect([path, operation?.security.length]).toEqual([path, role === 'open' ? 0 : 2]);
    }
  });

  test('[W32] tells the truth: what is answered has the fields it promises', async () => {
    on.desks.sessions.add('s1');
    on.desks.tasks.add({ id: 't1' });
    on.desks.hitl.open({ hitl_id: 'h1' });
    const paths = operations.filter(
      ({ method, path }) => method === 'get' && !path.includes('{') && path.startsWith('/api/v1'),
    );
    for (const { path, operation } of paths) {
      const content = (operation.responses['200'] as { content?: Record<string, { schema?: object }> })
        .content;
      const schema = content?.['application/json']?.schema;
      if (!schema) continue;
      // A route that asks for something is asked for something.
      const query = operation.parameters.filter(({ required }) => required).map(({ name }) => `${name}=some`);
      const answer = await on.get(`${path}?${query.join('&')}`);
      expect([path, missing(schema, await answer.json())]).toEqual([path, []]);
    }
  });
});

interface Schema {
  readonly type?: string;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

/** Required fields that are not there, and fields there that nobody promised. */
function missing({ required = [], properties, items }: Schema, value: unknown, at = ''): string[] {
  if (Array.isArray(value)) return items ? value.flatMap((one, i) => missing(items, one, `${at}[${i}]`)) : [];
  if (typeof value !== 'object' || value === null || !properties) return [];
  const has = value as Record<string, unknown>;
  const strange =
    Object.keys(properties).length === 0 ? [] : Object.keys(has).filter((one) => !(one in properties));
  return [
    ...required.filter((name) => !(name in has)).map((name) => `${at}.${name} is missing`),
    ...strange.map((name) => `${at}.${name} is not in the document`),
    ...Object.entries(properties).flatMap(([name, inner]) => missing(inner, has[name], `${at}.${name}`)),
  ];
}

describe('the pages', () => {
  test('[W33] /docs shows every route, and needs no script, no other site and no inline style', async () => {
    const response = await on.get('/docs');
    const html = await response.text();
    for (const { path, operation } of operations) {
      expect(html).toContain(path);
      expect(html).toContain(Bun.escapeHTML(operation.summary).replaceAll('&#x27;', '&#39;'));
    }
    expect(html).not.toMatch(/<script|<style|<img|<iframe|\son\w+=|\sstyle=|javascript:/i);
    const links = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, link]) => link as string);
    for (const link of links) expect(link).toMatch(/^(\/(?!\/)|#)/);
    for (const link of links.filter((one) => one.startsWith('#')))
      expect(html).toContain(`id="${link.slice(1)}"`);
    for (const link of links.filter((one) => one.startsWith('/')))
      expect((await on.get(link)).status).toBe(200);
    const style = await (await on.get('/docs/style.css')).text();
    expect(style).not.toMatch(/@import|url\(|https?:/);
    const policy = response.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
  });

  test('[W33] the dashboard comes with its policy, and not again to whoever has it', async () => {
    const page = await on.get('/');
    expect(await page.text()).toContain('dashboard');
    expect(page.headers.get('content-security-policy')).toBe("default-src 'self'");
    expect(page.headers.get('x-content-type-options')).toBe('nosniff');
    expect(page.headers.get('cache-control')).toBe('no-cache');
    const known = { 'if-none-match': page.headers.get('etag') as string };
    expect((await on.get('/', { headers: known })).status).toBe(304);
  });
});

describe('metrics', () => {
  test('[W34] count by pattern, method and status, never by what a caller makes up', async () => {
    for (let i = 0; i < 20; i++) await on.get(`/api/v1/agents/made-up-${i}`);
    for (let i = 0; i < 5; i++) await on.get(`/nowhere/${i}`, { method: 'PROPFIND' }).catch(() => null);
    const text = await (await on.get('/metrics')).text();
    expect(text).toContain(
      'agentic_http_requests_total{method="GET",route="/api/v1/agents/:id",status="404"} 20',
    );
    expect(text).not.toContain('made-up');
    expect(text).not.toMatch(/nowhere|PROPFIND/);
    for (const name of [
      'agentic_uptime_seconds',
      'agentic_agents_connected 1',
      'agentic_tasks_by_state{state="running"} 2',
      'agentic_ws_connections_current 0',
      'agentic_terminal_recorded_bytes 7',
      'agentic_alerts{alert="crash_looping"} 1',
      'agentic_alerts{alert="journal_away"} 0',
      'agentic_instance_restarts_total{instance="local"} 3',
    ]) {
      expect(text).toContain(name);
    }
  });

  test('[W34] are not there when they are not wanted', async () => {
    const quiet = await house({ options: { metrics: false } });
    expect((await problemOf(await quiet.get('/metrics'))).status).toBe(404);
    await quiet.remove();
  });
});
