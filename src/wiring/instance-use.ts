/**
 * What instances use just now, measured by their runtimes when somebody asks, and not more often than that.
 */
import { rfc3339 } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { InstanceView } from '../views.ts';
import type { InstanceUseView } from '../views-usage.ts';
import type { House } from './house.ts';
import { handleOf } from './instances.ts';

/** Who asks sooner is told what was measured last: an engine takes a while, and many may look. */
const FRESH_MS = 2_000;

interface Measure {
  readonly at: number;
  readonly use: Promise<InstanceUseView>;
}

export function instanceUse(house: House): (name: string) => Promise<InstanceUseView> {
  const { clock, fleet } = house;
  const measures = new Map<string, Measure>();
  return async (name) => {
    const view = fleet.view(`instance:${name}`) as InstanceView | null;
    if (view === null)
      throw new Failure('not-found', `there is no instance "${name}"; see GET /api/v1/instances`);
    const at = clock.now();
    for (const [key, { at: then }] of measures) if (at - then >= FRESH_MS) measures.delete(key);
    const known = measures.get(view.instance_id);
    if (known) return await known.use;
    const use = measured(house, name);
    measures.set(view.instance_id, { at, use });
    // Whoever asks next may have more luck.
    use.catch(() => measures.delete(view.instance_id));
    return await use;
  };
}

async function measured(house: House, name: string): Promise<InstanceUseView> {
  const handle = handleOf(house, name);
  const usage = handle && (await house.runtimes.get(handle.runtime)?.usage(handle));
  return {
    measured_at: rfc3339(house.clock.now()),
    cpu_percent: usage?.cpuPercent ?? null,
    memory_bytes: usage?.memoryBytes ?? null,
    processes: usage?.processes ?? null,
  };
}
