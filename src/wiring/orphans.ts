/**
 * Instances that a runtime has and no actor knows, as after the journal was lost or another one was named.
 *
 *   in the runtime, no actor of the name lives ──▶ adopted: it gets an actor with its own identity, and goes
 *   on an actor of the name lives, and is another ──▶ left alone, and said
 *
 * Nothing is ended or removed: the agent inside may be at work. Its sessions are adopted in turn as soon as
 * it connects (presence.ts).
 */
import type { InstanceContext, InstanceInput } from '../actors/instance.ts';
import type { ChildSpec } from '../actors/port.ts';
import type { Found } from '../runtime.ts';
import type { House } from './house.ts';

/** Call it after the restore and before any agent can connect. Returns the names that were adopted. */
export async function adoptOrphans(house: House): Promise<readonly string[]> {
  const { runtimes, log } = house;
  const adopted: string[] = [];
  for (const runtime of runtimes.values()) {
    try {
      for (const found of await runtime.inventory())
        if (await settle(house, found)) adopted.push(found.spec.name);
    } catch (thrown) {
      log.warn('not looked for orphans', { runtime: runtime.kind, why: String(thrown) });
    }
  }
  return adopted;
}

async function settle(house: House, found: Found): Promise<boolean> {
  const { fleet, log } = house;
  const { spec, runs } = found;
  const id = `instance:${spec.name}`;
  await fleet.remind([id, `agent:${spec.name}`]);
  if (!fleet.isLive(id)) {
    await adopt(house, found);
    log.warn('an instance that nobody knew is adopted', { instance: spec.name, runtime: spec.runtime, runs });
    return true;
  }
  const known = (fleet.context(id) as InstanceContext).spec;
  if (known.instanceId !== spec.instanceId) {
    const cure = 'destroy the instance of that name, then start the server again';
    const { instanceId: instance_id } = spec;
    log.warn('an instance that nobody knows is left alone: its name is taken', {
      name: spec.name,
      instance_id,
      cure,
    });
  }
  return false;
}

async function adopt({ fleet, clock, config }: House, { spec, runs }: Found): Promise<void> {
  const at = clock.now();
  const { stopGraceMs: graceMs, crashes } = config;
  const input: InstanceInput & { readonly adopted: true } = {
    spec,
    start: runs,
    task: null,
    createdAt: at,
    graceMs,
    crashes,
    adopted: true,
  };
  const child: ChildSpec = {
    id: `instance:${spec.name}`,
    kind: 'instance',
    input,
    restart: 'always',
    graceMs,
    parent: null,
  };
  await fleet.start(child, at);
}
