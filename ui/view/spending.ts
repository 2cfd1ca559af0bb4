/** What an agent and a task used of models through the gateway, and what is left of a budget. */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { TaskView } from '../../src/views.ts';
import type { UsageReport } from '../../src/views-usage.ts';
import { budgetWords, spends, spentWords, tokenWords } from '../state/walls.ts';
import { call } from '../wire/api.ts';
import { type Problem, problemOf } from '../wire/problem.ts';
import { h } from './h.ts';
import { Fact, loading, TroubleBox } from './marks.ts';

const pollMs = 10_000;
const days = 40;

function useReport(agent: string): { report: UsageReport | null; problem: Problem | null } {
  const [report, setReport] = useState<UsageReport | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => {
    let isCurrent = true;
    const read = () => {
      if (document.hidden) return;
      call<UsageReport>(`usage?${new URLSearchParams({ agent, days: String(days), tasks: '0' })}`)
        .then((fresh) => {
          if (!isCurrent) return;
          setReport(fresh);
          setProblem(null);
        })
        .catch((thrown: unknown) => isCurrent && setProblem(problemOf(thrown)));
    };
    read();
    const timer = setInterval(read, pollMs);
    return () => {
      isCurrent = false;
      clearInterval(timer);
    };
  }, [agent]);
  return { report, problem };
}

export function AgentSpending({ agent }: { agent: string }): VNode {
  const { report, problem } = useReport(agent);
  return h('article', { class: 'card', 'data-testid': 'agent-spending' }, [
    h('header', { class: 'card-head' }, [
      h('strong', null, 'Models'),
      h('span', { class: 'muted' }, `the last ${days} days`),
    ]),
    problem && problem.status !== 0 ? h(TroubleBox, { problem }) : null,
    report === null ? (problem ? null : loading('what it spent')) : h(Spent, { report }),
  ]);
}

function Spent({ report: { total, models, days: byDay } }: { report: UsageReport }): VNode {
  if (total.requests === 0)
    return h(
      'p',
      { class: 'muted' },
      'Nothing went through the gateway to models. Tools that talk to a provider themselves are not counted here.',
    );
  const today = byDay.at(-1);
  return h('dl', { class: 'facts' }, [
    h(Fact, { name: 'All' }, spentWords(total)),
    h(Fact, { name: 'Tokens' }, tokenWords(total)),
    today ? h(Fact, { name: today.day }, spentWords(today)) : null,
    ...models.map((one) =>
      h(Fact, { key: one.model, name: 'Model' }, [
        h('code', null, one.model),
        h('span', { class: 'muted' }, spentWords(one)),
      ]),
    ),
  ]);
}

export function TaskSpending({ task }: { task: TaskView }): VNode | null {
  if (!spends(task)) return null;
  const { usage, budget } = task;
  return h('dl', { class: 'stats', 'data-testid': 'task-spending', 'aria-label': 'Models' }, [
    h(Fact, { name: 'Models' }, usage === null ? 'nothing yet' : spentWords(usage)),
    usage === null ? null : h(Fact, { name: 'Tokens through the gateway' }, tokenWords(usage)),
    h(Fact, { name: 'Budget' }, budget === null ? 'none' : budgetWords(budget)),
  ]);
}
