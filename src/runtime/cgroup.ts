/**
 * One control group per instance, where this machine lets us make one: it holds also those processes that
 * left their session and cleaned their environment. Where it does not, /proc alone has to do (processes.ts).
 *
 * Only membership is used here; limits are not set.
 */
import { mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';

export interface Groups {
  /** `v2` or `v1`; null: none can be made, and `why` says so. */
  readonly kind: 'v2' | 'v1' | null;
  readonly why: string;
  /**
   * Makes the instance's group; who writes its pid to the file given back is in, with all it starts. Null:
   * none.
   */
  make(instanceId: string): string | null;
  members(instanceId: string): readonly number[];
  /** Removes the group, which must be empty. */
  remove(instanceId: string): void;
}

const ROOT = '/sys/fs/cgroup';

/** Where the server itself is: `<hierarchy>/<path>`, with the pids hierarchy for v1. */
function home(): { kind: 'v2' | 'v1'; path: string } | null {
  const lines = readFileSync('/proc/self/cgroup', 'utf8').split('\n');
  const pathOf = (start: RegExp) => lines.find((line) => start.test(line))?.replace(start, '');
  const unified = pathOf(/^0::/);
  const pids = pathOf(/^\d+:pids:/);
  if (pids !== undefined) return { kind: 'v1', path: join(ROOT, 'pids', pids) };
  return unified === undefined ? null : { kind: 'v2', path: join(ROOT, unified) };
}

const none = (why: string): Groups => ({
  kind: null,
  why,
  make: () => null,
  members: () => [],
  remove: () => {},
});

export function controlGroups(): Groups {
  try {
    const found = home();
    if (!found) return none('this kernel has no control groups');
    const parent = join(found.path, 'agentic-sandbox');
    mkdirSync(parent, { recursive: true });
    // Some mounts can be written to and are no control groups.
    readFileSync(join(parent, 'cgroup.procs'));
    return groupsUnder(parent, found.kind);
  } catch (thrown) {
    return none(`control groups cannot be made here (${thrown instanceof Error ? thrown.message : thrown})`);
  }
}

function groupsUnder(parent: string, kind: 'v2' | 'v1'): Groups {
  const at = (instanceId: string) => join(parent, instanceId);
  const quietly = (act: () => void): boolean => {
    try {
      act();
      return true;
    } catch {
      // A missing group holds nobody, and /proc is looked through in any case.
      return false;
    }
  };
  return {
    kind,
    why: '',
    make(instanceId) {
      const procs = join(at(instanceId), 'cgroup.procs');
      return quietly(() => mkdirSync(at(instanceId), { recursive: true })) ? procs : null;
    },
    members(instanceId) {
      const found: number[] = [];
      quietly(() => collect(at(instanceId), found));
      return found;
    },
    remove: (instanceId) => void quietly(() => removeUnder(at(instanceId))),
  };
}

/** Whoever is inside may have made groups of its own. */
function collect(path: string, found: number[]): void {
  for (const line of readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n'))
    if (line) found.push(Number(line));
  for (const child of childrenOf(path)) collect(child, found);
}

function removeUnder(path: string): void {
  for (const child of childrenOf(path)) removeUnder(child);
  rmdirSync(path);
}

const childrenOf = (path: string): string[] =>
  readdirSync(path, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? [join(path, e.name)] : []));
