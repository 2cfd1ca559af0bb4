/**
 * Prompts that carry a library's own mark: `? ` of the inquirer family, `◆` of clack, and buttons side by
 * side.
 *
 *   ? Overwrite? (y/N)     ? Use TypeScript? › no / yes     ◆  Where to?         Are you sure?
 *   ? Project name: (app)  ? Token [input is masked]        │  ./project            Yes     No
 *
 * These libraries hide the cursor or park it beside their input, so the mark and the last lines decide.
 */
import type { QuestionOption } from '../terminal.ts';
import { choicesOf } from './asking-confirm.ts';
import type { Found } from './asking-found.ts';
import { lineAt, type Page, type PageLine, words } from './asking-page.ts';
import { isSecret } from './asking-text.ts';
import { cleanTitle, titleOf } from './asking-title.ts';

const masked = /\[(?:input is (?:masked|hidden)|hidden)\]|\s[*•●▪]{2,}_?$/iu;
const pointer = /\s+[›‣»·]\s*/u;

export function readMarked(page: Page): Found | null {
  const { cursor } = page.facts;
  for (let row = Math.min(page.last, cursor.row); row >= 0 && cursor.row - row <= 4; row--) {
    const line = lineAt(page, row);
    if (line === null || line.blank) continue;
    if (/^\?\s+\S/u.test(line.text))
      return tailIsQuiet(page, Math.max(row, cursor.row)) ? readInquired(page, line) : null;
    if (/^◆\s+\S/u.test(line.text)) return readClack(page, line);
    if (/^[◇✔✖■]\s/u.test(line.text)) return null;
  }
  return null;
}

/** Below a marked prompt stand only its own help or complaint, a line or two. */
function tailIsQuiet(page: Page, row: number): boolean {
  const tail = page.lines.slice(row + 1, page.last + 1).filter((line) => !line.blank && !line.rule);
  return tail.filter((line) => !numbered.test(line.text)).length <= 2;
}

const numbered = /^(\d{1,2})[.)]\s+(\S.*)$/u;

/** Numbered choices under the line that wants the number. */
function listBelow(page: Page, row: number): QuestionOption[] {
  const options: QuestionOption[] = [];
  for (let at = row + 1; at <= page.last; at++) {
    const match = numbered.exec(page.lines[at]?.text ?? '');
    if (match !== null && Number(match[1]) === options.length + 1) {
      options.push({ id: match[1] ?? '', label: words(match[2] ?? ''), keys: `${match[1]}\r` });
    }
  }
  return options;
}

