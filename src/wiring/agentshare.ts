/**
 * Agentshare in the house: places for instances as they come, how full they are, and what is told when one is
 * nearly used up. Its parts are in share/; the doors' side is in storage.ts.
 */
import { hostname } from 'node:os';
import type { InstanceContext } from '../actors/instance.ts';
import type { Told } from '../actors/port.ts';
import type { OfTask, Place } from '../actors/task-ports.ts';
import { type Clock, rfc3339, sleep } from '../clock.ts';
import type { Config } from '../config.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import type { InstanceSpec, Mount } from '../runtime.ts';
import { leaveTask, pointToTask } from '../share/current.ts';
import { pruneRuns } from '../share/runs.ts';
import { type Agentshare, agentshare, type ShareOf, type Use } from '../share/store.ts';
import { taskDirs } from '../tasks/dirs.ts';
import type { InstanceView, StorageUseView } from '../views.ts';
import type { House } from './house.ts';
import { keepRuns } from './runs.ts';

/** How often usage is measured; less often where measuring takes more than a tenth of that. */
const MEASURE_EVERY_MS = 60_000;
const MEASURE_SHARE = 10;
/** Between two instances, so that measuring many is no flood. */
const PAUSE_MS = 50;
const DAY_MS = 86_400_000;
/** Runs are looked at for their age with every so many measures. */
const PRUNE_EVERY = 60;

export interface ShareGround {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
}

/** Throws Failure('runtime-failed') when its root cannot be made. */
export async function openAgentshare({ config, clock, log }: ShareGround): Promise<Agentshare> {
  const { root, quotaBytes, globalQuotaBytes } = config.agentshare;
  const share = agentshare({ root, quotaBytes, globalQuotaBytes, clock, log });
  await share.open();
  const reason = share.quotaReason();
  if (reason !== null) log.info('storage limits are measured, not enforced by the file system', { reason });
  return share;
}

/** What storage needs of the house. */
export type StorageHouse = Pick<House, 'share' | 'fleet' | 'config' | 'clock' | 'log' | 'runtimes'>;

const specOf = ({ fleet }: StorageHouse, name: string): InstanceSpec | null =>
  (fleet.context(`instance:${name}`) as InstanceContext | null)?.spec ?? null;

async function shareOf(
  { runtimes }: StorageHouse,
  { instanceId, name, runtime }: InstanceSpec,
): Promise<ShareOf> {
  const uid = (await runtimes.get(runtime)?.shares?.user()) ?? null;
  const owner = uid === null ? null : { uid, gid: uid };
  return { instanceId, name, owner, isSameUser: runtime === 'host' };
}

/** Makes the place of an instance. Throws Failure('runtime-failed') that says what was in the way. */
export async function mountsFor(house: House, spec: InstanceSpec): Promise<readonly Mount[]> {
  const { share } = house;
  if (share === null) return [];
  try {
    return await share.prepare(await shareOf(house, spec));
  } catch (thrown) {
    if (thrown instanceof Failure) throw thrown;
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new Failure('runtime-failed', `the storage of ${spec.name} cannot be made: ${why}`, {
      cause: thrown,
    });
  }
}

/** What it has now; null when it has none, or none can be made just now: it starts all the same. */
export async function mountsNow(house: House, name: string): Promise<readonly Mount[] | null> {
  const spec = specOf(house, name);
  if (house.share === null || spec === null) return null;
  try {
    return await mountsFor(house, spec);
  } catch (thrown) {
    house.log.warn('an instance starts with the storage that it had', {
      instance: name,
      why: String(thrown),
    });
    return null;
  }
}

/** Storage goes only when that is asked for, or when nothing is in it. */
export async function dropStorage(
  house: StorageHouse,
  { instanceId, name }: InstanceSpec,
  isWanted: boolean,
) {
  if (house.share === null) return;
  try {
    const dropped = await house.share.drop(instanceId, isWanted);
    if (dropped !== 'absent')
      house.log.info(`storage ${dropped}`, { instance: name, instance_id: instanceId });
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    if (isWanted) throw new Failure('runtime-failed', `the storage of ${name} is not removed: ${why}`);
    house.log.warn('storage not looked at; it is kept', { instance: name, why });
  }
}

export const useView = (use: Use): StorageUseView => ({
  used_bytes: use.usedBytes,
  limit_bytes: use.limitBytes,
  enforced_by: use.enforcedBy,
  high: use.isHigh,
  at_least: !use.isWhole,
  measured_at: rfc3339(use.measuredAt),
});

/** Adds what is measured of its storage. */
export function stored({ share }: Pick<House, 'share'>, view: InstanceView): InstanceView {
  const use = share?.use(view.instance_id) ?? null;
  return use === null ? view : { ...view, storage: useView(use) };
}

/** The bytes of each instance, by name, and of `global`. */
export function storedBytes({ share, fleet }: StorageHouse): Record<string, number> {
  if (share === null) return {};
  const views = (fleet.views('instance') as InstanceView[]).filter(({ state }) => state !== 'destroyed');
  const uses = [['global', 'global'], ...views.map(({ name, instance_id }) => [name, instance_id])];
  return Object.fromEntries(
    uses.flatMap(([name = '', key = '']) => {
      const use = share.use(key);
      return use === null ? [] : [[name, use.usedBytes]];
    }),
  );
}

export function storagesHigh({ share, fleet }: StorageHouse): number {
  if (share === null) return 0;
  const views = (fleet.views('instance') as InstanceView[]).filter(({ state }) => state !== 'destroyed');
  const keys = ['global', ...views.map(({ instance_id }) => instance_id)];
  return keys.filter((key) => share.use(key)?.isHigh).length;
}

