/**
 * Runs one command to its end or to its limit, and lets nothing survive it: whatever it started, in whatever
 * process group, becomes our child when its parent ends (Linux), is found there, ended and named. Elsewhere
 * than on Linux only its own process group is ended.
 */
import { dlopen, FFIType } from 'bun:ffi';
import { readdirSync, readFileSync } from 'node:fs';

export interface Outcome {
  readonly exitCode: number | null;
  readonly timedOut: boolean;
  readonly output: string;
  /** Command lines of what was still running afterwards; ended by now. */
  readonly left: readonly string[];
  readonly seconds: number;
}

export interface Run {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly limitSeconds: number;
}

const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;
/** What closes down by itself within this is no orphan. */
const GRACE_MS = 3_000;
const PR_SET_CHILD_SUBREAPER = 36;

const WNOHANG = 1;
const REAP_EVERY_MS = 50;

/** Null elsewhere than on Linux: then orphans are not found. */
const libc = openLibc();

function openLibc() {
  const { i32, u64, ptr } = FFIType;
  const symbols = {
    prctl: { args: [i32, u64, u64, u64, u64], returns: i32 },
    waitpid: { args: [i32, ptr, i32], returns: i32 },
  } as const;
  for (const library of ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1']) {
    try {
      if (process.platform === 'linux') return dlopen(library, symbols).symbols;
    } catch {
      // Another C library; try its name.
    }
  }
  return null;
}

/** From here on, orphans below us become our children. */
export function adoptOrphans(): void {
  libc?.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

export async function runToEnd({ command, cwd, env, limitSeconds }: Run): Promise<Outcome> {
  const started = performance.now();
  const child = Bun.spawn([...command], {
    cwd,
    env,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    // Its own group, so that a Ctrl-C reaches us first and the whole group can be ended.
    detached: true,
  });
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    endGroup(child.pid);
    for (const one of descendants()) end(one.pid);
  }, limitSeconds * 1_000);
  const reaping = setInterval(() => reap(child.pid), REAP_EVERY_MS);
  const parts: Uint8Array[] = [];
  const reading = Promise.all([collect(child.stdout, parts), collect(child.stderr, parts)]);
  await child.exited;
  clearTimeout(timer);
  const left = await endLeftovers();
  clearInterval(reaping);
  reap(child.pid);
  await Promise.race([reading, Bun.sleep(GRACE_MS)]);
  return {
    exitCode: child.exitCode,
    timedOut,
    output: Buffer.concat(parts).toString(),
    left,
    seconds: (performance.now() - started) / 1_000,
  };
}

async function collect(stream: ReadableStream<Uint8Array>, parts: Uint8Array[]): Promise<void> {
  let bytes = 0;
  for await (const part of stream) {
    bytes += part.length;
    if (bytes <= OUTPUT_BYTES_MAX) parts.push(part);
  }
}

/** Waits a little for what is closing down, then ends the rest. */
async function endLeftovers(): Promise<string[]> {
  const until = performance.now() + GRACE_MS;
  while (descendants().length > 0 && performance.now() < until) await Bun.sleep(50);
  const named = descendants().map((one) => one.command);
  // What ends may leave children of its own to us, so look again until there are none.
  for (let round = 0; round < 100 && descendants().length > 0; round++) {
    for (const one of descendants()) end(one.pid);
    await Bun.sleep(20);
  }
  return named;
}

/** Takes leave of adopted processes that have ended, as init would: a test may look whether one is gone. */
function reap(own: number): void {
  if (libc === null) return;
  for (const pid of children()) {
    // Bun wants to hear of its own child itself.
    if (pid !== own && stateOf(pid) === 'Z') libc.waitpid(pid, null, WNOHANG);
  }
}

function children(): number[] {
  const threads = readdirSync('/proc/self/task');
  return threads.flatMap((thread) => {
    const pids = textOf(`/proc/self/task/${thread}/children`)?.trim() ?? '';
    return pids === '' ? [] : pids.split(' ').map(Number);
  });
}

/** The letter of its state, and its parent. */
function statOf(
  pid: number,
): { readonly state: string; readonly parent: number; readonly name: string } | null {
  const stat = textOf(`/proc/${pid}/stat`);
  if (stat === null) return null;
  const [state = '', parent = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { state, parent: Number(parent), name: stat.slice(0, stat.lastIndexOf(')') + 1) };
}

const stateOf = (pid: number): string | undefined => statOf(pid)?.state;

/** Null: it ended while we looked. */
function textOf(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

/** Everything below this process: for an interrupt. */
export function endEverything(): void {
  for (let round = 0; round < 20; round++) for (const one of descendants()) end(one.pid);
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Already gone.
  }
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Already gone.
  }
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** Living processes below this one, by the parents that /proc tells. */
function descendants(): Process[] {
  const all = processes();
  const found: Process[] = [];
  const below = (parent: number): void => {
    for (const one of all.filter((process) => process.parent === parent)) {
      found.push(one);
      below(one.pid);
    }
  };
  below(process.pid);
  return found;
}

function processes(): Process[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid)) return [];
    const stat = statOf(pid);
    if (stat === null || stat.state === 'Z') return [];
    const words = textOf(`/proc/${pid}/cmdline`)?.replaceAll('\0', ' ').trim().slice(0, 160);
    return [{ pid, parent: stat.parent, command: words || stat.name }];
  });
}
