/**
 * The screen as a page a reader can walk: frames stripped, rules told apart, the prompt line joined.
 *
 * Columns are indices into `raw`; `text` is `raw` without the box that may stand around it. Knows nothing of
 * questions.
 */
import type { ScreenFacts, StyleRun } from './asking-screen.ts';

export interface PageLine {
  readonly row: number;
  readonly raw: string;
  /** Without frame and outer blanks. */
  readonly text: string;
  /** Index in `raw` where `text` starts. */
  readonly at: number;
  /** Nothing but lines of a box, or a title set into one. */
  readonly rule: boolean;
  readonly blank: boolean;
  /** It stood inside a box, or beside a bar. */
  readonly framed: boolean;
  readonly wrapped: boolean;
  readonly runs: readonly StyleRun[];
}

export interface Page {
  readonly facts: ScreenFacts;
  readonly lines: readonly PageLine[];
  /** Index of the last line with something on it; -1 on an empty screen. */
  readonly last: number;
  /** Everything the program wrote on the cursor's logical line before the cursor, wrapped rows joined. */
  readonly prompt: string;
  /** Row where that logical line starts. */
  readonly promptRow: number;
}

const bar = '│┃║┊┆╎▏▎▌▍┋╽╿█▐▕';
const leftBar = new RegExp(`^\\s*[${bar}]+(?=\\s|$)`, 'u');
const rightBar = new RegExp(`\\s+[${bar}]+\\s*$`, 'u');
const boxOnly = /^[\s─━═╌╍┄┅┈┉╴╶╭╮╰╯┌┐└┘├┤┬┴┼╔╗╚╝╠╣╦╩▔▁▄▀╹╻╷╵┏┓┗┛┣┫╼╾│┃║]+$/u;
const boxTitle = /^\s*[╭┌╔┏├][─━═╌┄]/u;
const longDash = /^\s*([-=_*~#])\1{7,}\s*$/;

export function pageOf(facts: ScreenFacts): Page {
  const lines = facts.lines.map((line, row) => pageLine(line.text.trimEnd(), row, line));
  let last = lines.length - 1;
  while (last >= 0 && lines[last]?.blank === true) last--;
  let promptRow = Math.min(facts.cursor.row, lines.length - 1);
  let prompt = facts.cursor.before;
  while (promptRow > 0 && lines[promptRow]?.wrapped === true) {
    promptRow--;
    prompt = (lines[promptRow]?.raw ?? '').padEnd(facts.cols) + prompt;
  }
  return { facts, lines, last, prompt, promptRow: Math.max(0, promptRow) };
}

function pageLine(raw: string, row: number, line: { wrapped: boolean; runs: readonly StyleRun[] }): PageLine {
  const sides = /^[\s│┃║]*$/u.test(raw);
  const rule = !sides && (boxOnly.test(raw) || boxTitle.test(raw) || longDash.test(raw));
  const left = leftBar.exec(raw) ?? asciiBar(raw);
  const start = left === null ? 0 : left[0].length;
  let inner = raw.slice(start).replace(rightBar, '');
  if (left !== null && left[0].trim() === '|') inner = inner.replace(/\s*\|\s*$/, '');
  const text = inner.trim();
  const at = start + inner.length - inner.trimStart().length;
  return {
    row,
    raw,
    text,
    at,
    rule,
    blank: text === '' && !rule,
    framed: left !== null,
    wrapped: line.wrapped,
    runs: line.runs,
  };
}

/** A plain `|` is a frame only when it stands on both sides. */
function asciiBar(raw: string): RegExpExecArray | null {
  return /^\s*\|.*\|\s*$/.test(raw) ? /^\s*\|(?=\s)/.exec(raw) : null;
}

export function lineAt(page: Page, row: number): PageLine | null {
  return page.lines[row] ?? null;
}

/**
 * The next line above `row` that says something; null at the top, or at a rule when `rules` stop the walk.
 */
export function above(page: Page, row: number, within: number): PageLine | null {
  for (let at = row - 1; at >= 0 && row - at <= within; at--) {
    const line = page.lines[at];
    if (line === undefined || line.rule) return null;
    if (!line.blank) return line;
  }
  return null;
}

/** One line of words: blanks collapsed. */
export function words(text: string): string {
  return text.replace(/\s+/gu, ' ').trim();
}

/** A dashed rule parts a dialog; a full one ends it. */
export function isDashed(raw: string): boolean {
  return /^[\s│┃]*[╌╍┄┅┈┉]/u.test(raw);
}

/** The first row of what belongs together above `top`: up to a rule, a wide gap, or where the box ends. */
export function edgeAbove(page: Page, top: number): number {
  const framed = page.lines[top]?.framed;
  let gap = 0;
  let row = top;
  while (row > 0) {
    const line = page.lines[row - 1];
    if (line === undefined || (line.rule && !isDashed(line.raw))) break;
    gap = line.blank ? gap + 1 : 0;
    if (gap >= 5 || (!line.blank && !line.rule && framed === true && !line.framed)) break;
    row--;
  }
  return row;
}
