/**
 * What an instance on this host sees of Agentshare: links in its home and in its own working directory, and
 * the same paths in its environment.
 *
 * What is shared read-only is mounted so, in a mount namespace of the instance's own, where the server may
 * make one; it is gone with the instance. Root inside can undo it. Elsewhere the mode bits of `global` are
 * all there is, and whoever runs as the same user can change them: `readOnlyBy` says which it is.
 */
import { lstatSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Mount } from '../runtime.ts';

export type ReadOnlyBy = { readonly how: 'mount' } | { readonly how: 'mode-bits'; readonly why: string };

const ENOUGH_MS = 5_000;
let looked: ReadOnlyBy | null = null;

/** Tried once in a process: what it makes is gone with what tried it. */
export function readOnlyBy(): ReadOnlyBy {
  looked ??= look();
  return looked;
}

function look(): ReadOnlyBy {
  if (Bun.which('unshare') === null || Bun.which('mount') === null) {
    return { how: 'mode-bits', why: 'unshare and mount (util-linux) are not on PATH' };
  }
  const tried = Bun.spawnSync(inNamespace(['/'], ['true']), {
    stdin: 'ignore',
    stderr: 'pipe',
    timeout: ENOUGH_MS,
  });
  if (tried.exitCode === 0) return { how: 'mount' };
  const [said = ''] = tried.stderr.toString().trim().split('\n');
  return { how: 'mode-bits', why: said || `unshare ended with ${tried.exitCode ?? tried.signalCode}` };
}

export function readOnlySaid(): string {
  const by = readOnlyBy();
  if (by.how === 'mount') {
    return 'global is mounted read-only for each instance; one that runs as root can undo that';
  }
  return `what is in global is write-protected by mode bits alone, which an instance can change (${by.why})`;
}

/** A command that sees those directories read-only, or does not begin. */
export function withReadOnly(mounts: readonly Mount[], command: readonly string[]): readonly string[] {
  const sources = mounts.filter(({ readOnly }) => readOnly).map(({ source }) => source);
  if (sources.length === 0 || readOnlyBy().how !== 'mount') return command;
  return inNamespace(sources, command);
}

const SCRIPT = `
n=$0
while [ "$n" -gt 0 ]; do
  mount --bind "$1" "$1" && mount -o remount,bind,ro,nosuid,nodev "$1" || exit 78
  shift
  n=$((n - 1))
done
exec "$@"`;

/** Mounts of the host are seen in there when they come; what is mounted in there is seen nowhere else. */
const inNamespace = (sources: readonly string[], command: readonly string[]): string[] => [
  ...['unshare', '--mount', '--propagation', 'slave'],
  ...['/bin/sh', '-c', SCRIPT, String(sources.length), ...sources, ...command],
];

/** AGENTSHARE_GLOBAL and its like. */
export const shareEnv = (mounts: readonly Mount[]): Record<string, string> =>
  Object.fromEntries(mounts.map(({ name, source }) => [`AGENTSHARE_${name.toUpperCase()}`, source]));

/** Puts a link to each in a directory, and leaves alone whatever else has its name there. */
export function linkShares(dir: string, mounts: readonly Mount[]): void {
  for (const { name, source } of mounts) {
    const path = join(dir, name);
    const there = lstatSync(path, { throwIfNoEntry: false });
    if (there && !there.isSymbolicLink()) continue;
    if (there && readlinkSync(path) === source) continue;
    if (there) unlinkSync(path);
    symlinkSync(source, path);
  }
}
