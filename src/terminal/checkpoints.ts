/**
 * Screens beside their recording, so that a long one is not parsed from the beginning: after a restart from
 * the newest, when it is looked through from the nearest.
 *
 *   <offset, 16 digits>.screen   one every 16 MiB, thinned out when there are too many
 *
 * Only one that was tried and brings back the same screen is kept.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SerializeAddon } from '@xterm/addon-serialize';
import { type ITerminalAddon, Terminal } from '@xterm/headless';
import { fingerprintOf } from './fingerprint.ts';
import { carry } from './inner-state.ts';
import type { Recording } from './recording.ts';
import { type Checkpoint, type Screen, terminalOptions } from './screen.ts';

/** So much output lies between two of them, at least. */
const EVERY_BYTES = 16 << 20;
/** Beyond it every other one goes. */
const KEPT_MAX = 64;

const named = /^\d{16}\.screen$/;
const nameOf = (offset: number) => `${String(offset).padStart(16, '0')}.screen`;

function read(path: string): Checkpoint | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Checkpoint;
  } catch {
    return null; // None yet, or torn: the recording has everything.
  }
}

function offsetsIn(dir: string): number[] {
  try {
    const names = readdirSync(dir).filter((name) => named.test(name));
    return names.map((name) => Number(name.slice(0, 16))).toSorted((a, b) => b - a);
  } catch {
    return []; // No recording yet.
  }
}

/** The newest one; null when there is none that fits the recording. */
export function readCheckpoint(dir: string, recording: Recording): Checkpoint | null {
  const fits = (kept: Checkpoint | null) =>
    kept !== null && kept.offset <= recording.next && kept.offset >= recording.first;
  const [newest] = offsetsIn(dir);
  const kept = newest === undefined ? null : read(join(dir, nameOf(newest)));
  // What a server before this one kept.
  const older = kept ?? read(join(dir, 'screen.json'));
  return fits(older) ? older : null;
}

/** The nearest one from `above` to `upTo`; null: there is none. */
export function nearestCheckpoint(
  dir: string,
  recording: Recording,
  { above, upTo }: { readonly above: number; readonly upTo: number },
): Checkpoint | null {
  for (const at of offsetsIn(dir)) {
    if (at > upTo || at > recording.next) continue;
    if (at < above) return null;
    // Before or after a change of size at the same place is not told by the place.
    if (recording.resizes(at, at).length > 0) continue;
    const kept = read(join(dir, nameOf(at)));
    if (kept?.inner) return kept;
  }
  return null;
}

export interface KeeperOptions {
  readonly dir: string;
  /** Where the newest one is. */
  readonly from: number;
  readonly everyBytes?: number;
  readonly keptMax?: number;
}

/** Call it after every bite of the screen. */
export function keeper(options: KeeperOptions): (screen: Screen) => void {
  const { dir, everyBytes = EVERY_BYTES, keptMax = KEPT_MAX } = options;
  let last = options.from;
  let isBusy = false;
  return (screen) => {
    if (screen.parsed - last < everyBytes || isBusy || !screen.isAtRest) return;
    // Somebody who looked through it may have kept one hereabouts.
    const isNear = offsetsIn(dir).some((at) => Math.abs(at - screen.parsed) < everyBytes / 2);
    const kept = isNear ? null : screen.checkpoint();
    if (isNear || kept) last = screen.parsed;
    if (!kept) return;
    isBusy = true;
    // The recording has everything: a checkpoint that cannot be kept, or whose recording is being erased, is
    // no loss.
    keep(dir, kept, keptMax)
      .catch(() => {})
      .finally(() => {
        isBusy = false;
      });
  };
}

async function keep(dir: string, kept: Checkpoint, keptMax: number): Promise<void> {
  if (!(await bringsBack(kept))) return;
  const path = join(dir, nameOf(kept.offset));
  await writeFile(`${path}.new`, JSON.stringify(kept), { mode: 0o600 });
  await rename(`${path}.new`, path);
  const names = (await readdir(dir)).filter((name) => named.test(name)).toSorted();
  if (names.length <= keptMax) return;
  // The newest stays, whatever its place.
  const spare = names.slice(0, -1).filter((_, i) => i % 2 === 0);
  for (const name of spare) await rm(join(dir, name), { force: true });
}

/** Draws it on another terminal, and looks whether that is the same screen. */
async function bringsBack({ serialized, inner, cols, rows, fingerprint }: Checkpoint): Promise<boolean> {
  if (!inner || fingerprint === undefined) return false;
  const terminal = new Terminal({ ...terminalOptions, cols, rows });
  const serializer = new SerializeAddon();
  terminal.loadAddon(serializer as unknown as ITerminalAddon);
  try {
    await new Promise<void>((resolve) => terminal.write(serialized, resolve));
    carry(terminal, inner);
    return fingerprintOf(terminal, serializer.serialize()) === fingerprint;
  } finally {
    terminal.dispose();
  }
}
