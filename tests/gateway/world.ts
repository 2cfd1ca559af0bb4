/** A gateway between a test and a provider that the test plays itself. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { type Forward, forwarding } from '../../src/gateway/forward.ts';
import { type VirtualKeys, virtualKeys } from '../../src/gateway/keys.ts';
import { prices } from '../../src/gateway/prices.ts';
import { type GatewayServer, gatewayServer } from '../../src/gateway/server.ts';
import { type Tallies, tallies } from '../../src/gateway/tallies.ts';
import type { AgentId, SessionId, TaskId } from '../../src/ids.ts';
import { jsonLog } from '../../src/log.ts';
import type { Spender, Use, Wish } from '../../src/spending.ts';

export const realKey = 'sk-real-0123456789';

export const spender: Spender = {
  session: 's1' as SessionId,
  agent: 'local' as AgentId,
  task: 't1' as TaskId,
};

export interface World {
  readonly gateway: GatewayServer;
  readonly keys: VirtualKeys;
  readonly key: string;
  readonly uses: Use[];
  readonly wishes: Wish[];
  readonly log: string[];
  readonly tallies: Tallies;
  readonly dir: string;
  /** What the treasury says; null: go on. */
  refuse: string | null;
  /** Awaited before the treasury says anything. */
  thinking: Promise<void>;
  /** Awaited before a use is durable. */
  durable: Promise<void>;
  /** Callers that were noticed to have left while they waited for the treasury. */
  left: number;
  /** How often the real key was given up. */
  forgotten: number;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  close(): Promise<void>;
}

export type Provider = (request: Request) => Response | Promise<Response>;

/** `provider` answers what arrives upstream. */
export async function world(provider: Provider): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), 'gateway-'));
  const upstream = Bun.serve({ port: 0, hostname: '127.0.0.1', idleTimeout: 0, fetch: provider });
  const base = `http://127.0.0.1:${upstream.port}`;
  const log: string[] = [];
  const lines = jsonLog({ clock: systemClock, level: 'debug', write: (line) => void log.push(line) });
  const keys = await virtualKeys(join(dir, 'keys'), lines);
  const counted = tallies();
  const made = (baseUrl: string) => ({
    baseUrl,
    key: async () => realKey,
    forgetKey() {
      state.forgotten += 1;
    },
  });
  const state: World = {
    refuse: null,
    thinking: Promise.resolve(),
    durable: Promise.resolve(),
    left: 0,
    forgotten: 0,
    uses: [],
    wishes: [],
    log,
    keys,
    dir,
    tallies: counted,
    key: await keys.mint(spender),
    get gateway() {
      return gateway;
    },
    post: (path, body, headers = {}) =>
      fetch(gateway.url + path, {
        method: 'POST',
        headers: { 'x-api-key': state.key, 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    async close() {
      await gateway.close(0);
      await upstream.stop(true);
      rmSync(dir, { recursive: true, force: true });
    },
  };
  const forward: Forward = forwarding({
    upstreams: { anthropic: made(`${base}/a`), openai: made(`${base}/o/v1`) },
    keys,
    prices: prices(null),
    treasury: {
      async admit(_who, wish, signal) {
        state.wishes.push(wish);
        const left = new Promise<never>((_, reject) => {
          const leaves = () => {
            state.left += 1;
            reject(signal.reason);
          };
          signal.addEventListener('abort', leaves, { once: true });
        });
        await Promise.race([state.thinking, left]);
        return state.refuse;
      },
      async spent(_who, use) {
        state.uses.push(use);
        await state.durable;
      },
    },
    tallies: counted,
    clock: systemClock,
    log: lines,
  });
  const gateway = await gatewayServer({
    listen: { host: '127.0.0.1', port: 0 },
    portFile: join(dir, 'port'),
    socketPath: join(dir, 'models.sock'),
    forward,
    clock: systemClock,
    log: lines,
  });
  return state;
}

/** Waits for a fact that has no promise of its own. */
export async function until(what: string, look: () => unknown): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await look())) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await Bun.sleep(5);
  }
}

const encoder = new TextEncoder();

/** A stream of events in pieces that are cut anywhere: every `cut` bytes. */
export function events(text: string, cut: number): Response {
  const bytes = encoder.encode(text);
  const pieces = Array.from({ length: Math.ceil(bytes.length / cut) }, (_, i) =>
    bytes.subarray(i * cut, (i + 1) * cut),
  );
  const body = new ReadableStream<Uint8Array>({
    async pull(control) {
      const piece = pieces.shift();
      if (piece) control.enqueue(piece);
      else control.close();
      await new Promise(setImmediate);
    },
  });
  return new Response(body, { headers: { 'content-type': 'text/event-stream; charset=utf-8' } });
}

export const sse = (...all: readonly (readonly [string | null, unknown])[]): string =>
  all
    .map(([name, data]) => {
      const text = typeof data === 'string' ? data : JSON.stringify(data);
      return `${name === null ? '' : `event: ${name}\n`}data: ${text}\n\n`;
    })
    .join('');