function readInquired(page: Page, line: PageLine): Found | null {
  let body = line.raw.slice(line.at);
  for (let row = line.row + 1; page.lines[row]?.wrapped === true; row++)
    body = body.padEnd(page.facts.cols - line.at) + page.lines[row]?.raw;
  const rest = {
    submit: '\r',
    top: line.row,
    bottom: Math.max(line.row, page.facts.cursor.row),
    confidence: 0.95,
  };
  body = body.replace(/^\?\s+/u, '').trim();
  const [head, ...after] = body.split(pointer);
  const input = after.join(' ').trim();
  const question = cleanTitle(
    body.replace(/\s+[‣·]\s*(?:true|false)?$/u, '').replace(/\s+[›»]\s+(?=[[(])/u, ' '),
  );
  if (masked.test(body) || isSecret(words(head ?? body).replace(/[:?]?$/u, ':'), page.facts.evidence)) {
    return { ...rest, kind: 'secret', question: words((head ?? body).replace(masked, '')), options: [] };
  }
  const toggle = /^(\S[^/]{0,20}) \/ (\S[^/]{0,20})$/u.exec(input);
  if (toggle !== null) {
    return {
      ...rest,
      kind: 'confirm',
      question: words(head ?? body),
      options: toggles(page, line, [toggle[1] ?? '', toggle[2] ?? '']),
    };
  }
  // `prompts` and `enquirer` take the first key; `inquirer` waits for Enter.
  const choices = choicesOf(words(body.replace(/\s+[›‣»·]\s*(?:true|false)?$/u, '')));
  if (choices !== null) {
    const options =
      after.length > 0
        ? choices.options.map((option) => ({ ...option, keys: option.keys.replace(/\r$/u, '') }))
        : choices.options;
    return { ...rest, kind: choices.kind, question, options };
  }
  const list = listBelow(page, line.row);
  if (list.length >= 2) return { ...rest, kind: 'choice', question, options: list, bottom: page.last };
  if (after.length === 0 && page.facts.cursor.row === line.row && !page.facts.cursor.visible) return null;
  return {
    ...rest,
    kind: 'text',
    question: words(after.length > 0 ? `${head} ${input === '' ? '' : `(${input})`}` : body),
    options: [],
    confidence: 0.93,
  };
}

function toggles(page: Page, line: PageLine, labels: readonly [string, string]): QuestionOption[] {
  const start = line.raw.lastIndexOf(`${labels[0]} / ${labels[1]}`);
  const second = start + labels[0].length + 3;
  const lit = (at: number) =>
    line.runs.some((run) => run.start <= at && run.end > at && (run.underline || run.inverse));
  const current = lit(second) ? 1 : 0;
  return labels.map((label, index) => ({
    id: idOf(label, index),
    label: words(label),
    keys: `${side(page, index - current)}\r`,
  }));
}

function side(page: Page, steps: number): string {
  const mode = page.facts.applicationCursor ? '\x1bO' : '\x1b[';
  return `${mode}${steps < 0 ? 'D' : 'C'}`.repeat(Math.abs(steps));
}

function idOf(label: string, index: number): string {
  return /^(?:yes|no|ok|cancel)$/iu.test(label.trim()) ? label.trim().toLowerCase() : String(index + 1);
}

function readClack(page: Page, line: PageLine): Found | null {
  const body: PageLine[] = [];
  for (let row = line.row + 1; row <= page.last; row++) {
    const each = lineAt(page, row);
    if (each === null || (each.rule && /└/u.test(each.raw))) break;
    if (!each.blank) body.push(each);
  }
  const first = body[0];
  const rest = { submit: '\r', top: line.row, bottom: (first ?? line).row, confidence: 0.95 };
  const question = cleanTitle(line.text);
  const pair = first === undefined ? null : /^([●○])\s+(.+?)\s+\/\s+([●○])\s+(.+)$/u.exec(first.text);
  if (pair !== null) {
    const current = pair[1] === '●' ? 0 : 1;
    const options = [pair[2] ?? '', pair[4] ?? ''].map((label, index) => ({
      id: idOf(label, index),
      label: words(label),
      keys: `${side(page, index - current)}\r`,
    }));
    return { ...rest, kind: 'confirm', question, options };
  }
  if (
    first !== undefined &&
    (/^[▪•*]+_?$/u.test(first.text) || isSecret(`${question}:`, page.facts.evidence))
  ) {
    return { ...rest, kind: 'secret', question, options: [] };
  }
  return { ...rest, kind: 'text', question, options: [], confidence: 0.92 };
}

/** Buttons beside each other, one of them lit: `<Yes>  <No>`, or words on a coloured ground. */
export function readButtons(page: Page): Found | null {
  const { cursor } = page.facts;
  for (let row = page.last; row >= 0 && page.last - row <= 14; row--) {
    const line = lineAt(page, row);
    if (line === null || line.blank || line.rule) continue;
    const buttons = buttonsOf(line);
    if (buttons === null) continue;
    if (cursor.visible && Math.abs(cursor.row - row) > 1) return null;
    const title = titleOf(page, row);
    if (title === null) return null;
    const current = Math.max(
      0,
      buttons.findIndex((button) => button.lit),
    );
    const labels = buttons.map((button) => button.label);
    const yesNoPair =
      labels.length === 2 &&
      /^(?:yes|y|ok|confirm|allow)\b/iu.test(labels[0] ?? '') &&
      /^(?:no|n|cancel|deny)\b/iu.test(labels[1] ?? '');
    return {
      kind: yesNoPair || labels.length === 1 ? 'confirm' : 'choice',
      question: title.text,
      submit: '\r',
      top: title.row,
      bottom: row,
      options: labels.map((label, index) => ({
        id: idOf(label, index),
        label,
        keys: `${side(page, index - current)}\r`,
      })),
      confidence: 0.92,
    };
  }
  return null;
}

interface Button {
  readonly label: string;
  readonly lit: boolean;
}

function buttonsOf(line: PageLine): Button[] | null {
  const angled = [...line.text.matchAll(/<\s?([\p{L}][\p{L}' ]{0,18}?)\s?>/gu)];
  const bare = line.text.replace(/<\s?[\p{L}][\p{L}' ]{0,18}?\s?>/gu, '').trim();
  if (angled.length >= 1 && bare === '') {
    const base = line.raw.indexOf(line.text);
    return angled.map((match) => ({
      label: words(match[1] ?? ''),
      lit: litAt(line, base + (match.index ?? 0) + 1, angled.length),
    }));
  }
  return groundsOf(line);
}

const hint = /ctrl|enter|esc\b|tab\b|⇆|↑|↓|←|→|space|navigate|toggle/iu;

/** Words apart from each other, exactly one of them on a ground of its own. */
function groundsOf(line: PageLine): Button[] | null {
  const segments = [...line.raw.slice(line.at).matchAll(/\S+(?: \S+)*/gu)].map((match) => {
    const start = line.at + (match.index ?? 0);
    const run = line.runs.find((each) => each.start <= start && each.end > start);
    return {
      label: match[0],
      ground: `${run?.bg ?? -1} ${run?.inverse ?? false}`,
      width: run === undefined ? 999 : run.end - run.start,
    };
  });
  const buttons = segments.filter((segment) => !hint.test(segment.label));
  if (buttons.length < 2 || buttons.length > 5) return null;
  if (!buttons.every((each) => /^[\p{L}][\p{L}' ]{0,24}$/u.test(each.label))) return null;
  const lit = buttons.filter((each) => buttons.filter((other) => other.ground === each.ground).length === 1);
  const one =
    buttons.length === 2
      ? (lit.find((each) => each.ground.endsWith('true')) ?? lit.find((each) => /^[1-9]/.test(each.ground)))
      : lit[0];
  if (one === undefined || (buttons.length > 2 && lit.length !== 1) || one.width > one.label.length + 8)
    return null;
  return buttons.map((each) => ({ label: each.label, lit: each === one }));
}

function litAt(line: PageLine, at: number, total: number): boolean {
  if (total === 1) return true;
  return line.runs.some(
    (run) => run.start <= at && run.end > at && (run.inverse || run.bold || run.bg === 1 || run.bg === 4),
  );
}
