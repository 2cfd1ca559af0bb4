/**
 * Prometheus: what the house counts, and what the doors themselves do. Labels are bounded: patterns, never
 * paths.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Clock } from '../clock.ts';
import type { Gauges } from '../desk.ts';
import { type Route, route } from './route.ts';

export interface Metrics {
  readonly registry: Registry;
  requested(request: {
    readonly method: string;
    readonly route: string;
    readonly status: number;
    readonly ms: number;
  }): void;
}

export interface MetricSources {
  readonly gauges: Gauges;
  readonly sockets: () => number;
  readonly clock: Clock;
}

export function metrics({ gauges, sockets, clock }: MetricSources): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const startedAt = clock.now();
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  const by = (
    name: string,
    help: string,
    { label, read }: { label: string; read: () => Readonly<Record<string, number>> },
  ) =>
    new Gauge({
      name,
      help,
      registers,
      labelNames: [label],
      collect() {
        this.reset();
        for (const [value, count] of Object.entries(read())) this.set({ [label]: value }, count);
      },
    });
  gauge('agentic_uptime_seconds', 'Since this server started', () => (clock.now() - startedAt) / 1_000);
  gauge('agentic_agents_connected', 'Agents with a link', () => Object.keys(gauges.sessionsByAgent()).length);
  by('agentic_agents_by_status', 'Agents by status', {
    label: 'status',
    read: () => gauges.agentsByStatus(),
  });
  by('agentic_agent_sessions_active', 'Live sessions of connected agents', {
    label: 'agent_id',
    read: () => gauges.sessionsByAgent(),
  });
  by('agentic_instances_by_state', 'Instances by state', {
    label: 'state',
    read: () => gauges.instancesByState(),
  });
  by('agentic_instance_restarts_total', 'Times an instance was started again after a crash', {
    label: 'instance',
    read: () => gauges.restartsByInstance(),
  });
  by(
    'agentic_alerts',
    'What an operator should look at now: crash loops, the journal away, storage nearly full',
    {
      label: 'alert',
      read: () => gauges.alerts(),
    },
  );
  by('agentic_agentshare_bytes', 'What an instance, or global, uses of Agentshare, as last measured', {
    label: 'instance',
    read: () => gauges.storageBytes(),
  });
  by('agentic_tasks_by_state', 'Tasks by state', { label: 'state', read: () => gauges.tasksByState() });
  gauge('agentic_hitl_open', 'Questions that wait for a human', () => gauges.hitlOpen());
  gauge('agentic_ws_connections_current', 'Open WebSockets', sockets);
  gauge('agentic_terminal_recorded_bytes', 'Terminal output recorded since this server started', () =>
    gauges.recordedBytes(),
  );
  gauge('agentic_terminal_recording_failures', 'Times the recording of a terminal could not be written', () =>
    gauges.recordingFailures(),
  );
  gauge('agentic_terminal_viewer_skips', 'Times a slow viewer was skipped forward', () =>
    gauges.skippedFrames(),
  );
  gauge('agentic_process_resident_memory_bytes', 'Of this server', () => process.memoryUsage.rss());
  modelGauges(registry, gauges);
  const labelNames = ['method', 'route', 'status'] as const;
  const requests = new Counter({
    name: 'agentic_http_requests_total',
    help: 'Requests by route pattern',
    labelNames,
    registers,
  });
  const seconds = new Histogram({
    name: 'agentic_http_request_seconds',
    help: 'Until the answer begins',
    labelNames: ['method', 'route'],
    registers,
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5],
  });
  return {
    registry,
    requested({ method, route: pattern, status, ms }) {
      requests.inc({ method, route: pattern, status: String(status) });
      seconds.observe({ method, route: pattern }, ms / 1_000);
    },
  };
}

function modelGauges(registry: Registry, gauges: Gauges): void {
  const rows = <Row extends object>(
    name: string,
    help: string,
    { count, read }: { count: keyof Row & string; read: () => readonly Row[] },
  ) => {
    const labels = (row: Row) => Object.fromEntries(Object.entries(row).filter(([label]) => label !== count));
    new Gauge({
      name,
      help,
      registers: [registry],
      labelNames: ['provider', 'status', 'kind'],
      collect() {
        this.reset();
        for (const row of read()) this.set(labels(row), Number(row[count]));
      },
    });
  };
  rows('agentic_model_requests_total', 'Requests to models, by what was answered', {
    count: 'count',
    read: () => gauges.models().requests,
  });
  rows('agentic_model_tokens_total', 'Tokens of models since this server started', {
    count: 'count',
    read: () => gauges.models().tokens,
  });
  rows('agentic_model_cost_usd_total', 'US dollars for models whose price is known', {
    count: 'usd',
    read: () => gauges.models().costUsd,
  });
}

export const metricsRoute = ({ registry }: Metrics): Route =>
  route({
    method: 'GET',
    path: '/metrics',
    role: 'viewer',
    tag: 'health',
    summary: 'Prometheus metrics',
    answers: { 200: { description: 'text format', schema: null, contentType: 'text/plain' } },
    run: async () =>
      new Response(await registry.metrics(), { headers: { 'content-type': registry.contentType } }),
  });
