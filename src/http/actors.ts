/**
 * Every actor's life: as it is, entry by entry, as it was after any of them, and what changed between two.
 */
import { t } from 'elysia';
import type { ActorDesk } from '../desk.ts';
import { Failure } from '../failure.ts';
import type { ActorKind } from '../journal.ts';
import { integer, json, type Route, route } from './route.ts';

const LIMIT_MAX = 1_000;
const LIMIT = 100;

const kinds = ['instance', 'agent', 'session', 'task', 'hitl'] as const satisfies readonly ActorKind[];
const anything = t.Unknown();
const flag = t.Union([t.Literal('true'), t.Literal('false')]);

const summary = {
  id: t.String({ description: '`<kind>:<id>`' }),
  kind: t.String(),
  parent: t.Union([t.String(), t.Null()]),
  restart: t.String({ description: 'always, on-failure or never' }),
  state: anything,
  version: integer({ description: 'of the machine that wrote its snapshot' }),
  seq: integer({ description: 'of its newest entry' }),
  live: t.Boolean(),
  archived: t.Boolean({ description: 'it ended long ago and lies in the archive' }),
  ports: t.Array(t.String(), { description: 'what it waits for' }),
  view: anything,
};
const entry = t.Object({
  seq: integer(),
  cursor: integer({ description: 'its id in GET /api/v1/events' }),
  timestamp: t.String({ format: 'date-time' }),
  type: t.String(),
  event: anything,
});
const state = {
  seq: integer(),
  live: t.Boolean(),
  value: anything,
  context: anything,
  ports: anything,
  view: anything,
};

export const actorRoutes = (desk: ActorDesk): Route[] => [...present(desk), ...past(desk)];

function present(desk: ActorDesk): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/actors',
      role: 'viewer',
      tag: 'actors',
      summary:
        'All actors, newest first, also those that have ended; with `archived=true` those of the archive',
      query: t.Object({
        kind: t.Optional(t.Union(kinds.map((kind) => t.Literal(kind)))),
        live: t.Optional(flag),
        archived: t.Optional(flag),
        before: t.Optional(t.String({ description: 'an id to go on after' })),
        limit: t.Optional(integer({ minimum: 1, maximum: LIMIT_MAX })),
      }),
      answers: {
        200: json(
          'a page; `next` is what to give as `before` for the next one',
          t.Object({ actors: t.Array(t.Object(summary)), next: t.Union([t.String(), t.Null()]) }),
        ),
      },
      async run({ query: { kind, live, archived, before, limit = LIMIT } }) {
        const actors = await desk.list({
          limit,
          ...(kind === undefined ? {} : { kind }),
          ...(live === undefined ? {} : { live: live === 'true' }),
          ...(archived === undefined ? {} : { archived: archived === 'true' }),
          ...(before === undefined ? {} : { before }),
        });
        return { actors, next: actors.length < limit ? null : (actors.at(-1)?.id ?? null) };
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/actors/:id',
      role: 'operator',
      tag: 'actors',
      summary: 'One actor with its child spec, its snapshot and its living children',
      answers: {
        200: json(
          'it',
          t.Object({ ...summary, spec: anything, snapshot: anything, children: t.Array(t.String()) }),
        ),
      },
      run: ({ params }) => desk.find(params['id'] ?? ''),
    }),
  ];
}

function past(desk: ActorDesk): Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/actors/:id/log',
      role: 'operator',
      tag: 'actors',
      summary: 'Its entries, oldest first: everything that ever changed it',
      query: t.Object({
        from: t.Optional(integer({ minimum: 1, description: 'the first seq' })),
        limit: t.Optional(integer({ minimum: 1, maximum: LIMIT_MAX })),
      }),
      answers: { 200: json('a page', t.Object({ entries: t.Array(entry) })) },
      run: async ({ params, query: { from = 1, limit = LIMIT } }) => ({
        entries: await desk.log(params['id'] ?? '', from, limit),
      }),
    }),
    route({
      method: 'GET',
      path: '/api/v1/actors/:id/at/:seq',
      role: 'operator',
      tag: 'actors',
      summary: 'What it was after one of its entries, recomputed from them',
      answers: { 200: json('its state', t.Object({ id: t.String(), entry, ...state })) },
      run: ({ params }) => desk.at(params['id'] ?? '', seqOf(params['seq'])),
    }),
    route({
      method: 'GET',
      path: '/api/v1/actors/:id/diff',
      role: 'operator',
      tag: 'actors',
      summary: 'What changed between two of its entries; of the newest one when none is named',
      query: t.Object({
        from: t.Optional(integer({ minimum: 1 })),
        to: t.Optional(integer({ minimum: 1 })),
      }),
      answers: {
        200: json(
          'changes by path',
          t.Object({
            id: t.String(),
            from: integer(),
            to: integer(),
            entry,
            changes: t.Array(t.Object({ path: t.String(), from: anything, to: anything })),
          }),
        ),
      },
      run: ({ params, query: { from, to } }) => desk.diff(params['id'] ?? '', from ?? null, to ?? null),
    }),
  ];
}

function seqOf(text = ''): number {
  const seq = /^\d{1,15}$/.test(text) ? Number(text) : 0;
  if (seq >= 1) return seq;
  throw new Failure('bad-input', `seq "${text}" is not a whole number from 1 on`);
}
