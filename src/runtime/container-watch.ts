/**
 * Whether containers still run, told by the engine's events as they come, and what they use.
 *
 * An event is only a reason to look: what is true the engine says when it is asked. When the stream of events
 * is lost, as when the engine is restarted, it is opened again, and everything that is watched is looked at.
 * It is looked at now and then without a reason too: Podman's stream leaves out what happens while it begins.
 */
import { constants as osConstants } from 'node:os';
import type { Readable } from 'node:stream';
import { type Clock, sleep } from '../clock.ts';
import type { RuntimeExit, Usage } from '../runtime.ts';
import { type Engine, isMissing } from './engine.ts';
import { cpuSeconds, familyOf, residentBytes } from './processes.ts';

const RETRY_FIRST_MS = 200;
const RETRY_MAX_MS = 5_000;
const LOOK_EVERY_MS = 10_000;

export interface Watching {
  readonly clock: Clock;
  readonly log: (message: string) => void;
}

/** Who watches one engine. */
export interface Watchtower {
  /** Calls back once when the container does not run; never from inside the call. */
  watch(container: string, onExit: (exit: RuntimeExit) => void): () => void;
}

export function watchtower(engine: Engine, { clock, log }: Watching): Watchtower {
  const looks = new Set<() => void>();
  let stream: AbortController | null = null;
  const lookAll = () => {
    for (const look of [...looks]) look();
  };
  const listen = async (signal: AbortSignal) => {
    for (let waitMs = RETRY_FIRST_MS; !signal.aborted; waitMs = Math.min(waitMs * 2, RETRY_MAX_MS)) {
      try {
        const filters = { type: ['container'], event: ['die', 'destroy', 'remove', 'kill', 'stop'] };
        const events = (await engine.docker.getEvents({ filters } as never)) as unknown as Readable;
        waitMs = RETRY_FIRST_MS;
        signal.addEventListener('abort', () => events.destroy(), { once: true });
        lookAll();
        await ended(events, lookAll);
      } catch (thrown) {
        log(`events of ${engine.socket}: ${thrown instanceof Error ? thrown.message : thrown}`);
      }
      await sleep(clock, waitMs, signal).catch(() => {});
    }
  };
  const lookNowAndThen = async (signal: AbortSignal) => {
    while (!signal.aborted) {
      await sleep(clock, LOOK_EVERY_MS, signal).catch(() => {});
      lookAll();
    }
  };
  return {
    watch(container, onExit) {
      let isOver = false;
      let isLooking = false;
      let again = false;
      const stop = () => {
        isOver = true;
        looks.delete(look);
        if (looks.size > 0) return;
        stream?.abort();
        stream = null;
      };
      const look = () => {
        if (isOver) return;
        again = isLooking;
        if (isLooking) return;
        isLooking = true;
        exitOf(engine, container, clock).then(
          (exit) => {
            isLooking = false;
            if (isOver) return;
            if (exit === null) return void (again && look());
            stop();
            onExit(exit);
          },
          // The engine is away; it is looked again when it is back.
          () => {
            isLooking = false;
          },
        );
      };
      looks.add(look);
      if (stream === null) {
        stream = new AbortController();
        void listen(stream.signal);
        void lookNowAndThen(stream.signal);
      }
      look();
      return stop;
    },
  };
}

function ended(events: Readable, onEvent: () => void): Promise<void> {
  return new Promise((resolve) => {
    events.on('data', onEvent);
    for (const over of ['end', 'close', 'error']) events.on(over, () => resolve());
  });
}

/** Null: it runs. */
async function exitOf({ docker }: Engine, container: string, clock: Clock): Promise<RuntimeExit | null> {
  try {
    const { State: state } = await docker.getContainer(container).inspect();
    if (state.Running) return null;
    const code = state.ExitCode;
    const name = code > 128 && code < 128 + 65 ? signalName(code - 128) : null;
    const at = clock.now();
    return {
      code: name === null ? code : null,
      signal: name,
      at,
      ...(state.OOMKilled ? { reason: 'it used more memory than its limit' } : {}),
    };
  } catch (thrown) {
    if (!isMissing(thrown)) throw thrown;
    return { code: null, signal: null, at: clock.now(), reason: 'its container was removed' };
  }
}

const signalName = (number: number): string | null =>
  Object.entries(osConstants.signals).find(([, value]) => value === number)?.[0] ?? null;

interface Stats {
  readonly cpu_stats?: { readonly cpu_usage?: { readonly total_usage?: number } };
  readonly memory_stats?: { readonly usage?: number; readonly stats?: Readonly<Record<string, number>> };
  readonly pids_stats?: { readonly current?: number };
}

/** Processor time of the last look, by container. */
export type CpuTimes = Map<string, { readonly nanoseconds: number; readonly at: number }>;

export async function usageOf(
  engine: Engine,
  container: string,
  { clock, times }: Timing,
): Promise<Usage | null> {
  const { docker } = engine;
  try {
    const found = docker.getContainer(container);
    const { State: state } = await found.inspect();
    if (!state.Running) return null;
    if (!engine.hasControlGroups) return usageByProcesses(state.Pid, container, { clock, times });
    const stats = (await found.stats({ stream: false, 'one-shot': true } as never)) as unknown as Stats;
    const nanoseconds = stats.cpu_stats?.cpu_usage?.total_usage ?? 0;
    const memory = stats.memory_stats;
    // Files that the kernel keeps and can drop are not what it uses.
    const cached = memory?.stats?.['total_inactive_file'] ?? memory?.stats?.['inactive_file'] ?? 0;
    const processes = stats.pids_stats?.current ?? (await found.top()).Processes.length;
    return {
      cpuPercent: cpuPercent(container, nanoseconds, { clock, times }),
      memoryBytes: Math.max(0, (memory?.usage ?? 0) - cached),
      processes,
    };
  } catch (thrown) {
    if (isMissing(thrown)) return null;
    throw thrown;
  }
}

interface Timing {
  readonly clock: Clock;
  readonly times: CpuTimes;
}

/** Since the last look. */
function cpuPercent(container: string, nanoseconds: number, { clock, times }: Timing): number {
  const at = clock.now();
  const before = times.get(container) ?? { nanoseconds, at };
  times.set(container, { nanoseconds, at });
  const elapsed = (at - before.at) * 1e6;
  return elapsed > 0 ? Math.max(0, ((nanoseconds - before.nanoseconds) / elapsed) * 100) : 0;
}

/** Where the engine has no control groups that count, what runs below the container's first process is. */
function usageByProcesses(first: number, container: string, timing: Timing): Usage {
  const members = familyOf(first);
  return {
    cpuPercent: cpuPercent(container, cpuSeconds(members) * 1e9, timing),
    memoryBytes: members.reduce((sum, { pid }) => sum + residentBytes(pid), 0),
    processes: members.length,
  };
}
