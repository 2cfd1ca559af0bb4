/** A screen as the wire has it. */
import type { ScreenView } from '../terminal.ts';
import type { HitlView } from '../views.ts';

export const screenBody = (session_id: string, screen: ScreenView, question: HitlView | null) => ({
  session_id,
  rows: screen.rows,
  cols: screen.cols,
  text: screen.text,
  cursor: screen.cursor,
  alternate: screen.alternate,
  title: screen.title,
  scrollback_tail: screen.scrollback,
  offset: screen.offset,
  prompt_detected: question !== null && question.source === 'screen',
  prompt_text: question?.source === 'screen' ? question.prompt : null,
});
