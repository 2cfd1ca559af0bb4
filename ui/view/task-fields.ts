/**
 * The fields of the form that submits a task, each with its hint or with what the server found wrong in it.
 */
import type { ComponentChildren, VNode } from 'preact';
import { agentsByName } from '../state/readings.ts';
import { house, useCell } from '../state/store.ts';
import type { FormField, PlacedFaults, TaskForm } from '../tasks/manifest.ts';
import { typed } from './action.ts';
import { h } from './h.ts';

export interface FieldsProps {
  readonly form: TaskForm;
  readonly faults: PlacedFaults;
  readonly onForm: (form: TaskForm) => void;
}

interface FieldProps {
  readonly name: FormField;
  readonly label: string;
  readonly hint?: string;
  readonly isOptional?: boolean;
}

type Attributes = Record<string, unknown>;
type Options = readonly (readonly [value: string, words: string])[];

interface Controls {
  readonly input: (props: FieldProps, more?: Attributes) => VNode;
  readonly area: (props: FieldProps, more: Attributes) => VNode;
  readonly pick: (props: FieldProps, options: Options) => VNode;
}

function controlsOf({ form, faults, onForm }: FieldsProps): Controls {
  const set = (name: FormField) => (event: Event) => onForm({ ...form, [name]: typed(event) });
  const field = (props: FieldProps, control: (attributes: Attributes) => VNode) =>
    h(Field, { ...props, fault: faults.at[props.name], control });
  const written = ({ name }: FieldProps) => ({ value: form[name], onInput: set(name) });
  return {
    input: (props, more = {}) =>
      field(props, (attributes) =>
        h('input', { ...attributes, ...more, ...written(props), autoComplete: 'off' }),
      ),
    area: (props, more) =>
      field(props, (attributes) => h('textarea', { ...attributes, ...more, ...written(props) })),
    pick: (props, options) =>
      field(props, (attributes) =>
        h(
          'select',
          { ...attributes, value: form[props.name], onChange: set(props.name) },
          options.map(([value, words]) => h('option', { key: value, value }, words)),
        ),
      ),
  };
}

const code = { class: 'mono', spellcheck: false };

const tools: Options = [
  ['claude', 'Claude Code'],
  ['command', 'Command'],
];
const modes: Options = [
  ['interactive', 'Interactive'],
  ['headless', 'Headless'],
];
const modeHints: Readonly<Record<TaskForm['mode'], string>> = {
  interactive: 'A terminal to watch and answer in.',
  headless: 'No terminal; it acts without asking.',
};

export function TaskFields(props: FieldsProps): VNode {
  const controls = controlsOf(props);
  return h(
    'form',
    { class: 'form', onSubmit: (event: Event) => event.preventDefault(), 'data-testid': 'task-form' },
    [...work(props.form, controls), h(Place, { ...props, controls }), ...results(controls)],
  );
}

/** What is to be done. */
function work({ tool, mode }: TaskForm, { input, area, pick }: Controls): VNode[] {
  const script = { name: 'script', label: 'Script', hint: 'Run by bash -lc in the working tree.' } as const;
  const name = {
    name: 'name',
    label: 'Name',
    isOptional: true,
    hint: 'Its first words, when left empty.',
  } as const;
  const prompt = { rows: 7, placeholder: 'What should the agent do?', autofocus: true };
  return [
    h('div', { class: 'columns' }, [
      pick({ name: 'tool', label: 'Tool' }, tools),
      pick({ name: 'mode', label: 'Mode', hint: modeHints[mode] }, modes),
    ]),
    tool === 'command'
      ? area(script, { ...code, rows: 6, placeholder: 'make test' })
      : area({ name: 'prompt', label: 'Prompt' }, prompt),
    input(name),
  ];
}

/** On what, where and for how long. */
function Place({ form, controls }: FieldsProps & { controls: Controls }): VNode {
  const { input, pick } = controls;
  const agents = agentsByName(useCell(house));
  const address = { ...code, placeholder: 'https://… or git@… or /absolute/path' };
  const model = { ...code, placeholder: 'the tool’s own' };
  const instances: Options = [
    ['', 'A free one, or a new one'],
    ...agents.map((agent): [string, string] => [agent.id, `${agent.id} (${agent.state})`]),
  ];
  return h('div', { class: 'form' }, [
    h('div', { class: 'columns wide-first' }, [
      input({ name: 'repositoryUrl', label: 'Repository', isOptional: true }, address),
      input({ name: 'branch', label: 'Branch', isOptional: true }, code),
    ]),
    h('div', { class: 'columns' }, [
      form.tool === 'command' ? null : input({ name: 'model', label: 'Model', isOptional: true }, model),
      pick({ name: 'instance', label: 'Instance' }, instances),
      input({ name: 'timeout', label: 'Timeout' }, { ...code, placeholder: '2h' }),
    ]),
  ]);
}

/** What is kept of it, and how it is found again. */
function results({ input, area }: Controls): VNode[] {
  const patterns = {
    name: 'patterns',
    label: 'Artifacts to keep',
    isOptional: true,
    hint: 'Patterns, one a line, such as dist/**/*.tgz. The patch of the repository is always kept.',
  } as const;
  const labels = {
    name: 'labels',
    label: 'Labels',
    isOptional: true,
    hint: 'key=value, separated by commas.',
  } as const;
  return [area(patterns, { ...code, rows: 2 }), input(labels, code)];
}

interface FieldFrame extends FieldProps {
  readonly fault: string | undefined;
  readonly control: (attributes: Record<string, unknown>) => VNode;
}

function Field({ name, label, hint, isOptional, fault, control }: FieldFrame): VNode {
  const words: ComponentChildren = fault ?? hint;
  const attributes = {
    id: `field-${name}`,
    'data-testid': `field-${name}`,
    'aria-invalid': fault === undefined ? undefined : 'true',
    'aria-describedby': words === undefined ? undefined : `hint-${name}`,
  };
  return h('div', { class: 'field' }, [
    h('label', { class: 'label', for: `field-${name}` }, [
      label,
      isOptional ? h('span', { class: 'muted' }, ' optional') : null,
    ]),
    control(attributes),
    words === undefined
      ? null
      : h(
          'span',
          {
            class: fault === undefined ? 'hint' : 'fault',
            id: `hint-${name}`,
            role: fault === undefined ? undefined : 'alert',
            'data-testid': fault === undefined ? undefined : `fault-${name}`,
          },
          words,
        ),
  ]);
}
