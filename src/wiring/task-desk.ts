/** Tasks, as the doors see them. */
import type { ChildSpec, Told } from '../actors/port.ts';
import type { TaskContext, TaskInput } from '../actors/task-ports.ts';
import { tallyView } from '../actors/task-view.ts';
import type { TaskDesk, TaskLog, TaskQuery } from '../desk.ts';
import { Failure } from '../failure.ts';
import { newId, type TaskId } from '../ids.ts';
import type { Budget } from '../spending.ts';
import { listArtifacts, openArtifact } from '../tasks/artifacts.ts';
import { taskDirs } from '../tasks/dirs.ts';
import { type Manifest, readManifest } from '../tasks/manifest.ts';
import { durationMs } from '../tasks/units.ts';
import type { TaskView } from '../views.ts';
import { providersOf } from './credentials.ts';
import { type House, taskOf } from './house.ts';
import { stillKept } from './task-keeper.ts';

export type Logs = (id: TaskId, after: string | null, signal: AbortSignal) => AsyncIterable<TaskLog>;

export function taskDesk(house: House, logs: Logs): TaskDesk {
  const { fleet, clock, config } = house;
  const find = (id: string): TaskView | null => {
    const view = fleet.view(`task:${id}`) as TaskView | null;
    return view && told(house, view);
  };
  const there = (id: string): TaskView => {
    const view = find(id);
    if (!view) throw new Failure('not-found', `there is no task "${id}"; see GET /api/v1/tasks`);
    return view;
  };
  return {
    list: (query) => listed(house, query),
    find,
    async submit(manifest, by) {
      return there(await submit(house, readManifest(manifest), { by, retryOf: null }));
    },
    async cancel(id, reason, by) {
      const { state } = there(id);
      const event = { type: 'cancel', at: clock.now(), by, reason } as Told;
      if (!fleet.isLive(`task:${id}`)) throw new Failure('wrong-state', `task ${id} is ${state} already`);
      await fleet.send(`task:${id}`, event);
      return there(id);
    },
    async retry(id, by) {
      const view = there(id);
      const context = taskOf(house, id);
      if (!context || fleet.isLive(`task:${id}`)) {
        throw new Failure(
          'wrong-state',
          `task ${id} is ${view.state}; only a task that has ended can be tried again`,
        );
      }
      const manifest = context.manifest as Manifest;
      const again = { ...manifest, metadata: { ...manifest.metadata, id: null } };
      return there(await submit(house, again, { by, retryOf: context.id }));
    },
    logs(id, after, signal) {
      there(id);
      return logs(id as TaskId, after, signal);
    },
    async artifacts(id) {
      await stillKept(house, there(id));
      return await listArtifacts(taskDirs(config.agentshare.root, id));
    },
    async artifact(id, name) {
      await stillKept(house, there(id));
      return await openArtifact(taskDirs(config.agentshare.root, id), name);
    },
    manifest: (id) => (taskOf(house, id) as TaskContext | null)?.manifest ?? null,
  };
}

/** Adds how a running task gets on. */
export function told({ tallies }: House, view: TaskView): TaskView {
  const tally = tallies.get(view.id as TaskId);
  return tally && view.state === 'RUNNING' ? { ...view, progress: tallyView(tally) } : view;
}

function listed(house: House, { states, labels, limit, offset }: TaskQuery) {
  const wanted = new Set(states.map((state) => state.toUpperCase()));
  const matching = (house.fleet.views('task') as TaskView[])
    .filter(({ state }) => wanted.size === 0 || wanted.has(state))
    .filter((task) => Object.entries(labels).every(([name, value]) => task.labels[name] === value))
    .sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
  return {
    tasks: matching.slice(offset, offset + limit).map((view) => told(house, view)),
    total: matching.length,
  };
}

/** The manifest's own, and the server's where it says nothing; null where nothing is counted. */
function budgetOf(house: House, manifest: Manifest): Budget | null {
  if (providersOf(house, manifest).length === 0) return null;
  const { budget } = house.config.credentials.models;
  const tokens = manifest.budget?.tokens ?? budget.tokens;
  const usd = manifest.budget?.usd ?? budget.usd;
  return tokens === null && usd === null ? null : { tokens, usd };
}

interface Submitted {
  readonly by: string;
  readonly retryOf: TaskId | null;
}

/** Durable when it resolves. Throws Failure('already-exists') when the manifest names an id that is taken. */
async function submit(house: House, manifest: Manifest, { by, retryOf }: Submitted): Promise<TaskId> {
  const { fleet, clock } = house;
  const id = (manifest.metadata.id ?? newId()) as TaskId;
  const { agent, lifecycle, repository, metadata } = manifest;
  const at = clock.now();
  const input: TaskInput = {
    id,
    name: metadata.name,
    labels: metadata.labels,
    tool: agent.tool,
    mode: agent.mode,
    model: agent.model,
    prompt: agent.prompt ?? [agent.command, ...agent.args].join(' '),
    repository: repository && {
      url: repository.url,
      branch: repository.branch,
      commit: repository.commit,
      subpath: repository.subpath,
    },
    timeoutMs: durationMs(lifecycle.timeout) ?? 86_400_000,
    retries: lifecycle.retries,
    backoffMs: durationMs(lifecycle.retry_backoff) ?? 5_000,
    preserve: lifecycle.failure_action === 'preserve',
    manifest,
    retryOf,
    by,
    createdAt: at,
    budget: budgetOf(house, manifest),
  };
  const spec: ChildSpec = {
    id: `task:${id}`,
    kind: 'task',
    input,
    restart: 'on-failure',
    graceMs: 10_000,
    parent: null,
  };
  await fleet.remind([spec.id]);
  if (fleet.view(spec.id) !== null) {
    throw new Failure(
      'already-exists',
      `there is a task "${id}" already; leave metadata.id empty to get a new one`,
      {
        faults: [{ path: 'metadata.id', message: 'is taken; leave it empty to get a new one' }],
      },
    );
  }
  await fleet.start(spec, at);
  return id;
}
