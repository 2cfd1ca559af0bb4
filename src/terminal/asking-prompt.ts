/**
 * Questions on a line, with the cursor waiting right behind them.
 *
 *   Do you want to continue? [Y/n] ▮      [sudo] password for dev: ▮      Press ENTER to continue ▮
 *
 * The cursor's place is the proof: behind the last words on the screen, nothing below. Shell prompts, the
 * prompts of interpreters and pagers end otherwise and are told apart by their own shapes.
 */
import type { QuestionKind, QuestionOption } from '../terminal.ts';
import { choicesOf, wantsYesNo, yesNo } from './asking-confirm.ts';
import type { Found } from './asking-found.ts';
import { listAbove, tableAbove, wantsOneOf, withLegend } from './asking-list.ts';
import { above, lineAt, type Page, words } from './asking-page.ts';
import { isSecret, isText } from './asking-text.ts';

interface Prompt {
  /** The words on the cursor's logical line. */
  readonly text: string;
  /** Blanks between the words and the cursor. */
  readonly gap: number;
  readonly row: number;
  /** The cursor stands on a fresh line below the words. */
  readonly below: boolean;
}

type Answer = Pick<Found, 'kind' | 'options' | 'confidence' | 'submit'> & {
  readonly top?: number;
  readonly question?: string;
};

export function readPrompt(page: Page): Found | null {
  const prompt = promptOf(page);
  if (prompt === null || isNoQuestion(prompt.text)) return null;
  const answer = answerOf(page, prompt);
  if (answer === null) return null;
  const lead = leadOf(page, prompt, answer.kind);
  const confidence = weigh(page, prompt, answer.confidence);
  return {
    kind: answer.kind,
    question: answer.question ?? (lead === null ? prompt.text : `${lead.text} ${prompt.text}`),
    options: answer.options,
    confidence,
    submit: answer.submit,
    top: Math.min(answer.top ?? prompt.row, lead?.row ?? prompt.row),
    bottom: page.facts.cursor.row,
  };
}

function promptOf(page: Page): Prompt | null {
  const { cursor } = page.facts;
  if (cursor.after.trim() !== '' && !/^\s*[│┃║|]\s*$/u.test(cursor.after)) return null;
  if (page.last > cursor.row && !onlyFrameBelow(page, cursor.row)) return null;
  const line = lineAt(page, cursor.row);
  if (line === null) return null;
  const here = line.framed ? page.prompt.replace(/^\s*[│┃║|]+/u, '') : page.prompt;
  if (here.trim() !== '') {
    const text = here.trim();
    return {
      text: unwrapped(page, text),
      gap: here.length - here.trimEnd().length,
      row: page.promptRow,
      below: false,
    };
  }
  // A fresh line: the words are right above, and only they.
  const before = lineAt(page, cursor.row - 1);
  if (before === null || before.blank || before.rule || cursor.col > 0) return null;
  let row = cursor.row - 1;
  let text = before.raw;
  while (row > 0 && page.lines[row]?.wrapped === true) {
    row--;
    text = (page.lines[row]?.raw ?? '').padEnd(page.facts.cols) + text;
  }
  return { text: text.trim(), gap: 0, row, below: true };
}

function unwrapped(_page: Page, text: string): string {
  return words(text);
}

function onlyFrameBelow(page: Page, row: number): boolean {
  return page.lines.slice(row + 1, page.last + 1).every((line) => line.blank || line.rule);
}

function answerOf(page: Page, prompt: Prompt): Answer | null {
  const { text } = prompt;
  if (isSecret(text, page.facts.evidence))
    return { kind: 'secret', options: [], confidence: 0.97, submit: '\r' };
  const table = /\bselection number\b|\btype (?:a|the) number\b/i.test(text)
    ? tableAbove(page, prompt.row)
    : null;
  if (table !== null) {
    return { kind: 'choice', options: table.options, confidence: 0.95, submit: '\r', top: table.top };
  }
  const enter = pressEnter(text);
  if (enter !== null) return enter;
  if (/--\s?more\s?--/i.test(text))
    return { kind: 'confirm', options: [go('Next page', ' ')], confidence: 0.6, submit: ' ' };
  const choices = choicesOf(text);
  const list = wantsOneOf(text) ? listAbove(page, prompt.row) : null;
  if (choices !== null && (choices.kind === 'confirm' || list === null)) {
    const raw = choices.key || isSingleKey(page);
    const named = withLegend(page, prompt.row, choices.options);
    const options = raw
      ? named.map((option) => ({ ...option, keys: option.keys.replace(/\r$/u, '') }))
      : named;
    return { kind: choices.kind, options, confidence: 0.95, submit: '\r' };
  }
  if (list !== null && plausibleListPrompt(text, prompt.gap)) {
    return { kind: 'choice', options: list.options, confidence: 0.94, submit: '\r', top: list.top };
  }
  if (wantsYesNo(text)) return { kind: 'confirm', options: yesNo('y', 'n'), confidence: 0.9, submit: '\r' };
  const only = approval(page, prompt);
  if (only !== null) return only;
  const sure = isText(text, prompt.gap, leadOf(page, prompt, 'text') !== null);
  return sure === null ? null : { kind: 'text', options: [], confidence: sure, submit: '\r' };
}

