/** The audit log, for admins. */
import { t } from 'elysia';
import { type Audit, auditOutcomes } from '../audit.ts';
import { Failure } from '../failure.ts';
import { integer, json, type Route, route } from './route.ts';
import * as schemas from './schemas.ts';

const PAGE = 100;
const LIMIT_MAX = 1_000;

const instant = (name: string, text: string | undefined): number | null => {
  if (text === undefined || text === '') return null;
  const at = Date.parse(text);
  if (Number.isFinite(at)) return at;
  throw new Failure('bad-input', `${name} "${text}" is not a time such as 2026-01-31T12:00:00Z`);
};

export const auditRoutes = (audit: Audit): Route[] => [
  route({
    method: 'GET',
    path: '/api/v1/audit',
    role: 'admin',
    tag: 'operators',
    summary: 'Who asked for what and what became of it, newest first; `before` goes on to the next page',
    query: t.Object({
      before: t.Optional(integer({ minimum: 1 })),
      limit: t.Optional(integer({ minimum: 1, maximum: LIMIT_MAX })),
      caller: t.Optional(t.String({ description: 'the name of a token, or local' })),
      route: t.Optional(t.String({ description: 'the pattern of a route; * at its end is any rest' })),
      outcome: t.Optional(t.Union(auditOutcomes.map((one) => t.Literal(one)))),
      since: t.Optional(t.String({ description: 'RFC 3339, inclusive' })),
      until: t.Optional(t.String({ description: 'RFC 3339, exclusive' })),
    }),
    answers: { 200: json('a page', schemas.auditPage) },
    async run({ query: { before, limit, caller, route: pattern, outcome, since, until } }) {
      return audit.read({
        before: before ?? null,
        limit: limit ?? PAGE,
        caller: caller ?? null,
        route: pattern ?? null,
        outcome: outcome ?? null,
        since: instant('since', since),
        until: instant('until', until),
      });
    },
  }),
];
