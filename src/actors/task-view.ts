/** What the outside sees of a task. */
import type { SnapshotFrom } from 'xstate';
import { rfc3339 } from '../clock.ts';
import { nothingSpent } from '../spending.ts';
import type { TaskState, TaskView } from '../views.ts';
import { budgetView, spentView } from './spending.ts';
import type { taskMachine } from './task.ts';
import type { Tally, TaskContext } from './task-ports.ts';

const words: Readonly<Record<string, readonly [TaskState, string]>> = {
  pending: ['PENDING', 'Waiting to start'],
  staging: ['STAGING', 'Cloning the repository and preparing the workspace'],
  provisioning: ['PROVISIONING', 'Finding or making an instance'],
  ready: ['READY', 'Instance ready, starting the tool'],
  running: ['RUNNING', 'The tool is at work'],
  completing: ['COMPLETING', 'Collecting artifacts'],
  'winding-up': ['COMPLETING', 'Releasing what was made'],
  judged: ['COMPLETING', 'Releasing what was made'],
  completed: ['COMPLETED', 'Task completed'],
  failed: ['FAILED', 'Task failed'],
  'failed-preserved': ['FAILED_PRESERVED', 'Task failed; its instance was kept'],
  cancelled: ['CANCELLED', 'Task cancelled'],
};

const instant = (ms: number | null): string | null => (ms === null ? null : rfc3339(ms));

export function tallyView(t: Tally): TaskView['progress'] {
  return {
    output_bytes: t.outputBytes,
    tool_calls: t.toolCalls,
    current_tool: t.currentTool,
    last_activity_at: instant(t.lastActivityAt),
    input_tokens: t.inputTokens,
    output_tokens: t.outputTokens,
    cost_usd: t.costUsd,
    turns: t.turns,
  };
}

function messageOf(state: string, waiting: boolean, c: TaskContext): string {
  if (waiting) return 'Waiting for an answer';
  if (state === 'pending' && c.attempt > 1) return `Waiting to try again (attempt ${c.attempt})`;
  const word = words[state]?.[1] ?? state;
  const ended = state === 'failed' || state === 'failed-preserved' || state === 'cancelled';
  return ended && c.failure ? `${word}: ${c.failure.message}` : word;
}

export function taskView({ value, context: c }: SnapshotFrom<typeof taskMachine>): TaskView {
  const state = typeof value === 'string' ? value : (Object.keys(value)[0] ?? 'pending');
  const waiting = typeof value !== 'string' && (value as { running?: string }).running === 'waiting';
  return {
    id: c.id,
    name: c.name,
    state: words[state]?.[0] ?? 'PENDING',
    state_message: messageOf(state, waiting, c),
    waiting_for_human: waiting,
    labels: { ...c.labels },
    tool: c.tool,
    mode: c.mode,
    model: c.model,
    prompt: c.prompt,
    repository: c.repository,
    created_at: rfc3339(c.createdAt),
    started_at: instant(c.startedAt),
    state_changed_at: rfc3339(c.changedAt),
    ended_at: instant(c.endedAt),
    deadline_at: instant(c.deadlineAt),
    agent_id: c.place?.agent ?? null,
    session_id: c.run?.session.id ?? null,
    hitl_id: c.hitl,
    vm_name: c.place?.agent ?? null,
    vm_ip: null,
    attempt: c.attempt,
    retry_of: c.retryOf,
    exit_code: c.exitCode,
    error: c.failure?.message ?? null,
    failure: c.failure,
    summary: c.summary,
    progress: tallyView(c.tally),
    usage: c.spending ? spentView(c.spending.total) : null,
    budget: budgetView(c.budget, c.spending?.total ?? nothingSpent),
  };
}
