/** The JSON of every view, for the OpenAPI document. The names are those of src/views.ts. */
import { type TSchema, t } from 'elysia';
import { auditOutcomes } from '../audit.ts';
import { integer } from './route.ts';
import { unenforced, walls } from './schemas-walls.ts';

const orNull = <S extends TSchema>(schema: S) => t.Union([schema, t.Null()]);
const text = t.String();
const instant = t.String({ format: 'date-time' });
const words = (names: readonly string[]) => t.String({ enum: [...names] });
const labels = t.Record(t.String(), t.String());

export const fault = t.Object({
  path: t.String({ description: 'dotted, as in lifecycle.timeout' }),
  message: text,
});
export const failure = t.Object({ code: text, message: text, faults: t.Optional(t.Array(fault)) });

export const problemSchema = t.Object({
  type: t.String({ format: 'uri' }),
  title: text,
  status: integer(),
  detail: text,
  code: t.String({ description: 'stable; programs may rely on it' }),
  instance: text,
  faults: t.Optional(t.Array(fault)),
});

export const storageUse = t.Object({
  used_bytes: integer(),
  limit_bytes: orNull(integer()),
  enforced_by: words(['file-system', 'routes', 'nobody']),
  high: t.Boolean(),
  at_least: t.Boolean({ description: 'not everything was looked at' }),
  measured_at: instant,
});

export const storageEntry = t.Object({
  name: text,
  path: t.String({ description: 'from the root of the area' }),
  raw_path: t.String({ description: 'the same, percent-encoded by its bytes' }),
  kind: words(['file', 'dir', 'link', 'other']),
  size_bytes: integer(),
  mode: text,
  modified: instant,
  links: integer(),
  target: orNull(text),
});

export const keptStorage = t.Object({
  instance_id: text,
  name: text,
  created_at: instant,
  storage: orNull(storageUse),
});

export const instance = t.Object({
  name: text,
  instance_id: text,
  runtime: words(['host', 'container', 'vm']),
  state: words([
    'provisioning',
    'stopped',
    'starting',
    'running',
    'stopping',
    'failed',
    'crash-looping',
    'destroying',
    'destroyed',
  ]),
  reason: orNull(text),
  failure: orNull(failure),
  created_at: instant,
  state_changed_at: instant,
  loadout: orNull(text),
  profile: orNull(text),
  labels,
  working_dir: orNull(text),
  crashes: integer(),
  restarts_total: integer(),
  task_id: orNull(text),
  storage: orNull(storageUse),
  walls: orNull(walls),
});

export const probe = t.Object({
  runtime: words(['host', 'container', 'vm']),
  available: t.Boolean(),
  isolation: words(['full-host-access', 'shared-kernel', 'hardware-virtualized']),
  reasons: t.Array(text),
  unenforced,
});

export const agent = t.Object({
  id: text,
  instance_id: text,
  hostname: text,
  ip_address: text,
  profile: orNull(text),
  loadout: orNull(text),
  status: words(['Starting', 'Provisioning', 'Ready', 'Busy', 'Stale', 'Disconnected', 'ShuttingDown']),
  state: words(['awaited', 'provisioning', 'ready', 'busy', 'stale', 'disconnected', 'gone']),
  setup_status: orNull(text),
  setup_progress_json: orNull(text),
  connected_at: orNull(integer({ description: 'Unix milliseconds' })),
  last_heartbeat: orNull(integer({ description: 'Unix milliseconds' })),
  metrics: orNull(
    t.Object({
      cpu_percent: t.Number(),
      memory_used_bytes: integer(),
      memory_total_bytes: integer(),
      disk_used_bytes: integer(),
      disk_total_bytes: integer(),
      load_avg: t.Array(t.Number()),
      uptime_seconds: integer(),
    }),
  ),
  system_info: orNull(
    t.Object({
      os: text,
      kernel: text,
      cpu_cores: integer(),
      memory_bytes: integer(),
      disk_bytes: integer(),
    }),
  ),
  aiwg_frameworks: t.Array(t.Object({ name: text, providers: t.Array(text) })),
  runtime: orNull(text),
  task_id: orNull(text),
  sessions: integer(),
  proof: orNull(
    t.Object(
      {
        kind: words(['certificate', 'peer-credentials', 'secret']),
        serial: orNull(t.String({ description: 'of the certificate, in upper-case hex' })),
        not_after: orNull(instant),
      },
      { description: 'how it proved who it is; null while it is not connected' },
    ),
  ),
});

