/**
 * The server under torture, in a process of its own that is killed and started again on the same directory.
 */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dir, '..', '..');
/** Far more than a start takes: the machine may be busy with something else. */
const READY_MS = 90_000;
const LOG_CHARS_MAX = 400_000;
const CALL_MS = 15_000;

export interface Answered {
  readonly status: number;
  readonly body: unknown;
}

export interface Victim {
  /** Null: there was no answer, so nothing is known of what became of it. */
  call(method: string, path: string, body?: unknown): Promise<Answered | null>;
  /** What a route hands out; null as above, and when it is refused. */
  bytes(path: string): Promise<Uint8Array | null>;
  start(): Promise<void>;
  kill(): Promise<void>;
  /** Every agent drops its connection and makes another. */
  cutLinks(): void;
  /** The network side of every agent is killed, under the sessions that its holder has. Returns how many. */
  killClients(): number;
  verify(): { readonly code: number; readonly text: string };
  log(): string;
  close(): Promise<void>;
}

export function victim(dir: string, env: Readonly<Record<string, string>>): Victim {
  const dataDir = join(dir, 'data');
  mkdirSync(join(dir, 'home'), { recursive: true });
  const whole = {
    PATH: process.env['PATH'] ?? '',
    HOME: join(dir, 'home'),
    LISTEN_ADDR: '127.0.0.1:0',
    AGENTIC_DATA_DIR: dataDir,
    LOG_LEVEL: 'warn',
    ...env,
  };
  let child: Bun.Subprocess<'ignore', 'pipe', 'pipe'> | null = null;
  let url = '';
  let log = '';
  const listen = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const bytes of stream)
      log = (log + decoder.decode(bytes, { stream: true })).slice(-LOG_CHARS_MAX);
  };
  const start = async () => {
    const born = Bun.spawn([process.execPath, join(root, 'src', 'main.ts')], {
      cwd: dir,
      env: whole,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child = born;
    const before = log.length;
    void listen(born.stdout);
    void listen(born.stderr);
    for (const end = Date.now() + READY_MS; ; await Bun.sleep(20)) {
      const facts = factsIn(dataDir);
      if (facts?.pid === born.pid) {
        url = facts.http;
        const ready = await fetch(`${url}/readyz`).catch(() => null);
        if (ready?.ok) return;
      }
      if (born.exitCode !== null || Date.now() > end)
        throw new Error(
          `the server did not come back (exit ${born.exitCode}, ${stateOf(born.pid)}):\n${log.slice(before)}`,
        );
    }
  };
  const request = async (path: string, init: RequestInit): Promise<Response | null> => {
    try {
      return await fetch(`${url}/api/v1/${path}`, { ...init, signal: AbortSignal.timeout(CALL_MS) });
    } catch {
      return null;
    }
  };
  return {
    async call(method, path, body) {
      const headers = { 'content-type': 'application/json' };
      const init = body === undefined ? { method } : { method, headers, body: JSON.stringify(body) };
      const response = await request(path, init);
      try {
        return response && { status: response.status, body: await response.json() };
      } catch {
        return null; // It was killed between its first and its last byte.
      }
    },
    async bytes(path) {
      const response = await request(path, {});
      try {
        return response?.ok ? await response.bytes() : null;
      } catch {
        return null;
      }
    },
    start,
    async kill() {
      child?.kill('SIGKILL');
      await child?.exited;
    },
    cutLinks() {
      for (const pid of holdersIn(dir)) signal(pid, 'SIGHUP');
    },
    killClients() {
      const pids = ours(dir).filter((pid) => roleOf(pid) === 'network side');
      for (const pid of pids) signal(pid, 'SIGKILL');
      return pids.length;
    },
    verify() {
      const script = join(root, 'scripts', 'actor-verify.ts');
      const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, script], { env: whole });
      return { code: exitCode, text: `${stdout}${stderr}`.trim() };
    },
    log: () => log,
    async close() {
      child?.kill('SIGKILL');
      await child?.exited;
      for (let round = 0; round < 50 && ours(dir).length > 0; round++) {
        for (const pid of ours(dir)) signal(pid, 'SIGKILL');
        await Bun.sleep(20);
      }
    },
  };
}

function factsIn(dataDir: string): { readonly http: string; readonly pid: number } | null {
  try {
    return JSON.parse(readFileSync(join(dataDir, 'server.json'), 'utf8'));
  } catch {
    return null; // Not written yet.
  }
}

/** Processes that were started below the directory: agents and their work, which outlive a server. */
function ours(dir: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) return [];
    return read(`/proc/${pid}/environ`).includes(`${dir}/`) ? [pid] : [];
  });
}

/**
 * The holders of agents. A child that one has just forked still shows its parent's words until it becomes
 * what it is to be, and a signal would reach that.
 */
function holdersIn(dir: string): number[] {
  const holders = ours(dir).filter((pid) => roleOf(pid) === 'holder');
  const isChild = (pid: number) =>
    holders.includes(Number(/^PPid:\s*(\d+)$/m.exec(read(`/proc/${pid}/status`))?.[1]));
  return holders.filter((pid) => !isChild(pid));
}

/** What a process that does not come on is doing, in the kernel's words. */
function stateOf(pid: number): string {
  const [state = 'gone'] = /^State:.*$/m.exec(read(`/proc/${pid}/status`)) ?? [];
  const waits = read(`/proc/${pid}/wchan`);
  const threads = readdirSync(`/proc/${pid}/task`).map((id) => read(`/proc/${pid}/task/${id}/wchan`));
  return `${state.replace(/\s+/g, ' ')}, waits in ${waits}; threads: ${threads.join(' ')}`;
}

/** Which of an agent's two processes it is; null: neither. */
function roleOf(pid: number): 'holder' | 'network side' | null {
  const words = read(`/proc/${pid}/cmdline`).split('\0');
  if (!words.some((word) => word.endsWith('agent/main.ts'))) return null;
  return words.includes('--network-side') ? 'network side' : 'holder';
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function signal(pid: number, name: 'SIGKILL' | 'SIGHUP'): void {
  try {
    process.kill(pid, name);
  } catch {
    // Already gone.
  }
}
