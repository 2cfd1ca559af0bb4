/**
 * Is this screen asking, what does it ask, and which keys answer it?
 *
 *   ScreenFacts ─▶ page ─▶ menu? marked prompt? buttons? prompt on a line? ─▶ AskedOnScreen | null
 *
 * Pure: facts in, a question or null out; never throws, whatever is on the screen, and never looks at words
 * alone: the cursor, the last lines and the agent's evidence must say that somebody is being waited for. Read
 * only a settled screen. A doubtful reading comes back with a confidence below `askingThreshold`; the house
 * asks nobody then.
 */
import type { AskedOnScreen } from '../terminal.ts';
import { readBox } from './asking-box.ts';
import { asked } from './asking-found.ts';
import { readButtons, readMarked } from './asking-marked.ts';
import { readMenu } from './asking-menu.ts';
import { pageOf } from './asking-page.ts';
import { readPrompt } from './asking-prompt.ts';
import type { ScreenFacts } from './asking-screen.ts';

/** From here on a human is asked. */
export const askingThreshold = 0.85;

/** The question on a settled screen; null when it asks nothing. */
export function readQuestion(screen: ScreenFacts): AskedOnScreen | null {
  const page = pageOf(screen);
  if (page.last < 0) return null;
  const found = readBox(page) ?? readMenu(page) ?? readMarked(page) ?? readButtons(page) ?? readPrompt(page);
  return found === null || found.question.trim() === '' ? null : asked(page, found);
}
