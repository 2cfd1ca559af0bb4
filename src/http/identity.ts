/** How agents elsewhere prove themselves: the authority, one-time tokens, and the end of an identity. */
import { t } from 'elysia';
import type { IdentityDesk } from '../desk.ts';
import { integer, json, type Route, route, strict } from './route.ts';

const listener = (description: string) => t.Union([t.String(), t.Null()], { description });

const identity = t.Object({
  trust_domain: t.String(),
  authority: t.Object({ kind: t.String(), available: t.Boolean(), reasons: t.Array(t.String()) }),
  ca_pem: t.String({ description: 'what agents pin' }),
  grpc_tls: listener('address of gRPC with client certificates'),
  enrol_url: listener('where one-time tokens are taken'),
  vsock: t.Object({
    available: t.Boolean(),
    cid: t.Union([integer(), t.Null()]),
    reasons: t.Array(t.String()),
  }),
});

const bootstrap = t.Object({
  token: t.String({ description: 'shown this once; good for one certificate' }),
  spiffe_id: t.String(),
  expires_at: t.String(),
  enrol_url: t.String(),
  grpc_tls: listener('where to connect with the certificate'),
  ca_pem: t.String(),
});

const revoked = t.Object({
  revoked_at: t.String(),
  certificates: integer({ description: 'that were good until now' }),
  tokens: integer({ description: 'that nobody had used' }),
  connections: integer({ description: 'that were ended' }),
});

const reason = strict({ reason: t.Optional(t.String({ minLength: 1, maxLength: 500 })) });

export const identityRoutes = (desk: IdentityDesk): Route[] => [
  route({
    method: 'GET',
    path: '/api/v1/identity',
    role: 'viewer',
    tag: 'identity',
    summary: 'The trust domain, its authority, and where agents with certificates come in',
    answers: { 200: json('it', identity) },
    run: () => desk.describe(),
  }),
  route({
    method: 'POST',
    path: '/api/v1/instances/:name/bootstrap',
    role: 'admin',
    tag: 'identity',
    summary: 'A one-time token, by which the agent of that instance gets its first certificate',
    answers: { 201: json('the token', bootstrap) },
    run: ({ params, caller }) => desk.bootstrap(params['name'] ?? '', caller.name),
  }),
  route({
    method: 'POST',
    path: '/api/v1/instances/:name/revoke',
    role: 'admin',
    tag: 'identity',
    summary: 'Ends what its agent proves itself with: certificates, tokens, its secret, and open connections',
    body: reason,
    takes: 'optional-json',
    answers: { 200: json('what was ended', revoked) },
    run: ({ params, body, caller }) =>
      desk.revoke(params['name'] ?? '', { by: caller.name, reason: body.reason ?? 'by an operator' }),
  }),
];
