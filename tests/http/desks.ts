/**
 * Desks of a house that keeps everything in memory and does what it is asked: enough to see what the doors
 * do. The terminals are the real ones, on a directory of their own.
 */
import type {
  AgentDesk,
  EventDesk,
  ExecDesk,
  ExecPart,
  HealthDesk,
  HitlDesk,
  IdentityDesk,
  InstanceDesk,
  NewSession,
  SessionDesk,
  TaskDesk,
  TaskLog,
} from '../../src/desk.ts';
import { Failure } from '../../src/failure.ts';
import type { SessionId } from '../../src/ids.ts';
import type { DataPlane } from '../../src/terminal/terminals.ts';
import type { EventView, HitlView, InstanceView, SessionView, TaskView } from '../../src/views.ts';
import { agentView, hitlView, instanceView, sessionView, taskView } from './views.ts';

/** What a desk was asked to do, in order, as words. */
export type Calls = string[];

const found = <T>(thing: T | undefined, what: string): T => {
  if (thing === undefined) throw new Failure('not-found', `there is no ${what}`);
  return thing;
};

export function instanceDesk(calls: Calls): InstanceDesk {
  const kept = new Map<string, InstanceView>([['local', instanceView()]]);
  const turn = async (name: string, state: InstanceView['state'], call: string): Promise<InstanceView> => {
    calls.push(call);
    const changed = { ...found(kept.get(name), `instance "${name}"`), state };
    kept.set(name, changed);
    return changed;
  };
  return {
    list: () => [...kept.values()],
    find: (name) => kept.get(name) ?? null,
    async create({ name, runtime, labels = {}, start = true }, by) {
      calls.push(`create ${name} ${runtime} start=${start} by ${by}`);
      if (runtime !== 'host') throw new Failure('not-implemented', `no ${runtime}: there is no /dev/kvm`);
      if (kept.has(name)) throw new Failure('already-exists', `there is an instance "${name}"`);
      const made = instanceView({ name, runtime, labels: { ...labels }, state: 'provisioning' });
      kept.set(name, made);
      return made;
    },
    start: (name, by) => turn(name, 'starting', `start ${name} by ${by}`),
    stop: (name, graceMs, by) => turn(name, 'stopping', `stop ${name} ${graceMs} by ${by}`),
    restart: (name, graceMs, by) => turn(name, 'stopping', `restart ${name} ${graceMs} by ${by}`),
    reprovision: (name, by) => turn(name, 'provisioning', `reprovision ${name} by ${by}`),
    reset: (name, by) => turn(name, 'stopped', `reset ${name} by ${by}`),
    destroy: (name, by) => turn(name, 'destroying', `destroy ${name} by ${by}`),
    async usage(name) {
      found(kept.get(name), `instance "${name}"`);
      return { measured_at: '2026-11-26T10:00:00.000Z', cpu_percent: 3.5, memory_bytes: 4_096, processes: 2 };
    },
    probes: async () => [
      { runtime: 'host', available: true, isolation: 'full-host-access', reasons: [], unenforced: [] },
      {
        runtime: 'vm',
        available: false,
        isolation: 'hardware-virtualized',
        reasons: ['there is no /dev/kvm'],
        unenforced: [],
      },
    ],
  };
}

export const identityDesk = (calls: Calls): IdentityDesk => ({
  describe: async () => ({
    trust_domain: 'sandbox.local',
    authority: { kind: 'local', available: true, reasons: [] },
    ca_pem: 'PEM',
    grpc_tls: '127.0.0.1:8123',
    enrol_url: 'https://127.0.0.1:8124/api/v1/enrol',
    vsock: { available: false, cid: null, reasons: ['the kernel has no AF_VSOCK'] },
  }),
  async bootstrap(name, by) {
    calls.push(`bootstrap ${name} by ${by}`);
    return {
      token: 'asbt_x',
      spiffe_id: 'spiffe://sandbox.local/instance/x',
      expires_at: '2026-01-01T00:10:00.000Z',
      enrol_url: 'https://127.0.0.1:8124/api/v1/enrol',
      grpc_tls: '127.0.0.1:8123',
      ca_pem: 'PEM',
    };
  },
  async revoke(name, { by, reason }) {
    calls.push(`revoke ${name} by ${by}: ${reason}`);
    return { revoked_at: '2026-01-01T00:00:00.000Z', certificates: 1, tokens: 0, connections: 1 };
  },
});

export const agentDesk = (): AgentDesk => ({
  list: () => [agentView()],
  find: (id) => (id === 'local' ? agentView() : id === 'foreign' ? agentView({ id }) : null),
});

export interface Sessions extends SessionDesk {
  readonly plane: DataPlane;
  /** Bytes that were typed, by session. */
  readonly typed: Map<string, string>;
  add(id: string, given?: Partial<SessionView>): void;
  change(id: string, given: Partial<SessionView>): void;
  /** What its process says. */
  say(id: string, text: string | Uint8Array): void;
  end(id: string, exitCode: number): void;
}

