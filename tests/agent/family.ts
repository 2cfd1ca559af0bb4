/** The processes of an agent client, as /proc shows them. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

const read = (path: string): string => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // Gone.
  }
};

/** Not yet, or no more, when it is a zombie. */
export function isAlive(pid: number): boolean {
  const stat = read(`/proc/${pid}/stat`);
  return stat !== '' && !/\) [ZX] /.test(stat);
}

/** Those that a holder has started, the newest last. */
export function networkSidesOf(holder: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && isNetworkSideOf(name, holder))
    .map(Number);
}

function isNetworkSideOf(pid: string, holder: number): boolean {
  const stat = read(`/proc/${pid}/stat`);
  const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (Number(parent) !== holder || state === 'Z') return false;
  return read(`/proc/${pid}/cmdline`).split('\0').includes('--network-side');
}

/** What its descriptors are. */
export const descriptorsOf = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(join(`/proc/${pid}/fd`, fd))];
    } catch {
      return []; // Closed meanwhile.
    }
  });
