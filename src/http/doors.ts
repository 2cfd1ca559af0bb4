/**
 * The HTTP and WebSocket listeners: two ports, the same doors behind both.
 *
 * Before a route is looked for, a request must come from a place that may ask: see gate.ts.
 */
import type { Server } from 'bun';
import type { Audit } from '../audit.ts';
import type { Clock } from '../clock.ts';
import type {
  ActorDesk,
  AgentDesk,
  EventDesk,
  ExecDesk,
  Gauges,
  HealthDesk,
  HitlDesk,
  IdentityDesk,
  ImageDesk,
  InstanceDesk,
  Recall,
  RecordingDesk,
  SessionDesk,
  TaskDesk,
  UsageDesk,
} from '../desk.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import type { StorageDesk } from '../storage.ts';
import { actorRoutes } from './actors.ts';
import { agentRoutes } from './agents.ts';
import { type App, app } from './app.ts';
import { auditRoutes } from './audit.ts';
import type { Browsers } from './browsers.ts';
import type { Certificate } from './certificate.ts';
import type { SocketData } from './conversation.ts';
import { readCookie } from './cookie.ts';
import { type Dashboard, dashboardRoutes } from './dashboard.ts';
import { docsRoutes } from './docs.ts';
import { eventRoutes } from './events.ts';
import { execRoutes } from './exec.ts';
import {
  checkOrigin,
  checkTokens,
  type GateOptions,
  type RateLimits,
  rateLimit,
  refuseOpenDoors,
  shownBy,
  strictTransport,
} from './gate.ts';
import { healthRoutes } from './health.ts';
import { hitlRoutes } from './hitl.ts';
import { idempotency } from './idempotency.ts';
import { identityRoutes } from './identity.ts';
import { imageRoutes } from './images.ts';
import { instanceRoutes } from './instances.ts';
import { type Listener, listener } from './listener.ts';
import { type Metrics, metrics, metricsRoute } from './metrics.ts';
import { openApiDocument, openApiRoute } from './openapi.ts';
import type { Operators } from './operators.ts';
import { problemOf, problemResponse } from './problem.ts';
import { clientOf, proxies } from './proxies.ts';
import { recordingRoutes } from './recordings.ts';
import type { Route } from './route.ts';
import { noted, noteOf, seenOf, unknownClient } from './seen.ts';
import { sessionRoutes } from './sessions.ts';
import { signInRoutes } from './sign-in.ts';
import { isSocketPath, sockets } from './sockets.ts';
import { STORAGE_PATHS, storageRoutes } from './storage.ts';
import { admission, streams } from './streams.ts';
import { taskRoutes } from './tasks.ts';
import { tokenRoutes } from './tokens.ts';
import { transcriptRoutes } from './transcript.ts';
import { usageRoutes } from './usage.ts';

export interface Desks {
  readonly recall: Recall;
  readonly actors: ActorDesk;
  readonly instances: InstanceDesk;
  readonly identity: IdentityDesk;
  readonly agents: AgentDesk;
  readonly sessions: SessionDesk;
  readonly recordings: RecordingDesk;
  readonly exec: ExecDesk;
  readonly tasks: TaskDesk;
  readonly hitl: HitlDesk;
  readonly events: EventDesk;
  readonly health: HealthDesk;
  readonly storage: StorageDesk;
  readonly usage: UsageDesk;
  readonly images: ImageDesk;
}

export interface DoorOptions {
  readonly httpHost: string;
  /** 0: any free one; the same for the WebSocket port. */
  readonly httpPort: number;
  readonly wsPort: number;
  readonly allowedHosts: readonly string[];
  readonly behindProxy: boolean;
  /** Addresses and networks whose word on where a request comes from is believed, behind a proxy. */
  readonly trustedProxies: readonly string[];
  /** Null: plain HTTP. */
  readonly tls: Certificate | null;
  /** Serve /metrics. */
  readonly metrics: boolean;
  readonly version: string;
  readonly limits?: Partial<DoorLimits>;
}

export interface DoorLimits {
  readonly bodyBytesMax: number;
  readonly rate: RateLimits;
}