export function sessionDesk(plane: DataPlane, calls: Calls): Sessions {
  const kept = new Map<string, SessionView>();
  const typed = new Map<string, string>();
  const there = (id: string): SessionView => found(kept.get(id), `session "${id}"`);
  const live = (id: string): SessionView => {
    const view = there(id);
    if (view.state !== 'live') throw new Failure('wrong-state', `session ${id} is ${view.state}, not live`);
    return view;
  };
  const open = (id: string) => {
    const { cols, rows } = there(id);
    return plane.open(id as SessionId, { cols, rows, pty: true });
  };
  return {
    plane,
    typed,
    add(id, given = {}) {
      kept.set(id, sessionView({ session_id: id, session_name: id, ...given }));
      open(id);
    },
    change(id, given) {
      kept.set(id, { ...there(id), ...given });
    },
    say: (id, text) => void open(id).output('stdout', Buffer.from(text as string), null),
    end(id, exitCode) {
      kept.set(id, { ...there(id), state: 'exited', exit_code: exitCode });
      open(id).ended(exitCode, 'it exited');
    },
    list: ({ agent, live: isLive }) =>
      [...kept.values()].filter(
        (view) => (!agent || view.agent_id === agent) && (!isLive || view.state === 'live'),
      ),
    find: (id) => kept.get(id) ?? null,
    async create(agent, { command, args, name, type, cols, rows }: NewSession, by) {
      calls.push(`session ${agent} ${command} ${cols}x${rows} by ${by}`);
      if (agent !== 'local') throw new Failure('not-found', `there is no agent "${agent}"`);
      if (command === 'nowhere') throw new Failure('runtime-failed', '"nowhere" was not started');
      const id = `made-${kept.size}`;
      this.add(id, { command, args: [...args], session_name: name ?? id, session_type: type, cols, rows });
      return there(id);
    },
    input(id, bytes) {
      live(id);
      typed.set(id, (typed.get(id) ?? '') + Buffer.from(bytes).toString('utf8'));
    },
    resize(id, { cols, rows }, by) {
      live(id);
      calls.push(`resize ${id} ${cols}x${rows} by ${by}`);
      kept.set(id, { ...there(id), cols, rows });
      open(id).resized(cols, rows);
    },
    async signal(id, signal, by) {
      live(id);
      if (/nonsense/i.test(signal)) throw new Failure('bad-input', `"${signal}" is no signal`);
      calls.push(`signal ${id} ${signal} by ${by}`);
      return there(id);
    },
    terminal: async (id) => (kept.has(id) && !plane.recordings.removed(id as SessionId) ? open(id) : null),
    ended: async (id) => there(id),
  };
}

/**
 * `exec` of `cat` gives back its input; `flood` says two megabytes; `wait` says one line and waits to be
 * left.
 */
export function execDesk(calls: Calls): ExecDesk {
  const ended: ExecPart = { ended: sessionView({ session_id: 'x1', state: 'exited', exit_code: 3 }) };
  return {
    async *run({ agent, command, stdin, timeoutSeconds }, by, signal) {
      calls.push(`exec ${agent} ${command} ${timeoutSeconds} by ${by}`);
      if (agent !== 'local') throw new Failure('agent-gone', `agent ${agent} is not connected`);
      if (command === 'flood') yield { stream: 'stdout', bytes: Buffer.alloc(2 << 20, 'x') };
      else yield { stream: 'stdout', bytes: Buffer.from(stdin ?? 'out\n') };
      yield { stream: 'stderr', bytes: Buffer.from('err\n') };
      if (command === 'wait') {
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        calls.push('exec was left');
        return;
      }
      yield ended;
    },
  };
}

export interface Tasks extends TaskDesk {
  /** What was submitted, as it came. */
  readonly submitted: (string | object)[];
  readonly artifactsByName: Map<string, { readonly text: string; readonly type: string }>;
  /** Names that were asked for. */
  readonly asked: string[];
  log(entry: TaskLog): void;
  add(view: Partial<TaskView> & Pick<TaskView, 'id'>): void;
}

const checksum = (text: string) => `sha256:${new Bun.CryptoHasher('sha256').update(text).digest('hex')}`;

