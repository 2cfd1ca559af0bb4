/** Operators' tokens, and who the caller is. */
import { t } from 'elysia';
import type { Operators } from './operators.ts';
import { integer, json, type Route, route, strict } from './route.ts';
import * as schemas from './schemas.ts';

const role = t.Union([t.Literal('viewer'), t.Literal('operator'), t.Literal('admin')]);

/** `revoked` is called once a token is of no more use, for what it still holds open. */
export function tokenRoutes(operators: Operators, revoked: () => void): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/whoami',
      role: 'viewer',
      tag: 'operators',
      summary: 'Who the caller is, and how it showed that: `local`, `token` or `cookie`',
      answers: { 200: json('name and role', t.Object({ name: t.String(), role, via: t.String() })) },
      run: ({ caller: { name, role: mine, via } }) => ({ name, role: mine, via }),
    }),
    route({
      method: 'GET',
      path: '/api/v1/tokens',
      role: 'admin',
      tag: 'operators',
      summary: 'Every token, without the token itself',
      answers: { 200: json('the list', t.Object({ tokens: t.Array(schemas.token) })) },
      run: () => ({ tokens: operators.list() }),
    }),
    route({
      method: 'POST',
      path: '/api/v1/tokens',
      role: 'admin',
      tag: 'operators',
      summary: 'Makes a token. It is shown this once; from the first one on, a token is asked of everybody',
      body: strict({
        name: t.String({ minLength: 1, maxLength: 100, pattern: '^[A-Za-z0-9][A-Za-z0-9 ._@-]*$' }),
        role,
        expires_in: t.Optional(integer({ minimum: 1, maximum: 315_360_000, description: 'seconds' })),
      }),
      answers: { 201: json('the token', t.Object({ token: t.String(), operator: schemas.token })) },
      async run({ body: { name, role: wanted, expires_in: seconds }, seen }) {
        const { view, token } = await operators.create({
          name,
          role: wanted,
          expiresInMs: seconds === undefined ? null : seconds * 1_000,
        });
        seen.params = { id: view.id, name, role: wanted };
        return { token, operator: view };
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/tokens/:id',
      role: 'admin',
      tag: 'operators',
      summary: 'Revokes a token at once',
      answers: { 204: { description: 'it is revoked', schema: null } },
      async run({ params }) {
        await operators.revoke(params['id'] ?? '');
        revoked();
        return new Response(null, { status: 204 });
      },
    }),
  ];
}
