/** Dialogs: one at a time, on the browser's own modal element, which keeps focus inside and gives it back. */
import type { ComponentChildren, VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { cell, useCell } from '../state/store.ts';
import { typed, useAction } from './action.ts';
import { h } from './h.ts';
import { Button, TroubleBox } from './marks.ts';

export type DialogName = 'palette' | 'help' | 'instance' | 'session';

export interface Confirmation {
  readonly title: string;
  readonly body: ComponentChildren;
  readonly verb: string;
  /** Must be typed before the verb can be pressed; absent: a click is enough. */
  readonly word?: string;
  readonly run: () => Promise<void>;
}

export type OpenDialog =
  | { readonly name: DialogName; readonly agent?: string }
  | { readonly name: 'confirm'; readonly confirm: Confirmation };

export const openDialog = cell<OpenDialog | null>(null);

export function show(name: DialogName, agent?: string): void {
  openDialog.set(agent === undefined ? { name } : { name, agent });
}

export function confirm(confirmation: Confirmation): void {
  openDialog.set({ name: 'confirm', confirm: confirmation });
}

export function closeDialog(): void {
  openDialog.set(null);
}

export function useOpenDialog(): OpenDialog | null {
  return useCell(openDialog);
}

export interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
  readonly width?: 'narrow' | 'wide';
  /** Its title is for those who cannot see it. */
  readonly isBare?: boolean;
  readonly testId?: string;
}

export function Dialog({
  title,
  onClose,
  children,
  width = 'narrow',
  isBare = false,
  testId,
}: DialogProps): VNode {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => element.current?.showModal(), []);
  const onCancel = (event: Event) => {
    event.preventDefault();
    onClose();
  };
  // The backdrop belongs to the dialog: a press there, and not inside, closes it.
  const onMouseDown = (event: MouseEvent) => {
    if (event.target === element.current) onClose();
  };
  return h(
    'dialog',
    {
      ref: element,
      class: `dialog ${width}`,
      'aria-label': title,
      onCancel,
      onMouseDown,
      'data-testid': testId,
    },
    h('div', { class: 'dialog-body' }, [
      isBare
        ? null
        : h('header', { class: 'dialog-head' }, [
            h('h2', null, title),
            h(Button, { label: '', icon: 'close', tone: 'quiet', name: 'Close', onClick: onClose }),
          ]),
      children,
    ]),
  );
}

export function ConfirmDialog({ confirm: wanted }: { confirm: Confirmation }): VNode {
  const [text, setText] = useState('');
  const action = useAction();
  const isReady = wanted.word === undefined || text === wanted.word;
  const submit = (event: Event) => {
    event.preventDefault();
    if (isReady) void action.run(wanted.run).then((worked) => worked && closeDialog());
  };
  return h(
    Dialog,
    { title: wanted.title, onClose: closeDialog, testId: 'confirm' },
    h('form', { onSubmit: submit, class: 'form' }, [
      h('div', { class: 'prose' }, wanted.body),
      wanted.word === undefined
        ? null
        : h('label', { class: 'field' }, [
            h('span', { class: 'label' }, ['Type ', h('code', null, wanted.word), ' to confirm']),
            h('input', {
              value: text,
              onInput: (event: Event) => setText(typed(event)),
              autoComplete: 'off',
              spellcheck: false,
              'data-testid': 'confirm-word',
            }),
          ]),
      action.problem ? h(TroubleBox, { problem: action.problem }) : null,
      h('footer', { class: 'dialog-foot' }, [
        h(Button, { label: 'Keep it', tone: 'quiet', onClick: closeDialog }),
        h(
          'button',
          { class: 'button danger', disabled: !isReady || action.isBusy, 'data-testid': 'confirm-go' },
          wanted.verb,
        ),
      ]),
    ]),
  );
}
