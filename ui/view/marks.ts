/** The small pieces every view is made of: states, times, sizes, buttons, empty places, trouble. */
import type { ComponentChildren, VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { RuntimeKind } from '../../src/runtime.ts';
import { type Role, useMay } from '../state/caller.ts';
import { now, useCell } from '../state/store.ts';
import { type Problem, remedy } from '../wire/problem.ts';
import { ago, countdown } from '../words.ts';
import { h } from './h.ts';
import { Icon, type IconName } from './icons.ts';

/** `ask` means that a human is needed, and nothing else does; `warn` is trouble that may pass by itself. */
export type Tone = 'good' | 'busy' | 'ask' | 'warn' | 'bad' | 'idle';

const tones: Readonly<Record<string, Tone>> = {
  ready: 'good',
  running: 'good',
  live: 'good',
  COMPLETED: 'good',
  answered: 'good',
  busy: 'busy',
  RUNNING: 'busy',
  STAGING: 'busy',
  PROVISIONING: 'busy',
  READY: 'busy',
  COMPLETING: 'busy',
  provisioning: 'busy',
  starting: 'busy',
  stopping: 'busy',
  destroying: 'busy',
  answering: 'busy',
  open: 'ask',
  stale: 'warn',
  detached: 'warn',
  disconnected: 'warn',
  expired: 'warn',
  FAILED: 'bad',
  FAILED_PRESERVED: 'bad',
  failed: 'bad',
  'crash-looping': 'bad',
  lost: 'bad',
  undeliverable: 'bad',
};

export function toneOf(state: string): Tone {
  return tones[state] ?? 'idle';
}

export function stateWord(state: string): string {
  return state.toLowerCase().replaceAll('_', ' ');
}

/** What an instance is; not what its machine is called. */
export const runtimeWords: Readonly<Record<RuntimeKind, string>> = {
  host: 'Host process',
  container: 'Container',
  vm: 'Virtual machine',
};

export function RuntimeTag({ runtime }: { runtime: RuntimeKind }): VNode {
  return h('span', { class: 'tag' }, runtimeWords[runtime].toLowerCase());
}

export function State({ state, title }: { state: string; title?: string | null }): VNode {
  return h('span', { class: `state tone-${toneOf(state)}`, title: title ?? undefined, 'data-state': state }, [
    h('span', { class: 'dot', 'aria-hidden': 'true' }),
    stateWord(state),
  ]);
}

export function Dot({ tone, label }: { tone: Tone; label: string }): VNode {
  return h('span', { class: `dot tone-${tone}`, role: 'img', 'aria-label': label, title: label });
}

/** Redraws itself; the page around it need not. */
export function Ago({ at }: { at: string | number | null }): VNode | null {
  const nowMs = useCell(now);
  if (at === null) return null;
  const atMs = typeof at === 'number' ? at : Date.parse(at);
  const date = new Date(atMs);
  return h('time', { dateTime: date.toISOString(), title: date.toLocaleString() }, ago(atMs, nowMs));
}

export function Countdown({ until }: { until: number }): VNode {
  const nowMs = useCell(now);
  const isShort = until - nowMs < 60_000;
  const title = `expires at ${new Date(until).toLocaleTimeString()}`;
  return h(
    'span',
    { class: `countdown${isShort ? ' short' : ''}`, title, role: 'timer' },
    countdown(until, nowMs),
  );
}

export interface ButtonProps {
  readonly label: ComponentChildren;
  readonly icon?: IconName;
  readonly tone?: 'primary' | 'danger' | 'plain' | 'quiet';
  readonly onClick: () => void;
  readonly isDisabled?: boolean;
  readonly title?: string;
  /** What stands there instead of words, for readers who cannot see the icon. */
  readonly name?: string;
  readonly testId?: string;
  readonly keys?: string;
  /** Whoever may less is not shown it. */
  readonly needs?: Role;
}

export function Button(props: ButtonProps): VNode | null {
  const { label, icon, tone = 'plain', onClick, isDisabled = false, title, name, testId, keys } = props;
  if (!useMay(props.needs ?? 'viewer') && props.needs) return null;
  return h(
    'button',
    {
      type: 'button',
      class: `button ${tone}${label === '' ? ' icon-only' : ''}`,
      onClick,
      disabled: isDisabled,
      title: title ?? name,
      'aria-label': name,
      'aria-keyshortcuts': keys,
      'data-testid': testId,
    },
    icon ? h(Icon, { name: icon }) : null,
    label === '' ? null : h('span', null, label),
    keys ? h('kbd', { 'aria-hidden': 'true' }, keys) : null,
  );
}

export function Copy({ text, name }: { text: string; name: string }): VNode {
  const [isDone, setDone] = useState(false);
  const copy = () => {
    void navigator.clipboard?.writeText(text).then(() => {
      setDone(true);
      setTimeout(() => setDone(false), 1500);
    });
  };
  return h(
    'button',
    { type: 'button', class: 'copy', onClick: copy, title: `Copy ${name}`, 'aria-label': `Copy ${name}` },
    h(Icon, { name: isDone ? 'check' : 'copy', size: 14 }),
    h('span', { class: 'sr', role: 'status' }, isDone ? 'Copied' : ''),
  );
}

export function Snippet({ text, name }: { text: string; name: string }): VNode {
  return h(
    'div',
    { class: 'snippet' },
    h('pre', { tabIndex: 0, 'aria-label': name }, text),
    h(Copy, { text, name }),
  );
}

export interface EmptyProps {
  readonly title: string;
  readonly children?: ComponentChildren;
  readonly testId?: string;
}

export function Empty({ title, children, testId }: EmptyProps): VNode {
  return h(
    'div',
    { class: 'empty', 'data-testid': testId },
    h('p', { class: 'empty-title' }, title),
    children,
  );
}

/** The server's words, then what to do. */
export function TroubleBox({ problem, testId }: { problem: Problem; testId?: string }): VNode {
  const next = remedy(problem);
  return h(
    'div',
    { class: 'trouble', role: 'alert', 'data-testid': testId ?? 'problem' },
    h(Icon, { name: 'alert' }),
    h('div', null, [
      h('p', null, h('strong', null, problem.title), problem.detail ? ` ${problem.detail}` : null),
      problem.faults.length > 0
        ? h(
            'ul',
            null,
            problem.faults.map((f) => h('li', { key: f.path }, h('code', null, f.path), ` ${f.message}`)),
          )
        : null,
      next ? h('p', { class: 'muted' }, next) : null,
    ]),
  );
}

export function Meter({ label, part, text }: { label: string; part: number; text: string }): VNode {
  const tone = part > 92 ? 'bad' : 'idle';
  return h(
    'div',
    {
      class: 'meter',
      role: 'meter',
      'aria-label': label,
      'aria-valuenow': Math.round(part),
      'aria-valuetext': text,
    },
    h('span', { class: 'meter-label' }, label),
    h(
      'span',
      { class: 'meter-track' },
      h('span', { class: `meter-fill tone-${tone}`, style: { width: `${part}%` } }),
    ),
    h('span', { class: 'meter-text' }, text),
  );
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }): VNode {
  return h('div', { class: 'fact' }, h('dt', null, name), h('dd', null, children));
}

export function loading(what: string): VNode {
  return h('p', { class: 'loading', role: 'status' }, `Loading ${what}…`);
}
