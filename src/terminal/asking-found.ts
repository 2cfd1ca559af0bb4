/**
 * From what a reader found to the question that the house is told.
 *
 * The fingerprint is made of the words around the question, never of rows, colours, the selected option or
 * anything that a spinner or a clock redraws. So it survives a resize, and differs for the same words asked
 * about something else.
 */
import type { AskedOnScreen, QuestionKind, QuestionOption } from '../terminal.ts';
import { edgeAbove, type Page, words } from './asking-page.ts';

export interface Found {
  readonly kind: QuestionKind;
  readonly question: string;
  readonly options: readonly QuestionOption[];
  readonly confidence: number;
  readonly submit: string;
  /** Rows of the question from its first line to its last, options included. */
  readonly top: number;
  readonly bottom: number;
}

const questionMax = 600;
const contextLines = 12;
const contextMax = 3000;
const subjectLines = 8;

export function asked(page: Page, found: Found): AskedOnScreen {
  const question = words(found.question).slice(0, questionMax);
  return {
    kind: found.kind,
    question,
    context: contextOf(page, found),
    options: found.options,
    confidence: Math.max(0, Math.min(0.99, Math.round(found.confidence * 100) / 100)),
    submit: found.submit,
    fingerprint: fingerprintOf(page, found, question),
  };
}

/** The dialog around the question: what stands above it up to the edge, then the question itself. */
function contextOf(page: Page, found: Found): string {
  const lines: string[] = [];
  const edge = edgeAbove(page, found.top);
  for (let row = found.top - 1; row >= edge && lines.length < contextLines; row--) {
    const line = page.lines[row];
    if (line !== undefined && !line.blank && !line.rule) lines.unshift(line.text);
  }
  for (let row = found.top; row <= found.bottom && lines.length < 3 * contextLines; row++) {
    const line = page.lines[row];
    if (line !== undefined && !line.blank && !line.rule) lines.push(line.text);
  }
  return lines.join('\n').slice(0, contextMax);
}

function fingerprintOf(page: Page, found: Found, question: string): string {
  const labels = found.options.map((option) => `${option.id}=${option.label}`).join('|');
  return hash([found.kind, question, labels, subjectOf(page, found.top)].join('\n').replace(/\s+/gu, ''));
}

/** What the question is about: the lines above it up to the edge of its dialog, without what ticks. */
function subjectOf(page: Page, top: number): string {
  const lines: string[] = [];
  const edge = edgeAbove(page, top);
  for (let row = top - 1; row >= edge && lines.length < subjectLines; row--) {
    const line = page.lines[row];
    if (line === undefined || line.blank || line.rule || ticking.test(line.text)) continue;
    lines.unshift(line.text);
  }
  return lines.join('\n');
}

/** Spinners, clocks, percentages, token counts: redrawn while a question stands. */
const ticking =
  /[\u2800-\u28ff◐◓◑◒◴◵◶◷✢✳✶✻✽⣾⣽]|\d+\s*%|\b\d+(\.\d+)?\s*(ms|s|m|min|sec|seconds?)\b|\d:\d\d\b|\b\d+\s*tokens?\b|\.\.\.$|…$/u;

/**
 * FNV-1a over UTF-16 units, twice with different seeds: 64 bits are plenty for telling questions of one
 * session apart.
 */
function hash(text: string): string {
  let a = 0x811c9dc5;
  let b = 0x9747b28c;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ unit, 0x01000197);
  }
  return (a >>> 0).toString(16).padStart(8, '0') + (b >>> 0).toString(16).padStart(8, '0');
}
