/** The inbox: what is asked now, always in sight; and what was asked, with what became of it. */
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { HitlView } from '../../src/views.ts';
import { stateSentence } from '../state/questions.ts';
import { openQuestions, pastQuestions } from '../state/readings.ts';
import { house, useCell } from '../state/store.ts';
import { plural } from '../words.ts';
import { h } from './h.ts';
import { Icon } from './icons.ts';
import { Ago, Empty, loading, Snippet, State } from './marks.ts';
import { NotifyButton } from './notify.ts';
import { Page } from './page.ts';
import { QuestionCard } from './question-card.ts';
import { to, useRoute } from './route.ts';

const lingerMs = 6000;

/**
 * Open ones, and for a moment those that just ended, so that a reader sees how. Undeliverable ones stay
 * longer.
 */
export function useCurrentQuestions(): HitlView[] {
  const known = useCell(house);
  const seen = useRef(new Map<string, number>());
  const [, redraw] = useState(0);
  const open = openQuestions(known);
  useEffect(() => {
    for (const question of open) seen.current.set(question.hitl_id, Number.POSITIVE_INFINITY);
    const ended = [...seen.current].filter(
      ([id, until]) => until === Infinity && !open.some((q) => q.hitl_id === id),
    );
    for (const [id] of ended) {
      const isBad = known.questions.get(id)?.state === 'undeliverable';
      seen.current.set(id, Date.now() + lingerMs * (isBad ? 10 : 1));
      setTimeout(() => redraw((count) => count + 1), lingerMs * (isBad ? 10 : 1) + 50);
    }
  });
  const lingering = [...seen.current]
    .filter(([id, until]) => until > Date.now() && !open.some((question) => question.hitl_id === id))
    .flatMap(([id]) => known.questions.get(id) ?? []);
  return [...open, ...lingering];
}

/** The column beside every other view, but for the question that the view itself shows. */
export function Inbox({ path }: { path: readonly string[] }): VNode | null {
  const [place, id] = path;
  const isShown = (question: HitlView) =>
    (place === 'tasks' && question.task_id === id) || (place === 'sessions' && question.session_id === id);
  const current = useCurrentQuestions().filter((question) => !isShown(question));
  if (current.length === 0) return null;
  const waiting = current.filter((question) => question.state === 'open').length;
  return h('aside', { class: 'inbox', 'aria-label': 'Open questions', 'data-testid': 'inbox' }, [
    h('header', { class: 'inbox-head' }, [
      h('h2', null, waiting > 0 ? plural(waiting, 'question') : 'Questions'),
      h('a', { href: to('questions'), class: 'muted push' }, 'All'),
    ]),
    h(
      'div',
      { class: 'inbox-list' },
      current.map((question) => h(QuestionCard, { key: question.hitl_id, question, isCompact: true })),
    ),
  ]);
}

/** On a narrow page the inbox is one line that leads to it. */
export function QuestionBanner(): VNode | null {
  const [first, ...more] = openQuestions(useCell(house));
  if (!first) return null;
  return h('a', { class: 'banner ask', href: to('questions'), 'data-testid': 'question-banner' }, [
    h(Icon, { name: 'question' }),
    h('span', { class: 'ellipsis' }, [h('strong', null, `${first.agent_id} asks: `), first.prompt]),
    more.length > 0 ? h('span', { class: 'badge' }, `+${more.length}`) : null,
  ]);
}

export function QuestionsPage(): VNode {
  const known = useCell(house);
  const { path } = useRoute();
  const current = useCurrentQuestions();
  const past = pastQuestions(known);
  const asked = path[1] ? known.questions.get(path[1]) : undefined;
  const shown =
    asked && !current.some((question) => question.hitl_id === asked.hitl_id) ? [asked, ...current] : current;
  const focus = path[1] ?? shown.find((question) => question.state === 'open')?.hitl_id;
  return h(Page, { title: 'Questions', testId: 'page-questions', actions: h(NotifyButton, {}) }, [
    known.isLoaded ? null : loading('questions'),
    known.isLoaded && shown.length === 0 ? h(NoQuestions, {}) : null,
    h(
      'div',
      { class: 'question-list' },
      shown.map((question) =>
        h(QuestionCard, { key: question.hitl_id, question, hasFocus: question.hitl_id === focus }),
      ),
    ),
    past.length > 0 ? h(History, { questions: past }) : null,
  ]);
}

function NoQuestions(): VNode {
  return h(Empty, { title: 'Nobody waits for you.', testId: 'questions-empty' }, [
    h(
      'p',
      null,
      'When a program in a terminal asks something, its question and its choices appear here. Any client can ask, too:',
    ),
    h(Snippet, {
      name: 'an example request',
      text:
        `curl -X POST ${location.origin}/api/v1/agents/AGENT/hitl -H 'content-type: application/json' \\\n` +
        `  -d '{"session_id":"SESSION","prompt":"Deploy to production?","kind":"confirm"}'`,
    }),
  ]);
}

function History({ questions }: { questions: readonly HitlView[] }): VNode {
  return h('section', { class: 'block', 'aria-labelledby': 'history' }, [
    h('h2', { id: 'history' }, 'History'),
    h(
      'ul',
      { class: 'rows', 'data-testid': 'question-history' },
      questions
        .slice(0, 100)
        .map((question) =>
          h('li', { key: question.hitl_id, class: 'row' }, [
            h(State, { state: question.state }),
            h('a', { href: to('questions', question.hitl_id), class: 'ellipsis strong' }, question.prompt),
            h('span', { class: 'ellipsis muted grow' }, question.failure?.message ?? stateSentence(question)),
            h('a', { href: to('agents', question.agent_id) }, question.agent_id),
            h(
              'span',
              { class: 'muted nowrap' },
              h(Ago, { at: question.ended_at_ms ?? question.created_at_ms }),
            ),
          ]),
        ),
    ),
  ]);
}