export function taskDesk(calls: Calls): Tasks {
  const kept = new Map<string, TaskView>();
  const artifactsByName: Tasks['artifactsByName'] = new Map();
  const submitted: Tasks['submitted'] = [];
  const asked: string[] = [];
  const logs: TaskLog[] = [];
  let bell = Promise.withResolvers<void>();
  const ring = () => {
    bell.resolve();
    bell = Promise.withResolvers();
  };
  const viewOf = (name: string) => {
    const { text, type } = found(artifactsByName.get(name), name);
    return { name, size_bytes: Buffer.byteLength(text), content_type: type, checksum: checksum(text) };
  };
  const steer = (id: string, state: TaskView['state'], call: string): TaskView => {
    calls.push(call);
    const changed = { ...found(kept.get(id), `task "${id}"`), state };
    kept.set(id, changed);
    return changed;
  };
  return {
    submitted,
    artifactsByName,
    asked,
    add: (view) => void kept.set(view.id, taskView(view)),
    log(entry) {
      logs.push(entry);
      ring();
    },
    list({ states, labels, limit, offset }) {
      const fits = ({ state, labels: own }: TaskView) =>
        (states.length === 0 || states.includes(state)) &&
        Object.entries(labels).every(([name, value]) => own[name] === value);
      const all = [...kept.values()].filter(fits);
      return { tasks: all.slice(offset, offset + limit), total: all.length };
    },
    find: (id) => kept.get(id) ?? null,
    async submit(manifest, by) {
      submitted.push(manifest);
      if (JSON.stringify(manifest).includes('nonsense')) {
        const faults = [{ path: 'lifecycle.timeout', message: 'is not a duration such as 30m' }];
        throw new Failure('unprocessable', 'the manifest is not valid', { faults });
      }
      const view = taskView({ id: `t${kept.size}` });
      kept.set(view.id, view);
      calls.push(`submit by ${by}`);
      return view;
    },
    cancel: async (id, reason, by) => steer(id, 'CANCELLED', `cancel ${id} "${reason}" by ${by}`),
    retry: async (id, by) => steer(id, 'PENDING', `retry ${id} by ${by}`),
    async *logs(_id, after, signal) {
      let at = after === null ? 0 : logs.findIndex(({ id }) => id === after) + 1;
      signal.addEventListener('abort', ring, { once: true });
      while (!signal.aborted) {
        const entry = logs[at];
        if (!entry) {
          await bell.promise;
          continue;
        }
        at += 1;
        yield entry;
        if (entry.event === 'completed') break;
      }
      calls.push('logs were left');
    },
    artifacts: async () => [...artifactsByName.keys()].map(viewOf),
    async artifact(_id, name) {
      asked.push(name);
      const artifact = artifactsByName.get(name);
      return artifact ? { view: viewOf(name), body: new Blob([artifact.text]).stream() } : null;
    },
    manifest: (id) => (kept.has(id) ? { kind: 'Task' } : null),
  };
}

export interface Questions extends HitlDesk {
  open(view: Partial<HitlView> & Pick<HitlView, 'hitl_id'>): void;
}

export function hitlDesk(calls: Calls): Questions {
  const kept = new Map<string, HitlView>();
  const finish = (id: string, given: Partial<HitlView>): HitlView => {
    const view = found(kept.get(id), `question "${id}"`);
    if (view.state !== 'open') throw new Failure('wrong-state', `question ${id} is ${view.state}`);
    const changed = { ...view, ...given };
    kept.set(id, changed);
    return changed;
  };
  return {
    open: (view) => void kept.set(view.hitl_id, hitlView(view)),
    list: ({ state = 'open', agent, session }) =>
      [...kept.values()].filter(
        (view) =>
          (state === 'all' || view.state === 'open') &&
          (!agent || view.agent_id === agent) &&
          (!session || view.session_id === session),
      ),
    find: (id) => kept.get(id) ?? null,
    async ask(agent_id, { sessionId, prompt, kind }, by) {
      calls.push(`ask ${agent_id} ${kind} by ${by}`);
      const view = hitlView({ hitl_id: `h${kept.size}`, agent_id, session_id: sessionId, prompt, kind });
      kept.set(view.hitl_id, view);
      return view;
    },
    async answer(id, { text = null, option = null }, by) {
      calls.push(`answer ${id} text=${text} option=${option} by ${by}`);
      return finish(id, { state: 'answered', answer: { text, option, by, at_ms: 2 } });
    },
    withdraw: async (id, by) => {
      calls.push(`withdraw ${id} by ${by}`);
      return finish(id, { state: 'withdrawn' });
    },
  };
}

export interface Events extends EventDesk {
  happen(event_type: string): void;
  readonly watchers: number;
}

export function eventDesk(): Events {
  const kept: EventView[] = [];
  const listeners = new Set<(event: EventView) => void>();
  return {
    happen(event_type) {
      const [kind = ''] = event_type.split('.');
      const timestamp = '2026-01-02T03:04:05.000Z';
      const event = { id: kept.length + 1, actor: `${kind}:1`, kind, event_type, timestamp, data: {} };
      kept.push(event);
      for (const listener of listeners) listener(event);
    },
    get watchers() {
      return listeners.size;
    },
    read: async (after, limit) => kept.filter(({ id }) => id > after).slice(0, limit),
    cursor: async () => kept.length,
    watch(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export interface Health extends HealthDesk {
  isAway: boolean;
}

export const healthDesk = (): Health => ({
  isAway: false,
  ready() {
    return { ready: !this.isAway, reasons: this.isAway ? ['the journal is away'] : [] };
  },
  summary: () => ({
    version: '0.0.0',
    uptimeSeconds: 1,
    agents: { connected: 1, ready: 1 },
    tasks: {},
    journal: { kind: 'memory', away: null },
  }),
});
