/**
 * Tasks: the effects of their machine. What staging, tools and artifacts do is in `tasks/` and
 * `agent/tools/`.
 */
import { join } from 'node:path';
import { locateTool } from '../../agent/tools/locate.ts';
import type { ToolLaunch } from '../../agent/tools/tool.ts';
import { alarm } from '../actors/alarm.ts';
import type { EffectScope, EffectsOf } from '../actors/port.ts';
import type { SessionInput } from '../actors/session.ts';
import type { Collected, Collecting, OfTask, Place, Run, Staged, taskPorts } from '../actors/task-ports.ts';
import { Failure, type FailureInfo, toFailureInfo } from '../failure.ts';
import { type AgentId, newId, type SessionId } from '../ids.ts';
import { collectArtifacts } from '../tasks/artifacts.ts';
import { attemptDir, taskDirs, taskEnv } from '../tasks/dirs.ts';
import type { Manifest } from '../tasks/manifest.ts';
import { stage } from '../tasks/staging.ts';
import type { SessionView } from '../views.ts';
import { hideTask, showTask } from './agentshare.ts';
import { filled, lodgerOf, modelEnv, personsEnv, providersOf, secretsOf } from './credentials.ts';
import { follow, type KeptLaunch, keptLaunch, listener, toolOf } from './follow.ts';
import { type House, taskOf } from './house.ts';
import { handleOf } from './instances.ts';
import { hasOwnFiles, lendTask, seenFrom, takeTaskBack } from './lending.ts';
import { acquire, giveBack } from './places.ts';
import { type ExtrasFor, endSession } from './sessions.ts';

/** How long a tool that is told to stop may take before it is killed. */
const STOP_GRACE_MS = 5_000;

export function taskEffects(house: House): EffectsOf<typeof taskPorts> {
  return {
    alarm: alarm(house.clock),
    stage: (input, scope) => staged(house, input, scope),
    acquire: acquire(house),
    prepare: (input) => prepare(house, input),
    follow: follow(house),
    collect: (input, scope) => collected(house, input, scope),
    async windUp({ task, place, run, keep }, scope) {
      if (place) await hideTask(house, task, place);
      const ending = { graceMs: STOP_GRACE_MS, reason: 'its task is over' };
      // An agent that is away ends it when it comes back; what else the task holds is released all the same.
      if (run) await endSession(house, run.session.id, ending).catch(toFailureInfo);
      if (place) {
        const dirs = taskDirs(house.config.agentshare.root, task);
        // An engine that is away keeps them; they come back when the instance is destroyed.
        await takeTaskBack(house, place.agent, dirs).catch((thrown) => {
          house.log.warn('directories of a task not taken back', { task, why: String(thrown) });
        });
      }
      await giveBack(house, { task, place, keep }, scope);
    },
  };
}

async function staged(
  house: House,
  { task, attempt, manifest }: OfTask,
  { signal }: EffectScope,
): Promise<Staged> {
  const { config, clock, log } = house;
  const dirs = taskDirs(config.agentshare.root, task);
  const work = await stage({
    manifest: manifest as Manifest,
    attempt,
    dirs,
    env: config.env,
    resolve: house.credentials.resolve,
    clock,
    signal,
    log: log.with({ task }),
  });
  return { workDir: work.workDir, baseCommit: work.baseCommit };
}

type Preparing = OfTask & { readonly staged: Staged; readonly place: Place };

async function prepare(house: House, input: Preparing): Promise<Run> {
  const launch = await launchOf(house, input, newId<SessionId>());
  const dirs = taskDirs(house.config.agentshare.root, input.task);
  await lendTask(house, input.place.agent, {
    dirs,
    home: homeOf(house, input.place),
    files: launch.tool.files,
  });
  await showTask(house, input, input.place);
  const kept: KeptLaunch = { follow: launch.tool.follow, stdin: launch.tool.stdin };
  return { session: launch.session, launch: kept };
}

interface Launched {
  readonly tool: ToolLaunch;
  readonly session: SessionInput;
}

