/** What the outside sees of an instance. */
import type { SnapshotFrom } from 'xstate';
import { rfc3339 } from '../clock.ts';
import type { Walls } from '../runtime.ts';
import type { InstanceView } from '../views.ts';
import type { WallsView } from '../views-walls.ts';
import type { instanceMachine } from './instance.ts';

export function instanceView({ value, context: c }: SnapshotFrom<typeof instanceMachine>): InstanceView {
  return {
    name: c.spec.name,
    instance_id: c.spec.instanceId,
    runtime: c.spec.runtime,
    state: (typeof value === 'string' ? value : Object.keys(value)[0]) as InstanceView['state'],
    reason: c.reason,
    failure: c.failure,
    created_at: rfc3339(c.createdAt),
    state_changed_at: rfc3339(c.changedAt),
    loadout: c.spec.loadout ?? null,
    profile: c.spec.profile ?? null,
    labels: { ...c.spec.labels },
    working_dir: c.spec.workingDir ?? (c.handle?.workingDir as string | undefined) ?? null,
    crashes: c.crashTimes.length,
    restarts_total: c.restartsTotal,
    task_id: c.task,
    storage: null,
    walls: wallsView(c.handle?.walls),
  };
}

function wallsView(walls: Walls | undefined): WallsView | null {
  if (walls === undefined) return null;
  const { image, limits, network, unenforced } = walls;
  return {
    image: { ...image },
    limits: {
      cpus: limits.cpus ?? null,
      memory_bytes: limits.memoryBytes ?? null,
      processes: limits.processes ?? null,
      disk_bytes: limits.diskBytes ?? null,
    },
    network: { mode: network.mode, allow: [...(network.allow ?? [])] },
    unenforced: unenforced.map((one) => ({ ...one })),
  };
}
