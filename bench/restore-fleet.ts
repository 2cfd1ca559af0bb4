/**
 * A fleet as a busy house has it: running instances, their agents, a session each, and on some of them a task
 * at work or an open question. Real machines, views and inputs; the world behind the ports only says yes.
 */
import type { AgentFacts } from '../src/actors/agent.ts';
import type { ChildSpec } from '../src/actors/port.ts';
import type { SessionInput } from '../src/actors/session.ts';
import type { ActorKind } from '../src/journal.ts';
import { readManifest } from '../src/tasks/manifest.ts';

/** Of so many agents one has a task at work, and one a question. */
const TASK_EVERY = 10;
const QUESTION_EVERY = 20;
const QUESTION_AT = 5;
export const createdAt = Date.UTC(2026, 0, 1);

export const nameOf = (i: number) => `agent-${String(i).padStart(6, '0')}`;
const idOf = (what: number, i: number) => `01970000-000${what}-7000-8000-${i.toString(16).padStart(12, '0')}`;

const spec = (kind: ActorKind, id: string, more: { input: object; parent?: string }): ChildSpec => ({
  id: `${kind}:${id}`,
  kind,
  input: more.input,
  restart: kind === 'instance' ? 'always' : 'on-failure',
  graceMs: 5_000,
  parent: more.parent ?? null,
});

const instance = (i: number): ChildSpec =>
  spec('instance', nameOf(i), {
    input: {
      spec: { name: nameOf(i), instanceId: idOf(1, i), runtime: 'host', labels: { team: 'core' } },
      start: true,
      task: null,
      createdAt,
      graceMs: 5_000,
      crashes: { max: 5, withinMs: 600_000, backoffMs: [0, 1_000, 5_000, 30_000] },
      by: 'local admin',
    },
  });

const sessionInput = (i: number, agent: string, task: string | null) => ({
  id: idOf(2, i),
  agent,
  task,
  name: task === null ? 'main' : `task-${task}-1`,
  type: 'interactive',
  command: 'bash',
  args: ['-l'],
  workingDir: `/srv/agentic/instances/${agent}/work`,
  env: { LANG: 'C.UTF-8', EDITOR: 'vi' },
  cols: 80,
  rows: 24,
  timeoutSeconds: 0,
  stdin: 'open',
  createdAt,
});

const session = (i: number, agent: string, task: string | null): ChildSpec =>
  spec('session', idOf(2, i), { input: sessionInput(i, agent, task), parent: `agent:${agent}` });

/** The agent of a task, and the session that it starts. */
export function placeOf(task: string): { readonly agent: string; readonly session: SessionInput } {
  const i = Number.parseInt(task.slice(-12), 16);
  return { agent: nameOf(i), session: sessionInput(i, nameOf(i), task) as unknown as SessionInput };
}

const manifest = readManifest({
  version: '1',
  kind: 'Task',
  metadata: { name: 'mend the build', labels: { team: 'core' } },
  repository: { url: 'https://git.example.org/core/app.git', branch: 'main' },
  agent: { tool: 'command', command: 'make', args: ['check'] },
  lifecycle: { timeout: '2h', artifact_patterns: ['out/**'] },
});

const task = (i: number): ChildSpec =>
  spec('task', idOf(3, i), {
    input: {
      id: idOf(3, i),
      name: manifest.metadata.name,
      labels: manifest.metadata.labels,
      tool: 'command',
      mode: 'headless',
      model: null,
      prompt: 'make check',
      repository: {
        url: 'https://git.example.org/core/app.git',
        branch: 'main',
        commit: null,
        subpath: null,
      },
      timeoutMs: 7_200_000,
      retries: 0,
      backoffMs: 5_000,
      preserve: false,
      manifest,
      retryOf: null,
      by: 'local admin',
      createdAt,
    },
  });

const question = (i: number): ChildSpec =>
  spec('hitl', idOf(4, i), {
    input: {
      id: idOf(4, i),
      agent: nameOf(i),
      session: idOf(2, i),
      task: null,
      source: 'screen',
      kind: 'choice',
      prompt: 'Do you want to proceed?',
      context: 'Bash command\n\n  rm -rf build\n\nDo you want to proceed?\n❯ 1. Yes\n  2. No',
      options: [
        { id: '1', label: 'Yes', keys: '1' },
        { id: '2', label: 'No', keys: '2' },
      ],
      submit: '\r',
      confidence: 0.97,
      fingerprint: 'f1',
      askedAt: createdAt,
      expiresAt: null,
    },
    parent: `session:${idOf(2, i)}`,
  });

export interface Plan {
  /** What is started; the agent of each instance and the session of each task come by themselves. */
  readonly roots: readonly ChildSpec[];
  /** Those sessions. */
  readonly ofTasks: readonly ChildSpec[];
  readonly agents: readonly string[];
}

/** So many instances with one agent and one session each, and nothing else. */
export const idle = (agents: number): Plan => ({
  roots: Array.from({ length: agents }, (_, i) => [instance(i), session(i, nameOf(i), null)]).flat(),
  ofTasks: [],
  agents: Array.from({ length: agents }, (_, i) => nameOf(i)),
});

/** Exactly `count` actors, 3 at least. */
export function plan(count: number): Plan {
  const roots: ChildSpec[] = [];
  const ofTasks: ChildSpec[] = [];
  const agents: string[] = [];
  let left = count;
  for (let i = 0; left >= 3; i++) {
    agents.push(nameOf(i));
    roots.push(instance(i));
    left -= 3;
    if (i % TASK_EVERY === 0 && left > 0) {
      roots.push(task(i));
      ofTasks.push(session(i, nameOf(i), idOf(3, i)));
      left -= 1;
    } else roots.push(session(i, nameOf(i), null));
    if (i % QUESTION_EVERY === QUESTION_AT && left > 0) {
      roots.push(question(i));
      left -= 1;
    }
  }
  // The odd ones are further sessions of the first agent.
  for (let i = agents.length; left > 0; i++, left--) roots.push(session(i, nameOf(0), null));
  return { roots, ofTasks, agents };
}

export const facts = (agent: string): AgentFacts => ({
  instanceId: agent,
  hostname: 'build-7',
  ipAddress: '127.0.0.1',
  profile: null,
  loadout: null,
  system: { os: 'Linux', kernel: '6.12.0', cpuCores: 8, memoryBytes: 2 ** 34, diskBytes: 2 ** 39 },
  frameworks: [],
  features: ['offsets', 'started', 'stdin-acks', 'output-channel'],
});
