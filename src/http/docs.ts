/**
 * The API as a page that can be read without a network: made on the server from the OpenAPI document, with no
 * script.
 */
import { type Route, route } from './route.ts';

interface Operation {
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description: string;
  readonly parameters: readonly {
    readonly name: string;
    readonly in: string;
    readonly required: boolean;
    readonly description?: string;
    readonly schema: unknown;
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema?: unknown }>> };
  readonly responses: Readonly<
    Record<
      string,
      {
        readonly description?: string;
        readonly content?: Readonly<Record<string, { readonly schema?: unknown }>>;
      }
    >
  >;
}

interface Document {
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

const escaped = (text: string) =>
  text.replace(
    /[&<>"']/g,
    (one) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[one] ?? one,
  );

const style = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --soft: color-mix(in srgb, currentColor 6%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1.5rem; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: .75rem; overflow: auto; border-radius: 6px; }
details { border: 1px solid var(--line); border-radius: 8px; margin: .4rem 0; padding: .35rem .8rem; }
summary { cursor: pointer; }
.verb { display: inline-block; min-width: 4.5rem; font-weight: 700; }
.what { opacity: .8; margin-left: .6rem; }
nav a { margin-right: 1rem; }
table { border-collapse: collapse; width: 100%; } td, th { border-bottom: 1px solid var(--line); padding: .25rem .5rem; text-align: left; vertical-align: top; }
`;

export const docsStyle = style;

const shown = (schema: unknown) =>
  schema === undefined ? '' : `<pre>${escaped(JSON.stringify(schema, null, 2))}</pre>`;

function operationHtml(
  path: string,
  method: string,
  { summary, description, parameters, requestBody, responses }: Operation,
): string {
  const rows = parameters
    .map(
      ({ name, in: where, required, description: about, schema }) =>
        `<tr><td><code>${escaped(name)}</code></td><td>${where}${required ? ', required' : ''}</td><td>${escaped(about ?? '')} <code>${escaped(JSON.stringify(schema))}</code></td></tr>`,
    )
    .join('');
  const bodies = Object.entries(requestBody?.content ?? {})
    .map(([type, { schema }]) => `<h4>Body, <code>${escaped(type)}</code></h4>${shown(schema)}`)
    .join('');
  const answers = Object.entries(responses)
    .map(([status, { description: about, content }]) => {
      const parts = Object.entries(content ?? {}).map(
        ([type, { schema }]) => `<code>${escaped(type)}</code>${shown(schema)}`,
      );
      return `<h4>${status === 'default' ? 'Every error: a problem document' : `${status} ${escaped(about ?? '')}`}</h4>${parts.join('')}`;
    })
    .join('');
  return `<details><summary><span class="verb">${method.toUpperCase()}</span><code>${escaped(path)}</code><span class="what">${escaped(summary)}</span></summary>
<p>${escaped(description)}</p>${rows === '' ? '' : `<table><tr><th>Parameter</th><th>Where</th><th></th></tr>${rows}</table>`}${bodies}${answers}</details>`;
}

export function docsPage(given: object): string {
  const { info, paths } = given as Document;
  const byTag = new Map<string, string[]>();
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const tag = operation.tags[0] ?? 'other';
      byTag.set(tag, [...(byTag.get(tag) ?? []), operationHtml(path, method, operation)]);
    }
  }
  const idOf = (tag: string) => tag.replace(/\W+/g, '-');
  const links = [...byTag.keys()].map((tag) => `<a href="#${idOf(tag)}">${escaped(tag)}</a>`).join('');
  const sections = [...byTag]
    .map(([tag, parts]) => `<h2 id="${idOf(tag)}">${escaped(tag)}</h2>${parts.join('\n')}`)
    .join('\n');
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escaped(info.title)} API</title><link rel="stylesheet" href="/docs/style.css"></head><body>
<h1>${escaped(info.title)} ${escaped(info.version)}</h1>
<p>Every route of this server. The same as a document for programs: <a href="/openapi.json">openapi.json</a>. WebSockets:
<code>/ws/sessions/{id}/attach</code> (binary) and <code>/ws/sessions/{id}/orchestrate</code> (JSON screens).</p>
<nav>${links}</nav>${sections}</body></html>`;
}

const csp = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'";

export const docsRoutes = (document: () => object): Route[] => [
  route({
    method: 'GET',
    path: '/docs',
    role: 'open',
    tag: 'documents',
    summary: 'The API as a page',
    answers: { 200: { description: 'HTML', schema: null, contentType: 'text/html' } },
    run: () =>
      new Response(docsPage(document()), {
        headers: {
          'content-type': 'text/html; charset=utf-8',
          'content-security-policy': csp,
          'x-content-type-options': 'nosniff',
        },
      }),
  }),
  route({
    method: 'GET',
    path: '/docs/style.css',
    role: 'open',
    tag: 'documents',
    summary: 'How that page looks',
    answers: { 200: { description: 'CSS', schema: null, contentType: 'text/css' } },
    run: () =>
      new Response(docsStyle, {
        headers: { 'content-type': 'text/css', 'x-content-type-options': 'nosniff' },
      }),
  }),
];
