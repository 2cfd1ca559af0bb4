/** What is shown of a process without a screen: the last lines of what it said. */
import type { ScreenView } from '../terminal.ts';
import type { Recording } from './recording.ts';

const TAIL_BYTES = 32 << 10;
const ABOVE_LINES = 50;

export interface TailOptions {
  readonly cols: number;
  readonly rows: number;
  /** The end of what is shown. */
  readonly next: number;
}

export function tailOf(recording: Recording, { cols, rows, next }: TailOptions): ScreenView {
  const parts: string[] = [];
  for (let at = Math.max(0, next - TAIL_BYTES); at < next; ) {
    const slice = recording.slice(at, next - at);
    if (slice.next <= at) break;
    parts.push(Buffer.from(slice.bytes.subarray(0, Math.max(0, next - slice.from))).toString('utf8'));
    at = slice.next;
  }
  const lines = parts.join('').replace(/\n$/, '').split('\n');
  const row = Math.max(0, Math.min(rows, lines.length) - 1);
  return {
    cols,
    rows,
    text: lines.slice(-rows).join('\n'),
    cursor: { row, col: Math.min(cols, lines.at(-1)?.length ?? 0), visible: false },
    alternate: false,
    scrollback: lines.slice(-rows - ABOVE_LINES, -rows),
    title: '',
    offset: next,
  };
}
