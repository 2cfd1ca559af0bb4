/**
 * Processes as /proc shows them (Linux).
 *
 * A pid alone proves nothing, because pids are used again: a process is named by pid, start time and boot.
 * What belongs to an instance is found by its mark in the environment, which children inherit,
 * by its session and its group; so also a child that left its group and lost its parent.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** The variable that marks an instance's processes. */
export const MARK = 'AGENTIC_INSTANCE_ID';

/** USER_HZ, which Linux fixes at 100 for everything that /proc shows. */
const TICKS_PER_SECOND = 100;

/** Names one process for ever: no other has the same three. */
export interface ProcessName {
  readonly pid: number;
  /** In ticks since the boot. */
  readonly startTime: number;
  readonly boot: string;
}

export interface ProcessFacts {
  readonly pid: number;
  readonly state: string;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  readonly cpuTicks: number;
  readonly startTime: number;
}

/** Null when it is gone or not ours to look at. */
function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

export const bootId = (): string => (read('/proc/sys/kernel/random/boot_id') ?? '').trim();

export function factsOf(pid: number): ProcessFacts | null {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === null) return null;
  // The command's name may hold blanks and brackets, so count from its end.
  const f = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const number = (i: number) => Number(f[i] ?? 0);
  return {
    pid,
    state: f[0] ?? '?',
    parent: number(1),
    group: number(2),
    session: number(3),
    cpuTicks: number(11) + number(12),
    startTime: number(19),
  };
}

/** A zombie has ended; only its parent has not been told. */
export const runs = (facts: ProcessFacts | null): facts is ProcessFacts =>
  facts !== null && facts.state !== 'Z' && facts.state !== 'X';

export function nameOf(pid: number): ProcessName | null {
  const facts = factsOf(pid);
  return runs(facts) ? { pid, startTime: facts.startTime, boot: bootId() } : null;
}

export function isAlive(name: ProcessName): boolean {
  const facts = factsOf(name.pid);
  return runs(facts) && facts.startTime === name.startTime && name.boot === bootId();
}

/** The instance that a process is marked with; null: none, or not ours to look at. */
export function markOf(pid: number): string | null {
  const environment = read(`/proc/${pid}/environ`);
  return (
    environment
      ?.split('\0')
      .find((line) => line.startsWith(`${MARK}=`))
      ?.slice(MARK.length + 1) ?? null
  );
}

export const commandLineOf = (pid: number): readonly string[] =>
  (read(`/proc/${pid}/cmdline`) ?? '').split('\0').slice(0, -1);

export const allPids = (): readonly number[] =>
  readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid > 0);

/** Everything that runs, of which each instance asks for its own. */
export interface ProcessTable {
  /** Those marked with the instance, or in the session or group of its leader. */
  members(instanceId: string, leader: number | null): readonly ProcessFacts[];
}

export function readProcesses(): ProcessTable {
  const rows = allPids().flatMap((pid) => {
    const facts = factsOf(pid);
    return runs(facts) ? [{ facts, mark: markOf(pid) }] : [];
  });
  return {
    members: (instanceId, leader) =>
      rows
        .filter(
          ({ facts, mark }) => mark === instanceId || facts.session === leader || facts.group === leader,
        )
        .map(({ facts }) => facts),
  };
}

/**
 * The leader that a crashed server started and had no time to write down: it leads its session, carries the
 * mark, was started by the given command, and its parent is not of the instance.
 */
export function findLeader(instanceId: string, command: readonly string[]): ProcessName | null {
  for (const facts of readProcesses().members(instanceId, null)) {
    const line = commandLineOf(facts.pid);
    const leads = facts.session === facts.pid && command.every((part) => line.includes(part));
    if (leads && markOf(facts.parent) !== instanceId) return nameOf(facts.pid);
  }
  return null;
}

/** What runs of a process and whatever descends from it. */
export function familyOf(first: number): readonly ProcessFacts[] {
  const byParent = Map.groupBy(
    allPids().flatMap((pid) => factsOf(pid) ?? []),
    ({ parent }) => parent,
  );
  const root = factsOf(first);
  const found = root === null ? [] : [root];
  // It grows while it is gone through.
  for (const { pid } of found) found.push(...(byParent.get(pid) ?? []));
  return found.filter(runs);
}

/** Seconds of processor time that these have used. */
export const cpuSeconds = (members: readonly ProcessFacts[]): number =>
  members.reduce((sum, { cpuTicks }) => sum + cpuTicks, 0) / TICKS_PER_SECOND;

export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1];
  return Number(kilobytes ?? 0) * 1024;
}

/** False when it had already gone. */
export function signalProcess(pid: number, signal: 'SIGTERM' | 'SIGKILL'): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}
