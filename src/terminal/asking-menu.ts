/**
 * Menus drawn on the screen, one option a line, one of them marked.
 *
 *    Do you want to proceed?          ? Pick a colour           ◆  Pick a framework
 *    ❯ 1. Yes                         ❯ Red                     │  ● React
 *      2. No                            Green                   │  ○ Vue
 *
 * The block must be live: the cursor is in it, or hidden with nothing but hints below it. A marked line above
 * an input box is history or completion, never a question.
 */
import type { QuestionOption } from '../terminal.ts';
import type { Found } from './asking-found.ts';
import { lineAt, type Page, type PageLine, words } from './asking-page.ts';
import { titleOf } from './asking-title.ts';

const pointers = '❯›>▸▶►»→➜➤‣⏵☞⮕';
const boxes = '☐☑☒◯◉○●◻◼◽◾▢▣□■⬡⬢✔✓✅';
const itemShape = new RegExp(
  `^(?<lead>\\s*)(?<pointer>[${pointers}])?(?<gap>\\s*)` +
    `(?<box>[${boxes}](?=\\s)|\\[[ xX✓✔*]?\\](?=\\s)|\\([ xX*•]\\)(?=\\s))?\\s*` +
    '(?<number>\\d{1,2}[.)](?=\\s))?\\s*' +
    `(?<inner>[${boxes}](?=\\s)|\\[[ xX✓✔*]?\\](?=\\s))?\\s*(?<label>\\S.*)$`,
  'u',
);

interface Item {
  readonly row: number;
  readonly pointed: boolean;
  readonly box: string | null;
  readonly number: number | null;
  /** Column where box, number or label starts, whichever is first. */
  readonly col: number;
  readonly labelCol: number;
  readonly pointerCol: number;
  label: string;
}

export interface Menu {
  readonly items: readonly Item[];
  readonly selected: number;
  readonly top: number;
  readonly bottom: number;
}

export function readMenu(page: Page): Found | null {
  if (page.last < 1) return null;
  const menu = findMenu(page);
  if (menu === null) return null;
  const confidence = liveness(page, menu);
  if (confidence === null) return null;
  const title = titleOf(page, menu.top);
  if (title === null) return null;
  return {
    kind: 'choice',
    question: title.text,
    options: optionsOf(page, menu, title.text !== title.marked),
    confidence,
    submit: '\r',
    top: title.row,
    bottom: menu.bottom,
  };
}

function findMenu(page: Page): Menu | null {
  const cursorLine = lineAt(page, page.facts.cursor.row);
  const order = page.lines.filter((line) => !line.blank && !line.rule).reverse();
  if (cursorLine !== null && !cursorLine.blank) order.unshift(cursorLine);
  for (const line of order) {
    const item = itemOf(line);
    if (item === null || !(item.pointed || isRadioOn(item))) continue;
    const menu = item.number === null ? plainMenu(page, item) : numberedMenu(page, item);
    if (menu !== null && menu.items.length >= 2) return menu;
  }
  return checkboxes(page);
}

function isRadioOn(item: Item): boolean {
  return item.box === '●' || item.box === '◉';
}

function itemOf(line: PageLine): Item | null {
  if (line.blank || line.rule) return null;
  const inner = ' '.repeat(line.at) + line.text;
  const groups = itemShape.exec(inner)?.groups;
  if (groups === undefined) return null;
  const lead = groups.lead ?? '';
  const pointed = groups.pointer !== undefined;
  const col = lead.length + (pointed ? 1 : 0) + (groups.gap ?? '').length;
  const number = groups.number === undefined ? null : Number.parseInt(groups.number, 10);
  return {
    row: line.row,
    pointed,
    box: groups.box ?? groups.inner ?? null,
    number,
    col,
    pointerCol: lead.length,
    label: groups.label ?? '',
    labelCol: inner.length - (groups.label ?? '').length,
  };
}

/** Options at one column, one below the other. Deeper lines describe the option above them. */
function plainMenu(page: Page, marked: Item): Menu | null {
  const radio = !marked.pointed;
  const belongs = (line: PageLine): Item | null => {
    const item = itemOf(line);
    if (item === null || item.pointed || item.number !== null) return null;
    if (radio && item.box === null) return null;
    return item.labelCol === marked.labelCol ? item : null;
  };
  const items = [marked];
  walk(page, { from: marked.row, step: -1 }, (line) => {
    const item = belongs(line);
    if (item !== null) items.unshift(item);
    return item !== null || (line.at > marked.labelCol && !line.blank && !line.rule);
  });
  const end = walk(page, { from: marked.row, step: 1 }, (line) => {
    const item = belongs(line);
    if (item !== null) items.push(item);
    const deeper = line.at > marked.labelCol && !line.blank && !line.rule;
    if (item === null && deeper) continueLabel(page, items.at(-1), line);
    return item !== null || deeper;
  });
  return { items, selected: items.indexOf(marked), top: items[0]?.row ?? marked.row, bottom: end };
}

