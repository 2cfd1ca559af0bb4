/** What is said where there is no recording: that there is none, or that it was removed, and why. */
import type { RecordingDesk } from '../desk.ts';
import { Failure } from '../failure.ts';

/** Throws Failure('not-found'). */
export async function noRecording(recordings: RecordingDesk, id: string): Promise<never> {
  await recordings.find(id, 0);
  throw new Failure('not-found', `there is no recording of session "${id}"; see GET /api/v1/recordings`);
}