export const recordingRemoved = t.Object({ at: instant, by: text, reason: text });
const gaps = t.Object({ count: integer(), bytes: integer({ description: 'that are missing' }) });

export const recording = t.Object({
  session_id: text,
  session_name: orNull(text),
  session_type: orNull(words(['interactive', 'headless', 'background'])),
  agent_id: orNull(text),
  task_id: orNull(text),
  command: orNull(text),
  args: orNull(t.Array(text)),
  live: t.Boolean({ description: 'it still grows' }),
  has_screen: t.Boolean(),
  cols: orNull(integer({ description: 'at its end' })),
  rows: orNull(integer()),
  size_bytes: integer({ description: 'on disk' }),
  output_bytes: orNull(integer({ description: 'null, like gaps: not counted yet; ask again' })),
  next_offset: integer({ description: 'after its last byte, counting what is missing' }),
  first_at: orNull(instant),
  last_at: orNull(instant),
  duration_ms: integer(),
  gaps: orNull(gaps),
  recording_url: text,
  screen_url: text,
  transcript_url: text,
  cast_url: text,
  text_url: text,
});

export const recordingMark = t.Object({
  kind: words(['resize', 'gap', 'end']),
  offset: integer(),
  at: instant,
  cols: t.Optional(integer()),
  rows: t.Optional(integer()),
  bytes: t.Optional(integer({ description: 'that are missing from the offset on' })),
  exit_code: t.Optional(orNull(integer())),
  reason: t.Optional(text),
});

export const foundLine = t.Object({
  session_id: text,
  session_name: orNull(text),
  agent_id: orNull(text),
  task_id: orNull(text),
  offset: integer({ description: 'of its first byte' }),
  at: instant,
  stream: text,
  text: t.String({ description: 'without colours and cursor movements' }),
  screen_url: t.String({ description: 'the screen with it' }),
});

export const session = t.Object({
  session_id: text,
  agent_id: text,
  session_name: text,
  session_type: words(['interactive', 'headless', 'background']),
  state: words(['starting', 'live', 'detached', 'exited', 'killed', 'lost']),
  reason: orNull(text),
  command: text,
  args: t.Array(text),
  working_dir: text,
  cols: integer(),
  rows: integer(),
  created_at: instant,
  ended_at: orNull(instant),
  exit_code: orNull(integer()),
  task_id: orNull(text),
  hitl_id: orNull(text),
  output_bytes: integer(),
  has_screen: t.Boolean(),
  recording_removed: orNull(recordingRemoved),
  controller: orNull(text),
  observers: t.Array(text),
  screen_url: text,
  attach_url: t.String({ description: 'binary WebSocket' }),
  orchestrate_url: t.String({ description: 'WebSocket of JSON screens' }),
});

export const screen = t.Object({
  session_id: text,
  rows: integer(),
  cols: integer(),
  text,
  cursor: t.Object({ row: integer(), col: integer(), visible: t.Boolean() }),
  alternate: t.Boolean(),
  title: text,
  scrollback_tail: t.Array(text),
  offset: integer({ description: 'everything below it is on the screen' }),
  at: orNull(t.String({ format: 'date-time', description: 'null: it is the present screen' })),
  gaps: t.Object({ count: integer(), bytes: integer({ description: 'missing before the offset' }) }),
  prompt_detected: t.Boolean(),
  prompt_text: orNull(text),
});

export const taskStates = [
  'PENDING',
  'STAGING',
  'PROVISIONING',
  'READY',
  'RUNNING',
  'COMPLETING',
  'COMPLETED',
  'FAILED',
  'FAILED_PRESERVED',
  'CANCELLED',
] as const;

const usageFields = {
  requests: integer(),
  input_tokens: integer(),
  output_tokens: integer(),
  cache_read_tokens: integer(),
  cache_write_tokens: integer(),
  total_tokens: integer(),
  cost_usd: orNull(t.Number({ description: 'of the requests whose model has a price' })),
  unpriced_requests: integer(),
};

