/** Processes of a session, as /proc shows them, and how they are ended. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

interface Stat {
  readonly pid: number;
  readonly name: string;
  readonly state: string;
  readonly group: number;
  readonly session: number;
}

/** Null when there is no such process any more. The name may hold blanks and parentheses. */
function statOf(pid: number | string): Stat | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return null; // Gone meanwhile.
  }
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  const [state = '', , group, session] = text.slice(close + 2).split(' ');
  return {
    pid: Number(pid),
    name: text.slice(open + 1, close),
    state,
    group: Number(group),
    session: Number(session),
  };
}

/** Living processes that a leader's session or group holds, also those that moved to a group of their own. */
export function membersOf(leader: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const stat = statOf(name);
      return stat && stat.state !== 'Z' && (stat.session === leader || stat.group === leader)
        ? [stat.pid]
        : [];
    });
}

/** True when it was delivered. */
export function send(target: number, signal: number): boolean {
  try {
    process.kill(target, signal);
    return true;
  } catch {
    return false; // No such process: it has ended, which is what a signal to it wants.
  }
}

const SIGKILL = 9;
const SIGTERM = 15;
const SIGHUP = 1;
const LOOK_EVERY_MS = 25;

export interface Ending {
  readonly graceMs: number;
  /** A shell on a terminal ignores SIGTERM and obeys SIGHUP. */
  readonly hangUp: boolean;
}

/** Asks, waits, kills: everything that the leader's session holds. True when nothing of it lives any more. */
export async function endAll(leader: number, { graceMs, hangUp }: Ending): Promise<boolean> {
  const signals = hangUp ? [SIGHUP, SIGTERM] : [SIGTERM];
  if (graceMs > 0) {
    for (const pid of membersOf(leader)) for (const signal of signals) send(pid, signal);
    if (await allGone(leader, graceMs)) return true;
  }
  for (let i = 0; i < 10; i++) {
    for (const pid of membersOf(leader)) send(pid, SIGKILL);
    if (await allGone(leader, 200)) return true;
  }
  return false;
}

async function allGone(leader: number, withinMs: number): Promise<boolean> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    if (membersOf(leader).length === 0) return true;
    if (Date.now() >= deadline) return false;
    await Bun.sleep(LOOK_EVERY_MS);
  }
}

/** Numbers of read(2), and of the calls that wait for several things at once, on x86-64 and arm64. */
const calls =
  process.arch === 'arm64'
    ? { read: '63', waits: new Set(['22', '72', '73']) }
    : { read: '0', waits: new Set(['7', '23', '232', '270', '271', '281']) };

export interface Foreground {
  readonly name: string;
  /** Blocked reading a terminal; null when it cannot be told, as with a program that polls. */
  readonly reading: boolean | null;
}

/** What the foreground group of a terminal does. */
export function foreground(group: number): Foreground | null {
  const stat = statOf(group);
  if (!stat) return null;
  return { name: stat.name, reading: stat.state === 'R' ? false : readsTerminal(group) };
}

function readsTerminal(pid: number): boolean | null {
  try {
    const [call = '', fd = ''] = readFileSync(`/proc/${pid}/syscall`, 'latin1').trim().split(' ');
    if (calls.waits.has(call) || call === 'running') return null;
    if (call !== calls.read) return false;
    return /^\/dev\/(pts\/|tty)/.test(readlinkSync(`/proc/${pid}/fd/${Number(fd)}`));
  } catch {
    return null; // Not ours to look at.
  }
}
