/**
 * Agentshare: makes the places of instances, knows how full they are, and hands out areas to look into.
 *
 * Where the file system has project quotas, it refuses what is too much, whoever writes. Elsewhere usage is
 * measured, and only what comes by our routes is refused: an instance can write on, which is told and never
 * mended by removing anything.
 */
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import type { Mount } from '../runtime.ts';
import type { Owner } from './area.ts';
import { remove } from './change.ts';
import {
  instanceIds,
  isPlace,
  type Layout,
  layoutIn,
  leaves,
  makePlace,
  makeRoot,
  mountsOf,
  type Place,
  readFacts,
  type ShareFacts,
} from './layout.ts';
import { joinProject, limitProject, probeQuota, projectUse, type QuotaProbe } from './quota.ts';
import { holdsAnything, measure } from './usage.ts';

/** Ids of projects of ours begin here; those of operators are small. */
const PROJECT_FIRST = 1_000_000;
const PROJECTS_MAX = 1_000_000;
/** From so much of its limit on an instance's storage is high, and until it is below the second again. */
const HIGH = 0.9;
const LOW = 0.8;

export interface ShareOptions {
  readonly root: string;
  /** Of each instance; 0: no limit. */
  readonly quotaBytes: number;
  /** Of `global`; 0: no limit. */
  readonly globalQuotaBytes: number;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Use {
  readonly usedBytes: number;
  /** Null: no limit. */
  readonly limitBytes: number | null;
  readonly enforcedBy: 'file-system' | 'routes' | 'nobody';
  readonly measuredAt: number;
  /** False: there is at least so much. */
  readonly isWhole: boolean;
  readonly isHigh: boolean;
}

export interface ShareOf {
  readonly instanceId: string;
  readonly name: string;
  /** The user whose leaves they are to be; null: ours. */
  readonly owner: Owner | null;
  /** It runs as the server's own user. */
  readonly isSameUser: boolean;
}

export type Dropped = 'removed' | 'kept' | 'absent';

export interface Agentshare {
  readonly layout: Layout;
  /** Makes the root and looks what the file system can. To be awaited before anything else. */
  open(): Promise<void>;
  /** Why the file system enforces no quotas; null: it does, or none are wanted. */
  quotaReason(): string | null;
  /** Makes the place of an instance, or finds it. */
  prepare(of: ShareOf): Promise<readonly Mount[]>;
  facts(instanceId: string): Promise<ShareFacts | null>;
  all(): Promise<readonly ShareFacts[]>;
  /** The last measure; null: not yet. `global` for that. */
  use(key: string): Use | null;
  /** Looks anew. Null when there is no such place. */
  measure(key: string, signal: AbortSignal): Promise<Use | null>;
  /** Counts what was written since the last measure. Throws Failure('over-quota') when it is too much. */
  admit(key: string, bytes: number): void;
  wrote(key: string, bytes: number): void;
  /** The end of an instance. What it holds goes only when that `isWanted`, or when it holds nothing. */
  drop(instanceId: string, isWanted: boolean): Promise<Dropped>;
}

interface State extends ShareOptions {
  readonly layout: Layout;
  readonly uses: Map<string, Use>;
  quota: QuotaProbe;
  /** Places are made one at a time, so that no two get one project. */
  turn: Promise<unknown>;
}

export function agentshare(options: ShareOptions): Agentshare {
  const layout = layoutIn(options.root);
  const quota: QuotaProbe = { works: false, reason: 'it was not looked at yet' };
  const state: State = { ...options, layout, uses: new Map(), quota, turn: Promise.resolve() };
  const { uses } = state;
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const done = state.turn.then(act);
    state.turn = done.catch(() => {});
    return done;
  };
  return {
    layout,
    async open() {
      await makeRoot(layout);
      state.quota = await probeQuota(layout.root);
    },
    quotaReason: () => (state.quota.works || options.quotaBytes === 0 ? null : state.quota.reason),
    prepare: (of) => inTurn(() => prepare(state, of)),
    facts: (id) => readFacts(layout.place(id)),
    all: () => all(state),
    use: (key) => uses.get(key) ?? null,
    measure: (key, signal) => measured(state, key, signal),
    admit: (key, bytes) => admit(state, key, bytes),
    wrote(key, bytes) {
      const use = uses.get(key);
      if (use) uses.set(key, { ...use, usedBytes: use.usedBytes + bytes });
    },
    drop: (id, isWanted) => inTurn(() => drop(state, id, isWanted)),
  };
}

async function prepare(
  state: State,
  { instanceId, name, owner, isSameUser }: ShareOf,
): Promise<readonly Mount[]> {
  const { layout, clock } = state;
  const place = layout.place(instanceId);
  const known = await readFacts(place);
  const createdAt = known?.createdAt ?? clock.now();
  const project = known?.project ?? null;
  const facts: ShareFacts = { version: 1, instanceId, name, createdAt, owner, isSameUser, project };
  await makePlace(place, facts);
  const joined = await limited(state, place, facts);
  if (joined !== project) await makePlace(place, { ...facts, project: joined });
  return mountsOf(layout, place);
}

