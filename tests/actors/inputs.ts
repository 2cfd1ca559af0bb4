/** One honest input for each machine. */
import type { AgentInput } from '../../src/actors/agent.ts';
import type { HitlInput } from '../../src/actors/hitl.ts';
import type { InstanceInput } from '../../src/actors/instance.ts';
import type { SessionInput } from '../../src/actors/session.ts';
import type { TaskInput } from '../../src/actors/task-ports.ts';
import type { AgentId, HitlId, SessionId, TaskId } from '../../src/ids.ts';

export const hitlInput: HitlInput = {
  id: 'h1' as HitlId,
  agent: 'local' as AgentId,
  session: 's1' as SessionId,
  task: 't1' as TaskId,
  source: 'screen',
  kind: 'choice',
  prompt: 'Do you want to proceed?',
  context: 'Bash command: ls',
  options: [
    { id: '1', label: 'Yes', keys: '1' },
    { id: '2', label: 'No', keys: '2' },
  ],
  submit: '\r',
  confidence: 0.99,
  fingerprint: 'f1',
  askedAt: 100,
  expiresAt: 60_000,
};

export const sessionInput: SessionInput = {
  id: 's1' as SessionId,
  agent: 'local' as AgentId,
  task: 't1' as TaskId,
  name: 'main',
  type: 'interactive',
  command: 'bash',
  args: [],
  workingDir: '',
  env: {},
  cols: 80,
  rows: 24,
  timeoutSeconds: 0,
  stdin: 'open',
  createdAt: 100,
};

export const agentInput: AgentInput = {
  id: 'local' as AgentId,
  instanceId: 'i1',
  runtime: 'host',
  loadout: null,
  profile: null,
  createdAt: 100,
};

export const agentFacts = {
  instanceId: 'i1',
  hostname: 'box',
  ipAddress: '',
  profile: null,
  loadout: null,
  system: null,
  frameworks: [],
  features: ['offsets'],
};

export const instanceInput: InstanceInput = {
  spec: { name: 'local', instanceId: 'i1', runtime: 'host' },
  start: true,
  task: null,
  createdAt: 100,
  graceMs: 1_000,
  crashes: { max: 2, withinMs: 60_000, backoffMs: [0, 500] },
};

export const handle = { version: 1, runtime: 'host', name: 'local' } as const;

export const taskInput: TaskInput = {
  id: 't1' as TaskId,
  name: 'say hello',
  labels: { team: 'core' },
  tool: 'command',
  mode: 'headless',
  model: null,
  prompt: '',
  repository: null,
  timeoutMs: 60_000,
  retries: 1,
  backoffMs: 1_000,
  preserve: false,
  manifest: { kind: 'Task' },
  retryOf: null,
  by: 'ada',
  createdAt: 100,
};

export const staged = { workDir: '/work', baseCommit: 'abc' };
export const place = { agent: 'local' as AgentId, made: false };
export const run = { session: sessionInput, launch: {} };
export const tally = {
  outputBytes: 5,
  toolCalls: 1,
  currentTool: null,
  inputTokens: 10,
  outputTokens: 2,
  costUsd: 0.01,
  turns: 1,
  lastActivityAt: 900,
};
export const collected = { failure: null, exitCode: 0, summary: 'done', tally };
