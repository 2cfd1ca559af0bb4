/**
 * A task's words: what it is given, what it keeps, what happens to it, and the ports it needs filled.
 */
import type { FailureInfo } from '../failure.ts';
import type { AgentId, HitlId, TaskId } from '../ids.ts';
import type { Budget } from '../spending.ts';
import type { TaskView } from '../views.ts';
import type { AlarmInput, AlarmRang } from './alarm.ts';
import { callbackPort, promisePort, type Told } from './port.ts';
import type { SessionInput } from './session.ts';
import type { BudgetChanged, BudgetExceeded, ModelUsed, Spending } from './spending.ts';

export interface TaskInput {
  readonly id: TaskId;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly tool: string;
  readonly mode: 'interactive' | 'headless';
  readonly model: string | null;
  readonly prompt: string;
  readonly repository: TaskView['repository'];
  /** From the moment the tool starts. */
  readonly timeoutMs: number;
  readonly retries: number;
  readonly backoffMs: number;
  /** Keep the instance of a task that failed. */
  readonly preserve: boolean;
  /** As `readManifest` gave it: plain JSON, secrets as references. */
  readonly manifest: object;
  readonly retryOf: TaskId | null;
  readonly by: string;
  readonly createdAt: number;
  /** Absent or null: it may use as much as it likes. */
  readonly budget?: Budget | null;
}

export interface Staged {
  /** Where the tool works, on this host. */
  readonly workDir: string;
  readonly baseCommit: string | null;
}

/** Where it runs. `made`: the instance was made for this task. */
export interface Place {
  readonly agent: AgentId;
  readonly made: boolean;
}

/** What is started, and what whoever follows it must know. `launch` is the tool's own, plain JSON. */
export interface Run {
  readonly session: SessionInput;
  readonly launch: object;
}

export interface Tally {
  readonly outputBytes: number;
  readonly toolCalls: number;
  readonly currentTool: string | null;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly costUsd: number | null;
  readonly turns: number;
  readonly lastActivityAt: number | null;
}

export interface Collected {
  readonly failure: FailureInfo | null;
  readonly exitCode: number | null;
  readonly summary: string | null;
  readonly tally: Tally;
}

export type Verdict = 'completed' | 'failed' | 'cancelled';

export interface TaskContext extends TaskInput {
  readonly attempt: number;
  readonly notBefore: number;
  readonly startedAt: number | null;
  readonly changedAt: number;
  readonly endedAt: number | null;
  readonly deadlineAt: number | null;
  readonly staged: Staged | null;
  readonly place: Place | null;
  readonly run: Run | null;
  readonly hitl: HitlId | null;
  readonly verdict: Verdict | null;
  readonly failure: FailureInfo | null;
  readonly exitCode: number | null;
  readonly summary: string | null;
  readonly tally: Tally;
  /** Over all attempts. Absent until a model was used through the gateway. */
  readonly spending?: Spending;
}

export type TaskEvent =
  | (Told & { readonly type: 'cancel'; readonly reason: string })
  | (Told & {
      readonly type: 'session.ended';
      readonly exitCode: number | null;
      readonly reason: string | null;
    })
  | (Told & { readonly type: 'child.failed'; readonly message: string })
  | (Told & { readonly type: 'question.opened'; readonly hitl: HitlId })
  | (Told & { readonly type: 'question.closed'; readonly hitl: HitlId })
  | TaskHung
  | ModelUsed
  | BudgetExceeded
  | BudgetChanged
  | AlarmRang;

/** No output and no progress for longer than the manifest allows. */
export interface TaskHung extends Told {
  readonly type: 'task.hung';
  readonly message: string;
  readonly fatal: boolean;
}

export interface OfTask {
  readonly task: TaskId;
  readonly attempt: number;
  readonly manifest: object;
}

export const taskPorts = {
  alarm: callbackPort<AlarmRang, AlarmInput>('alarm'),
  stage: promisePort<Staged, OfTask>('stage'),
  /** Reserves a free agent, or makes an instance. */
  acquire: promisePort<Place, OfTask>('acquire'),
  /** Writes what the tool needs and says what to start. */
  prepare: promisePort<Run, OfTask & { readonly staged: Staged; readonly place: Place }>('prepare'),
  /** Reads what the tool tells, ends it when it rests, and sees when it hangs. */
  follow: callbackPort<TaskHung, OfTask & { readonly run: Run }>('follow'),
  /** Ends the session if it still runs, judges the outcome and collects what was made. */
  collect: promisePort<Collected, OfTask & Collecting>('collect'),
  /** Releases, destroys or keeps the instance. */
  windUp: promisePort<
    void,
    OfTask & { readonly place: Place | null; readonly run: Run | null; readonly keep: boolean }
  >('windUp'),
};

export interface Collecting {
  readonly staged: Staged;
  readonly run: Run;
  readonly exitCode: number | null;
  /** Already settled before the session ended: a timeout, a hang, a cancel. */
  readonly failure: FailureInfo | null;
}

export const noTally: Tally = {
  outputBytes: 0,
  toolCalls: 0,
  currentTool: null,
  inputTokens: 0,
  outputTokens: 0,
  costUsd: null,
  turns: 0,
  lastActivityAt: null,
};
