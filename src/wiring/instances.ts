/** Instances: the effects of their machine, and what the doors may ask of them. */

import { alarm } from '../actors/alarm.ts';
import type { InstanceContext, InstanceInput, instancePorts } from '../actors/instance.ts';
import type { ChildSpec, EffectsOf, Told } from '../actors/port.ts';
import { listening } from '../actors/port.ts';
import type { InstanceDesk, NewInstance } from '../desk.ts';
import { Failure } from '../failure.ts';
import { instanceNamePattern, newId, type SessionId, type TaskId } from '../ids.ts';
import type { Handle, InstanceSpec, Probe, Runtime, RuntimeKind } from '../runtime.ts';
import type { InstanceView } from '../views.ts';
import { dropStorage, mountsFor, mountsNow, stored } from './agentshare.ts';
import { type House, sessionsOf } from './house.ts';
import { loseSession } from './presence.ts';
import { endSessionsOf } from './sessions.ts';

/** Forgets what an instance's agent could prove itself with, also by connections that are open. */
export type Revoke = (name: string, reason: string) => Promise<unknown>;

export interface OfIdentity {
  readonly revoke: Revoke;
  /** True from a revocation until an instance is given a new identity. */
  readonly isRevoked: (name: string) => Promise<boolean>;
}

export function instanceEffects(house: House, of: OfIdentity): EffectsOf<typeof instancePorts> {
  const { revoke, isRevoked } = of;
  const runtimeOf = (kind: RuntimeKind): Runtime => {
    const runtime = house.runtimes.get(kind);
    if (!runtime) throw new Failure('not-implemented', `this server has no runtime "${kind}"`);
    return runtime;
  };
  return {
    alarm: alarm(house.clock),
    async create({ spec, anew }, { signal }) {
      const runtime = runtimeOf(spec.runtime);
      if (anew) {
        await runtime.destroy(bareHandle(spec));
        await revoke(spec.name, 'its instance was made anew');
      }
      const mounts = await mountsFor(house, spec);
      return await runtime.create(mounts.length === 0 ? spec : { ...spec, mounts }, signal);
    },
    async start({ handle }, { signal }) {
      const mounts = await mountsNow(house, handle.name);
      return await runtimeOf(handle.runtime).start(mounts === null ? handle : { ...handle, mounts }, signal);
    },
    watch({ handle }, scope) {
      const runtime = runtimeOf(handle.runtime);
      const gone = async (reason: string, at: number) => {
        loseSessions(house, handle.name, reason);
        // Or an agent that was put out would come in again by ending itself.
        const isOut = await isRevoked(handle.name);
        if (scope.signal.aborted) return;
        if (!isOut) return void scope.send({ type: 'runtime.exited', at, reason });
        const why = `its identity was revoked, and a new start gives it another: ${reason}`;
        scope.send({ type: 'runtime.exited', at, reason: why, isRevoked: true });
      };
      runtime.recover(handle, scope.signal).then(
        (runs) => {
          if (scope.signal.aborted) return;
          if (!runs) return void gone('it was not running when the server looked', house.clock.now());
          const stop = runtime.watch(handle, ({ code, signal, at, reason }) => {
            const why =
              reason || (signal ? `ended by ${signal}` : `exited with ${code ?? 'an unknown code'}`);
            void gone(why, at);
          });
          scope.signal.addEventListener('abort', stop, { once: true });
        },
        (thrown) => {
          if (scope.signal.aborted) return;
          const why = thrown instanceof Error ? thrown.message : thrown;
          void gone(`could not be looked at: ${why}`, house.clock.now());
        },
      );
      return listening;
    },
    async stop({ handle, graceMs }) {
      await endSessionsOf(house, handle.name, graceMs);
      await runtimeOf(handle.runtime).stop(handle, graceMs);
      loseSessions(house, handle.name, 'its instance was stopped');
    },
    async destroy({ handle, spec, removesStorage }) {
      // Without a handle it was not made, or not to its end: what there is of it is found by its name.
      await runtimeOf(handle?.runtime ?? spec.runtime).destroy(handle ?? bareHandle(spec));
      await revoke(spec.name, 'its instance was destroyed');
      loseSessions(house, spec.name, 'its instance was destroyed');
      await dropStorage(house, spec, removesStorage);
    },
  };
}

const bareHandle = ({ name, runtime, instanceId }: InstanceSpec): Handle => ({
  version: 1,
  runtime,
  name,
  instanceId,
});

/** The sessions of an instance that does not run any more are over. */
function loseSessions(house: House, name: string, reason: string) {
  for (const { id } of sessionsOf(house, name)) {
    loseSession(house, id as SessionId, reason);
  }
}

export interface Wanted extends NewInstance {
  readonly task?: TaskId;
}

/**
 * Makes an instance; durable when it resolves. Throws Failure('already-exists' | 'bad-input' |
 * 'not-implemented').
 */
