/** Recordings as the outside sees them (src/views.ts). */
import type { SessionView } from './views.ts';

/** What there is of what a session said. Names are null when nobody remembers the session. */
export interface RecordingView {
  session_id: string;
  session_name: string | null;
  session_type: SessionView['session_type'] | null;
  agent_id: string | null;
  task_id: string | null;
  command: string | null;
  args: string[] | null;
  /** It still grows. */
  live: boolean;
  has_screen: boolean;
  /** At its end. */
  cols: number | null;
  rows: number | null;
  size_bytes: number;
  /** Null, like `gaps`: not counted yet; ask again. */
  output_bytes: number | null;
  /** After its last byte, counting what is missing. */
  next_offset: number;
  first_at: string | null;
  last_at: string | null;
  duration_ms: number;
  gaps: { count: number; bytes: number } | null;
  recording_url: string;
  screen_url: string;
  transcript_url: string;
  cast_url: string;
  text_url: string;
}

export interface RecordingMarkView {
  kind: 'resize' | 'gap' | 'end';
  offset: number;
  at: string;
  /** Of a resize. */
  cols?: number;
  rows?: number;
  /** Of a gap: how many are missing from the offset on. */
  bytes?: number;
  /** Of the end. */
  exit_code?: number | null;
  reason?: string;
}

export interface FoundLineView {
  session_id: string;
  session_name: string | null;
  agent_id: string | null;
  task_id: string | null;
  /** Of its first byte. */
  offset: number;
  at: string;
  stream: string;
  text: string;
  /** The screen with it. */
  screen_url: string;
}
