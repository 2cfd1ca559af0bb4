/**
 * What the outside sees of each noun: the JSON of REST, SSE and the dashboard.
 *
 * Each machine has one view function that returns one of these. Names are the wire's
 * (snake_case); instants are RFC 3339 unless the name ends in `_ms`.
 */
import type { FailureInfo } from './failure.ts';
import type { RuntimeKind } from './runtime.ts';
import type { QuestionKind } from './terminal.ts';
import type { BudgetView, UsageView } from './views-usage.ts';
import type { WallsView } from './views-walls.ts';

export interface InstanceView {
  name: string;
  instance_id: string;
  runtime: RuntimeKind;
  state:
    | 'provisioning'
    | 'stopped'
    | 'starting'
    | 'running'
    | 'stopping'
    | 'failed'
    | 'crash-looping'
    | 'destroying'
    | 'destroyed';
  /** Why it is in this state, when that is not obvious; else null. */
  reason: string | null;
  failure: FailureInfo | null;
  created_at: string;
  state_changed_at: string;
  loadout: string | null;
  profile: string | null;
  labels: Record<string, string>;
  working_dir: string | null;
  /** Unplanned exits inside the crash window. */
  crashes: number;
  restarts_total: number;
  /** The task that had it made, if one did. */
  task_id: string | null;
  /** What it uses of Agentshare; null until it was measured. */
  storage: StorageUseView | null;
  /** What confines it, as it is really set; null until it is made, and where nothing does. */
  walls: WallsView | null;
}

export interface StorageUseView {
  used_bytes: number;
  /** Null: no limit. */
  limit_bytes: number | null;
  /** Who refuses what is more: the file system, or only the routes, so that an instance can write on. */
  enforced_by: 'file-system' | 'routes' | 'nobody';
  /** Nearly used up. */
  high: boolean;
  /** Not everything was looked at: there is at least so much. */
  at_least: boolean;
  measured_at: string;
}

export interface StorageEntryView {
  /** What is not UTF-8 in it shows as U+FFFD. */
  name: string;
  /** From the root of the area. */
  path: string;
  /** The same, percent-encoded by its bytes: names it whatever they are. */
  raw_path: string;
  kind: 'file' | 'dir' | 'link' | 'other';
  size_bytes: number;
  /** Four octal digits. */
  mode: string;
  modified: string;
  /** Names that the file has; with more than one it is not handed out. */
  links: number;
  /** What a link says; nothing follows it. */
  target: string | null;
}

/** What an instance that is not there any more has left. */
export interface KeptStorageView {
  instance_id: string;
  /** As it was called. */
  name: string;
  created_at: string;
  storage: StorageUseView | null;
}

/** How an agent proved who it is, on the link that it has now. */
export interface ProofView {
  kind: 'certificate' | 'peer-credentials' | 'secret';
  /** Of the certificate: upper-case hex, and when it ends; else null. */
  serial: string | null;
  not_after: string | null;
}

export interface AgentView {
  id: string;
  instance_id: string;
  hostname: string;
  ip_address: string;
  profile: string | null;
  loadout: string | null;
  /** The reference's words: Starting, Provisioning, Ready, Busy, Stale, Disconnected, ShuttingDown. */
  status: string;
  state: 'awaited' | 'provisioning' | 'ready' | 'busy' | 'stale' | 'disconnected' | 'gone';
  setup_status: string | null;
  setup_progress_json: string | null;
  /** Unix ms; null before the first connection. */
  connected_at: number | null;
  last_heartbeat: number | null;
  metrics: {
    cpu_percent: number;
    memory_used_bytes: number;
    memory_total_bytes: number;
    disk_used_bytes: number;
    disk_total_bytes: number;
    load_avg: number[];
    uptime_seconds: number;
  } | null;
  system_info: {
    os: string;
    kernel: string;
    cpu_cores: number;
    memory_bytes: number;
    disk_bytes: number;
  } | null;
  aiwg_frameworks: { name: string; providers: string[] }[];
  runtime: RuntimeKind | null;
  task_id: string | null;
  sessions: number;
  /** Null: it is not connected. */
  proof: ProofView | null;
}

export interface SessionView {
  session_id: string;
  agent_id: string;
  session_name: string;
  session_type: 'interactive' | 'headless' | 'background';
  state: 'starting' | 'live' | 'detached' | 'exited' | 'killed' | 'lost';
  reason: string | null;
  command: string;
  args: string[];
  working_dir: string;
  cols: number;
  rows: number;
  created_at: string;
  ended_at: string | null;
  exit_code: number | null;
  task_id: string | null;
  /** The open question of this session, if there is one. */
  hitl_id: string | null;
  output_bytes: number;
  has_screen: boolean;
  /** Its recording was removed: what it said cannot be read any more. */
  recording_removed: RecordingRemovedView | null;
  controller: string | null;
  observers: string[];
  screen_url: string;
  /** Binary WebSocket, `?role=observer|controller&from=<offset>`. */
  attach_url: string;
  orchestrate_url: string;
}