export async function makeInstance(house: House, wanted: Wanted, by: string): Promise<InstanceView> {
  const { fleet, clock, config } = house;
  const { name, runtime } = wanted;
  if (!instanceNamePattern.test(name)) {
    const rule = 'a lower-case letter, then 1 to 62 lower-case letters, digits or dashes';
    throw new Failure('bad-input', `"${name}" is no instance name: ${rule}`, {
      faults: [{ path: 'name', message: `must be ${rule}` }],
    });
  }
  const probe = await probeOf(house, runtime);
  if (!probe.available) {
    throw new Failure(
      'not-implemented',
      `${runtime} instances cannot be made here: ${probe.reasons.join('; ')}`,
    );
  }
  const made = specOf(wanted);
  await house.runtimes.get(runtime)?.check(made);
  const at = clock.now();
  const input: InstanceInput & { by: string } = {
    spec: made,
    start: wanted.start ?? true,
    task: wanted.task ?? null,
    createdAt: at,
    graceMs: config.stopGraceMs,
    crashes: config.crashes,
    by,
  };
  const id = `instance:${name}`;
  const spec: ChildSpec = {
    id,
    kind: 'instance',
    input,
    restart: 'always',
    graceMs: config.stopGraceMs,
    parent: null,
  };
  await fleet.remind([id, `agent:${name}`]);
  if (fleet.isLive(`agent:${name}`) && !fleet.isLive(id)) {
    throw new Failure('already-exists', `an agent named ${name} is connected already; choose another name`);
  }
  await fleet.start(spec, at);
  return fleet.view(id) as InstanceView;
}

/** After a restart, what is configured now counts for instances that were made under other limits too. */
export function applyLimits({ fleet, clock, config }: House): void {
  const { crashes } = config;
  for (const { id, kind, live } of fleet.specs()) {
    if (kind !== 'instance' || !live) continue;
    const { crashes: now } = fleet.context(id) as InstanceContext;
    if (JSON.stringify(now) === JSON.stringify(crashes)) continue;
    fleet.note(id, { type: 'limits.changed', at: clock.now(), by: 'house', crashes } as Told);
  }
}

function specOf(wanted: Wanted): InstanceSpec {
  const { name, runtime, loadout, profile, labels, workingDir, image, limits, network } = wanted;
  return {
    name,
    instanceId: newId(),
    runtime,
    ...(loadout ? { loadout } : {}),
    ...(profile ? { profile } : {}),
    ...(labels ? { labels } : {}),
    ...(workingDir ? { workingDir } : {}),
    ...(image ? { image } : {}),
    ...(limits ? { limits } : {}),
    ...(network ? { network } : {}),
  };
}

async function probeOf({ runtimes }: House, kind: RuntimeKind): Promise<Probe> {
  const runtime = runtimes.get(kind);
  if (!runtime) throw new Failure('not-implemented', `this server knows no runtime "${kind}"`);
  return await runtime.probe();
}

/** `usage` is told how much one uses. */
export function instanceDesk(house: House, usage: InstanceDesk['usage']): InstanceDesk {
  const { fleet, clock } = house;
  const find = (name: string) => {
    const view = fleet.view(`instance:${name}`) as InstanceView | null;
    return view && stored(house, view);
  };
  const there = (name: string): InstanceView => {
    const view = find(name);
    if (!view) throw new Failure('not-found', `there is no instance "${name}"; see GET /api/v1/instances`);
    return view;
  };
  const command = async (name: string, event: Told & { readonly [key: string]: unknown }) => {
    const before = there(name);
    const id = `instance:${name}`;
    if (!fleet.can(id, event)) {
      const resets = before.state === 'crash-looping' || before.state === 'failed';
      const how = resets ? `; POST /api/v1/instances/${name}/reset first` : '';
      throw new Failure(
        'wrong-state',
        `instance ${name} is ${before.state}; ${event.type} is not possible now${how}`,
      );
    }
    await fleet.send(id, event);
    return there(name);
  };
  return {
    list: () =>
      (fleet.views('instance') as InstanceView[])
        .filter(({ state }) => state !== 'destroyed')
        .map((view) => stored(house, view)),
    find,
    create: (wanted, by) => makeInstance(house, wanted, by),
    async start(name, by) {
      const { state } = there(name);
      if (state === 'running' || state === 'starting') return there(name);
      return await command(name, { type: 'start', at: clock.now(), by });
    },
    async stop(name, graceMs, by) {
      const { state } = there(name);
      if (state === 'stopped' || state === 'stopping') return there(name);
      return await command(name, {
        type: 'stop',
        at: clock.now(),
        by,
        ...(graceMs === null ? {} : { graceMs }),
      });
    },
    restart: (name, graceMs, by) =>
      command(name, { type: 'restart', at: clock.now(), by, ...(graceMs === null ? {} : { graceMs }) }),
    reprovision: (name, by) => command(name, { type: 'reprovision', at: clock.now(), by }),
    reset: (name, by) => command(name, { type: 'reset', at: clock.now(), by }),
    destroy: (name, by, removesStorage) =>
      command(name, { type: 'destroy', at: clock.now(), by, ...(removesStorage ? { removesStorage } : {}) }),
    probes: () => Promise.all([...house.runtimes.values()].map((runtime) => runtime.probe())),
    usage,
  };
}

/** The handle of an instance, once it has one. */
export const handleOf = ({ fleet }: House, name: string): Handle | null =>
  (fleet.context(`instance:${name}`) as InstanceContext | null)?.handle ?? null;
