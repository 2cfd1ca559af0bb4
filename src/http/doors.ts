/**
 * The HTTP and WebSocket listeners: two ports, the same doors behind both.
 *
 * Before a route is looked for, a request must come from a place that may ask: see gate.ts.
 */
import type { Server } from 'bun';
import type { Clock } from '../clock.ts';
import type {
  ActorDesk,
  AgentDesk,
  EventDesk,
  ExecDesk,
  Gauges,
  HealthDesk,
  HitlDesk,
  InstanceDesk,
  Recall,
  RecordingDesk,
  SessionDesk,
  TaskDesk,
  UsageDesk,
} from '../desk.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import { actorRoutes } from './actors.ts';
import { agentRoutes } from './agents.ts';
import { type App, app } from './app.ts';
import type { SocketData } from './conversation.ts';
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
  tokenOf,
} from './gate.ts';
import { healthRoutes } from './health.ts';
import { hitlRoutes } from './hitl.ts';
import { idempotency } from './idempotency.ts';
import { instanceRoutes } from './instances.ts';
import { type Metrics, metrics, metricsRoute } from './metrics.ts';
import { openApiDocument, openApiRoute } from './openapi.ts';
import type { Operators } from './operators.ts';
import { problemOf, problemResponse } from './problem.ts';
import { recordingRoutes } from './recordings.ts';
import type { Route } from './route.ts';
import { sessionRoutes } from './sessions.ts';
import { isSocketPath, sockets } from './sockets.ts';
import { admission, streams } from './streams.ts';
import { taskRoutes } from './tasks.ts';
import { tokenRoutes } from './tokens.ts';
import { transcriptRoutes } from './transcript.ts';
import { usageRoutes } from './usage.ts';

export interface Desks {
  readonly recall: Recall;
  readonly actors: ActorDesk;
  readonly instances: InstanceDesk;
  readonly agents: AgentDesk;
  readonly sessions: SessionDesk;
  readonly recordings: RecordingDesk;
  readonly exec: ExecDesk;
  readonly tasks: TaskDesk;
  readonly hitl: HitlDesk;
  readonly events: EventDesk;
  readonly health: HealthDesk;
  readonly usage: UsageDesk;
}

export interface DoorOptions {
  readonly httpHost: string;
  /** 0: any free one; the same for the WebSocket port. */
  readonly httpPort: number;
  readonly wsPort: number;
  readonly allowedHosts: readonly string[];
  readonly behindProxy: boolean;
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
  readonly access: Operators;
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

/** How long a token that has expired may still hold something open. */
const RECHECK_MS = 10_000;

const limitsDefault: DoorLimits = { bodyBytesMax: 1 << 20, rate: { perSecond: 500, burst: 2_000 } };

const limitsOf = ({ limits }: DoorOptions): DoorLimits => ({ ...limitsDefault, ...limits });

export interface Front {
  readonly routes: readonly Route[];
  readonly app: App;
  readonly metrics: Metrics;
  readonly sockets: ReturnType<typeof sockets>;
  /** Ends what is held open by callers who are not let in any more. */
  recheck(): void;
}

/** Everything but the listeners. `closing` ends the streams. */
export function front(
  { desks, gauges, access, options, dashboard, clock, log }: DoorWorld,
  closing: AbortSignal,
): Front {
  const question = (id: string) => desks.hitl.find(id);
  const { recall } = desks;
  const talk = sockets({ sessions: desks.sessions, recall, question, clock, log });
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
    ...actorRoutes(desks.actors),
    ...sessionRoutes({ ...desks, question, idempotency: once }),
    ...transcriptRoutes({ ...desks, ...streaming }),
    ...recordingRoutes(desks.recordings),
    ...execRoutes({ exec: desks.exec, ...streaming }),
    ...taskRoutes({ tasks: desks.tasks, idempotency: once, ...streaming }),
    ...hitlRoutes(desks.hitl),
    ...usageRoutes(desks.usage),
    ...eventRoutes({ events: desks.events, ...streaming }),
    ...tokenRoutes(access, recheck),
  ];
  let document: object | null = null;
  const described = () => (document ??= openApiDocument(routes, options.version));
  routes.push(openApiRoute(described), ...docsRoutes(described), ...dashboardRoutes(dashboard));
  return {
    routes,
    metrics: counted,
    sockets: talk,
    recheck,
    app: app({ routes, access, recall, metrics: counted, clock, log, bodyBytesMax }),
  };
}

