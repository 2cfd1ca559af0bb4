/**
 * The wire's messages as the house's words, and the reverse. Numbers beyond what a number holds are refused.
 */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type ActiveSession,
  type AgentRegistration,
  AgentStatus,
  type CommandRequestSchema,
  type CommandResult,
  type Heartbeat,
  type ManagementMessage,
  ManagementMessageSchema,
  type Metrics,
  SessionType as WireType,
} from '../../proto/gen/agent_pb.ts';
import type {
  HeartbeatFacts,
  Launch,
  MetricFacts,
  Registration,
  ReportedSession,
  SessionResult,
  SessionType,
} from '../agent-link.ts';
import { Failure } from '../failure.ts';
import type { AgentId, SessionId } from '../ids.ts';

export const message = (payload: ManagementMessage['payload']): ManagementMessage =>
  create(ManagementMessageSchema, { payload });

export function whole(value: bigint, what: string): number {
  if (value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new Failure('bad-input', `${what}: ${value} is out of range`);
}

const types: Readonly<Record<SessionType, WireType>> = {
  interactive: WireType.INTERACTIVE,
  headless: WireType.HEADLESS,
  background: WireType.BACKGROUND,
};

export function commandOf(launch: Launch): MessageInitShape<typeof CommandRequestSchema> {
  const { session, pty } = launch;
  return {
    commandId: session,
    sessionId: session,
    sessionName: launch.name,
    command: launch.command,
    args: [...launch.args],
    workingDir: launch.workingDir,
    env: { ...launch.env },
    timeoutSeconds: launch.timeoutSeconds,
    captureOutput: true,
    runAs: launch.runAs,
    allocatePty: pty !== null,
    ...(pty ? { ptyCols: pty.cols, ptyRows: pty.rows, ptyTerm: pty.term } : {}),
    sessionType: types[launch.type],
  };
}

export const registrationOf = (r: AgentRegistration): Registration => ({
  agent: r.agentId as AgentId,
  instanceId: r.instanceId,
  hostname: r.hostname,
  ipAddress: r.ipAddress,
  profile: r.profile,
  loadout: r.loadout,
  labels: { ...r.labels },
  system: r.system
    ? {
        os: r.system.os,
        kernel: r.system.kernel,
        cpuCores: r.system.cpuCores,
        memoryBytes: whole(r.system.memoryBytes, 'system.memory_bytes'),
        diskBytes: whole(r.system.diskBytes, 'system.disk_bytes'),
      }
    : null,
  frameworks: r.aiwgFrameworks.map(({ name, providers }) => ({ name, providers: [...providers] })),
});

export const featuresOf = ({ labels }: AgentRegistration): ReadonlySet<string> =>
  new Set(
    (labels['agentic.features'] ?? '')
      .split(',')
      .map((word) => word.trim())
      .filter(Boolean),
  );

export const heartbeatOf = (h: Heartbeat): HeartbeatFacts => ({
  at: Number(h.timestampMs),
  status: AgentStatus[h.status] ?? 'UNKNOWN',
  cpuPercent: h.cpuPercent,
  memoryUsedBytes: Number(h.memoryUsedBytes),
  uptimeSeconds: Number(h.uptimeSeconds),
  setupStatus: h.setupStatus,
  setupProgressJson: h.setupProgressJson,
});

export const metricsOf = (m: Metrics): MetricFacts => ({
  cpuPercent: m.cpuPercent,
  memoryUsedBytes: Number(m.memoryUsedBytes),
  memoryTotalBytes: Number(m.memoryTotalBytes),
  diskUsedBytes: Number(m.diskUsedBytes),
  diskTotalBytes: Number(m.diskTotalBytes),
  loadAvg: [...m.loadAvg],
  custom: Object.fromEntries(Object.entries(m.custom).map(([name, value]) => [name, Number(value)])),
});

/** The earlier agent sends elapsed milliseconds as `started_at_ms`; a start before 2020 is unknown. */
const PLAUSIBLE_START_MS = 1_577_836_800_000;

export function reportedOf(s: ActiveSession): ReportedSession {
  const startedAt = Number(s.startedAtMs);
  const type = (Object.keys(types) as SessionType[]).find((name) => types[name] === s.sessionType);
  return {
    session: s.commandId as SessionId,
    name: s.sessionName,
    type: type ?? (s.isPty ? 'interactive' : 'headless'),
    command: s.command,
    startedAt: startedAt > PLAUSIBLE_START_MS ? startedAt : 0,
    pid: s.pid,
    pty: s.isPty ? { cols: s.cols || 80, rows: s.rows || 24 } : null,
    spool:
      s.firstOffset === undefined || s.nextOffset === undefined
        ? null
        : { first: whole(s.firstOffset, 'first_offset'), next: whole(s.nextOffset, 'next_offset') },
  };
}

export const resultOf = (r: CommandResult): SessionResult => ({
  session: r.commandId as SessionId,
  exitCode: r.exitCode,
  error: r.error,
  durationMs: Number(r.durationMs),
  outputBytes: r.outputBytes === undefined ? null : whole(r.outputBytes, 'output_bytes'),
});