/** Options 1, 2, 3, … around the marked one. Blank lines, rules and descriptions may stand between them. */
function numberedMenu(page: Page, marked: Item): Menu | null {
  const items = [marked];
  const inside = (line: PageLine) => line.blank || line.rule || line.at > marked.col;
  walk(page, { from: marked.row, step: -1 }, (line) => {
    const item = itemOf(line);
    const next = items[0]?.number ?? 0;
    if (item !== null && item.number === next - 1 && item.col === marked.col && !item.pointed) {
      items.unshift(item);
      return true;
    }
    return next > 1 && inside(line);
  });
  let end = marked.row;
  walk(page, { from: marked.row, step: 1 }, (line) => {
    const item = itemOf(line);
    const current = items.at(-1);
    if (
      item !== null &&
      item.number === (current?.number ?? 0) + 1 &&
      Math.abs(item.col - marked.col) <= 1 &&
      !item.pointed
    ) {
      items.push(item);
      end = line.row;
      return true;
    }
    if (!line.blank && !line.rule && inside(line)) {
      continueLabel(page, current, line);
      end = line.row;
    }
    return inside(line);
  });
  for (const item of items.slice(0, items.indexOf(marked) + 1)) gatherBelow(page, item, items);
  if (items[0]?.number !== 1 && items[0]?.number !== 0) return null;
  return { items, selected: items.indexOf(marked), top: items[0].row, bottom: end };
}

/** Labels above the marked option may go on in the rows below them as well. */
function gatherBelow(page: Page, item: Item, items: readonly Item[]): void {
  const next = items[items.indexOf(item) + 1];
  if (next === undefined || next.row <= item.row) return;
  const already = words(item.label).length;
  for (let row = item.row + 1; row < next.row; row++) {
    const line = page.lines[row];
    if (line !== undefined && !line.blank && !line.rule && words(item.label).length === already) {
      continueLabel(page, item, line);
    }
  }
}

/**
 * A row that continues a label was wrapped: the next word did not fit. Anything else describes the option.
 */
function continueLabel(page: Page, item: Item | undefined, line: PageLine): void {
  if (item === undefined || line.row === 0) return;
  const before = page.lines[line.row - 1];
  const word = line.text.split(/\s/)[0] ?? '';
  const width = before?.framed === true ? page.facts.cols - 4 : page.facts.cols;
  const full = before !== undefined && before.at + before.text.length + word.length + 1 >= width - 1;
  if (line.wrapped)
    item.label += before !== undefined && before.raw.length < page.facts.cols ? ` ${line.text}` : line.text;
  else if (full) item.label += ` ${line.text}`;
}

interface Way {
  readonly from: number;
  readonly step: 1 | -1;
}

/** Visits rows beyond `from` while `keep` says so; returns the last row kept. */
function walk(page: Page, { from, step }: Way, keep: (line: PageLine) => boolean): number {
  let at = from + step;
  let kept = from;
  for (
    let line = page.lines[at];
    line !== undefined && at <= page.last && keep(line);
    line = page.lines[at]
  ) {
    if (!line.blank && !line.rule) kept = at;
    at += step;
  }
  return kept;
}

/** A column of boxes where colour alone marks the current one, under a line that asks. */
function checkboxes(page: Page): Menu | null {
  for (let row = page.last; row > 0; row--) {
    const item = itemOf(page.lines[row] as PageLine);
    if (item?.box == null || !/[☐☑☒◯◉○●◻◼◽◾▢▣□■]/u.test(item.box)) continue;
    const items: Item[] = [];
    for (let at = row; at >= 0; at--) {
      const each = itemOf(page.lines[at] as PageLine);
      if (each?.box == null || each.col !== item.col) break;
      items.unshift(each);
    }
    if (items.length < 2) continue;
    const lit = items.findIndex((each) => isLit(page.lines[each.row] as PageLine));
    return { items, selected: Math.max(0, lit), top: items[0]?.row ?? row, bottom: row };
  }
  return null;
}

function isLit(line: PageLine): boolean {
  const label = line.at + line.text.length - 1;
  return line.runs.some(
    (run) =>
      run.end > line.at && run.start <= label && (run.underline || run.inverse || run.fg >= 0) && !run.dim,
  );
}

