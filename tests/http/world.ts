/** Doors on free ports of the loopback, over desks that keep everything in memory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Role } from '../../src/access.ts';
import type { Fleet } from '../../src/actors/fleet.ts';
import { auditLog } from '../../src/audit/log.ts';
import type { Audit } from '../../src/audit.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import type { Gauges } from '../../src/desk.ts';
import { type Browsers, browsers } from '../../src/http/browsers.ts';
import { type Desks, type DoorOptions, type Doors, type DoorWorld, httpDoors } from '../../src/http/doors.ts';
import { type Operators, operators } from '../../src/http/operators.ts';
import { silentLog } from '../../src/log.ts';
import { builtImages } from '../../src/runtime/built-images.ts';
import type { Agentshare } from '../../src/share/store.ts';
import { readQuestion } from '../../src/terminal/asking.ts';
import { terminals } from '../../src/terminal/terminals.ts';
import { openAgentshare } from '../../src/wiring/agentshare.ts';
import { recordingDesk } from '../../src/wiring/recordings.ts';
import { actorDesk } from '../../src/wiring/replay.ts';
import { storageDesk } from '../../src/wiring/storage.ts';
import { type World as ActorWorld, world as actorWorld } from '../actors/world.ts';
import {
  agentDesk,
  type Calls,
  type Events,
  eventDesk,
  execDesk,
  type Health,
  healthDesk,
  hitlDesk,
  identityDesk,
  instanceDesk,
  type Questions,
  type Sessions,
  sessionDesk,
  type Tasks,
  taskDesk,
} from './desks.ts';
import { usageReport } from './views.ts';

export async function until<T>(what: string, look: () => T | null | undefined | false): Promise<T> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const found = look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await Bun.sleep(2);
  }
}

/** A clock on which everything comes sooner; `skip` is how the day is made to pass. */
export interface FastClock extends Clock {
  skip(ms: number): void;
}

export function fastClock(speed = 1): FastClock {
  const began = Date.now();
  let skipped = 0;
  return {
    now: () => began + (Date.now() - began) * speed + skipped,
    setTimeout: (fn, ms) => systemClock.setTimeout(fn, ms / speed),
    clearTimeout: (timer) => systemClock.clearTimeout(timer),
    skip(ms) {
      skipped += ms;
    },
  };
}

const gauges: Gauges = {
  agentsByStatus: () => ({ ready: 1 }),
  tasksByState: () => ({ running: 2 }),
  sessionsByAgent: () => ({ local: 1 }),
  hitlOpen: () => 0,
  instancesByState: () => ({ running: 1 }),
  restartsByInstance: () => ({ local: 3 }),
  alerts: () => ({ crash_looping: 1, journal_away: 0 }),
  storageBytes: () => ({ local: 4_096 }),
  recordedBytes: () => 7,
  recordingFailures: () => 0,
  skippedFrames: () => 0,
  models: () => ({
    requests: [{ provider: 'anthropic', status: '200', count: 4 }],
    tokens: [{ provider: 'anthropic', kind: 'input', count: 1_200 }],
    costUsd: [{ provider: 'anthropic', usd: 0.25 }],
  }),
};

const usual: DoorOptions = {
  httpHost: '127.0.0.1',
  httpPort: 0,
  wsPort: 0,
  allowedHosts: [],
  behindProxy: false,
  trustedProxies: ['127.0.0.0/8', '::1'],
  tls: null,
  metrics: true,
  version: '1.2.3',
};

const page = Buffer.from('<!doctype html><title>dashboard</title>');

const dashboard: DoorWorld['dashboard'] = {
  files: new Map([['/', { body: page, type: 'text/html; charset=utf-8', etag: '"page"' }]]),
  contentSecurityPolicy: "default-src 'self'",
};

export interface World extends DoorWorld {
  readonly dir: string;
  readonly calls: Calls;
  readonly operators: Operators;
  readonly access: Operators & Browsers;
  readonly audit: Audit;
  readonly clock: FastClock;
  readonly desks: Desks & {
    readonly sessions: Sessions;
    readonly tasks: Tasks;
    readonly hitl: Questions;
    readonly events: Events;
    readonly health: Health;
  };
  /** The fleet that /api/v1/actors looks into. */
  readonly life: ActorWorld;
  /** Lines that were logged as errors. */
  readonly errors: string[];
  /** Actors that were looked up because they may have ended long ago. */
  readonly recalled: string[];
  /** It has a place for the instance `local`. */
  readonly share: Agentshare;
  remove(): Promise<void>;
}

/** Both in one, as most tests want them. */
export const withBrowsers = (known: Operators, signedIn: Browsers): Operators & Browsers => ({
  ...known,
  ...signedIn,
  get hasTokens() {
    return known.hasTokens;
  },
});

export interface Wanted {
  /** AGENTSHARE_… */
  readonly env?: Readonly<Record<string, string>>;
  readonly options?: Partial<DoorOptions>;
  readonly speed?: number;
  /** Before its doors are opened: a server that others can reach needs tokens. */
  readonly prepare?: (on: World) => Promise<void>;
}

/** The instance that storage is of: it lives. */
export const LOCAL_ID = '01920000-0000-7000-8000-000000000001';

