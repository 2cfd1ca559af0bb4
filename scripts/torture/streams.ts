/** Sessions that count, and a reader that misses nothing: every number once, in order, whatever died. */
import type { Victim } from './victim.ts';

/** So many lines, then a breath: about 60 kB/s each. */
const counting =
  'i=0; while :; do for _ in {1..200}; do i=$((i+1)); printf "%09d\\n" $i; done; sleep 0.03; done';
const NUMBER_CHARS = 9;

export interface Stream {
  readonly session: string;
  readonly isPty: boolean;
  /** The next byte to read, and the next number to come. */
  offset: number;
  next: number;
  rest: string;
}

export async function startStreams(victim: Victim, agent: string): Promise<Stream[]> {
  const streams: Stream[] = [];
  for (const isPty of [true, true, false]) {
    const body = {
      command: 'bash',
      args: ['-c', counting],
      ...(isPty ? { cols: 80, rows: 24 } : { session_type: 'headless' }),
    };
    const made = await victim.call('POST', `agents/${agent}/sessions`, body);
    const { session_id: session = '' } = (made?.body ?? {}) as { session_id?: string };
    if (made?.status !== 201) throw new Error(`no session: ${JSON.stringify(made)}`);
    streams.push({ session, isPty, offset: 0, next: 1, rest: '' });
  }
  return streams;
}

/** Reads to the end of what is recorded now; returns what is wrong. */
export async function readOn(victim: Victim, stream: Stream): Promise<string | null> {
  for (;;) {
    const bytes = await victim.bytes(`sessions/${stream.session}/output?from=${stream.offset}&max=1048576`);
    if (!bytes) return `session ${stream.session} could not be read at ${stream.offset}`;
    if (bytes.length === 0) return null;
    stream.offset += bytes.length;
    const lines = (stream.rest + Buffer.from(bytes).toString('latin1')).split('\n');
    stream.rest = lines.pop() ?? '';
    for (const line of lines) {
      const wanted = String(stream.next).padStart(NUMBER_CHARS, '0');
      if (line.replace('\r', '') !== wanted)
        return `session ${stream.session} says ${JSON.stringify(line)} where ${wanted} belongs, before byte ${stream.offset}`;
      stream.next += 1;
    }
  }
}