export interface DoorWorld {
  readonly desks: Desks;
  readonly gauges: Gauges;
  readonly operators: Operators;
  /** Who is there, by token or by cookie. */
  readonly access: Browsers;
  readonly audit: Audit;
  readonly options: DoorOptions;
  readonly dashboard: Dashboard;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Doors {
  readonly httpPort: number;
  readonly wsPort: number;
  /** Ends streams and connections, waits for open requests, and stops listening. */
  close(graceMs: number): Promise<void>;
}

/** How long a token that has expired, or was revoked by a command, may still hold something open. */
const RECHECK_MS = 1_000;

const limitsDefault: DoorLimits = { bodyBytesMax: 1 << 20, rate: { perSecond: 500, burst: 2_000 } };

const limitsOf = ({ limits }: DoorOptions): DoorLimits => ({ ...limitsDefault, ...limits });

export interface FrontOptions {
  /** Ends the streams. */
  readonly closing: AbortSignal;
  /** Of the dashboard, once it listens. */
  readonly httpPort: () => number;
}

export interface Front {
  readonly routes: readonly Route[];
  readonly app: App;
  readonly metrics: Metrics;
  readonly sockets: ReturnType<typeof sockets>;
  /** Ends what is held open by callers who are not let in any more. */
  recheck(): void;
}

/** Everything but the listeners. */
export function front(
  { desks, gauges, operators, access, audit, options, dashboard, clock, log }: DoorWorld,
  { closing, httpPort }: FrontOptions,
): Front {
  const question = (id: string) => desks.hitl.find(id);
  const { recall } = desks;
  const talk = sockets({ sessions: desks.sessions, recall, question, audit, clock, log });
  const counted = metrics({ gauges, sockets: () => talk.count, clock });
  const open = streams({ access, clock, closing });
  const streaming = { clock, streams: open };
  const once = idempotency(clock);
  const recheck = () => {
    talk.recheck();
    open.recheck();
  };
  const { bodyBytesMax } = limitsOf(options);
  const routes: Route[] = [
    ...healthRoutes(desks.health),
    ...(options.metrics ? [metricsRoute(counted)] : []),
    ...agentRoutes(desks),
    ...instanceRoutes(desks.instances),
    ...identityRoutes(desks.identity),
    ...actorRoutes(desks.actors),
    ...sessionRoutes({ ...desks, question, idempotency: once }),
    ...transcriptRoutes({ ...desks, ...streaming }),
    ...recordingRoutes(desks.recordings),
    ...execRoutes({ exec: desks.exec, ...streaming }),
    ...taskRoutes({ tasks: desks.tasks, idempotency: once, ...streaming }),
    ...storageRoutes(desks.storage),
    ...hitlRoutes(desks.hitl),
    ...usageRoutes(desks.usage),
    ...imageRoutes(desks.images),
    ...eventRoutes({ events: desks.events, ...streaming }),
    ...tokenRoutes(operators, recheck),
    ...auditRoutes(audit),
  ];
  const isIn = (request: Request): boolean => {
    try {
      access.caller(shownBy(request));
      return true;
    } catch (thrown) {
      if (thrown instanceof Failure) return false;
      throw thrown;
    }
  };
  let document: object | null = null;
  const described = () => (document ??= openApiDocument(routes, options.version));
  routes.push(openApiRoute(described), ...docsRoutes(described), ...dashboardRoutes(dashboard, isIn));
  const hasTokens = () => operators.hasTokens;
  routes.push(...signInRoutes({ browsers: access, hasTokens, port: httpPort, clock, revoked: recheck }));
  return {
    routes,
    metrics: counted,
    sockets: talk,
    recheck,
    app: app({ routes, access, audit, recall, metrics: counted, clock, log, bodyBytesMax }),
  };
}

/** Throws Failure('already-exists') for a port that is taken, 'wrong-state' where it would let anybody in. */
export async function httpDoors(world: DoorWorld): Promise<Doors> {
  const { options, operators, clock, log } = world;
  const ports: number[] = [];
  const { tls: certificate } = options;
  const gate: GateOptions = {
    ...options,
    tls: certificate !== null,
    hasTokens: () => operators.hasTokens,
    ports: () => ports,
  };
  refuseOpenDoors(gate);
  const closing = new AbortController();
  const behind = front(world, { closing: closing.signal, httpPort: () => ports[0] ?? 0 });
  const { sockets: talk, recheck } = behind;
  const listen = (port: number, purpose: string): Listener =>
    listener({
      hostname: options.httpHost,
      port,
      purpose,
      tls: certificate?.shown ?? null,
      serve: server(world, behind, gate),
      websocket: talk.handlers,
      log,
    });
  const http = listen(options.httpPort, 'the dashboard and the API');
  let ws: Listener;
  try {
    ws = listen(options.wsPort, 'WebSockets');
  } catch (thrown) {
    await http.stop(true);
    throw thrown;
  }
  ports.push(http.port, ws.port);
  const renew = async () => {
    const next = await certificate?.look();
    if (!next) return;
    for (const one of [http, ws]) one.renew(next);
    log.info('a new TLS certificate is shown', { fingerprint: next.fingerprint });
  };
  const trouble = (thrown: unknown) => log.warn('tokens or TLS not looked at', { why: String(thrown) });
  const stopLooking = every(clock, RECHECK_MS, () => {
    recheck();
    void noteNews(world).catch(trouble);
    void renew().catch(trouble);
  });
  await noteNews(world).catch(() => {}); // Whoever asks is told what is wrong with them.
  return {
    httpPort: http.port,
    wsPort: ws.port,
    async close(graceMs) {
      stopLooking();
      closing.abort(new Failure('busy', 'the server is shutting down'));
      talk.close();
      let isLate = false;
      const timer = clock.setTimeout(() => {
        isLate = true;
        void http.stop(true);
        void ws.stop(true);
      }, graceMs);
      await Promise.all([http.stop(false), ws.stop(false)]);
      clock.clearTimeout(timer);
      if (isLate) log.warn('requests were cut off at the end');
    },
  };
}

/**
 * The same answer without its body. What has no body is said to have no bytes, also by Bun, so a length that
 * we do not know is said to be one that comes in pieces.
 */
function headOf({ status, headers, body }: Response): Response {
  void body?.cancel();
  const said = new Headers(headers);
  if (body !== null && !said.has('content-length')) said.set('transfer-encoding', 'chunked');
  return new Response(null, { status, headers: said });
}

/** What is done with each request, before and after the routes. */
function server(world: DoorWorld, { app: routes, sockets: talk }: Front, gate: GateOptions) {
  const { options, access, audit, clock, log } = world;
  const limits = limitsOf(options);
  const slowDown = rateLimit(clock, limits.rate);
  const trusted = options.behindProxy ? proxies(options.trustedProxies) : null;
  const isVouchedFor = options.tls?.shown.isOwnMade !== true;
  return async (request: Request, bun: Server<SocketData>): Promise<Response | undefined> => {
    let pathname = '/';
    const at = clock.now();
    const address = bun.requestIP(request)?.address ?? null;
    let seen = seenOf({ ...unknownClient, address });
    try {
      const client = clientOf(request, { address, secure: gate.tls, proxies: trusted });
      seen = seenOf(client);
      checkOrigin(request, client.host, gate);
      ({ pathname } = new URL(request.url));
      checkTokens(gate);
      slowDown(client.address ?? 'unknown');
      if (isSocketPath(pathname)) {
        seen.door = 'ws';
        readCookie(request, client, gate.ports()[0] ?? 0);
        const enter = () => admission(access, shownBy(request));
        return (await talk.upgrade(request, bun, { enter, seen })) ?? undefined;
      }
      // A stream is silent for as long as there is nothing to say.
      bun.timeout(request, 0);
      const length = Number(request.headers.get('content-length') ?? 0);
      // What is uploaded is taken by the route, as it comes and as far as it may.
      if (length > limits.bodyBytesMax && !pathname.startsWith(STORAGE_PATHS))
        throw new Failure('too-large', `a body has at most ${limits.bodyBytesMax} bytes`);
      const asked = request.method === 'HEAD' ? new Request(request, { method: 'GET' }) : request;
      readCookie(asked, client, gate.ports()[0] ?? 0);
      const response = await routes(asked, client);
      const strict = isVouchedFor ? strictTransport(client) : {};
      for (const [name, value] of Object.entries(strict)) response.headers.set(name, value);
      return request.method === 'HEAD' ? headOf(response) : response;
    } catch (thrown) {
      if (!(thrown instanceof Failure))
        log.error('a bug at the door', { path: pathname, why: String(thrown) });
      const known = problemOf(thrown);
      seen.code = known.code;
      await noted(audit, seen, { method: request.method, status: known.status, ms: clock.now() - at });
      return problemResponse(known, pathname);
    }
  };
}

/** What was done to the tokens beside this server: by a command, or by hand. */
async function noteNews({ operators, audit }: DoorWorld): Promise<void> {
  for (const { what, id, name, role } of await operators.news()) {
    const params = { id, name, role };
    const ended = { method: what, status: 0, ms: 0 };
    await audit.note({ ...noteOf(seenOf(unknownClient), ended), door: 'operators', params });
  }
}

/** Returns how to stop. */
function every(clock: Clock, ms: number, act: () => void): () => void {
  let timer: unknown;
  const again = () => {
    timer = clock.setTimeout(() => {
      act();
      again();
    }, ms);
  };
  again();
  return () => clock.clearTimeout(timer);
}
