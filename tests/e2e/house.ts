/**
 * A real server for tests: its own process, data directory, home and ports; it can be killed and started
 * again on the same. Whatever it started is ended with `close`, also what outlives a server on purpose.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buildAgent } from '../../agent/build.ts';

export const root = resolve(import.meta.dir, '..', '..');
export const claudeBin = join(root, 'node_modules', '.bin', 'claude');

const READY_MS = 40_000;
const FACT_MS = 60_000;
const LOOK_EVERY_MS = 50;
const LOG_CHARS_MAX = 200_000;

export interface Facts {
  readonly http: string;
  readonly ws: string;
  readonly grpc: string;
  readonly pid: number;
}

export interface House {
  readonly dir: string;
  readonly dataDir: string;
  readonly port: number;
  readonly url: () => string;
  /** What the server printed, for the message of a failure. */
  readonly log: () => string;
  readonly get: <T>(path: string) => Promise<T>;
  readonly post: <T>(path: string, body?: unknown) => Promise<T>;
  readonly bytes: (path: string) => Promise<{ readonly bytes: Uint8Array; readonly response: Response }>;
  readonly kill9: () => Promise<void>;
  /** `more` is added to its environment, this once. */
  readonly start: (more?: Readonly<Record<string, string>>) => Promise<void>;
  readonly close: () => Promise<void>;
}

/**
 * Polls for a fact: the first value that is neither null nor undefined nor false. Says at the end what it
 * saw.
 */
export async function until<T>(
  what: string,
  look: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  { withinMs = FACT_MS, seen }: { withinMs?: number; seen?: () => string } = {},
): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    const value = await look();
    if (value !== null && value !== undefined && value !== false) return value;
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}\n${seen?.() ?? ''}`);
    await Bun.sleep(LOOK_EVERY_MS);
  }
}

/** Five ports in a row that are free now, as LISTEN_ADDR takes them. */
export function freePorts(): number {
  for (let tries = 0; tries < 200; tries++) {
    const port = 27_000 + Math.floor(Math.random() * 300) * 5;
    if ([0, 1, 2, 3, 4].every((step) => isFree(port + step))) return port;
  }
  throw new Error('no five free ports in a row from 27000 to 28500');
}

function isFree(port: number): boolean {
  try {
    void Bun.serve({ port, hostname: '127.0.0.1', fetch: () => new Response() }).stop(true);
    return true;
  } catch {
    return false;
  }
}

interface Running {
  readonly child: Bun.Subprocess<'ignore', 'pipe', 'pipe'>;
  readonly facts: Facts;
}

/** Starts a server; `env` is added to a clean environment. */
export async function openHouse(name: string, env: Readonly<Record<string, string>> = {}): Promise<House> {
  const dir = mkdtempSync(join(tmpdir(), `e2e-${name}-`));
  const dataDir = join(dir, 'data');
  const home = join(dir, 'home');
  mkdirSync(home);
  const agentBin = join(dir, 'agent-client');
  await buildAgent(agentBin);
  const port = freePorts();
  const whole = {
    PATH: process.env['PATH'] ?? '',
    HOME: home,
    LISTEN_ADDR: `127.0.0.1:${port}`,
    AGENTIC_DATA_DIR: dataDir,
    AGENTIC_AGENT_BIN: agentBin,
    AGENTIC_CLAUDE_BIN: claudeBin,
    ...env,
  };
  let log = '';
  const note = (text: string): void => {
    log = (log + text).slice(-LOG_CHARS_MAX);
  };
  let running: Running | null = null;
  const now = (): Running => {
    if (running === null) throw new Error('the server is not running');
    return running;
  };
  const start: House['start'] = async (more = {}) => {
    const child = Bun.spawn([process.execPath, join(root, 'src', 'main.ts')], {
      cwd: dir,
      env: { ...whole, ...more },
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    });
    const told = listen(child, note);
    const ready = (): boolean => {
      if (child.exitCode !== null) throw new Error(`the server exited with ${child.exitCode}:\n${log}`);
      return told().includes('agentic-sandbox is ready at ');
    };
    await until('the server is ready', ready, { withinMs: READY_MS, seen: () => log });
    const facts = JSON.parse(readFileSync(join(dataDir, 'server.json'), 'utf8')) as Facts;
    running = { child, facts };
  };
  const end = async (signal: 'SIGKILL' | 'SIGTERM'): Promise<void> => {
    const { child } = now();
    child.kill(signal);
    await child.exited;
    running = null;
  };
  await start().catch((thrown) => {
    endStrays(dir);
    rmSync(dir, { recursive: true, force: true });
    throw thrown;
  });
  const url = (): string => now().facts.http;
  return {
    dir,
    dataDir,
    port,
    url,
    log: () => log,
    start,
    kill9: () => end('SIGKILL'),
    ...calls(url),
    async close() {
      if (running !== null) await end('SIGTERM');
      endStrays(dir);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Returns what was told on standard output so far; everything goes to `note`. */
function listen(child: Running['child'], note: (text: string) => void): () => string {
  let told = '';
  const read = async (stream: ReadableStream<Uint8Array>, isTold: boolean): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      const text = decoder.decode(bytes, { stream: true });
      if (isTold) told += text;
      note(text);
    }
  };
  void read(child.stdout, true);
  void read(child.stderr, false);
  return () => told;
}

function calls(url: () => string): Pick<House, 'get' | 'post' | 'bytes'> {
  const call = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const response = await fetch(new URL(path, `${url()}/api/v1/`), init);
    if (response.ok) return response;
    throw new Error(`${init.method ?? 'GET'} ${path}: ${response.status} ${await response.text()}`);
  };
  return {
    get: async <T>(path: string) => (await (await call(path)).json()) as T,
    async post<T>(path: string, body?: unknown) {
      const json = { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body ?? {}) };
      return (await (await call(path, { method: 'POST', ...json })).json()) as T;
    },
    async bytes(path) {
      const response = await call(path);
      return { bytes: await response.bytes(), response };
    },
  };
}

/**
 * Ends what still runs with our temporary directory in its environment or command line: agents and their
 * work.
 */
export function endStrays(dir: string): void {
  for (let round = 0; round < 50; round++) {
    const pids = straysOf(dir);
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Already gone.
      }
    }
    Bun.sleepSync(20);
  }
}

function straysOf(dir: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) return [];
    try {
      const facts =
        readFileSync(`/proc/${pid}/environ`, 'latin1') + readFileSync(`/proc/${pid}/cmdline`, 'latin1');
      return facts.includes(`${dir}/`) ? [pid] : [];
    } catch {
      return []; // Not ours to read, or gone.
    }
  });
}
