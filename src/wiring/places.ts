/** Finding or making the instance a task runs in, and giving it back. */
import { createHash } from 'node:crypto';
import type { AgentContext } from '../actors/agent.ts';
import type { EffectScope, Told } from '../actors/port.ts';
import type { OfTask, Place } from '../actors/task-ports.ts';
import { sleep } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { AgentId, TaskId } from '../ids.ts';
import type { Network, RuntimeKind } from '../runtime.ts';
import type { Manifest } from '../tasks/manifest.ts';
import { sizeBytes } from '../tasks/units.ts';
import type { AgentView, InstanceView } from '../views.ts';
import { agentOf, type House, stateOf, until } from './house.ts';
import { makeInstance, type Wanted } from './instances.ts';

/** From asking for an instance until its agent is ready. */
const PROVISION_MS = 15 * 60_000;
/** A free agent that is about to connect, as after a restart of the server, is waited for so long. */
const RETURN_MS = 5_000;
const RETURN_LOOK_MS = 100;
/** Waiting for an instance to be destroyed; it is destroyed all the same. */
const DESTROY_MS = 60_000;

/** The effect behind `task.acquire`: what this task has reserved or made already is found again. */
export const acquire =
  (house: House) =>
  async (input: OfTask, scope: EffectScope): Promise<Place> => {
    const manifest = input.manifest as Manifest;
    const { instance, runtime } = manifest.agent;
    const mine = reservedBy(house, input.task);
    if (mine) return { agent: mine, made: isMadeFor(house, mine, input.task) };
    if (instance !== null) return await named(house, { name: instance, task: input.task, scope });
    const deadline = house.clock.now() + RETURN_MS;
    for (;;) {
      for (const agent of free(house, runtime)) {
        if (await reserve(house, agent, input.task)) return { agent, made: false };
      }
      const late = house.clock.now() >= deadline;
      if (late || !isSomeoneReturning(house, runtime)) break;
      await sleep(house.clock, RETURN_LOOK_MS, scope.signal);
    }
    return await made(house, { task: input.task, manifest, runtime: runtime ?? 'host' }, scope);
  };

function reservedBy({ fleet }: House, task: TaskId): AgentId | null {
  const mine = (fleet.views('agent') as AgentView[]).find(
    ({ id, task_id }) => task_id === task && fleet.isLive(`agent:${id}`),
  );
  return (mine?.id as AgentId | undefined) ?? null;
}

const isMadeFor = ({ fleet }: House, agent: string, task: TaskId): boolean =>
  (fleet.view(`instance:${agent}`) as InstanceView | null)?.task_id === task;

/** Ready agents that nobody has, and whose instance was not made for a task. */
function free(house: House, runtime: RuntimeKind | null): AgentId[] {
  return [...house.links.keys()].filter((agent) => {
    const instance = house.fleet.view(`instance:${agent}`) as InstanceView | null;
    return isForAll(instance, runtime) && stateOf(house, `agent:${agent}`) === 'ready';
  });
}

const isForAll = (instance: InstanceView | null, runtime: RuntimeKind | null): boolean =>
  instance !== null && instance.task_id === null && (runtime === null || instance.runtime === runtime);

/** An instance that runs, or is being started, whose agent nobody has and which is not connected yet. */
const isSomeoneReturning = ({ fleet, links }: House, runtime: RuntimeKind | null): boolean =>
  (fleet.views('instance') as InstanceView[]).some((instance) => {
    const isUp = ['running', 'starting', 'provisioning'].includes(instance.state);
    const agent = fleet.context(`agent:${instance.name}`) as AgentContext | null;
    const isFree = agent !== null && agent.task === null;
    return isUp && isFree && !links.has(agent.id) && isForAll(instance, runtime);
  });

const reserve = ({ fleet, clock }: House, agent: AgentId, task: TaskId): Promise<boolean> =>
  fleet.send(`agent:${agent}`, { type: 'reserve', at: clock.now(), task } as Told);

interface Named {
  readonly name: string;
  readonly task: TaskId;
  readonly scope: EffectScope;
}

/** Waits for a named instance: to be there, ready and free. */
async function named(house: House, { name, task, scope: { signal } }: Named): Promise<Place> {
  const agent = name as AgentId;
  if (!agentOf(house, name) || !house.fleet.isLive(`agent:${name}`)) {
    throw new Failure(
      'not-found',
      `there is no instance "${name}" for this task; make it, or drop agent.instance`,
    );
  }
  const deadline = house.clock.now() + PROVISION_MS;
  for (;;) {
    await ready(house, { agent, withinMs: Math.max(0, deadline - house.clock.now()), signal });
    if (await reserve(house, agent, task)) return { agent, made: false };
  }
}

