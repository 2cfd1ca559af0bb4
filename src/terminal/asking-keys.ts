/** What to type for an answer. Pure; knows the question, not the terminal. */
import type { AskedOnScreen, QuestionOption } from '../terminal.ts';

/**
 * `option` is an option's id. `text` that equals an option's id, number or label picks that option; other
 * text is typed and submitted where the question takes words. Null when the question has no such answer.
 */
export function keysFor(
  question: AskedOnScreen,
  answer: { readonly text?: string; readonly option?: string },
): string | null {
  if (answer.option !== undefined) {
    return question.options.find((option) => option.id === answer.option)?.keys ?? null;
  }
  if (answer.text === undefined) return null;
  const picked = optionNamed(question.options, answer.text);
  if (picked !== null) return picked.keys;
  if (question.kind === 'secret' || question.kind === 'text') return typed(answer.text, question.submit);
  // Choices on a line take any word the program knows; menus take nothing but their options.
  const onLine =
    question.options.length === 0 ||
    question.options.every((option) => /^[^\x1b]{1,20}\r$/u.test(option.keys));
  return onLine && answer.text.trim() !== '' ? typed(answer.text, question.submit) : null;
}

function typed(text: string, submit: string): string {
  return text.replace(/[\r\n]+$/u, '') + submit;
}

function optionNamed(options: readonly QuestionOption[], text: string): QuestionOption | null {
  const wanted = plain(text);
  if (wanted === '') return null;
  const exact =
    options.find((option) => option.id === text.trim()) ??
    options.find((option) => plain(option.id) === wanted) ??
    options.find((option) => plain(option.label) === wanted);
  if (exact !== undefined) return exact;
  const number = /^(\d{1,2})[.)]?$/u.exec(wanted)?.[1];
  if (number !== undefined && options.some((option) => !/^\d+$/u.test(option.id)))
    return options[Number(number) - 1] ?? null;
  const word = short[wanted];
  return word === undefined ? null : (options.find((option) => option.id === word) ?? null);
}

const short: Readonly<Record<string, string>> = { y: 'yes', n: 'no' };

function plain(text: string): string {
  return text
    .trim()
    .toLowerCase()
    .replace(/\s+/gu, ' ')
    .replace(/[.!]+$/u, '');
}