const onlyLocal = {
  isLive: (id: string) => id === 'instance:local',
  context: () => ({ spec: { name: 'local', instanceId: LOCAL_ID, runtime: 'host' } }),
  specs: () => [{ id: 'instance:local', kind: 'instance', live: true }],
  note() {},
} as unknown as Fleet;

async function storageOf(
  dir: string,
  { env, clock }: { env: Readonly<Record<string, string>>; clock: Clock },
) {
  const config = readConfig({ ...env, AGENTIC_DATA_DIR: dir }, dir, dir);
  const share = await openAgentshare({ config, clock, log: silentLog });
  await share.prepare({ instanceId: LOCAL_ID, name: 'local', owner: null, isSameUser: false });
  return {
    share,
    desk: storageDesk({ share, fleet: onlyLocal, config, clock, log: silentLog, runtimes: new Map() }),
  };
}

export async function world({ options = {}, speed = 1, env = {} }: Wanted = {}): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), 'http-test-'));
  const calls: Calls = [];
  const errors: string[] = [];
  const recalled: string[] = [];
  const clock = fastClock(speed);
  const plane = terminals({
    dir: join(dir, 'recordings'),
    clock: systemClock,
    log: silentLog,
    read: readQuestion,
    listener: { reply() {}, asking() {}, recorded() {}, recordingFailed() {} },
  });
  const log = {
    ...silentLog,
    error: (message: string, fields = {}) => void errors.push(`${message} ${JSON.stringify(fields)}`),
  };
  const sessions = sessionDesk(plane, calls);
  const audit = await auditLog({ dir: join(dir, 'audit'), clock, log, keepDays: 90 });
  const known = await operators({ path: join(dir, 'secrets', 'tokens.json'), clock, uid: 4711 });
  const life = actorWorld();
  const storage = await storageOf(dir, { env, clock });
  return {
    dir,
    calls,
    errors,
    recalled,
    share: storage.share,
    clock,
    log,
    gauges,
    operators: known,
    access: withBrowsers(
      known,
      await browsers({ path: join(dir, 'secrets', 'browsers.json'), operators: known, clock }),
    ),
    audit,
    life,
    desks: {
      recall: async (actor) => void recalled.push(actor),
      actors: actorDesk(life.fleet, life.journal),
      instances: instanceDesk(calls),
      identity: identityDesk(calls),
      agents: agentDesk(),
      sessions,
      recordings: recordingDesk({
        recordings: plane.recordings,
        now: () => clock.now(),
        log,
        session: async (id) => sessions.find(id),
        isLive: (id) => sessions.find(id)?.state === 'live',
      }),
      exec: execDesk(calls),
      tasks: taskDesk(calls),
      hitl: hitlDesk(calls),
      storage: storage.desk,
      events: eventDesk(),
      health: healthDesk(),
      images: builtImages(join(dir, 'images')),
      usage: { report: (wanted) => usageReport(wanted.agent ?? 'local') },
    },
    dashboard,
    options: { ...usual, ...options },
    async remove() {
      await plane.close();
      await audit.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export interface House extends World {
  readonly doors: Doors;
  readonly url: string;
  /** `ws://…`; `port` chooses the door. */
  readonly wsUrl: string;
  get(path: string, init?: RequestInit): Promise<Response>;
  post(path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
}

/** Opened doors; `remove` closes them. */
export async function house(wanted: Wanted = {}): Promise<House> {
  const on = await world(wanted);
  await wanted.prepare?.(on);
  const doors = await httpDoors(on);
  const url = `http://127.0.0.1:${doors.httpPort}`;
  return {
    ...on,
    doors,
    url,
    wsUrl: `ws://127.0.0.1:${doors.wsPort}`,
    get: (path, init = {}) => fetch(`${url}${path}`, init),
    post: (path, body, headers = {}) =>
      fetch(`${url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
    async remove() {
      await doors.close(200);
      await on.remove();
    },
  };
}

/** A token of each role; the admin's comes first, as it must. */
export async function tokens(access: Operators): Promise<Readonly<Record<Role, string>>> {
  const make = async (role: Role) => (await access.create({ name: role, role, expiresInMs: null })).token;
  return { admin: await make('admin'), operator: await make('operator'), viewer: await make('viewer') };
}

export interface ProblemBody {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly instance: string;
  readonly faults?: readonly { readonly path: string; readonly message: string }[];
}

/** The problem document of an answer; throws when it is not one, whole and consistent. */
export async function problemOf(response: Response): Promise<ProblemBody> {
  const type = response.headers.get('content-type');
  if (type !== 'application/problem+json')
    throw new Error(`${response.status} is ${type}: ${await response.text()}`);
  const body = (await response.json()) as ProblemBody;
  const words = [body.type, body.title, body.detail, body.code, body.instance];
  const isWhole = words.every((word) => typeof word === 'string' && word !== '');
  if (!isWhole || body.status !== response.status) throw new Error(`not whole: ${JSON.stringify(body)}`);
  return body;
}

/** Sends bytes as they are, for what no client would send, and gives back the beginning of the answer. */
export function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    let got = '';
    socket.on('data', (chunk) => {
      got += chunk.toString();
      if (got.includes('\r\n\r\n')) socket.end();
    });
    socket.on('close', () => resolve(got));
    socket.on('error', reject);
  });
}
