/** A screen as the wire has it. */
import { rfc3339 } from '../clock.ts';
import type { Gaps } from '../recordings.ts';
import type { ScreenView } from '../terminal.ts';
import type { HitlView } from '../views.ts';

export interface Beside {
  /** When the newest of it was said, for a screen of the past; null: it is the present one. */
  readonly at: number | null;
  /** Before its offset. */
  readonly gaps: Gaps;
  /** What it asks. */
  readonly question: HitlView | null;
}

export const screenBody = (session_id: string, screen: ScreenView, { at, gaps, question }: Beside) => ({
  session_id,
  rows: screen.rows,
  cols: screen.cols,
  text: screen.text,
  cursor: screen.cursor,
  alternate: screen.alternate,
  title: screen.title,
  scrollback_tail: screen.scrollback,
  offset: screen.offset,
  at: at === null ? null : rfc3339(at),
  gaps,
  prompt_detected: question !== null && question.source === 'screen',
  prompt_text: question?.source === 'screen' ? question.prompt : null,
});