function ready(
  house: House,
  { agent, withinMs, signal }: { agent: AgentId; withinMs: number; signal: AbortSignal },
) {
  return until(house, {
    fact: `changed:agent:${agent}`,
    look: () => {
      if (stateOf(house, `agent:${agent}`) === 'ready' && house.links.has(agent)) return true;
      const instance = house.fleet.view(`instance:${agent}`) as InstanceView | null;
      if (instance && ['failed', 'crash-looping', 'destroyed'].includes(instance.state)) {
        throw new Failure(
          'runtime-failed',
          `instance ${agent} is ${instance.state}: ${instance.reason ?? 'see its log'}`,
        );
      }
      return null;
    },
    withinMs,
    signal,
    late: () =>
      new Failure(
        'timed-out',
        `agent ${agent} was not ready in time; it is ${stateOf(house, `agent:${agent}`)}`,
      ),
  });
}

interface Made {
  readonly task: TaskId;
  readonly manifest: Manifest;
  readonly runtime: RuntimeKind;
}

async function made(
  house: House,
  { task, manifest, runtime }: Made,
  { signal }: EffectScope,
): Promise<Place> {
  const name = nameFor(task);
  const { loadout, profile } = manifest.vm;
  if (!house.fleet.isLive(`instance:${name}`)) {
    const walls = runtime === 'container' ? wallsOf(manifest) : {};
    const wanted = {
      name,
      runtime,
      task,
      profile,
      labels: { task },
      ...(loadout ? { loadout } : {}),
      ...walls,
    };
    await makeInstance(house, wanted, `task:${task}`);
  }
  const agent = name as AgentId;
  await ready(house, { agent, withinMs: PROVISION_MS, signal });
  await reserve(house, agent, task);
  return { agent, made: true };
}

/** What the manifest allows; its disk is not among what a container can be held to. */
function wallsOf({ agent, vm }: Manifest): Pick<Wanted, 'image' | 'limits' | 'network'> {
  const memoryBytes = sizeBytes(vm.memory);
  return {
    image: agent.tool === 'command' ? 'base' : agent.tool,
    limits: { cpus: vm.cpus, ...(memoryBytes === null ? {} : { memoryBytes }) },
    network: networkOf(vm),
  };
}

function networkOf({ network_mode: mode, allowed_hosts: allow }: Manifest['vm']): Network {
  if (mode === 'full') return { mode };
  return mode === 'outbound' || (mode === null && allow.length > 0)
    ? { mode: 'allowlist', allow }
    : { mode: 'isolated' };
}

/** A task's own instance has its name by rule, so that a restart finds it. */
function nameFor(task: TaskId): string {
  const hash = createHash('sha256').update(task).digest('hex').slice(0, 10);
  const plain = task
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 40);
  return `task-${plain}-${hash}`.replace(/-{2,}/g, '-');
}

export interface GivingBack {
  readonly task: TaskId;
  /** Null when nothing was acquired, or when it is not known. */
  readonly place: Place | null;
  readonly keep: boolean;
}

/**
 * Releases what a task reserved, and destroys what was made for it unless it is to be kept. Facts, not
 * commands: they are not refused while the journal is away, and are durable before the task's end is.
 */
export async function giveBack(
  house: House,
  { task, place, keep }: GivingBack,
  { signal }: EffectScope,
): Promise<void> {
  const { fleet, clock } = house;
  const agents = new Set([place?.agent, reservedBy(house, task)].filter((agent) => agent != null));
  for (const agent of agents)
    fleet.note(`agent:${agent}`, { type: 'release', at: clock.now(), task } as Told);
  const own = nameFor(task);
  if (keep || !isMadeFor(house, own, task) || !fleet.isLive(`instance:${own}`)) return;
  fleet.note(`instance:${own}`, { type: 'destroy', at: clock.now(), by: `task:${task}` });
  await until(house, {
    fact: `changed:instance:${own}`,
    look: () =>
      fleet.isLive(`instance:${own}`) && stateOf(house, `instance:${own}`) !== 'failed' ? null : true,
    withinMs: DESTROY_MS,
    signal,
    late: () => new Failure('timed-out', `instance ${own} is still being destroyed`),
  });
}