function plausibleListPrompt(text: string, gap: number): boolean {
  return /[:?>#\])]$/u.test(text) || gap > 0;
}

/**
 * "Only 'yes' will be accepted", "Type 'yes' to confirm": one word is the answer, everything else refuses.
 */
function approval(page: Page, prompt: Prompt): Answer | null {
  const near = [prompt.text];
  for (let row = prompt.row - 1; row >= 0 && prompt.row - row <= 4; row--)
    near.push(page.lines[row]?.text ?? '');
  const said = near.join('\n');
  const word =
    /\b(?:type|enter|write)\s+['"`]?(yes|y)['"`]?\s+to\b/i.exec(said)?.[1] ??
    /only\s+['"`](yes)['"`]/i.exec(said)?.[1];
  if (word === undefined || !/[:?>]$/u.test(prompt.text)) return null;
  return { kind: 'confirm', options: yesNo(word.toLowerCase(), 'no'), confidence: 0.93, submit: '\r' };
}

const pressing =
  /(?:press|hit|strike|push|tap)\s+(?:the\s+)?['"`<[(]*(?:any\s+key|enter|return|space(?:bar)?)['"`>\])]*(?:\s+key)?\b/i;
const german =
  /(?:drücken sie|appuyez sur|presione|pulse|premere|нажмите)\s+.*(?:taste|touche|tecla|tasto|enter|entrée|eingabe|клавиш)/i;

function pressEnter(text: string): Answer | null {
  const match = pressing.exec(text) ?? german.exec(text);
  if (match === null || /\b\w\s*\+\s*(?:enter|return)/i.test(text)) return null;
  // Instructions that stand in the middle of a long line are documentation.
  if (text.length - match.index > 140) return null;
  const space = /space/i.test(match[0]);
  return {
    kind: 'confirm',
    options: [go('Continue', space ? ' ' : '\r')],
    confidence: 0.92,
    submit: space ? ' ' : '\r',
  };
}

function go(label: string, keys: string): QuestionOption {
  return { id: 'continue', label, keys };
}

/** `read -n 1` leaves echo on and turns line editing off: one key answers. */
function isSingleKey(page: Page): boolean {
  const { evidence } = page.facts;
  return evidence !== null && !evidence.canonical && evidence.echo;
}

/** Short prompts ("> ", "Enter a value:", "#?") borrow the question from the lines above them. */
function leadOf(page: Page, prompt: Prompt, kind: QuestionKind): { text: string; row: number } | null {
  if (kind === 'secret') return null;
  const poor =
    /^[>?#:»›$]*\s*$|^(?:enter a value|answer|your (?:choice|answer|selection)|choice|selection|response|input|\(y\/n\)|\[y\/n\]|#\?|>|option)\s*(?:\(.*\)|\[.*\])?\s*[:?>]*$/i;
  if (!poor.test(prompt.text)) return null;
  let row = prompt.row;
  for (let tries = 0; tries < 8; tries++) {
    const line = above(page, row, 3);
    if (line === null) return null;
    if (/[?？]\s*$/u.test(line.text) || (tries === 0 && /[:：]$/u.test(line.text)))
      return { text: line.text, row: line.row };
    row = line.row;
  }
  return null;
}

function weigh(page: Page, prompt: Prompt, base: number): number {
  const { evidence, cursor } = page.facts;
  let sure = base;
  if (prompt.below)
    sure = evidence?.reading === true && evidence.canonical ? Math.min(base, 0.9) : Math.min(base, 0.7);
  if (!cursor.visible) sure -= 0.06;
  if (prompt.gap > 3) sure -= 0.15;
  if (evidence?.reading === true) sure += 0.04;
  if (evidence?.reading === false && evidence.canonical && evidence.echo) sure -= 0.15;
  return sure;
}

const interpreter = [
  /^(?:>>>|\.\.\.|In \[\d+\]:|Out\[\d+\]:|\(?i?pdb\)?|\(gdb\)|\(lldb\)|\(Pdb\+*\)|irb\b.*|pry\b.*|node|deno|bun|scala|ghci|iex\(\d+\)|ftp|sftp|telnet|lua|julia|R)\s*>?(?:\s|$)/iu,
  /^(?:mysql|sqlite|mariadb \[.*\]|postgres|psql|redis|mongo\w*|cqlsh|hive|spark\w*|jshell|php|swipl|octave|ipdb|sh|bash|zsh)[\w:.@()\s-]*[>#$]/iu,
  /^[\w.-]+=[>#]/u,
  /^\d{1,3}(?:\.\d{1,3}){3}:\d+/u,
  /^PS [A-Z]:/u,
  /^[A-Z]:\\.*>$/u,
];
const shell = [
  /[$#%❯➜λ⟩⚡✗✘❱⮞]$/u,
  /^(?:[\w.-]+@[\w.-]+|~|\/)[^\s]*\s*[$#%>❯➜]/u,
  /^[$#%❯➜›>λ]\s+\S/u,
  /^\(?[\w.-]*\)?\s*[\w.-]+@[\w.-]+[:\s].*[$#%>❯➜]\s/u,
  /^[➜❯]/u,
];
const pager = [
  /^:$/u,
  /\(END\)$/u,
  /^Manual page /u,
  /^lines \d+-\d+/u,
  /^~$/u,
  /^--\s*(?:INSERT|NORMAL|VISUAL)/u,
  /\bpress h for help or q to quit\b/i,
  /^(?:byte|line)s? \d+/iu,
];
const noise = [
  /^\d+[-–]?\s+(?:if|return|let|const|var|print|echo|read)\b/u,
  /(?:\d{1,3}\s*%|\beta\b|\d\/s)\s*$/iu,
  /\be\.?g\.?\s*$/iu,
  /^[+-]\s*(?:read|echo|input|print)\b/u,
  /['"`;{}]$/u,
];

function isNoQuestion(text: string): boolean {
  return [...interpreter, ...shell, ...pager, ...noise].some((shape) => shape.test(text));
}
