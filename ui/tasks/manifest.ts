/**
 * From the submit form to a task's manifest, and from a manifest's faults back to the fields of the form.
 * Pure.
 *
 * What was left empty is left out, so the server's defaults stay the server's. Text is never checked here:
 * the server checks, and names the field; one set of rules cannot disagree with itself.
 */
import type { FieldFault } from '../wire/problem.ts';

export interface TaskForm {
  readonly name: string;
  readonly tool: 'claude' | 'command';
  readonly mode: 'headless' | 'interactive';
  readonly prompt: string;
  /** For the tool `command`: a script that bash runs. */
  readonly script: string;
  readonly model: string;
  readonly instance: string;
  readonly repositoryUrl: string;
  readonly branch: string;
  readonly timeout: string;
  /** One pattern a line, or separated by commas. */
  readonly patterns: string;
  /** `key=value`, one a line or separated by commas. */
  readonly labels: string;
}

export type FormField = keyof TaskForm;

export const emptyForm: TaskForm = {
  name: '',
  tool: 'claude',
  mode: 'interactive',
  prompt: '',
  script: '',
  model: '',
  instance: '',
  repositoryUrl: '',
  branch: '',
  timeout: '2h',
  patterns: '',
  labels: '',
};

export type Manifest = { readonly [key: string]: unknown };

export function manifestOf(form: TaskForm): Manifest {
  const url = form.repositoryUrl.trim();
  return pruned({
    version: '1',
    kind: 'Task',
    metadata: { name: form.name.trim() || nameFrom(form), labels: labelsOf(form.labels) },
    repository: url ? { url, branch: form.branch.trim() } : undefined,
    agent: agentOf(form),
    lifecycle: { timeout: form.timeout.trim(), artifact_patterns: items(form.patterns) },
  });
}

function agentOf(form: TaskForm): Manifest {
  const shared = { tool: form.tool, mode: form.mode, instance: form.instance.trim() };
  if (form.tool === 'command') return { ...shared, command: 'bash', args: ['-lc', form.script] };
  return { ...shared, prompt: form.prompt, model: form.model.trim() };
}

/** A task that was given no name is called by its first words. */
function nameFrom(form: TaskForm): string {
  const text = (form.tool === 'command' ? form.script : form.prompt).trim().split('\n')[0] ?? '';
  return text.length > 60 ? `${text.slice(0, 57).trimEnd()}…` : text;
}

export function items(text: string): string[] {
  return text
    .split(/[\n,]/)
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function labelsOf(text: string): Record<string, string> {
  const pairs = items(text).map((item): [string, string] => {
    const equals = item.indexOf('=');
    return equals < 0 ? [item, ''] : [item.slice(0, equals).trim(), item.slice(equals + 1).trim()];
  });
  return Object.fromEntries(pairs);
}

function pruned(map: Manifest): Manifest {
  const kept = Object.entries(map)
    // A label without a value is one all the same.
    .map(([key, value]): [string, unknown] => [key, isMap(value) && key !== 'labels' ? pruned(value) : value])
    .filter(([, value]) => !isEmpty(value));
  return Object.fromEntries(kept);
}

function isMap(value: unknown): value is Manifest {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An empty string or list inside a list is content; beside a key it is nothing. */
function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true;
  return Array.isArray(value) ? value.length === 0 : isMap(value) && Object.keys(value).length === 0;
}

const places: readonly (readonly [RegExp, FormField])[] = [
  [/^metadata\.name$/, 'name'],
  [/^metadata\.labels/, 'labels'],
  [/^repository\.url$/, 'repositoryUrl'],
  [/^repository\.(branch|commit)$/, 'branch'],
  [/^(agent|claude)\.prompt$/, 'prompt'],
  [/^agent\.(command|args)/, 'script'],
  [/^(agent|claude)\.model$/, 'model'],
  [/^agent\.tool$/, 'tool'],
  [/^agent\.mode$/, 'mode'],
  [/^agent\.instance$/, 'instance'],
  [/^lifecycle\.timeout$/, 'timeout'],
  [/^lifecycle\.artifact_patterns/, 'patterns'],
];

export interface PlacedFaults {
  readonly at: Readonly<Partial<Record<FormField, string>>>;
  /** Faults that belong to no field of the form; shown above it with their path. */
  readonly elsewhere: readonly FieldFault[];
}

export function placeFaults(faults: readonly FieldFault[]): PlacedFaults {
  const at: Partial<Record<FormField, string>> = {};
  const elsewhere: FieldFault[] = [];
  for (const fault of faults) {
    const path = fault.path.replace(/^manifest\./, '');
    const field = places.find(([pattern]) => pattern.test(path))?.[1];
    if (field) at[field] = at[field] ? `${at[field]}; ${fault.message}` : fault.message;
    else elsewhere.push({ path, message: fault.message });
  }
  return { at, elsewhere };
}
