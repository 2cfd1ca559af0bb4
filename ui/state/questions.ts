/**
 * How a question may be answered, and in which words its state is told. Pure.
 */
import type { HitlView } from '../../src/views.ts';

export interface Choice {
  /** What is sent: an option's id, or text when the question has no options. */
  readonly answer: { readonly option: string } | { readonly text: string };
  readonly label: string;
  /** The keys that choose it, the one shown first. */
  readonly keys: readonly string[];
}

/** The ways to answer with one press; none for text and secrets. */
export function choicesOf(question: HitlView): Choice[] {
  if (question.kind === 'secret') return [];
  if (question.options.length > 0) {
    const isConfirm = question.kind === 'confirm';
    return question.options.map((option, index) => ({
      answer: { option: option.id },
      label: option.label,
      keys: [...(isConfirm ? letterOf(option.label) : []), ...(index < 9 ? [String(index + 1)] : [])],
    }));
  }
  if (question.kind !== 'confirm') return [];
  return [
    { answer: { text: 'y' }, label: 'Yes', keys: ['y', '1'] },
    { answer: { text: 'n' }, label: 'No', keys: ['n', '2'] },
  ];
}

function letterOf(label: string): string[] {
  if (/^y(es)?\b/i.test(label)) return ['y'];
  return /^no?\b/i.test(label) ? ['n'] : [];
}

/**
 * A choice can also be answered in one's own words when the program takes them; that is for the program to
 * say.
 */
export function takesText(question: HitlView): boolean {
  return question.kind === 'text' || question.kind === 'secret' || choicesOf(question).length === 0;
}

/** What was answered, as it may be shown: a secret's text is never there. */
export function answerWords(question: HitlView): string {
  const { answer } = question;
  if (!answer) return '';
  if (answer.option !== null) {
    const option = question.options.find((one) => one.id === answer.option);
    return option ? option.label : answer.option;
  }
  return answer.text ?? (question.kind === 'secret' ? 'a secret' : '');
}

/** What stood on the screen, for a card: rules and runs of blanks are only as long as a card is wide. */
export function contextLines(context: string): string[] {
  return context
    .replace(/\s+$/, '')
    .split('\n')
    .map((line) => line.trimEnd().replace(/([─━═╌╍┄┈_=*~-])\1{23,}/g, (rule) => rule.slice(0, 24)))
    .map((line) => line.replace(/(\S) {8,}(?=\S)/g, '$1    '));
}

export function stateSentence(question: HitlView): string {
  const words = answerWords(question);
  const by = question.answer ? ` by ${question.answer.by}` : '';
  switch (question.state) {
    case 'open':
      return 'Waiting for an answer';
    case 'answering':
      return `Sending “${words}” and reading the screen to see that it took…`;
    case 'answered':
      return `Answered${by}: ${words}`;
    case 'undeliverable':
      return `The answer “${words}”${by} did not take`;
    case 'expired':
      return 'Expired: nobody answered in time';
    case 'withdrawn':
      return 'Withdrawn: the program no longer asks';
    case 'superseded':
      return 'Superseded: the program asks something else now';
  }
}

export function sourceWords(question: HitlView): string {
  const sources = { screen: 'read off the screen', api: 'asked through the API', tool: 'told by the tool' };
  const certainty = question.source === 'screen' ? `, ${Math.round(question.confidence * 100)}% sure` : '';
  return sources[question.source] + certainty;
}
