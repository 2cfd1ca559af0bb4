/**
 * The form that submits a task, beside the manifest it makes; or the manifest itself, by hand.
 *
 * The server checks; each fault of its answer stands at the field it names. What was typed survives a reload
 * of the tab.
 */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { TaskView } from '../../src/views.ts';
import { useMay } from '../state/caller.ts';
import { learn } from '../state/feed.ts';
import { emptyForm, manifestOf, type PlacedFaults, placeFaults, type TaskForm } from '../tasks/manifest.ts';
import { toYaml } from '../tasks/yaml.ts';
import { call } from '../wire/api.ts';
import { type Action, typed, useAction } from './action.ts';
import { h } from './h.ts';
import { Button, Snippet, TroubleBox } from './marks.ts';
import { Back, Page } from './page.ts';
import { go, to } from './route.ts';
import { TabList } from './tabs.ts';
import { TaskFields } from './task-fields.ts';

const draftKey = 'agentic.task-draft';

function keptDraft(): TaskForm {
  try {
    return { ...emptyForm, ...(JSON.parse(sessionStorage.getItem(draftKey) ?? '{}') as Partial<TaskForm>) };
  } catch {
    return emptyForm;
  }
}

export function NewTaskPage(): VNode {
  const [form, setForm] = useState(keptDraft);
  const [yaml, setYaml] = useState<string | null>(null);
  const [isYaml, setIsYaml] = useState(false);
  const action = useAction();
  const mayAct = useMay('operator');
  useEffect(() => sessionStorage.setItem(draftKey, JSON.stringify(form)), [form]);
  const made = toYaml(manifestOf(form));
  const body = isYaml ? (yaml ?? made) : made;
  const submit = () =>
    void action.run(async () => {
      const answer = await call<{ task: TaskView; task_id: string }>('tasks', {
        method: 'POST',
        text: { body, type: 'application/yaml' },
      });
      sessionStorage.removeItem(draftKey);
      if (answer.task) learn({ task: answer.task });
      go(to('tasks', answer.task_id));
    });
  const onKeyDown = (event: KeyboardEvent) => {
    if (mayAct && event.key === 'Enter' && (event.ctrlKey || event.metaKey)) submit();
  };
  const faults = placeFaults(action.problem?.faults ?? []);
  return h(
    Page,
    {
      title: 'New task',
      heading: [h(Back, { href: to('tasks'), label: 'Tasks' }), 'New task'],
      testId: 'page-new-task',
    },
    h('div', { class: 'submit', onKeyDown }, [
      h('div', { class: 'submit-form' }, [
        h(Tabs, { isYaml, onChoose: setIsYaml }),
        isYaml
          ? h(YamlEditor, {
              text: body,
              onText: setYaml,
              onReset: yaml === null ? null : () => setYaml(null),
            })
          : h(TaskFields, { form, faults, onForm: setForm }),
        h(Trouble, { action, faults, isYaml }),
        h('footer', { class: 'submit-foot' }, [
          h(Button, {
            label: 'Submit task',
            tone: 'primary',
            onClick: submit,
            needs: 'operator',
            isDisabled: action.isBusy,
            testId: 'submit-task',
          }),
          mayAct
            ? h('span', { class: 'muted' }, [h('kbd', null, 'Ctrl'), ' ', h('kbd', null, 'Enter')])
            : h('span', { class: 'muted' }, 'An operator has to submit it.'),
        ]),
      ]),
      h('aside', { class: 'submit-preview', 'aria-label': 'The manifest' }, [
        h('h2', null, 'Manifest'),
        h(Snippet, { text: body, name: 'the manifest' }),
        h('p', { class: 'muted' }, 'The same from a shell:'),
        h(Snippet, {
          name: 'the request',
          text: `curl -X POST ${location.origin}/api/v1/tasks \\\n  -H 'content-type: application/yaml' --data-binary @task.yaml`,
        }),
      ]),
    ]),
  );
}

const Tabs = ({ isYaml, onChoose }: { isYaml: boolean; onChoose: (isYaml: boolean) => void }): VNode =>
  h(TabList, {
    label: 'How to describe the task',
    tabs: [
      { id: 'form', name: 'Form' },
      { id: 'yaml', name: 'YAML' },
    ],
    chosen: isYaml ? 'yaml' : 'form',
    onChoose: (id) => onChoose(id === 'yaml'),
    prefix: 'tab',
  });

/** With a form, faults at fields are said there; here is the rest. */
function Trouble({
  action,
  faults,
  isYaml,
}: {
  action: Action;
  faults: PlacedFaults;
  isYaml: boolean;
}): VNode | null {
  if (!action.problem) return null;
  return h(TroubleBox, {
    problem: { ...action.problem, faults: isYaml ? action.problem.faults : faults.elsewhere },
    testId: 'submit-problem',
  });
}

interface EditorProps {
  readonly text: string;
  readonly onText: (text: string) => void;
  readonly onReset: (() => void) | null;
}

function YamlEditor({ text, onText, onReset }: EditorProps): VNode {
  return h('div', { class: 'field' }, [
    h('label', { class: 'label', for: 'yaml' }, [
      'Manifest, YAML or JSON',
      onReset
        ? h('button', { type: 'button', class: 'link push', onClick: onReset }, 'Take it from the form again')
        : null,
    ]),
    h('textarea', {
      id: 'yaml',
      class: 'mono',
      rows: 24,
      value: text,
      spellcheck: false,
      onInput: (event: Event) => onText(typed(event)),
      'data-testid': 'yaml',
    }),
  ]);
}
