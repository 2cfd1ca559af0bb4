/** What models cost. */
import { t } from 'elysia';
import type { UsageDesk } from '../desk.ts';
import { integer, json, type Route, route } from './route.ts';
import * as schemas from './schemas.ts';

export const usageRoutes = (usage: UsageDesk): Route[] => [
  route({
    method: 'GET',
    path: '/api/v1/usage',
    role: 'viewer',
    tag: 'usage',
    summary: 'What went through the gateway to models: by day (UTC), model, agent and task',
    query: t.Object({
      agent: t.Optional(t.String({ description: 'only what was used from this agent' })),
      days: t.Optional(integer({ minimum: 1, maximum: 40, description: 'today and those before; 40' })),
      tasks: t.Optional(integer({ minimum: 0, maximum: 1_000, description: 'the newest so many; 100' })),
    }),
    answers: { 200: json('the sums', schemas.usageReport) },
    run: ({ query: { agent, days = 40, tasks = 100 } }) => usage.report({ agent, days, tasks }),
  }),
];
