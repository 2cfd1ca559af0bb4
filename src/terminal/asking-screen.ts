/**
 * What a reader of questions may know about a terminal: the rendered screen as plain facts.
 *
 *   @xterm/headless ──screenFacts──▶ ScreenFacts ──readQuestion──▶ AskedOnScreen | null
 *
 * Facts are a copy, safe to keep after the terminal has moved on. Parse everything that has been written
 * before taking them (`term.write(bytes, callback)`). Bytes, time and processes are unknown here; what the
 * agent saw of the process arrives as `evidence`.
 */
import type { IBufferCell, IBufferLine, Terminal } from '@xterm/headless';
import type { TerminalState } from '../agent-link.ts';

export interface ScreenFacts {
  readonly cols: number;
  readonly rows: number;
  /** Every visible row, top to bottom; `lines.length === rows`. */
  readonly lines: readonly ScreenLine[];
  readonly cursor: ScreenCursor;
  readonly alternate: boolean;
  /** Line editors of shells and agents turn it on; plain prompts do not. */
  readonly bracketedPaste: boolean;
  /** Arrow keys are `ESC O A` instead of `ESC [ A`. */
  readonly applicationCursor: boolean;
  /** What the agent knows of the process; null in recordings and from foreign agents. */
  readonly evidence: TerminalState | null;
}

export interface ScreenLine {
  /** Trailing blanks trimmed. */
  readonly text: string;
  /** This row continues the row above: the terminal wrapped it. */
  readonly wrapped: boolean;
  /** Stretches of `text` that are not in the default style, left to right. */
  readonly runs: readonly StyleRun[];
}

/** `start` and `end` are indices into `text`, end exclusive. A run may be blank cells with a background. */
export interface StyleRun {
  readonly start: number;
  readonly end: number;
  readonly bold: boolean;
  readonly dim: boolean;
  readonly inverse: boolean;
  readonly underline: boolean;
  /** -1 is the default colour. */
  readonly fg: number;
  readonly bg: number;
}

export interface ScreenCursor {
  readonly row: number;
  readonly col: number;
  readonly visible: boolean;
  /** Text of the cursor's row left of it, blanks kept. */
  readonly before: string;
  /** Text from the cursor to the end of its row, trailing blanks trimmed. */
  readonly after: string;
}

export function screenFacts(term: Terminal, evidence: TerminalState | null): ScreenFacts {
  const buffer = term.buffer.active;
  const scratch = buffer.getNullCell();
  const lines: ScreenLine[] = [];
  for (let row = 0; row < term.rows; row++) {
    lines.push(readLine(buffer.getLine(buffer.baseY + row), scratch));
  }
  const cursorLine = buffer.getLine(buffer.baseY + buffer.cursorY);
  return {
    cols: term.cols,
    rows: term.rows,
    lines,
    cursor: {
      row: buffer.cursorY,
      col: buffer.cursorX,
      visible: !cursorHidden(term),
      before: cursorLine?.translateToString(false, 0, buffer.cursorX) ?? '',
      after: cursorLine?.translateToString(true, buffer.cursorX) ?? '',
    },
    alternate: buffer.type === 'alternate',
    bracketedPaste: term.modes.bracketedPasteMode,
    applicationCursor: term.modes.applicationCursorKeysMode,
    evidence,
  };
}

function readLine(line: IBufferLine | undefined, scratch: IBufferCell): ScreenLine {
  if (line === undefined) return { text: '', wrapped: false, runs: [] };
  const text = line.translateToString(true);
  return { text, wrapped: line.isWrapped, runs: text === '' ? [] : styleRuns(line, text.length, scratch) };
}

type Style = Omit<StyleRun, 'start' | 'end'>;

function styleRuns(line: IBufferLine, length: number, scratch: IBufferCell): StyleRun[] {
  const runs: StyleRun[] = [];
  let open: { start: number; style: Style } | null = null;
  let index = 0;
  for (let col = 0; col < line.length && index < length; col++) {
    const cell = line.getCell(col, scratch);
    // The second half of a wide character has no width and no text of its own.
    if (cell === undefined || cell.getWidth() === 0) continue;
    const style = cell.isAttributeDefault() ? null : styleOf(cell);
    if (open !== null && (style === null || !sameStyle(open.style, style))) {
      runs.push({ start: open.start, end: index, ...open.style });
      open = null;
    }
    if (style !== null && open === null) open = { start: index, style };
    index += cell.getChars().length || 1;
  }
  if (open !== null) runs.push({ start: open.start, end: Math.min(index, length), ...open.style });
  return runs;
}

function styleOf(cell: IBufferCell): Style {
  return {
    bold: cell.isBold() !== 0,
    dim: cell.isDim() !== 0,
    inverse: cell.isInverse() !== 0,
    underline: cell.isUnderline() !== 0,
    fg: cell.isFgDefault() ? -1 : cell.getFgColor(),
    bg: cell.isBgDefault() ? -1 : cell.getBgColor(),
  };
}

function sameStyle(a: Style, b: Style): boolean {
  return (
    a.bold === b.bold &&
    a.dim === b.dim &&
    a.inverse === b.inverse &&
    a.underline === b.underline &&
    a.fg === b.fg &&
    a.bg === b.bg
  );
}

/** xterm keeps the state of DECTCEM to itself; a release that hides it elsewhere reads as visible. */
function cursorHidden(term: Terminal): boolean {
  const inner: { _core?: { coreService?: { isCursorHidden?: unknown } } } = Object(term);
  return inner._core?.coreService?.isCursorHidden === true;
}
