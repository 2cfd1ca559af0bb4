/** The product under measurement: a server of its own with its one agent, and what the bench asks of them. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { networkSidesOf } from '../tests/agent/family.ts';

const root = resolve(import.meta.dir, '..');
const READY_MS = 30_000;

export interface Product {
  readonly ws: string;
  readonly serverPid: number;
  /** The agent's own processes, without what it runs. */
  readonly agentPids: readonly number[];
  /** A session on the agent that runs a line of shell on a PTY. */
  session(line: string): Promise<string>;
  type(session: string, text: string): Promise<void>;
  /** What it has said so far, of the first kilobyte. */
  said(session: string): Promise<string>;
  /** What the session has recorded is no longer needed. */
  forget(session: string): void;
  close(): Promise<void>;
}

export async function until<T>(
  what: string,
  look: () => Promise<T | null> | T | null,
  withinMs = READY_MS,
): Promise<T> {
  for (const end = Date.now() + withinMs; Date.now() < end; await Bun.sleep(25)) {
    const found = await look();
    if (found !== null) return found;
  }
  throw new Error(`not within ${withinMs} ms: ${what}`);
}

const read = <T>(path: string): T | null => {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch {
    return null; // Not written yet.
  }
};

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
}

async function ask<T>(http: string, { method, path, body }: Asked): Promise<T> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${http}${path}`, {
    method,
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return (text === '' ? null : JSON.parse(text)) as T;
}

export async function product(): Promise<Product> {
  const dir = mkdtempSync(join(tmpdir(), 'terminal-bench-'));
  const child = Bun.spawn([process.execPath, ...profiling('BENCH_PROFILE'), join(root, 'src', 'main.ts')], {
    env: { ...process.env, AGENTIC_DATA_DIR: dir, LISTEN_ADDR: '127.0.0.1:0', LOG_LEVEL: 'warn' },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const facts = await until('the server is there', () =>
    read<{ http: string; ws: string }>(join(dir, 'server.json')),
  );
  const call = <T>(asked: Asked) => ask<T>(facts.http, asked);
  await until('the agent is ready', async () => {
    const { agents } = await call<{ agents: { id: string; state: string }[] }>({
      method: 'GET',
      path: '/api/v1/agents',
    });
    return agents.find(({ id, state }) => id === 'local' && state === 'ready') ?? null;
  });
  const agentPid = agentPidOf(dir);
  return {
    ws: facts.ws,
    serverPid: child.pid,
    agentPids: [agentPid, ...networkSidesOf(agentPid)],
    async session(line) {
      const body = { command: 'sh', args: ['-c', line], cols: 220, rows: 50 };
      const path = '/api/v1/agents/local/sessions';
      return (await call<{ session_id: string }>({ method: 'POST', path, body })).session_id;
    },
    async type(session, text) {
      await call({ method: 'POST', path: `/api/v1/sessions/${session}/input`, body: { text } });
    },
    async said(session) {
      return await (await fetch(`${facts.http}/api/v1/sessions/${session}/output?max=1024`)).text();
    },
    forget(session) {
      rmSync(join(dir, 'recordings', session), { recursive: true, force: true });
    },
    async close() {
      await call({ method: 'POST', path: '/api/v1/instances/local/destroy' }).catch(() => {});
      // It is the server that ends the agent, so the server goes last.
      await until('the agent has ended', () => (existsSync(`/proc/${agentPid}`) ? null : true)).catch(() =>
        process.kill(agentPid),
      );
      child.kill();
      await child.exited;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** For a look at where the time goes; no part of a measurement. */
const profiling = (name: string): string[] => {
  const dir = process.env[name];
  return dir ? ['--cpu-prof', `--cpu-prof-dir=${dir}`] : [];
};

function agentPidOf(dir: string): number {
  const handle = read<{ process: { pid: number } | null }>(join(dir, 'instances', 'local', 'handle.json'));
  if (!handle?.process) throw new Error('the agent has no process');
  return handle.process.pid;
}
