/**
 * A list of numbered choices printed above a line that wants one of them.
 *
 *   1) Africa      4) Asia          *** Commands ***
 *   2) Americas    5) Europe          1: clean    2: filter by pattern
 *   #? ▮                            What now> ▮
 */
import type { QuestionOption } from '../terminal.ts';
import { type Page, words } from './asking-page.ts';

export interface ChoiceList {
  readonly options: readonly QuestionOption[];
  readonly top: number;
}

const entry =
  /(?:^|\s{2,}|\t)[*>]?\s*[[(]?(\d{1,3})[\]).:]{1,2}(?:\s+-)?\s+(\S(?:.*?\S)?)(?=\s{2,}[*>]?\s*[[(]?\d{1,3}[\]).:]|\s*$)/gu;
const legend =
  /^\s*[[(]?(\p{L}|\p{L}\/\p{L}|\p{L} or \p{L})(?:[\]).]\s*[:=–-]?\s+|\s*[:=–-]\s*|\s{2,})(\S.*)$/iu;
/** A letter among the numbers: `[q] quit`. */
const lettered = /^\s*[[(]?(\p{L})[\])]\s+(\S.*)$/u;
/** A row of a table whose first column is the number: `* 0   /usr/bin/less   77   auto mode`. */
const numberedRow = /^\s*[*>]?\s*(\d{1,3})\s{2,}(\S.*)$/u;
const wantsNumber =
  /choice|choose|select|option|number|pick|which|enter|answer|what now|your|\[?\d+\s*[-–.]+\s*\d+|#\?|^[>?:#\s]*$|^\?/i;

/** Whether a prompt reads as if it wanted one of a list. */
export function wantsOneOf(prompt: string): boolean {
  return wantsNumber.test(prompt) && prompt.length < 160;
}

export function listAbove(page: Page, row: number): ChoiceList | null {
  const found: { number: number; label: string; row: number }[] = [];
  const letters: QuestionOption[] = [];
  let misses = 0;
  for (let at = row - 1; at >= 0 && row - at < 40; at--) {
    const line = page.lines[at];
    if (line === undefined) break;
    if (line.blank) {
      if (found.length > 0 && page.lines[at - 1]?.blank !== false) break;
      continue;
    }
    const entries = [...` ${line.raw}`.matchAll(entry)];
    const [, letter, meaning = ''] = lettered.exec(line.raw) ?? [];
    if (entries.length === 0 && letter !== undefined) {
      letters.unshift({ id: letter, label: words(meaning), keys: `${letter}\r` });
      continue;
    }
    if (entries.length === 0) {
      misses++;
      if (found.length > 0 ? !(line.at > 4 && misses < 12) : misses > 3) break;
      continue;
    }
    for (const one of entries.reverse()) {
      found.push({ number: Number(one[1]), label: words(one[2] ?? ''), row: at });
    }
    if (found.some((one) => one.number === 1) && entries.some((one) => Number(one[1]) === 1)) break;
  }
  const sorted = found.sort((a, b) => a.number - b.number);
  if (sorted.length < 2 || (sorted[0]?.number ?? 9) > 1) return null;
  if (new Set(sorted.map((one) => one.number)).size !== sorted.length) return null;
  const options = sorted.map((one) => ({
    id: String(one.number),
    label: one.label,
    keys: `${one.number}\r`,
  }));
  return { options: [...options, ...letters], top: Math.min(...sorted.map((one) => one.row)) };
}

/** A table of choices, as update-alternatives prints it. */
export function tableAbove(page: Page, row: number): ChoiceList | null {
  const options: QuestionOption[] = [];
  let top = row;
  for (let at = row - 1; at >= 0 && row - at < 40; at--) {
    const [, number, label = ''] = numberedRow.exec(page.lines[at]?.raw ?? '') ?? [];
    if (number !== undefined) {
      options.unshift({ id: number, label: words(label), keys: `${number}\r` });
      top = at;
    } else if (options.length > 0) break;
  }
  return options.length < 2 ? null : { options, top };
}

/**
 * What single letters mean, where lines above say so: `Y or I  : install the package maintainer's version`.
 */
export function withLegend(page: Page, row: number, options: readonly QuestionOption[]): QuestionOption[] {
  const meanings = new Map<string, string>();
  for (let at = row - 1; at >= 0 && row - at < 20; at--) {
    const match = legend.exec(page.lines[at]?.raw ?? '');
    for (const letter of match?.[1]?.split(/\/| or /u) ?? []) {
      const key = letter.trim().toLowerCase();
      if (!meanings.has(key)) meanings.set(key, words(match?.[2] ?? ''));
    }
  }
  return options.map((option) => {
    const meaning = option.label === option.id ? meanings.get(option.id.toLowerCase()) : undefined;
    return meaning === undefined ? option : { ...option, label: `${option.id}: ${meaning}` };
  });
}
