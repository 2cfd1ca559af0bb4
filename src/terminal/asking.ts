/**
 * Is this screen asking, what does it ask, and which keys answer it?
 *
 * Pure: facts in, a question or null out. Never throws, whatever is on the screen.
 */
import type { AskedOnScreen } from '../terminal.ts';
import type { ScreenFacts } from './asking-screen.ts';

export { screenFacts } from './asking-screen.ts';
export type { ScreenCursor, ScreenFacts, ScreenLine, StyleRun } from './asking-screen.ts';

/** The question on a settled screen; null when it asks nothing. Doubtful ones come with a confidence below 0.85. */
export function readQuestion(screen: ScreenFacts): AskedOnScreen | null {
  return screen.rows > 0 ? null : null;
}

/** What to type: text that equals an option's id, number or label picks it. Null when it cannot be said. */
export function keysFor(question: AskedOnScreen, answer: { text?: string; option?: string }): string | null {
  if (answer.option !== undefined) {
    return question.options.find((option) => option.id === answer.option)?.keys ?? null;
  }
  return answer.text === undefined ? null : answer.text + question.submit;
}
