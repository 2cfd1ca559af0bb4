/** Ending an instance: ask, wait, kill; and go on until nothing of it runs. */
import { sleep } from '../clock.ts';
import { Failure } from '../failure.ts';
import { type Host, type HostHandle, knownOf, membersOf, running } from './host-state.ts';
import { isAlive, type ProcessName, signalProcess } from './processes.ts';

/** How often a stop looks whether everything has gone. */
const STOP_MS = 25;
/** Rounds of killing before we give up on something that cannot be killed (waiting for a dead disk, say). */
const KILL_ROUNDS_MAX = 200;

export async function stopInstance(host: Host, handle: HostHandle, graceMs: number): Promise<void> {
  const leader = running(host, handle);
  await askToEnd(host, handle, { leader, deadline: host.options.clock.now() + graceMs });
  await killAll(host, handle, leader);
  host.groups.remove(handle.instanceId);
  const known = knownOf(host, handle.name);
  known.process = null;
  // Who watches a process that was not our child need not wait for the next look.
  for (const look of [...known.watchers]) look();
  if (leader) host.options.log(`instance ${handle.name}: stopped`);
}

/** The agent client is asked first and ends its own sessions; what is left after it is asked by us. */
async function askToEnd(
  host: Host,
  handle: HostHandle,
  how: { leader: ProcessName | null; deadline: number },
) {
  const { clock } = host.options;
  const asked = new Set<number>();
  while (clock.now() < how.deadline) {
    const left = membersOf(host, handle, { leader: how.leader });
    if (left.length === 0) return;
    const leader = how.leader !== null && isAlive(how.leader) ? how.leader.pid : null;
    for (const { pid } of left) {
      if (asked.has(pid) || (leader !== null && pid !== leader)) continue;
      asked.add(pid);
      signalProcess(pid, 'SIGTERM');
    }
    await sleep(clock, Math.min(STOP_MS, Math.max(1, how.deadline - clock.now())));
  }
}

/** What a first process that ended by itself has left behind: nobody supervises it any more. */
export const endLeftovers = (host: Host, handle: HostHandle): Promise<void> => killAll(host, handle, null);

async function killAll(host: Host, handle: HostHandle, leader: ProcessName | null): Promise<void> {
  for (let round = 0; ; round += 1) {
    const left = membersOf(host, handle, { leader });
    if (left.length === 0) return;
    if (round === KILL_ROUNDS_MAX) {
      const pids = left.map(({ pid }) => pid).join(', ');
      const why = 'it cannot be killed; perhaps it waits for a device';
      throw new Failure('runtime-failed', `stop ${handle.name}: ${why} (process ${pids})`);
    }
    // At once and again: something that forks as fast as it is killed loses in the end.
    for (const { pid } of left) signalProcess(pid, 'SIGKILL');
    await sleep(host.options.clock, round < 3 ? 2 : STOP_MS);
  }
}