/**
 * How sure we are that somebody is meant to pick now; null when the block is history, output or completion.
 */
function liveness(page: Page, menu: Menu): number | null {
  const { cursor } = page.facts;
  const selected = menu.items[menu.selected];
  if (selected === undefined) return null;
  const inBlock = cursor.row >= menu.top && cursor.row <= menu.bottom;
  if (!inBlock && cursor.row > menu.bottom && startsInput.test(cursor.before)) return null;
  if (inputBoxBelow(page, menu.bottom)) return null;
  const tail = page.lines.slice(menu.bottom + 1, page.last + 1).filter((line) => !line.blank && !line.rule);
  if (tail.some((line) => working.test(line.text))) return null;
  const hinted = [...tail, ...page.lines.slice(Math.max(0, menu.top - 4), menu.top)].some((line) =>
    hints.test(line.text),
  );
  const marked = titleMark.test(page.lines[menu.top - 1]?.text ?? '');
  const short = tail.length <= 2 || tail.every((line) => hints.test(line.text) || line.framed);
  if (inBlock && (!cursor.visible || hinted || marked || cursor.col <= selected.col)) {
    if (cursor.row === selected.row && cursor.visible && cursor.after.trim() === '' && !hinted) return null;
    return hinted || selected.number !== null ? 0.97 : 0.92;
  }
  if (!cursor.visible) return short ? (hinted || selected.number !== null || marked ? 0.96 : 0.88) : null;
  const near = cursor.row - menu.bottom <= 3 && cursor.row >= menu.top - 4;
  return near && (hinted || marked) && tail.length <= 3 ? 0.92 : null;
}

const startsInput = /^\s*[│┃|]?\s*[❯›>$#%➜]\s/u;
const working = /\besc to interrupt\b|\bctrl\+c to (stop|interrupt)\b/i;
const titleMark = /^[?◆]\s/u;
const hints =
  /arrow|↑|↓|←|→|\benter\b|\breturn\b|\bspace\b|\besc(ape)?\b|\btab\b|ctrl|navigate|select\b|⏎|press |move up|\bj\/k\b/i;

/** An agent's idle input: a prompt sign on a line of its own between two rules. */
export function inputBoxBelow(page: Page, row: number): boolean {
  for (let at = row + 1; at <= page.last; at++) {
    const line = page.lines[at];
    if (line === undefined || line.blank || line.rule || !/^[❯›>]/u.test(line.text)) continue;
    if (page.lines[at - 1]?.rule === true && at - 1 > row) {
      for (let under = at + 1; under <= Math.min(page.last, at + 12); under++) {
        if (page.lines[under]?.rule === true) return true;
      }
    }
  }
  return false;
}

function optionsOf(page: Page, menu: Menu, marked: boolean): QuestionOption[] {
  const down = page.facts.applicationCursor ? '\x1bOB' : '\x1b[B';
  const up = page.facts.applicationCursor ? '\x1bOA' : '\x1b[A';
  const many = isMany(page, menu);
  // Claude's questions with many answers: a digit toggles, the tab to the right submits.
  const tabbed = page.lines
    .slice(Math.max(0, menu.top - 8), menu.top)
    .some((line) => /[✔✓] Submit\b/u.test(line.text));
  return menu.items.map((item, index) => {
    const steps = index - menu.selected;
    const moves = (steps < 0 ? up : down).repeat(Math.abs(steps));
    const id = String(item.number ?? index + 1);
    const isOn = item.box !== null && /[xX✓✔*☑☒◉●◼◾▣■]/u.test(item.box);
    if (tabbed && item.number !== null && item.box !== null)
      return { id, label: labelOf(item.label), keys: `${isOn ? '' : id}\x1b[C\r` };
    // A digit picks at once in the menus of agents; libraries that draw `? ` only move to it, if that.
    const digit = item.number !== null && item.number <= 9 && !marked;
    const keys = many ? `${moves}${isOn ? '' : ' '}\r` : digit ? id : `${moves}\r`;
    return { id, label: labelOf(item.label), keys };
  });
}

function isMany(page: Page, menu: Menu): boolean {
  if (!menu.items.every((item) => item.box !== null)) return false;
  return (
    menu.items.some((item) => item.pointed) ||
    !menu.items.some((item) => item.box === '○' || item.box === '●') ||
    page.lines
      .slice(Math.max(0, menu.top - 6), page.last + 1)
      .some((line) => /\bspace\b|toggle/i.test(line.text))
  );
}

function labelOf(text: string): string {
  return words((text.split(/\s{2,}/u)[0] ?? text).replace(/^[✔✓]\s+/u, '').replace(/\s+[✔✓]$/u, ''));
}
