/** The list of tasks: what runs, what waits for a human, what became of the rest. */
import type { VNode } from 'preact';
import type { TaskView } from '../../src/views.ts';
import { loadOlderTasks } from '../state/feed.ts';
import { isOver, type TaskFilter, taskGroups, tasksMatching } from '../state/readings.ts';
import { house, now, useCell } from '../state/store.ts';
import { count, dollars, duration, plural } from '../words.ts';
import { typed, useAction } from './action.ts';
import { h } from './h.ts';
import { Ago, Button, Empty, loading, Snippet, State, TroubleBox } from './marks.ts';
import { Page } from './page.ts';
import { go, setQuery, to, useRoute } from './route.ts';

const filters = {
  all: 'All',
  active: 'Active',
  waiting: 'Waiting for you',
  completed: 'Completed',
  failed: 'Failed',
  cancelled: 'Cancelled',
} as const;

export function TasksPage(): VNode {
  const known = useCell(house);
  const { query } = useRoute();
  const older = useAction();
  const group = groupOf(query.get('state'));
  const words = query.get('q') ?? '';
  const tasks = tasksMatching(known, { group, words });
  const missing = known.tasksTotal - known.tasks.size;
  return h(
    Page,
    {
      title: 'Tasks',
      testId: 'page-tasks',
      actions: h(Button, {
        label: 'New task',
        icon: 'plus',
        tone: 'primary',
        onClick: () => go(to('tasks', 'new')),
        needs: 'operator',
        testId: 'new-task',
      }),
    },
    h(Filters, { group, words }),
    known.isLoaded ? null : loading('tasks'),
    known.isLoaded && known.tasks.size === 0 ? h(NoTasks, {}) : null,
    known.tasks.size > 0 && tasks.length === 0
      ? h(Empty, { title: 'No task matches.' }, h('button', { class: 'link', onClick: clear }, 'Show all'))
      : null,
    h(
      'ul',
      { class: 'rows tasks', 'data-testid': 'task-rows' },
      tasks.map((task) => h(TaskRow, { key: task.id, task })),
    ),
    older.problem ? h(TroubleBox, { problem: older.problem }) : null,
    missing > 0
      ? h(Button, {
          label: `Load older (${missing} more)`,
          isDisabled: older.isBusy,
          onClick: () => void older.run(loadOlderTasks),
        })
      : null,
  );
}

function groupOf(value: string | null): TaskFilter['group'] {
  return value !== null && (value === 'waiting' || value in taskGroups)
    ? (value as TaskFilter['group'])
    : 'all';
}

function clear(): void {
  setQuery('state', null);
  setQuery('q', null);
}

function Filters({ group, words }: TaskFilter): VNode {
  const known = useCell(house);
  return h('div', { class: 'filters' }, [
    h(
      'div',
      { class: 'chips', role: 'group', 'aria-label': 'Which tasks' },
      (Object.keys(filters) as TaskFilter['group'][]).map((one) =>
        h(
          'button',
          {
            key: one,
            type: 'button',
            class: 'chip',
            'aria-pressed': one === group,
            onClick: () => setQuery('state', one === 'all' ? null : one),
            'data-testid': `filter-${one}`,
          },
          filters[one],
          h('span', { class: 'chip-count' }, String(tasksMatching(known, { group: one, words: '' }).length)),
        ),
      ),
    ),
    h('input', {
      type: 'search',
      class: 'search',
      value: words,
      placeholder: 'Filter',
      'aria-label': 'Filter tasks by words',
      'aria-keyshortcuts': '/',
      'data-filter': '',
      onInput: (event: Event) => setQuery('q', typed(event)),
    }),
  ]);
}

function NoTasks(): VNode {
  return h(Empty, { title: 'No tasks yet.', testId: 'tasks-empty' }, [
    h(
      'p',
      null,
      'A task is one piece of work for an agent: a prompt or a command, a repository if it needs one, and what to keep of it.',
    ),
    h(Button, {
      label: 'New task',
      icon: 'plus',
      tone: 'primary',
      onClick: () => go(to('tasks', 'new')),
      needs: 'operator',
    }),
    h('p', null, 'or from a shell:'),
    h(Snippet, {
      name: 'an example manifest',
      text:
        `curl -X POST ${location.origin}/api/v1/tasks -H 'content-type: application/yaml' --data-binary @- <<'EOF'\n` +
        `version: "1"\nkind: Task\nmetadata:\n  name: Say hello\nagent:\n  tool: command\n  command: bash\n  args: [-lc, "echo hello"]\nEOF`,
    }),
  ]);
}

function TaskRow({ task }: { task: TaskView }): VNode {
  const { progress } = task;
  return h(
    'li',
    {
      class: `row${task.waiting_for_human ? ' asks' : ''}`,
      'data-testid': 'task-row',
      'data-task-id': task.id,
      'data-state': task.state,
    },
    [
      h(TaskState, { task }),
      h('a', { class: 'strong ellipsis', href: to('tasks', task.id) }, task.name),
      h('span', { class: 'tag' }, `${task.tool} ${task.mode}`),
      h(
        'span',
        { class: `ellipsis grow ${task.failure ? 'bad' : 'muted'}` },
        task.failure?.message ??
          (isOver(task) ? (task.summary ?? '') : (progress.current_tool ?? task.state_message)),
      ),
      h('span', { class: 'muted nowrap numbers' }, progressWords(task)),
      task.agent_id
        ? h('a', { href: to('agents', task.agent_id), class: 'nowrap' }, task.agent_id)
        : h('span', null),
      h('span', { class: 'muted nowrap numbers' }, h(Elapsed, { task })),
      h('span', { class: 'muted nowrap' }, h(Ago, { at: task.created_at })),
    ],
  );
}

/** A task that waits for a human says so first. */
export function TaskState({ task }: { task: TaskView }): VNode {
  if (!task.waiting_for_human) return h(State, { state: task.state, title: task.state_message });
  return h('span', { class: 'state tone-ask', 'data-state': 'waiting' }, [
    h('span', { class: 'dot', 'aria-hidden': 'true' }),
    'waits for you',
  ]);
}

export function progressWords({ progress }: TaskView): string {
  const tokens = progress.input_tokens + progress.output_tokens;
  return [
    progress.tool_calls > 0 ? plural(progress.tool_calls, 'call') : '',
    tokens > 0 ? `${count(tokens)} tok` : '',
    progress.cost_usd !== null ? dollars(progress.cost_usd) : '',
  ]
    .filter((part) => part !== '')
    .join(' · ');
}

export function Elapsed({ task }: { task: TaskView }): VNode | null {
  const nowMs = useCell(now);
  if (task.started_at === null) return null;
  const until = task.ended_at === null ? nowMs : Date.parse(task.ended_at);
  return h('span', { title: 'time from start' }, duration(until - Date.parse(task.started_at)));
}
