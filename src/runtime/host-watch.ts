/** Looking after running instances: whether they still run, what they use, and whose process one is. */
import type { RuntimeExit, Usage } from '../runtime.ts';
import { type Host, type HostHandle, type Kin, knownOf, membersOf, running } from './host-state.ts';
import { endLeftovers } from './host-stop.ts';
import { instanceDir, LOG_BYTES_MAX, rotateLog } from './instance-dir.ts';
import { cpuSeconds, factsOf, isAlive, readProcesses, residentBytes } from './processes.ts';

/** How often a process is looked at. Of our own child the operating system tells us at once. */
const WATCH_MS = 1_000;
/** Usage of many instances is read from one look at all processes, at most this old. */
const TABLE_AGE_MS = 1_000;

export function watchInstance(
  host: Host,
  handle: HostHandle,
  onExit: (exit: RuntimeExit) => void,
): () => void {
  const { clock, root } = host.options;
  const known = knownOf(host, handle.name);
  const dir = instanceDir(root, handle.name);
  const seen = running(host, handle);
  let over = false;
  /** Nobody watches any more. */
  let isEnded = false;
  const finish = () => {
    over = true;
    known.watchers.delete(look);
    clock.clearTimeout(timer);
  };
  const look = () => {
    if (over) return;
    clock.clearTimeout(timer);
    const own = known.child !== null && (seen === null || known.child.pid === seen.pid) ? known.child : null;
    // A child has ended when the operating system has said how; another's when it is not there any more.
    if (own ? own.exit === null : seen !== null && isAlive(seen)) {
      rotateLog(dir, LOG_BYTES_MAX);
      timer = clock.setTimeout(look, WATCH_MS);
      return;
    }
    finish();
    // Of a process that was not our child nobody can say how it ended.
    const exit = own?.exit ?? { code: null, signal: null, at: clock.now() };
    known.turn = known.turn
      .then(() => tidy(host, handle))
      .finally(() => {
        if (!isEnded) onExit(exit);
      });
  };
  known.watchers.add(look);
  // Never from inside the call: the caller has to have its answer first.
  let timer = clock.setTimeout(look, 0);
  return () => {
    isEnded = true;
    finish();
  };
}

/** In its turn, so that nothing that was started meanwhile is taken for a leftover. */
async function tidy(host: Host, handle: HostHandle): Promise<void> {
  try {
    if (!running(host, handle)) await endLeftovers(host, handle);
  } catch (thrown) {
    host.options.log(thrown instanceof Error ? thrown.message : String(thrown));
  }
}

export function usageOf(host: Host, handle: HostHandle): Usage | null {
  const leader = running(host, handle);
  if (!leader) return null;
  const at = host.options.clock.now();
  if (!host.table || at - host.table.at >= TABLE_AGE_MS) host.table = { at, processes: readProcesses() };
  const known = knownOf(host, handle.name);
  const members = membersOf(host, handle, { leader, table: host.table.processes });
  const now = { seconds: cpuSeconds(members), at };
  const before = known.cpu ?? now;
  known.cpu = now;
  const elapsed = (now.at - before.at) / 1_000;
  return {
    // Processes that ended meanwhile take their seconds with them; less than nothing is nothing.
    cpuPercent: elapsed > 0 ? Math.max(0, ((now.seconds - before.seconds) / elapsed) * 100) : 0,
    memoryBytes: members.reduce((sum, { pid }) => sum + residentBytes(pid), 0),
    processes: members.length,
  };
}

/**
 * Walks up from a process to the first process of an instance.
 *
 * It speaks for the instance when it is in that process's own session: the agent starts its network side
 * there, and every command in a session of the command's own. No process can go back into a session that it
 * has left, or that one of its parents has.
 */
export function kinOf(host: Host, pid: number): Kin | null {
  const leaders = new Map<number, string>();
  for (const [name, { process }] of host.known)
    if (process && isAlive(process)) leaders.set(process.pid, name);
  const own = factsOf(pid)?.session;
  for (let at = pid; at > 1; at = factsOf(at)?.parent ?? 0) {
    const instance = leaders.get(at);
    if (instance === undefined) continue;
    return { instance, isAgent: own !== undefined && own === factsOf(at)?.session };
  }
  return null;
}