/** Throws Failure('already-exists') for a port that is taken, 'wrong-state' where it would let anybody in. */
export async function httpDoors(world: DoorWorld): Promise<Doors> {
  const { options, access, clock, log } = world;
  const limits = limitsOf(options);
  const ports: number[] = [];
  const gate: GateOptions = { ...options, hasTokens: () => access.hasTokens, ports: () => ports };
  refuseOpenDoors(gate);
  const closing = new AbortController();
  const { app: routes, sockets: talk, recheck } = front(world, closing.signal);
  const slowDown = rateLimit(clock, limits.rate);

  const serve = async (request: Request, server: Server<SocketData>): Promise<Response | undefined> => {
    let pathname = '/';
    try {
      checkOrigin(request, gate);
      pathname = new URL(request.url).pathname;
      checkTokens(gate);
      slowDown(server.requestIP(request)?.address ?? 'unknown');
      if (isSocketPath(pathname)) {
        return (await talk.upgrade(request, server, admission(access, tokenOf(request)))) ?? undefined;
      }
      // A stream is silent for as long as there is nothing to say.
      server.timeout(request, 0);
      const length = Number(request.headers.get('content-length') ?? 0);
      if (length > limits.bodyBytesMax)
        throw new Failure('too-large', `a body has at most ${limits.bodyBytesMax} bytes`);
      if (request.method !== 'HEAD') return await routes(request);
      return headOf(await routes(new Request(request, { method: 'GET' })));
    } catch (thrown) {
      if (!(thrown instanceof Failure))
        log.error('a bug at the door', { path: pathname, why: String(thrown) });
      return problemResponse(problemOf(thrown), pathname);
    }
  };
  const listen = (port: number, purpose: string): Server<SocketData> => {
    try {
      return Bun.serve<SocketData>({
        hostname: options.httpHost,
        port,
        fetch: serve,
        websocket: talk.handlers as never,
        // Ours is told as a problem document; this one would only cut the connection.
        maxRequestBodySize: Number.MAX_SAFE_INTEGER,
        idleTimeout: 120,
        error: () => problemResponse(problemOf(new Error('at the door')), '/'),
      });
    } catch (thrown) {
      throw taken(thrown, `${options.httpHost}:${port}`, purpose);
    }
  };
  const http = listen(options.httpPort, 'the dashboard and the API');
  let ws: Server<SocketData>;
  try {
    ws = listen(options.wsPort, 'WebSockets');
  } catch (thrown) {
    await http.stop(true);
    throw thrown;
  }
  ports.push(http.port ?? 0, ws.port ?? 0);
  const stopLooking = every(clock, RECHECK_MS, recheck);
  return {
    httpPort: http.port ?? 0,
    wsPort: ws.port ?? 0,
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
      await Promise.all([http.stop(), ws.stop()]);
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

function taken(thrown: unknown, address: string, purpose: string): Failure {
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  const isTaken = (thrown as { code?: unknown }).code === 'EADDRINUSE' || /in use/i.test(why);
  const cure = 'end what uses it, or set LISTEN_ADDR to another address (127.0.0.1:0 takes any free ports)';
  if (isTaken) return new Failure('already-exists', `${address}, for ${purpose}, is taken: ${cure}`);
  return new Failure('bad-input', `cannot listen on ${address} for ${purpose}: ${why}; ${cure}`);
}