/** The project that the place is in, with the limit that is configured now. */
async function limited(state: State, place: Place, facts: ShareFacts): Promise<number | null> {
  const { quota, quotaBytes, layout, log } = state;
  if (!quota.works || (quotaBytes === 0 && facts.project === null)) return facts.project;
  try {
    const project = facts.project ?? (await freeProject(state));
    if (facts.project === null) await joinProject(place.base, project);
    await limitProject(layout.root, project, { bytes: quotaBytes });
    return project;
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    log.warn('no quota of the file system; usage is measured instead', { instance: facts.name, why });
    return facts.project;
  }
}

async function freeProject({ layout }: State): Promise<number> {
  const known = (await all({ layout })).flatMap(({ project }) => project ?? []);
  const first = Math.max(PROJECT_FIRST - 1, ...known) + 1;
  for (let project = first; project < first + PROJECTS_MAX; project++) {
    const use = await projectUse(layout.root, project);
    // Whoever else has it is left alone.
    if (use === null || (use.usedBytes === 0 && use.hardBytes === 0 && use.files === 0)) return project;
  }
  throw new Failure('over-quota', `no project id from ${first} on is free on this file system`);
}

async function all({ layout }: Pick<State, 'layout'>): Promise<ShareFacts[]> {
  const ids = await instanceIds(layout);
  const found = await Promise.all(ids.map((id) => readFacts(layout.place(id))));
  return found.filter((facts) => facts !== null);
}

async function measured(state: State, key: string, signal: AbortSignal): Promise<Use | null> {
  const { layout, uses, clock } = state;
  const isGlobal = key === 'global';
  const limit = isGlobal ? state.globalQuotaBytes : state.quotaBytes;
  const facts = isGlobal ? null : await readFacts(layout.place(key));
  const isLimited = facts !== null && facts.project !== null && state.quota.works && limit > 0;
  const counted = isLimited ? await projectUse(layout.root, facts.project as number) : null;
  const root = isGlobal ? layout.global : layout.place(key).base;
  const found = counted ? { bytes: counted.usedBytes, isWhole: true } : await measure(root, signal);
  if (found === null) {
    uses.delete(key);
    return null;
  }
  const before = uses.get(key)?.isHigh ?? false;
  const share = limit === 0 ? 0 : found.bytes / limit;
  const use: Use = {
    usedBytes: found.bytes,
    limitBytes: limit === 0 ? null : limit,
    enforcedBy:
      limit === 0 ? 'nobody' : counted && facts && holdsBack(state, facts) ? 'file-system' : 'routes',
    measuredAt: clock.now(),
    isWhole: found.isWhole,
    isHigh: share >= (before ? LOW : HIGH),
  };
  uses.set(key, use);
  return use;
}

/** ext4 lets root have what it wants, XFS does not. */
function holdsBack({ quota }: State, { isSameUser }: ShareFacts): boolean {
  return quota.works && (quota.fileSystem === 'xfs' || !isSameUser);
}

function admit({ uses }: State, key: string, bytes: number): void {
  const use = uses.get(key);
  // Also where the file system refuses: we may be root, whom it may let through.
  if (!use || use.limitBytes === null) return;
  if (use.usedBytes + bytes <= use.limitBytes) return;
  const what = `${use.usedBytes} of ${use.limitBytes} bytes are used`;
  throw new Failure('over-quota', `there is no room for it: ${what}; remove something first`);
}

async function drop(state: State, instanceId: string, isWanted: boolean): Promise<Dropped> {
  const { layout, uses } = state;
  const place = layout.place(instanceId);
  if (!(await isPlace(place))) return 'absent';
  if (!isWanted && (await isInUse(place))) return 'kept';
  const facts = await readFacts(place);
  const area = {
    name: 'instances',
    root: layout.instances,
    staging: layout.globalStaging,
    owner: null,
    fileMode: 0o600,
    dirMode: 0o700,
    admit() {},
  };
  await remove(area, [Buffer.from(instanceId)], true);
  uses.delete(instanceId);
  if (facts?.project != null && state.quota.works)
    await limitProject(layout.root, facts.project, { bytes: 0 });
  return 'removed';
}

/** Whether anything is there but what we made ourselves: links to tasks, and the logs of runs. */
async function isInUse(place: Place): Promise<boolean> {
  const ours = { inbox: [], outbox: ['runs'], workspace: ['current', 'tasks'] } as const;
  for (const leaf of leaves) if (await holdsAnything(place[leaf], ours[leaf])) return true;
  return false;
}
