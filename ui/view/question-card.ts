/**
 * One question to a human: its words, where it comes from, every way to answer it, and honestly what became
 * of the answer.
 *
 * Keys work while the focus is inside the card, so a stray digit elsewhere never answers anything. A secret
 * is read from its field once, sent, and forgotten: it is never in state, storage or a log.
 */
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { HitlView } from '../../src/views.ts';
import { useMay } from '../state/caller.ts';
import { learn } from '../state/feed.ts';
import {
  type Choice,
  choicesOf,
  contextLines,
  sourceWords,
  stateSentence,
  takesText,
} from '../state/questions.ts';
import { house, useCell } from '../state/store.ts';
import { post, segment } from '../wire/api.ts';
import { shortId } from '../words.ts';
import { type Action, useAction } from './action.ts';
import { h } from './h.ts';
import { Icon } from './icons.ts';
import { Ago, Button, Countdown, State, TroubleBox } from './marks.ts';
import { to } from './route.ts';

export interface QuestionCardProps {
  readonly question: HitlView;
  /** In the narrow column the context is cut to its last lines. */
  readonly isCompact?: boolean;
  readonly hasFocus?: boolean;
  /** Beside its own terminal the way there is not offered. */
  readonly isAtTerminal?: boolean;
}

type Answer = Choice['answer'];

export function QuestionCard({ question, isCompact, hasFocus, isAtTerminal }: QuestionCardProps): VNode {
  const element = useRef<HTMLElement>(null);
  const action = useAction();
  useEffect(() => {
    if (hasFocus) element.current?.focus({ preventScroll: true });
  }, [hasFocus]);
  const answer = (given: Answer) =>
    action.run(async () => {
      const after = await post<HitlView>(`hitl/${segment(question.hitl_id)}/respond`, given);
      if (after?.hitl_id === question.hitl_id) learnAnswer(after);
    });
  const isOpen = question.state === 'open';
  const mayAnswer = useMay('operator');
  const choices = mayAnswer ? choicesOf(question) : [];
  return h(
    'article',
    {
      ref: element,
      class: `question tone-edge-${question.state}`,
      tabIndex: -1,
      'aria-label': `Question: ${question.prompt}`,
      'data-testid': 'question',
      'data-hitl-id': question.hitl_id,
      'data-state': question.state,
      onKeyDown: (event: KeyboardEvent) => pressed(event, isOpen && !action.isBusy ? choices : [], answer),
    },
    h(Head, { question }),
    h('p', { class: 'question-prompt', 'data-testid': 'question-prompt' }, question.prompt),
    question.context.trim() ? h(Context, { text: question.context, isCompact: isCompact ?? false }) : null,
    isOpen ? h(Ways, { question, choices, action, answer }) : h(Outcome, { question }),
    action.problem ? h(TroubleBox, { problem: action.problem, testId: 'question-problem' }) : null,
    h(Foot, { question, isAtTerminal: isAtTerminal ?? false, action }),
  );
}

/** A late answer of the API must not undo what an event said since. */
function learnAnswer(after: HitlView): void {
  const known = house.get().questions.get(after.hitl_id);
  if (known?.state === 'open' || !known) learn({ question: after });
}

function pressed(event: KeyboardEvent, choices: readonly Choice[], answer: (given: Answer) => void): void {
  const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const choice = choices.find(({ keys }) => keys.includes(event.key.toLowerCase()));
  if (!choice) return;
  event.preventDefault();
  event.stopPropagation();
  answer(choice.answer);
}

function Head({ question }: { question: HitlView }): VNode {
  const { tasks, sessions } = useCell(house);
  const task = question.task_id ? tasks.get(question.task_id) : undefined;
  const session = sessions.get(question.session_id);
  return h('header', { class: 'question-head' }, [
    h(State, { state: question.state }),
    h('a', { href: to('agents', question.agent_id), class: 'strong' }, question.agent_id),
    question.task_id
      ? h(
          'a',
          { href: to('tasks', question.task_id), class: 'ellipsis' },
          task?.name ?? `task ${shortId(question.task_id)}`,
        )
      : h('span', { class: 'muted ellipsis' }, session?.session_name ?? ''),
    question.state === 'open' && question.expires_at_ms !== null
      ? h(Countdown, { until: question.expires_at_ms })
      : h('span', { class: 'muted push' }, h(Ago, { at: question.ended_at_ms ?? question.created_at_ms })),
  ]);
}

const compactLines = 7;

