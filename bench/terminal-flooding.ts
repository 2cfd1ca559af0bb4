/**
 * One flood through the product: to how many viewers, how fast, at what cost, and what it did to keystrokes.
 */

import type { Keyboard } from './terminal-echo.ts';
import { type Cost, cpuSeconds, meter, nowMs } from './terminal-figures.ts';
import { type Flood, READY, script } from './terminal-flood.ts';
import { type Product, until } from './terminal-server.ts';
import type { Order, Said, Watched } from './terminal-viewers.ts';

export interface Flooded {
  readonly ms: number;
  readonly viewers: readonly Watched[];
  /** A viewer that was never skipped got every byte as it is; null when all were skipped. */
  readonly isWhole: boolean | null;
  readonly server: Cost;
  readonly agent: Cost;
  readonly viewersCpuSeconds: number;
  readonly echoMs: readonly number[];
}

export interface Audience {
  open(
    order: Omit<Extract<Order, { do: 'open' }>, 'do'>,
  ): Promise<{ readonly over: Promise<readonly Watched[]> }>;
  readonly pid: number;
  close(): Promise<void>;
}

export function audience(): Audience {
  let heard: (said: Said) => void = () => {};
  const child = Bun.spawn([process.execPath, new URL('./terminal-viewers.ts', import.meta.url).pathname], {
    stdio: ['ignore', 'inherit', 'inherit'],
    ipc: (said: Said) => heard(said),
  });
  return {
    pid: child.pid,
    async open(order) {
      const open = Promise.withResolvers<void>();
      const over = Promise.withResolvers<readonly Watched[]>();
      heard = (said) => (said.said === 'open' ? open.resolve() : over.resolve(said.viewers));
      const died = () => new Error('the viewers have ended; see what they said above');
      void child.exited.then(() => {
        open.reject(died());
        over.reject(died());
      });
      child.send({ do: 'open', ...order } satisfies Order);
      await open.promise;
      return { over: over.promise };
    },
    async close() {
      child.send({ do: 'exit' } satisfies Order);
      await child.exited;
    },
  };
}

export interface Ground {
  readonly product: Product;
  readonly audience: Audience;
  readonly keys: Keyboard;
  readonly flood: Flood;
}

export interface Crowd {
  readonly count: number;
  /** How many of them stop reading. */
  readonly stalled: number;
}

export async function flooded(
  { product, audience, keys, flood }: Ground,
  { count, stalled }: Crowd,
): Promise<Flooded> {
  const session = await product.session(script(flood.path));
  await until('the flood is ready', async () =>
    (await product.said(session)).startsWith(READY.trim()) ? true : null,
  );
  const { over } = await audience.open({ ws: product.ws, session, count, stalled });
  const [server, agent] = [meter(product.serverPid), meter(...product.agentPids)];
  const viewersBefore = cpuSeconds(audience.pid);
  const startedAt = nowMs();
  await product.type(session, '\n');
  let isOver = false;
  const echo = keys.type(() => isOver);
  const viewers = await over;
  isOver = true;
  const costs = {
    server: server(),
    agent: agent(),
    viewersCpuSeconds: cpuSeconds(audience.pid) - viewersBefore,
  };
  const [first] = viewers;
  const isComplete = first !== undefined && first.skips === 0;
  product.forget(session);
  return {
    ms: Math.max(...viewers.map(({ lastAt }) => lastAt)) - startedAt,
    viewers,
    isWhole: isComplete ? first.bytes === flood.bytes && first.crc === flood.crc : null,
    ...costs,
    echoMs: await echo,
  };
}

export const megabytesASecond = ({ ms, viewers }: Pick<Flooded, 'ms' | 'viewers'>): number =>
  viewers.reduce((sum, { bytes }) => sum + bytes, 0) / viewers.length / 1e3 / ms;