async function launchOf(house: House, input: Preparing, id: SessionId): Promise<Launched> {
  const { config, clock } = house;
  const manifest = input.manifest as Manifest;
  const { agent: wish } = manifest;
  const dirs = taskDirs(config.agentshare.root, input.task);
  const secrets = await secretsOf(house, manifest);
  // What is given at the launch is not remembered.
  const unkept = new Set([...Object.keys(secrets.env), ...filled(providersOf(house, manifest))]);
  const about = taskEnv(dirs, { id: input.task, attempt: input.attempt });
  const tool = toolOf(manifest).launch({
    wish,
    program: programOf(house, wish.tool, input.place),
    workDir: input.staged.workDir,
    home: homeOf(house, input.place),
    control: attemptDir(dirs, input.attempt),
    conversation: newId(),
    resume: null,
    env: { ...about, ...secrets.env },
  });
  const session: SessionInput = {
    id,
    agent: input.place.agent,
    task: input.task,
    name: `task-${input.task}-${input.attempt}`,
    type: tool.pty ? 'interactive' : 'headless',
    command: tool.command,
    args: tool.args,
    workingDir: input.staged.workDir,
    env: Object.fromEntries(Object.entries(tool.env).filter(([name]) => !unkept.has(name))),
    cols: 120,
    rows: 40,
    timeoutSeconds: 0,
    stdin: 'closed',
    createdAt: clock.now(),
  };
  return { tool, session };
}

/** By its name alone in an instance with files of its own: its image has it. */
function programOf(house: House, name: string, { agent }: Place): string {
  if (name === 'command') return '';
  if (hasOwnFiles(house, agent)) return name;
  const located = locateTool(name, { env: house.config.env });
  if (!located.found) throw new Failure('not-found', located.reason);
  return located.program;
}

/** HOME as the instance sees it. */
function homeOf(house: House, { agent }: Place): string {
  const home = handleOf(house, agent)?.['home'];
  return typeof home === 'string' ? home : join(house.config.dataDir, 'instances', agent, 'home');
}

/** What a session gets at its launch: secrets, a way to models, and for a task what is typed to its tool. */
export const launchExtras =
  (house: House): ExtrasFor =>
  async (session) => {
    const { id, agent, task } = session;
    if (task === null) return { env: await personsEnv(house, session), stdin: null };
    const context = taskOf(house, task);
    if (!context?.run) return null;
    const manifest = context.manifest as Manifest;
    const { env, files } = await secretsOf(house, manifest);
    const calling = {
      providers: providersOf(house, manifest),
      isClaude: manifest.agent.tool === 'claude',
    };
    return {
      env: {
        ...env,
        ...(await house.credentials.files.put(id, files, lodgerOf(house, agent, files))),
        ...(await modelEnv(house, { session: id, agent, task }, calling)),
      },
      stdin: keptLaunch(context.run).stdin,
    };
  };

/** Why a session has no exit code, in brackets; nothing when it has one. */
function whyLost({ fleet }: House, session: string): string {
  const ended = fleet.view(`session:${session}`) as SessionView | null;
  return ended?.state === 'lost' && ended.reason !== null ? ` (${ended.reason})` : '';
}

/** Takes its secrets out of what a tool said, as far as they can still be read. */
async function veiled(house: House, manifest: Manifest): Promise<(text: string) => string> {
  await secretsOf(house, manifest).catch(() => {});
  return house.credentials.hide;
}

async function collected(house: House, input: OfTask & Collecting, scope: EffectScope): Promise<Collected> {
  const { session } = input.run;
  const manifest = input.manifest as Manifest;
  await endSession(house, session.id, {
    graceMs: STOP_GRACE_MS,
    reason: input.failure?.message ?? 'its task is over',
  });
  const tool = toolOf(manifest);
  const { follow: following } = keptLaunch(input.run);
  const { agent } = session;
  const ears = listener(tool, seenFrom(house, agent as AgentId, following));
  const terminal = house.terminals.find(session.id) ?? (await house.terminals.recall(session.id));
  await ears.catchUp(terminal);
  // Told twice, because the first reading may have told where else to read.
  await ears.catchUp(terminal);
  const progress = ears.progress();
  const rested = following.done === 'idle' && progress.resting;
  const outcome = tool.outcome(rested ? 0 : input.exitCode, progress);
  const last = house.tallies.get(input.task)?.lastActivityAt ?? null;
  house.tallies.delete(input.task);
  const dirs = taskDirs(house.config.agentshare.root, input.task);
  await takeTaskBack(house, agent as AgentId, dirs);
  await collectArtifacts({
    dirs,
    staged: input.staged,
    patterns: manifest.lifecycle.artifact_patterns,
    summary: outcome.summary,
    env: house.config.env,
    clock: house.clock,
    signal: scope.signal,
    log: house.log.with({ task: input.task }),
  });
  const hide = await veiled(house, manifest);
  const failure: FailureInfo | null = outcome.ok
    ? null
    : { code: 'runtime-failed', message: `${hide(outcome.reason)}${whyLost(house, session.id)}` };
  return {
    failure,
    exitCode: rested ? 0 : input.exitCode,
    summary: outcome.summary === null ? null : hide(outcome.summary),
    tally: ears.tally(last),
  };
}
