/** The words above a menu or buttons that ask: of all that a dialog says, the part that is the question. */
import { isDashed, type Page, type PageLine, words } from './asking-page.ts';

const titleMark = /^[?◆]\s/u;

export interface Title {
  readonly row: number;
  /** The words of the question. */
  readonly text: string;
  /** The same before its marker was taken off. */
  readonly marked: string;
}

/**
 * The question above a menu: the nearest paragraph of its dialog that asks. Where none does, all the words of
 * a dialog with an edge, or the nearest paragraph of one without.
 */
export function titleOf(page: Page, top: number): Title | null {
  const found: Title[] = [];
  const framed = page.lines[top]?.framed === true;
  const inside = (line: PageLine | undefined) => line?.framed === framed || titleMark.test(line?.text ?? '');
  let row = top - 1;
  let edge = false;
  while (row >= 0 && found.length < 7 && top - row <= 20 && !edge) {
    const gap = row;
    while (
      row >= 0 &&
      (page.lines[row]?.blank === true || (found.length > 0 && isDashed(page.lines[row]?.raw ?? '')))
    )
      row--;
    edge = found.length > 0 && framed && page.lines[row]?.framed === false;
    if (gap - row >= 5 || row < 0 || edge) break;
    const bottom = row;
    while (row >= 0 && isWords(page.lines[row]) && inside(page.lines[row])) {
      row--;
      if (titleMark.test(page.lines[row + 1]?.text ?? '')) break;
    }
    if (row === bottom) {
      edge = true;
      break;
    }
    const title = paragraph(page, row + 1, bottom);
    if (titleMark.test(title.marked)) return found.find(asks) ?? title;
    found.push(title);
    const over = page.lines[row];
    edge =
      over !== undefined && ((over.rule && !isDashed(over.raw)) || (framed && !over.framed && !over.rule));
  }
  const asking = found.find(asks) ?? found.find((title) => /[?？]/u.test(title.text));
  if (asking !== undefined || found.length < 2 || !edge) return asking ?? found[0] ?? null;
  const all = [...found].reverse();
  return {
    row: all[0]?.row ?? top,
    marked: all.map((title) => title.marked).join(' '),
    text: all.map((title) => title.text).join(' '),
  };
}

/** "Reason: shall I?" and "$ ls ?" are about the question, not the question. */
function asks(title: Title): boolean {
  return /[?？]/u.test(title.text) && !/^(?:[$>+#]\s|\p{L}+:\s)/u.test(title.text);
}

function isWords(line: PageLine | undefined): boolean {
  return line !== undefined && !line.blank && !line.rule && !/^[└┘├]$/u.test(line.text);
}

function paragraph(page: Page, top: number, bottom: number): Title {
  const marked = page.lines
    .slice(top, bottom + 1)
    .map((line) => line.text)
    .join(' ');
  return { row: top, marked, text: cleanTitle(marked) };
}

const titleHints = [
  /\s*[›»…]\s*-?\s*(Use arrow|Instructions:|Space to select).*$/u,
  /\s*\((Use arrow|Press <|Select with|use arrow)[^)]*\)?.*$/u,
  /\s*\[(Use arrows|type to filter)[^\]]*\]?.*$/u,
  /\s*[›…»‣]\s*$/u,
];

export function cleanTitle(text: string): string {
  return words(
    titleHints.reduce(
      (clean, hint) => clean.replace(hint, ''),
      text.replace(/^[?◆◇●☐✻*!»△▲⚠⚡✦❓ℹ]\uFE0F?\s+/u, ''),
    ),
  );
}