function Context({ text, isCompact }: { text: string; isCompact: boolean }): VNode {
  const lines = contextLines(text);
  const [isWhole, setWhole] = useState(!isCompact);
  const isCut = !isWhole && lines.length > compactLines;
  const shown = isCut ? lines.slice(-compactLines) : lines;
  return h('div', { class: 'question-context' }, [
    isCut
      ? h(
          'button',
          { type: 'button', class: 'link', onClick: () => setWhole(true) },
          `Show ${lines.length - compactLines} more lines`,
        )
      : null,
    h('pre', { tabIndex: 0, 'aria-label': 'What stood on the screen' }, shown.join('\n')),
  ]);
}

interface WaysProps {
  readonly question: HitlView;
  readonly choices: readonly Choice[];
  readonly action: Action;
  readonly answer: (given: Answer) => Promise<boolean>;
}

function Ways({ question, choices, action, answer }: WaysProps): VNode {
  if (!useMay('operator')) return h('p', { class: 'muted' }, 'An operator has to answer it.');
  return h('div', { class: 'ways' }, [
    choices.length > 0
      ? h(
          'div',
          {
            class: `options${question.kind === 'choice' ? ' stacked' : ''}`,
            role: 'group',
            'aria-label': 'Answers',
          },
          choices.map((choice, index) =>
            h(
              'button',
              {
                key: index,
                type: 'button',
                class: 'option',
                disabled: action.isBusy,
                onClick: () => void answer(choice.answer),
                'aria-keyshortcuts': choice.keys.join(' '),
                'data-testid': 'option',
                'data-option': 'option' in choice.answer ? choice.answer.option : choice.answer.text,
              },
              h('kbd', { 'aria-hidden': 'true' }, choice.keys[0] ?? '·'),
              h('span', null, choice.label),
            ),
          ),
        )
      : null,
    takesText(question) ? h(TextAnswer, { question, action, answer }) : null,
  ]);
}

function TextAnswer({ question, action, answer }: Omit<WaysProps, 'choices'>): VNode {
  const field = useRef<HTMLInputElement>(null);
  const isSecret = question.kind === 'secret';
  const submit = (event: Event) => {
    event.preventDefault();
    const input = field.current;
    if (!input) return;
    const text = input.value;
    if (isSecret) input.value = '';
    void answer({ text }).then((worked) => {
      if (worked) input.value = '';
    });
  };
  const label = isSecret ? 'Secret answer' : 'Answer';
  return h('form', { class: 'text-answer', onSubmit: submit, autoComplete: 'off' }, [
    isSecret ? h(Icon, { name: 'lock' }) : null,
    h('input', {
      ref: field,
      type: isSecret ? 'password' : 'text',
      placeholder: isSecret ? 'Sent once, never stored' : 'Your answer',
      'aria-label': label,
      autoComplete: isSecret ? 'one-time-code' : 'off',
      spellcheck: false,
      'data-1p-ignore': '',
      'data-lpignore': 'true',
      'data-testid': isSecret ? 'answer-secret' : 'answer-text',
    }),
    h('button', { class: 'button primary', disabled: action.isBusy, 'data-testid': 'answer-send' }, 'Answer'),
  ]);
}

function Outcome({ question }: { question: HitlView }): VNode {
  const { failure, state } = question;
  const isBad = state === 'undeliverable';
  return h(
    'div',
    { class: `outcome ${state}`, role: isBad ? 'alert' : 'status', 'data-testid': 'question-outcome' },
    [
      h('p', null, [
        state === 'answered' ? h(Icon, { name: 'check' }) : null,
        isBad ? h(Icon, { name: 'alert' }) : null,
        state === 'answering' ? h('span', { class: 'spinner', 'aria-hidden': 'true' }) : null,
        h('span', null, stateSentence(question)),
      ]),
      failure ? h('p', { class: 'failure' }, failure.message) : null,
      isBad ? h('p', { class: 'muted' }, 'Open the terminal and answer there.') : null,
    ],
  );
}

function Foot({
  question,
  isAtTerminal,
  action,
}: {
  question: HitlView;
  isAtTerminal: boolean;
  action: Action;
}): VNode {
  const withdraw = () =>
    void action.run(async () => {
      await post(`hitl/${segment(question.hitl_id)}/withdraw`);
    });
  return h('footer', { class: 'question-foot' }, [
    isAtTerminal
      ? null
      : h('a', { href: to('sessions', question.session_id), 'data-testid': 'question-terminal' }, [
          h(Icon, { name: 'terminal', size: 14 }),
          'Open terminal',
        ]),
    h('span', { class: 'muted ellipsis' }, sourceWords(question)),
    question.state === 'open'
      ? h(Button, {
          label: 'Withdraw',
          tone: 'quiet',
          onClick: withdraw,
          needs: 'operator',
          isDisabled: action.isBusy,
          title: 'Stop asking people',
        })
      : null,
  ]);
}
