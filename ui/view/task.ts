/** One task, whole: how far it is, what it asks, what it says, what it made. */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { ArtifactView, TaskState as StateName, TaskView } from '../../src/views.ts';
import { learn } from '../state/feed.ts';
import { noteGood } from '../state/notes.ts';
import { isOver } from '../state/readings.ts';
import { house, useCell } from '../state/store.ts';
import { timeline } from '../tasks/timeline.ts';
import { call, post, segment } from '../wire/api.ts';
import { bytes, clockTime, count, dollars, shortId } from '../words.ts';
import { ArtifactsTab, ChangesTab, ManifestTab, useArtifacts } from './artifacts.ts';
import { confirm } from './dialog.ts';
import { h } from './h.ts';
import { Ago, Button, Copy, Countdown, Empty, Fact, loading, stateWord, TroubleBox } from './marks.ts';
import { Back, Page } from './page.ts';
import { QuestionCard } from './question-card.ts';
import { go, setQuery, to, useRoute } from './route.ts';
import { TaskSpending } from './spending.ts';
import { TabList } from './tabs.ts';
import { TaskLog } from './task-log.ts';
import { Elapsed, TaskState } from './tasks.ts';
import { TerminalView } from './terminal.ts';

const pollMs = 3000;

export function TaskPage(): VNode {
  const known = useCell(house);
  const { path } = useRoute();
  const id = path[1] ?? '';
  const task = known.tasks.get(id);
  const isMissing = useFetchedTask(id, task);
  if (!task) {
    const nothing = h(
      Empty,
      { title: `There is no task ${shortId(id)}.` },
      h('a', { href: to('tasks') }, 'See the tasks'),
    );
    return h(Page, { title: 'Task', testId: 'page-task' }, isMissing ? nothing : loading('the task'));
  }
  return h(
    Page,
    {
      title: task.name,
      heading: [h(Back, { href: to('tasks'), label: 'Tasks' }), task.name],
      sub: h(Line, { task }),
      actions: h(Actions, { task }),
      testId: 'page-task',
    },
    h(Timeline, { task }),
    task.failure
      ? h(TroubleBox, {
          problem: {
            status: 0,
            title: stateWord(task.state),
            detail: task.failure.message,
            code: task.failure.code,
            faults: task.failure.faults ?? [],
          },
          testId: 'task-failure',
        })
      : null,
    h(Question, { task }),
    h(Progress, { task }),
    h(TaskSpending, { task }),
    h(Tabs, { task }),
  );
}

/** Progress is counted, not journalled; and a task of an older page is not in the house yet. */
function useFetchedTask(id: string, task: TaskView | undefined): boolean {
  const [isMissing, setMissing] = useState(false);
  const isEnded = task !== undefined && isOver(task);
  useEffect(() => {
    const read = () => {
      if (document.hidden) return;
      call<TaskView>(`tasks/${segment(id)}`)
        .then((fresh) => learn({ task: fresh }))
        .catch(() => setMissing(true));
    };
    read();
    const timer = isEnded ? null : setInterval(read, pollMs);
    return () => {
      if (timer !== null) clearInterval(timer);
    };
  }, [id, isEnded]);
  return isMissing;
}

function Line({ task }: { task: TaskView }): VNode {
  const { repository } = task;
  return h('p', { class: 'counts' }, [
    h(TaskState, { task }),
    h('span', { 'data-testid': 'task-state', 'data-state': task.state }, task.state_message),
    h('span', null, [task.tool, ' ', task.mode, task.model ? ` · ${task.model}` : '']),
    task.agent_id ? h('a', { href: to('agents', task.agent_id) }, task.agent_id) : null,
    repository
      ? h('span', { class: 'ellipsis' }, [
          h('code', null, repository.url),
          repository.branch ? ` @ ${repository.branch}` : '',
        ])
      : null,
    task.attempt > 1 ? h('span', null, `attempt ${task.attempt}`) : null,
    h('span', { class: 'nowrap' }, [
      h('code', { title: task.id }, shortId(task.id)),
      h(Copy, { text: task.id, name: 'the id' }),
    ]),
  ]);
}

function Actions({ task }: { task: TaskView }): VNode {
  const cancel = () =>
    confirm({
      title: 'Cancel this task?',
      body: h('p', null, 'What it runs is stopped. What it has written to its outbox so far is kept.'),
      verb: 'Cancel the task',
      run: async () => {
        learn({ task: await post<TaskView>(`tasks/${segment(task.id)}/cancel`).then(taskIn) });
        noteGood('Cancelled', task.name);
      },
    });
  const retry = () =>
    confirm({
      title: 'Run this task again?',
      body: h(
        'p',
        null,
        'It starts from the beginning as a new task, with the same manifest. This one stays as it is.',
      ),
      verb: 'Run again',
      run: async () => {
        const again = await post<TaskView>(`tasks/${segment(task.id)}/retry`).then(taskIn);
        learn({ task: again });
        noteGood('Started again', task.name);
        go(to('tasks', again.id));
      },
    });
  const canRetry = task.state === 'FAILED' || task.state === 'FAILED_PRESERVED' || task.state === 'CANCELLED';
  return h('span', { class: 'actions' }, [
    isOver(task)
      ? null
      : h(Button, {
          label: 'Cancel',
          tone: 'danger',
          onClick: cancel,
          needs: 'operator',
          testId: 'task-cancel',
        }),
    canRetry
      ? h(Button, {
          label: 'Run again',
          icon: 'refresh',
          tone: 'primary',
          onClick: retry,
          needs: 'operator',
          testId: 'task-retry',
        })
      : null,
  ]);
}

