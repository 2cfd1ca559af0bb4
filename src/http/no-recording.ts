/** What is said where there is no terminal: that there is no recording, or that it was removed, and why. */
import type { RecordingDesk } from '../desk.ts';
import { Failure } from '../failure.ts';

/** Throws Failure('not-found'). */
export async function noRecording(recordings: RecordingDesk, id: string): Promise<never> {
  await recordings.find(id, 0);
  const cure = `what it said is at GET /api/v1/sessions/${id}/recording.txt`;
  throw new Failure('not-found', `session "${id}" is not in memory any more; ${cure}`);
}
