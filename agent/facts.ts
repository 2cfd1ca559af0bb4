/**
 * What the agent says of the machine it is on. A figure that cannot be read is 0, as the protocol has no
 * other word.
 */
import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { cpus, freemem, loadavg, networkInterfaces, release, totalmem, type, uptime } from 'node:os';
import { join } from 'node:path';

const read = (path: string): string | null => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null; // This kernel or this cgroup has no such file.
  }
};

const numberIn = (path: string): number | null => {
  const text = read(path)?.trim();
  const value = Number(text);
  return text && Number.isFinite(value) ? value : null;
};

/** Limits that are as good as none are none. */
const UNLIMITED_BYTES = 2 ** 60;

export interface Memory {
  readonly used: number;
  readonly total: number;
  readonly scope: 'cgroup_v2' | 'cgroup_v1' | 'host';
}

/** Of our cgroup where it has a limit, else of the machine. */
export function memory(): Memory {
  const v2 = {
    used: '/sys/fs/cgroup/memory.current',
    max: '/sys/fs/cgroup/memory.max',
    scope: 'cgroup_v2',
  } as const;
  const v1 = {
    used: '/sys/fs/cgroup/memory/memory.usage_in_bytes',
    max: '/sys/fs/cgroup/memory/memory.limit_in_bytes',
    scope: 'cgroup_v1',
  } as const;
  for (const { used, max, scope } of [v2, v1]) {
    const [now, limit] = [numberIn(used), numberIn(max)];
    if (now !== null && limit !== null && limit < UNLIMITED_BYTES) return { used: now, total: limit, scope };
  }
  return { used: totalmem() - available(), total: totalmem(), scope: 'host' };
}

function available(): number {
  const [, kib] = /^MemAvailable:\s+(\d+) kB/m.exec(read('/proc/meminfo') ?? '') ?? [];
  return kib === undefined ? freemem() : Number(kib) * 1024;
}

export function disk(path: string): { readonly used: number; readonly total: number } {
  try {
    const { bsize, blocks, bfree } = statfsSync(path);
    return { used: (blocks - bfree) * bsize, total: blocks * bsize };
  } catch {
    return { used: 0, total: 0 };
  }
}

/** Counters of the kernel move in steps of 10 ms: sooner than this the last figure is told again. */
const SPAN_MS_MIN = 500;

/**
 * Percent of one core since the last call, 0 at first: of our cgroup where it tells, else of the whole
 * machine.
 */
export function cpuMeter(): () => number {
  const now = () => ({ at: performance.now(), busy: busyMs() });
  let last = now();
  let percent = 0;
  return () => {
    const next = now();
    const span = next.at - last.at;
    if (span < SPAN_MS_MIN) return percent;
    percent = Math.max(0, Math.round(((next.busy - last.busy) / span) * 1_000) / 10);
    last = next;
    return percent;
  };
}

function busyMs(): number {
  const [, usec] = /^usage_usec (\d+)/m.exec(read('/sys/fs/cgroup/cpu.stat') ?? '') ?? [];
  if (usec !== undefined) return Number(usec) / 1_000;
  // cgroup v1, in nanoseconds.
  const nanoseconds = numberIn('/sys/fs/cgroup/cpuacct/cpuacct.usage');
  if (nanoseconds !== null) return nanoseconds / 1e6;
  return cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
}

export const system = () => ({
  os: /^PRETTY_NAME="?([^"\n]*)/m.exec(read('/etc/os-release') ?? '')?.[1] ?? type(),
  kernel: release(),
  cpuCores: cpus().length,
  memoryBytes: BigInt(memory().total),
  diskBytes: BigInt(disk('/').total),
});

export const loads = (): number[] => loadavg();
export const uptimeSeconds = (): number => Math.floor(uptime());

/** The first address that others can reach, else the loopback. */
export function ipAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
}

export interface Framework {
  readonly name: string;
  readonly providers: string[];
}

/** Written by the provisioning of a VM or an image. */
export function frameworks(home: string): Framework[] {
  const text = read(join(home, '.loadout-manifest.json'));
  if (text === null) return [];
  try {
    const { aiwg_frameworks: list } = JSON.parse(text) as { aiwg_frameworks?: unknown };
    return (Array.isArray(list) ? list : []).flatMap((entry: unknown) => {
      const { name, providers } = (entry ?? {}) as { name?: unknown; providers?: unknown };
      if (typeof name !== 'string') return [];
      return [
        { name, providers: Array.isArray(providers) ? providers.filter((p) => typeof p === 'string') : [] },
      ];
    });
  } catch {
    return []; // Half written; the next registration reads it whole.
  }
}

export interface SetupPlaces {
  readonly isComplete: boolean;
  readonly sentinel: string;
  readonly progress: string;
}

export interface Setup {
  readonly status: string;
  readonly progressJson: string;
  readonly isReady: boolean;
}

/** Where nothing is being set up, there is nothing to wait for. */
export function setup({ isComplete, sentinel, progress }: SetupPlaces): Setup {
  const json = read(progress) ?? '';
  let step = '';
  let failed = false;
  try {
    const parsed = JSON.parse(json || '{}') as { current_step?: unknown };
    step = typeof parsed.current_step === 'string' ? parsed.current_step : '';
    failed = /"failed"/.test(json);
  } catch {
    // Half written; the next heartbeat reads it whole.
  }
  const isReady = isComplete || existsSync(sentinel) || json === '';
  if (!isReady) return { status: step ? `installing:${step}` : 'provisioning', progressJson: json, isReady };
  return { status: failed ? 'ready-with-errors' : 'ready', progressJson: json, isReady };
}