const budget = t.Object({
  tokens: orNull(integer()),
  usd: orNull(t.Number()),
  tokens_left: orNull(integer()),
  usd_left: orNull(t.Number()),
});

export const usageReport = t.Object({
  total: t.Object(usageFields),
  days: t.Array(t.Object({ ...usageFields, day: text })),
  models: t.Array(t.Object({ ...usageFields, model: text })),
  agents: t.Array(
    t.Object({
      ...usageFields,
      agent_id: text,
      days: t.Array(t.Object({ ...usageFields, day: text, model: text })),
    }),
  ),
  tasks: t.Array(t.Object({ ...usageFields, task_id: text, name: text, budget: orNull(budget) })),
});

export const task = t.Object({
  id: text,
  name: text,
  state: words(taskStates),
  state_message: text,
  waiting_for_human: t.Boolean(),
  labels,
  tool: text,
  mode: words(['interactive', 'headless']),
  model: orNull(text),
  prompt: text,
  repository: orNull(
    t.Object({ url: text, branch: orNull(text), commit: orNull(text), subpath: orNull(text) }),
  ),
  created_at: instant,
  started_at: orNull(instant),
  state_changed_at: instant,
  ended_at: orNull(instant),
  deadline_at: orNull(instant),
  agent_id: orNull(text),
  session_id: orNull(text),
  hitl_id: orNull(text),
  vm_name: orNull(text),
  vm_ip: orNull(text),
  attempt: integer(),
  retry_of: orNull(text),
  exit_code: orNull(integer()),
  error: orNull(text),
  failure: orNull(failure),
  summary: orNull(text),
  progress: t.Object({
    output_bytes: integer(),
    tool_calls: integer(),
    current_tool: orNull(text),
    last_activity_at: orNull(instant),
    input_tokens: integer(),
    output_tokens: integer(),
    cost_usd: orNull(t.Number()),
    turns: integer(),
  }),
  usage: orNull(t.Object(usageFields)),
  budget: orNull(budget),
});

export const artifact = t.Object({
  name: text,
  size_bytes: integer(),
  content_type: text,
  checksum: t.String({ description: 'sha256: and 64 hex digits' }),
});

export const hitl = t.Object({
  hitl_id: text,
  agent_id: text,
  session_id: text,
  task_id: orNull(text),
  state: words(['open', 'answering', 'answered', 'undeliverable', 'expired', 'withdrawn', 'superseded']),
  kind: words(['confirm', 'choice', 'text', 'secret']),
  source: words(['screen', 'api', 'tool']),
  prompt: text,
  context: text,
  options: t.Array(t.Object({ id: text, label: text })),
  confidence: t.Number(),
  created_at_ms: integer(),
  expires_at_ms: orNull(integer()),
  ended_at_ms: orNull(integer()),
  answer: orNull(t.Object({ option: orNull(text), text: orNull(text), by: text, at_ms: integer() })),
  failure: orNull(failure),
});

export const event = t.Object({
  id: integer({ description: 'resumes with Last-Event-ID' }),
  actor: text,
  kind: words(['instance', 'agent', 'session', 'task', 'hitl']),
  event_type: text,
  timestamp: instant,
  data: t.Unknown({
    description: 'the view of the actor: after the event when told live, its newest when read from the past',
  }),
});

export const token = t.Object({
  id: text,
  name: text,
  role: words(['viewer', 'operator', 'admin']),
  created_at: instant,
  expires_at: orNull(instant),
});

export const auditRecord = t.Object({
  seq: integer(),
  at: instant,
  prev: text,
  door: words(['http', 'ws', 'grpc', 'identity', 'operators', 'audit']),
  caller: orNull(t.Object({ name: text, role: token.properties.role, via: text, id: orNull(text) })),
  from: orNull(text),
  proxied: t.Boolean(),
  method: text,
  route: orNull(text),
  params: labels,
  outcome: words(auditOutcomes),
  status: integer(),
  code: orNull(text),
  ms: t.Number(),
  hash: text,
});

export const auditPage = t.Object({
  records: t.Array(auditRecord),
  before: orNull(integer()),
  head: t.Object({ seq: integer(), hash: text }),
});
