/** A screen beside its recording, so that a long one is not parsed from the beginning after a restart. */
import { readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Recording } from './recording.ts';
import type { Checkpoint, Screen } from './screen.ts';

/** So much output lies between two of them. */
const EVERY_BYTES = 16 << 20;

const pathOf = (dir: string) => join(dir, 'screen.json');

/** Null when there is none, or none that fits the recording. */
export function readCheckpoint(dir: string, recording: Recording): Checkpoint | null {
  try {
    const kept = JSON.parse(readFileSync(pathOf(dir), 'utf8')) as Checkpoint;
    return kept.offset <= recording.next && kept.offset >= recording.first ? kept : null;
  } catch {
    return null; // None yet, or torn: the recording has everything.
  }
}

/** Call it whenever the screen has caught up. */
export function keeper(dir: string, from: number): (screen: Screen) => void {
  let last = from;
  return (screen) => {
    if (screen.parsed - last < EVERY_BYTES || !screen.isAtRest) return;
    last = screen.parsed;
    const path = pathOf(dir);
    const text = JSON.stringify(screen.serialize());
    // The recording has everything: a checkpoint that cannot be kept, or whose recording is being erased, is
    // no loss.
    writeFile(`${path}.new`, text, { mode: 0o600 })
      .then(() => rename(`${path}.new`, path))
      .catch(() => {});
  };
}