/** Some answers wrap the task, some are it. */
function taskIn(answer: TaskView | { task: TaskView }): TaskView {
  return 'task' in answer ? answer.task : answer;
}

function Timeline({ task }: { task: TaskView }): VNode {
  const { events } = useCell(house);
  const seen = new Map<StateName, string>();
  for (const event of events) {
    const view = event.data as { state?: StateName } | null;
    if (event.actor === `task:${task.id}` && view?.state && !seen.has(view.state))
      seen.set(view.state, event.timestamp);
  }
  return h(
    'ol',
    { class: 'timeline', 'aria-label': 'Life of the task', 'data-testid': 'timeline' },
    timeline(task, seen).map((step) =>
      h(
        'li',
        {
          key: step.state,
          class: `step ${step.phase}${step.phase === 'present' ? ` tone-${isOver(task) && task.state !== 'COMPLETED' ? 'bad' : task.waiting_for_human ? 'ask' : 'busy'}` : ''}`,
          'aria-current': step.phase === 'present' ? 'step' : undefined,
        },
        [
          h('span', { class: 'step-name' }, stateWord(step.state)),
          h('span', { class: 'step-time' }, step.at ? clockTime(step.at) : ''),
        ],
      ),
    ),
  );
}

function Question({ task }: { task: TaskView }): VNode | null {
  const { questions } = useCell(house);
  const question = task.hitl_id ? questions.get(task.hitl_id) : undefined;
  if (!question) return null;
  return h(
    'div',
    { class: 'inline-question' },
    h(QuestionCard, { key: question.hitl_id, question, isCompact: true }),
  );
}

function Progress({ task }: { task: TaskView }): VNode {
  const { progress } = task;
  const isAgent = task.tool !== 'command';
  return h('dl', { class: 'stats', 'data-testid': 'task-progress' }, [
    h(Fact, { name: 'Elapsed' }, task.started_at ? h(Elapsed, { task }) : '—'),
    isAgent
      ? h(Fact, { name: 'Tool calls' }, [
          String(progress.tool_calls),
          progress.current_tool ? h('span', { class: 'muted' }, ` ${progress.current_tool}`) : null,
        ])
      : null,
    isAgent ? h(Fact, { name: 'Turns' }, String(progress.turns)) : null,
    isAgent
      ? h(
          Fact,
          { name: 'Tokens in / out' },
          `${count(progress.input_tokens)} / ${count(progress.output_tokens)}`,
        )
      : null,
    isAgent ? h(Fact, { name: 'Cost' }, progress.cost_usd === null ? '—' : dollars(progress.cost_usd)) : null,
    h(Fact, { name: 'Output' }, bytes(progress.output_bytes)),
    h(
      Fact,
      { name: 'Last activity' },
      progress.last_activity_at ? h(Ago, { at: progress.last_activity_at }) : '—',
    ),
    task.exit_code !== null ? h(Fact, { name: 'Exit code' }, String(task.exit_code)) : null,
    task.deadline_at && !isOver(task)
      ? h(Fact, { name: 'Time left' }, h(Countdown, { until: Date.parse(task.deadline_at) }))
      : null,
  ]);
}

const tabNames = {
  terminal: 'Terminal',
  log: 'Log',
  artifacts: 'Artifacts',
  changes: 'Changes',
  manifest: 'Manifest',
} as const;
type TabName = keyof typeof tabNames;

function Tabs({ task }: { task: TaskView }): VNode {
  const { sessions } = useCell(house);
  const { query } = useRoute();
  const artifacts = useArtifacts(task);
  const session = task.session_id ? sessions.get(task.session_id) : undefined;
  const asked = query.get('tab') as TabName | null;
  const usual: TabName = task.mode === 'interactive' && session?.has_screen ? 'terminal' : 'log';
  const tab = asked && asked in tabNames ? asked : usual;
  const number: Partial<Record<TabName, number>> = { artifacts: artifacts.list?.length ?? 0 };
  const panel: Readonly<Record<TabName, () => VNode>> = {
    terminal: () =>
      session
        ? h(TerminalView, { key: session.session_id, session, isTile: false })
        : h(Empty, {
            title: task.session_id ? 'The session is not known here any more.' : 'It has no terminal yet.',
          }),
    log: () => h(TaskLog, { key: task.id, taskId: task.id }),
    artifacts: () => h(ArtifactsTab, { task, artifacts }),
    changes: () => h(ChangesTab, { task, artifacts: artifacts.list as readonly ArtifactView[] | null }),
    manifest: () => h(ManifestTab, { task }),
  };
  return h('section', { class: 'block tabs' }, [
    h(TabList, {
      label: 'Parts of the task',
      tabs: (Object.keys(tabNames) as TabName[]).map((id) => ({
        id,
        name: tabNames[id],
        count: number[id] ?? 0,
      })),
      chosen: tab,
      onChoose: (id) => setQuery('tab', id),
      prefix: 'tab',
      panel: 'panel',
    }),
    h(
      'div',
      { role: 'tabpanel', id: 'panel', 'aria-labelledby': `tab-${tab}`, class: 'panel' },
      panel[tab](),
    ),
  ]);
}
