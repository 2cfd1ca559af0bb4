/** Whether it is well: alive, able to promise, and how things stand. */
import { t } from 'elysia';
import type { HealthDesk } from '../desk.ts';
import { json, type Route, route } from './route.ts';

const ok = t.Object({ status: t.String(), service: t.String() });
const readiness = t.Object({ status: t.String(), ready: t.Boolean(), reasons: t.Array(t.String()) });

export function healthRoutes(health: HealthDesk): Route[] {
  const alive = (path: string): Route =>
    route({
      method: 'GET',
      path,
      role: 'open',
      tag: 'health',
      summary: 'The process answers',
      answers: { 200: json('alive', ok) },
      run: () => ({ status: 'ok', service: 'agentic-sandbox' }),
    });
  const ready = (path: string): Route =>
    route({
      method: 'GET',
      path,
      role: 'open',
      tag: 'health',
      summary: 'It can promise things: its journal is there. 503 with the reasons otherwise',
      answers: { 200: json('ready', readiness), 503: json('not ready', readiness) },
      run() {
        const { ready: isReady, reasons } = health.ready();
        const body = { status: isReady ? 'ready' : 'not ready', ready: isReady, reasons };
        return Response.json(body, {
          status: isReady ? 200 : 503,
          headers: isReady ? {} : { 'retry-after': '2' },
        });
      },
    });
  const deep = (path: string): Route =>
    route({
      method: 'GET',
      path,
      role: 'viewer',
      tag: 'health',
      summary: 'How things stand',
      answers: { 200: json('a summary', t.Object({}, { additionalProperties: true })) },
      run() {
        const { version, uptimeSeconds, agents, tasks, journal } = health.summary();
        const { ready: isReady, reasons } = health.ready();
        return {
          status: isReady ? 'ok' : 'degraded',
          reasons,
          version,
          uptime_seconds: uptimeSeconds,
          agents,
          tasks,
          journal,
        };
      },
    });
  return [
    alive('/healthz'),
    alive('/healthz/http'),
    alive('/api/v1/health/live'),
    ready('/readyz'),
    ready('/api/v1/health/ready'),
    deep('/healthz/deep'),
    deep('/api/v1/health'),
  ];
}
