/**
 * Dialogs in a box with buttons at its foot, as whiptail, dialog and debconf draw them.
 *
 *   ┌────┤ Boot ├────┐     words, then one of: an input line · a list with one entry lit · nothing
 *   │ Choose one     │
 *   │   1 linux      │     then the buttons, each in angle brackets
 *   │  <Ok> <Cancel> │
 *   └────────────────┘
 */
import type { QuestionOption } from '../terminal.ts';
import type { Found } from './asking-found.ts';
import { type Page, type PageLine, words } from './asking-page.ts';
import { isSecret } from './asking-text.ts';

const button = /<\s*(\p{L}[\p{L}' ]{0,18}?)\s*>/gu;
const foot = /^\s*[└╰╚┗][─━═]+/u;
const top = /^\s*[┌╭╔┏][─━═┤├ ]/u;
const separator = /^\s*[├╟┣╠][─━═]+/u;
const HEIGHT_MAX = 60;
/** A marked field of at least so many cells is where words go. */
const FIELD_CELLS_MIN = 8;

interface Box {
  readonly title: string;
  /** What stands between the frame and the buttons, rules and blanks left out. */
  readonly body: readonly PageLine[];
  readonly buttons: PageLine;
  readonly labels: readonly string[];
  readonly topRow: number;
}

export function readBox(page: Page): Found | null {
  const box = boxOf(page);
  if (box === null) return null;
  const rest = { submit: '\r', top: box.topRow, bottom: box.buttons.row, confidence: 0.93 };
  const field = fieldOf(page, box);
  if (field !== null) {
    const question = saidAbove(box, field.row);
    if (question === '') return null;
    const secret = /^[*•●]+_*$/u.test(field.text) || isSecret(`${question}:`, page.facts.evidence);
    return { ...rest, kind: secret ? 'secret' : 'text', question, options: [] };
  }
  const list = listOf(box);
  if (list !== null) {
    const question = saidAbove(box, list.rows[0]?.row ?? 0);
    return question === '' ? null : { ...rest, kind: 'choice', question, options: optionsOf(page, list) };
  }
  const question = words(box.body.map((line) => line.text).join(' ')) || box.title;
  if (question === '') return null;
  const lit = Math.max(
    0,
    [...box.buttons.raw.matchAll(button)].findIndex((match) =>
      isLit(box.buttons, match.index ?? 0, match[0].length),
    ),
  );
  const options = box.labels.map((label, index) => ({
    id: /^(?:yes|no|ok|cancel)$/iu.test(label) ? label.toLowerCase() : String(index + 1),
    label,
    keys: `${arrows(page, index - lit, 'DC')}\r`,
  }));
  const isPair = options.length === 2 && /^(?:yes|ok|continue)$/iu.test(box.labels[0] ?? '');
  return { ...rest, kind: isPair || options.length === 1 ? 'confirm' : 'choice', question, options };
}

/** The lowest box on the screen whose last words are buttons. */
function boxOf(page: Page): Box | null {
  let end = page.last;
  while (end >= 0 && !foot.test(page.lines[end]?.raw ?? '')) end--;
  if (end < 0 || page.last - end > 3) return null;
  const body: PageLine[] = [];
  let buttons: PageLine | null = null;
  for (let row = end - 1; row >= 0 && end - row <= HEIGHT_MAX; row--) {
    const line = page.lines[row];
    if (line === undefined) return null;
    if (top.test(line.raw)) {
      const labels =
        buttons === null ? [] : [...buttons.text.matchAll(button)].map((match) => words(match[1] ?? ''));
      const title = words(/[┤│|]\s*([^─━═┤├│|]+?)\s*[├│|]/u.exec(line.raw)?.[1] ?? '');
      return buttons === null ? null : { title, body, buttons, labels, topRow: row };
    }
    if (separator.test(line.raw) || line.rule || line.blank) continue;
    if (!line.framed) return null;
    if (buttons !== null) body.unshift(line);
    else if (line.text.replace(button, '').trim() === '') buttons = line;
    else return null;
  }
  return null;
}

/** Where the cursor waits for words: a row of underscores, or a stretch of another colour. */
function fieldOf({ facts: { cursor } }: Page, { body }: Box): PageLine | null {
  const line = body.find(({ row }) => row === cursor.row);
  if (!line || !cursor.visible) return null;
  if (/_{3,}$/u.test(line.text)) return line;
  const ground = groundAt(line, line.raw.search(/\S/u) + 1);
  const run = line.runs.find(({ start, end }) => start <= cursor.col && end >= cursor.col);
  const isField =
    run !== undefined && run.end - run.start >= FIELD_CELLS_MIN && `${run.bg} ${run.inverse}` !== ground;
  return isField ? line : null;
}

function saidAbove({ body, title }: Box, row: number): string {
  return (
    words(
      body
        .filter((line) => line.row < row)
        .map((line) => line.text)
        .join(' '),
    ) || title
  );
}

interface List {
  readonly rows: readonly PageLine[];
  readonly lit: number;
}

/** Rows that follow each other, exactly one of them on a ground of its own. */
function listOf({ body }: Box): List | null {
  const grounds = body.map((line) => groundAt(line, line.at));
  const lit = body.findIndex((_, i) => grounds.filter((ground) => ground === grounds[i]).length === 1);
  const one = body[lit];
  if (!one || body.length < 2) return null;
  let from = lit;
  while (from > 0 && body[from - 1]?.row === (body[from]?.row ?? 0) - 1) from--;
  let to = lit;
  while (to < body.length - 1 && body[to + 1]?.row === (body[to]?.row ?? 0) + 1) to++;
  const rows = body.slice(from, to + 1);
  return rows.length < 2 ? null : { rows, lit: lit - from };
}

function groundAt({ runs }: PageLine, at: number): string {
  const run = runs.find(({ start, end }) => start <= at && end > at);
  return `${run?.bg ?? -1} ${run?.inverse ?? false}`;
}

const isLit = (line: PageLine, at: number, length: number): boolean => {
  const mine = groundAt(line, at + Math.floor(length / 2));
  return (
    [...line.raw.matchAll(button)].every(
      (match) => match.index === at || groundAt(line, match.index + Math.floor(match[0].length / 2)) !== mine,
    ) && mine !== groundAt(line, line.at - 1)
  );
};

function optionsOf(page: Page, { rows, lit }: List): QuestionOption[] {
  return rows.map(({ text }, index) => {
    const isMarked = /^[[(][ *xX][\])]/u.test(text);
    const label = words(text.replace(/^[[(][ *xX][\])]\s*/u, ''));
    return {
      id: String(index + 1),
      label,
      keys: `${arrows(page, index - lit, 'AB')}${isMarked ? ' ' : ''}\r`,
    };
  });
}

/** `letters`: the ends of the sequences of the key that goes back and of the key that goes on. */
function arrows(page: Page, steps: number, letters: 'AB' | 'DC'): string {
  const letter = letters.at(steps < 0 ? 0 : 1);
  return `${page.facts.applicationCursor ? '\x1bO' : '\x1b['}${letter}`.repeat(Math.abs(steps));
}