/** Where an instance finds its present task; what is in the way of it is told and left. */
export async function showTask(house: House, { task }: OfTask, { agent }: Place): Promise<void> {
  const link = linkOf(house, task, agent);
  if (link === null) return;
  try {
    if (await pointToTask(link)) return;
    house.log.warn('no link to the task: something of the instance is in the way', { task, instance: agent });
  } catch (thrown) {
    house.log.warn('no link to the task', { task, instance: agent, why: String(thrown) });
  }
}

export async function hideTask(house: House, task: string, { agent }: Place): Promise<void> {
  const link = linkOf(house, task, agent);
  if (link === null) return;
  await leaveTask(link).catch((thrown) => {
    house.log.warn('a link to a task stays', { task, instance: agent, why: String(thrown) });
  });
}

function linkOf(house: House, task: string, agent: string) {
  const spec = specOf(house, agent);
  if (house.share === null || spec === null) return null;
  const { workspace } = house.share.layout.place(spec.instanceId);
  return { workspace, task, target: taskDirs(house.config.agentshare.root, task).root };
}

/** Measures, tells, and keeps the logs of runs. Returns how to stop. */
export function keepAgentshare(house: House): () => void {
  const { share } = house;
  if (share === null) return () => {};
  const stop = new AbortController();
  const stopRuns = keepRuns(house, share, hostname());
  void watch(house, share, stop.signal);
  return () => {
    stop.abort();
    stopRuns();
  };
}

async function watch(house: StorageHouse, share: Agentshare, signal: AbortSignal): Promise<void> {
  await prepareAll(house, share);
  for (let n = 0; !signal.aborted; n++) {
    const began = house.clock.now();
    try {
      await measureAll(house, share, signal);
      if (n % PRUNE_EVERY === 0) await prune(house, share, signal);
    } catch (thrown) {
      if (signal.aborted) return;
      house.log.error('storage not measured; it is tried again', { why: String(thrown) });
    }
    const took = house.clock.now() - began;
    await sleep(house.clock, Math.max(MEASURE_EVERY_MS, took * MEASURE_SHARE), signal).catch(() => {});
  }
}

/**
 * Instances that were made before there was storage have it from now on, and see it from their next start.
 */
async function prepareAll(house: StorageHouse, share: Agentshare): Promise<void> {
  for (const spec of liveSpecs(house)) {
    if ((await share.facts(spec.instanceId)) !== null) continue;
    await shareOf(house, spec)
      .then(share.prepare)
      .catch((thrown) => {
        house.log.warn('an instance has no storage', { instance: spec.name, why: String(thrown) });
      });
  }
}

const liveSpecs = ({ fleet }: StorageHouse): InstanceSpec[] =>
  fleet
    .specs()
    .filter(({ kind, live }) => kind === 'instance' && live)
    .flatMap(({ id }) => (fleet.context(id) as InstanceContext | null)?.spec ?? []);

async function measureAll(house: StorageHouse, share: Agentshare, signal: AbortSignal): Promise<void> {
  await measureGlobal(house, share, signal);
  for (const spec of liveSpecs(house)) {
    await sleep(house.clock, PAUSE_MS, signal);
    await measureOne(house, share, { spec, signal });
  }
}

async function measureGlobal({ log }: StorageHouse, share: Agentshare, signal: AbortSignal): Promise<void> {
  const before = share.use('global')?.isHigh ?? false;
  const use = await share.measure('global', signal);
  if (use?.isHigh && !before)
    log.error('global is nearly full; remove what is not needed', { ...useView(use) });
}

interface Measured {
  readonly spec: InstanceSpec;
  readonly signal: AbortSignal;
}

/** Measures one, and tells its actor when it became nearly full, or is not any more. */
export async function measureOne(
  house: StorageHouse,
  share: Agentshare,
  { spec, signal }: Measured,
): Promise<Use | null> {
  const { fleet, clock, log } = house;
  const before = share.use(spec.instanceId)?.isHigh ?? false;
  const use = await share.measure(spec.instanceId, signal);
  const isHigh = use?.isHigh ?? false;
  if (use === null || isHigh === before || !fleet.isLive(`instance:${spec.name}`)) return use;
  const type = isHigh ? 'storage.high' : 'storage.relieved';
  const filled = { usedBytes: use.usedBytes, limitBytes: use.limitBytes ?? 0 };
  fleet.note(`instance:${spec.name}`, { type, at: clock.now(), ...filled } as Told);
  const say = isHigh ? log.error : log.info;
  say(isHigh ? 'the storage of an instance is nearly full' : 'the storage of an instance has room again', {
    instance: spec.name,
    ...filled,
    enforced_by: use.enforcedBy,
  });
  return use;
}

async function prune(house: StorageHouse, share: Agentshare, signal: AbortSignal): Promise<void> {
  const { runsKeepDays } = house.config.agentshare;
  if (runsKeepDays === 0) return;
  const before = house.clock.now() - runsKeepDays * DAY_MS;
  for (const { instanceId, name } of await share.all()) {
    signal.throwIfAborted();
    const removed = await pruneRuns(share.layout.place(instanceId), before).catch((thrown) => {
      house.log.warn('logs of old runs stay', { instance: name, why: String(thrown) });
      return 0;
    });
    if (removed > 0) house.log.info('logs of old runs removed', { instance: name, removed, runsKeepDays });
  }
}