export type TaskState =
  | 'PENDING'
  | 'STAGING'
  | 'PROVISIONING'
  | 'READY'
  | 'RUNNING'
  | 'COMPLETING'
  | 'COMPLETED'
  | 'FAILED'
  | 'FAILED_PRESERVED'
  | 'CANCELLED';

export interface TaskView {
  id: string;
  name: string;
  state: TaskState;
  state_message: string;
  /** True while RUNNING and a human is asked. */
  waiting_for_human: boolean;
  labels: Record<string, string>;
  tool: string;
  mode: 'interactive' | 'headless';
  model: string | null;
  prompt: string;
  repository: { url: string; branch: string | null; commit: string | null; subpath: string | null } | null;
  created_at: string;
  started_at: string | null;
  state_changed_at: string;
  ended_at: string | null;
  deadline_at: string | null;
  agent_id: string | null;
  session_id: string | null;
  hitl_id: string | null;
  /** The reference's names for agent and address. */
  vm_name: string | null;
  vm_ip: string | null;
  attempt: number;
  /** The task that this one tries again. */
  retry_of: string | null;
  exit_code: number | null;
  error: string | null;
  failure: FailureInfo | null;
  /** The tool's own closing words, when it gives some. */
  summary: string | null;
  progress: {
    output_bytes: number;
    tool_calls: number;
    current_tool: string | null;
    last_activity_at: string | null;
    input_tokens: number;
    output_tokens: number;
    cost_usd: number | null;
    turns: number;
  };
  /** What it used of models through the gateway, over all attempts; null: nothing. */
  usage: UsageView | null;
  /** Null: it may use as much as it likes. */
  budget: BudgetView | null;
}

export interface HitlView {
  hitl_id: string;
  agent_id: string;
  session_id: string;
  task_id: string | null;
  state: 'open' | 'answering' | 'answered' | 'undeliverable' | 'expired' | 'withdrawn' | 'superseded';
  kind: QuestionKind;
  source: 'screen' | 'api' | 'tool';
  prompt: string;
  context: string;
  options: { id: string; label: string }[];
  confidence: number;
  created_at_ms: number;
  expires_at_ms: number | null;
  ended_at_ms: number | null;
  /** `text` is null when an option was chosen or the answer is a secret. */
  answer: { option: string | null; text: string | null; by: string; at_ms: number } | null;
  failure: FailureInfo | null;
}

export interface ArtifactView {
  /** The path below the outbox, with `/`; unique in the task. */
  name: string;
  size_bytes: number;
  content_type: string;
  /** `sha256:` and 64 hex digits. */
  checksum: string;
}

/** One entry of the feed, as SSE sends it. `id` resumes with `Last-Event-ID`. */
export interface EventView {
  id: number;
  /** The actor, e.g. `task:0192…`. */
  actor: string;
  kind: string;
  /** e.g. `task.state_changed`, `hitl.opened`, `agent.connected`. */
  event_type: string;
  timestamp: string;
  /** The actor's view: after the event when told live, its newest when read from the past. */
  data: unknown;
}

/** An actor of any kind. */
export interface ActorView {
  /** `<kind>:<id>`. */
  readonly id: string;
  readonly kind: string;
  readonly parent: string | null;
  readonly restart: string;
  /** The machine's state value. */
  readonly state: unknown;
  readonly version: number;
  readonly seq: number;
  readonly live: boolean;
  /** It ended long ago and lies in the archive. */
  readonly archived: boolean;
  /** What it waits for. */
  readonly ports: readonly string[];
  /** As the route of its kind shows it; null when it is not in memory any more. */
  readonly view: unknown;
}

export interface ActorWholeView extends ActorView {
  readonly spec: unknown;
  readonly snapshot: unknown;
  readonly children: readonly string[];
}

export interface ActorEntryView {
  readonly seq: number;
  readonly cursor: number;
  readonly timestamp: string;
  readonly type: string;
  readonly event: unknown;
}

export interface ActorStateView {
  readonly id: string;
  readonly entry: ActorEntryView;
  readonly seq: number;
  readonly live: boolean;
  readonly value: unknown;
  readonly context: unknown;
  readonly ports: unknown;
  readonly view: unknown;
}

export interface ActorChangesView {
  readonly id: string;
  readonly from: number;
  readonly to: number;
  /** The one that `to` names. */
  readonly entry: ActorEntryView;
  readonly changes: readonly { readonly path: string; readonly from: unknown; readonly to: unknown }[];
}

export interface IdentityView {
  trust_domain: string;
  authority: { kind: string; available: boolean; reasons: readonly string[] };
  /** What agents pin. */
  ca_pem: string;
  grpc_tls: string | null;
  enrol_url: string | null;
  vsock: { available: boolean; cid: number | null; reasons: readonly string[] };
}

export interface BootstrapView {
  token: string;
  spiffe_id: string;
  expires_at: string;
  enrol_url: string;
  grpc_tls: string | null;
  ca_pem: string;
}

export interface RevokedView {
  revoked_at: string;
  certificates: number;
  tokens: number;
  connections: number;
}

export interface RecordingRemovedView {
  at: string;
  by: string;
  reason: string;
}
