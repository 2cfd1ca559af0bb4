/**
 * The composition of the doors: gRPC for agents, HTTP and WebSockets for operators, over one house and one
 * answer to who is there.
 */
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import packageJson from '../package.json' with { type: 'json' };
import { bundleDashboard, contentSecurityPolicy } from '../ui/build.ts';
import { auditLog } from './audit/log.ts';
import type { Audit } from './audit.ts';
import type { Clock } from './clock.ts';
import type { Config } from './config.ts';
import { browsers } from './http/browsers.ts';
import { type Certificate, certificate } from './http/certificate.ts';
import { httpDoors } from './http/doors.ts';
import { refuseOpenDoors } from './http/gate.ts';
import { operators } from './http/operators.ts';
import { tokenPathIn } from './http/token-file.ts';
import type { Lock } from './journal/sqlite-lock.ts';
import type { Journal } from './journal.ts';
import type { Log } from './log.ts';
import type { HostRuntime } from './runtime/host.ts';
import { keysFor } from './terminal/asking-keys.ts';
import type { terminals as makeTerminals } from './terminal/terminals.ts';
import { type AgentServer, agentServer } from './transport/server.ts';
import type { AgentView, SessionView, TaskView } from './views.ts';
import { agentDesk, observed } from './wiring/agents.ts';
import { eventDesk } from './wiring/events.ts';
import { execDesk } from './wiring/exec.ts';
import { gauges, healthDesk } from './wiring/health.ts';
import { hitlDesk } from './wiring/hitl.ts';
import type { House } from './wiring/house.ts';
import { admission, type Secrets } from './wiring/identity.ts';
import { instanceDesk } from './wiring/instances.ts';
import { presence } from './wiring/presence.ts';
import { recordingDesk, recordingWorld } from './wiring/recordings.ts';
import { actorDesk } from './wiring/replay.ts';
import { observedSession, sessionDesk } from './wiring/sessions.ts';
import { taskDesk, told } from './wiring/task-desk.ts';
import { logsOf } from './wiring/task-story.ts';

export interface Ground {
  readonly clock: Clock;
  readonly config: Config;
  readonly log: Log;
  /** Held for life: let go of, it is the next one's. */
  readonly lock: Lock;
  readonly journal: Journal;
  readonly secrets: Secrets;
  readonly socketPath: string | null;
  /** `host:port` of the gRPC server, once it listens. */
  readonly grpc: { address: string };
}

export interface Built {
  readonly house: House;
  readonly host: HostRuntime;
  readonly data: ReturnType<typeof makeTerminals>;
}

export interface Doors {
  readonly http: Awaited<ReturnType<typeof httpDoors>>;
  readonly grpc: AgentServer;
  readonly audit: Audit;
  /** Null: plain HTTP. */
  readonly tls: Certificate | null;
}

/** Who may come in, and what is noted of it. */
async function trust({ clock, config, log }: Ground) {
  const known = await operators({ path: tokenPathIn(config.dataDir), clock, uid: uid() });
  const access = await browsers({
    path: join(config.dataDir, 'secrets', 'browsers.json'),
    operators: known,
    clock,
  });
  const dir = join(config.dataDir, 'audit');
  const audit = await auditLog({ dir, clock, log, keepDays: config.auditKeepDays });
  return { known, access, audit };
}

export async function openDoors(on: Ground, { house, host, data }: Built, startedAt: number): Promise<Doors> {
  const { clock, config, log, journal, secrets } = on;
  const { version } = packageJson;
  const { known, access, audit } = await trust(on);
  const admit = admission({
    secrets,
    fleet: () => house.fleet,
    kinOf: (pid) => host.kinOf(pid),
    uid: uid(),
  });
  const exec = execDesk(house);
  const { host: address, port } = config.listen;
  // Exec is behind this door too.
  refuseOpenDoors({ ...config, httpHost: address, tls: false, hasTokens: () => known.hasTokens });
  const tls = await certificateOf(on);
  const grpc = await agentServer({
    host: address,
    port,
    socketPath: on.socketPath,
    listener: presence(house, admit),
    exec,
    access,
    audit,
    heartbeatSeconds: config.heartbeatSeconds,
    clock,
    log,
  });
  on.grpc.address = `${address}:${grpc.port}`;
  const decorate = (kind: string, view: unknown) => {
    if (view === null) return view;
    if (kind === 'agent') return observed(house, view as AgentView);
    if (kind === 'session') return observedSession(house, view as SessionView);
    return kind === 'task' ? told(house, view as TaskView) : view;
  };
  const http = await httpDoors({
    desks: {
      recall: (actor) => house.fleet.remind([actor]),
      actors: actorDesk(house.fleet, journal),
      instances: instanceDesk(house),
      agents: agentDesk(house),
      sessions: sessionDesk(house),
      recordings: recordingDesk(recordingWorld(house, journal)),
      exec,
      tasks: taskDesk(house, logsOf(house, journal)),
      hitl: hitlDesk(house, keysFor),
      events: eventDesk(house.fleet, journal, decorate),
      health: healthDesk(house, { version, journal: config.journal.kind, startedAt }),
    },
    gauges: gauges(house, data.numbers),
    operators: known,
    access,
    audit,
    options: {
      httpHost: config.httpHost,
      httpPort: port === 0 ? 0 : port + 2,
      wsPort: port === 0 ? 0 : port + 1,
      allowedHosts: config.allowedHosts,
      behindProxy: config.behindProxy,
      trustedProxies: config.trustedProxies,
      tls,
      metrics: config.metrics,
      version,
    },
    dashboard: {
      files: await bundleDashboard({ cacheDir: join(config.dataDir, 'cache') }),
      contentSecurityPolicy,
    },
    clock,
    log,
  }).catch(async (thrown) => {
    await grpc.close(0);
    throw thrown;
  });
  return { http, grpc, audit, tls };
}

async function certificateOf({ clock, config, log }: Ground): Promise<Certificate | null> {
  if (config.tls === null) return null;
  const names = [config.httpHost, ...config.allowedHosts.map((host) => host.replace(/:\d+$/, ''))];
  return certificate({ wish: config.tls, dir: join(config.dataDir, 'secrets', 'tls'), names, clock, log });
}

const uid = () => process.getuid?.() ?? 0;

/** Where this server is, for programs. Whole or not at all. */
export async function publish({ config, grpc }: Ground, http: Doors['http']): Promise<string> {
  const host = config.httpHost === '0.0.0.0' || config.httpHost === '::' ? '127.0.0.1' : config.httpHost;
  const bracketed = host.includes(':') ? `[${host}]` : host;
  const s = config.tls ? 's' : '';
  const url = `http${s}://${bracketed}:${http.httpPort}`;
  const facts = {
    http: url,
    ws: `ws${s}://${bracketed}:${http.wsPort}`,
    grpc: grpc.address,
    pid: process.pid,
  };
  const path = join(config.dataDir, 'server.json');
  await writeFile(`${path}.new`, `${JSON.stringify(facts)}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
  return url;
}
