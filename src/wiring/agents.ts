/** Agents, as the doors see them: the actor's view with what is observed beside it. */
import type { Proven } from '../agent-link.ts';
import { rfc3339 } from '../clock.ts';
import type { AgentDesk } from '../desk.ts';
import type { AgentId } from '../ids.ts';
import type { AgentView, ProofView } from '../views.ts';
import { type House, sessionsOf } from './house.ts';

export function agentDesk(house: House): AgentDesk {
  const { fleet } = house;
  const find = (id: string) => {
    const view = fleet.view(`agent:${id}`) as AgentView | null;
    return view && fleet.isLive(`agent:${id}`) ? observed(house, view) : null;
  };
  return {
    list: () => (fleet.views('agent') as AgentView[]).flatMap(({ id }) => find(id) ?? []),
    find,
  };
}

/** Adds telemetry: last value wins, null when there is none since this server started. */
export function observed(house: House, view: AgentView): AgentView {
  const telemetry = house.telemetry.get(view.id as AgentId);
  const { heartbeat, metrics } = telemetry ?? {};
  const link = house.links.get(view.id as AgentId);
  return {
    ...view,
    setup_progress_json: heartbeat?.setupProgressJson || null,
    last_heartbeat: telemetry?.seenAt ?? null,
    sessions: sessionsOf(house, view.id).length,
    proof: link ? proofView(link.proven) : null,
    metrics:
      link && metrics
        ? {
            cpu_percent: metrics.cpuPercent,
            memory_used_bytes: metrics.memoryUsedBytes,
            memory_total_bytes: metrics.memoryTotalBytes,
            disk_used_bytes: metrics.diskUsedBytes,
            disk_total_bytes: metrics.diskTotalBytes,
            load_avg: [...metrics.loadAvg],
            uptime_seconds: heartbeat?.uptimeSeconds ?? 0,
          }
        : null,
  };
}

function proofView(proven: Proven): ProofView {
  const { kind } = proven;
  if (kind !== 'certificate') return { kind, serial: null, not_after: null };
  return { kind, serial: proven.serial, not_after: rfc3339(proven.until) };
}
