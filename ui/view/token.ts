/** Asks for an operator token when the server wants to know who is there; kept for this tab only. */
import type { VNode } from 'preact';
import { useRef } from 'preact/hooks';
import { startFeed } from '../state/feed.ts';
import { wantsToken } from '../state/store.ts';
import { call } from '../wire/api.ts';
import { keepToken, token } from '../wire/token.ts';
import { useAction } from './action.ts';
import { Dialog } from './dialog.ts';
import { h } from './h.ts';
import { TroubleBox } from './marks.ts';

export function TokenDialog(): VNode {
  const field = useRef<HTMLInputElement>(null);
  const action = useAction();
  const had = token() !== null;
  const submit = (event: Event) => {
    event.preventDefault();
    const value = field.current?.value.trim() ?? '';
    if (value === '') return;
    void action.run(async () => {
      keepToken(value);
      try {
        await call('whoami');
      } catch (thrown) {
        keepToken(null);
        throw thrown;
      }
      wantsToken.set(false);
      startFeed();
    });
  };
  return h(
    Dialog,
    { title: 'Who are you?', onClose: () => wantsToken.set(false), testId: 'token-dialog' },
    h('form', { class: 'form', onSubmit: submit }, [
      h(
        'p',
        null,
        had
          ? 'The server does not take the token of this tab any more.'
          : 'This server wants an operator token. It is kept in this tab only, and forgotten when the tab closes.',
      ),
      h('label', { class: 'field' }, [
        h('span', { class: 'label' }, 'Operator token'),
        h('input', {
          ref: field,
          type: 'password',
          autofocus: true,
          autoComplete: 'off',
          spellcheck: false,
          class: 'mono',
          'data-testid': 'token',
        }),
      ]),
      action.problem ? h(TroubleBox, { problem: action.problem }) : null,
      h(
        'footer',
        { class: 'dialog-foot' },
        h(
          'button',
          { class: 'button primary', disabled: action.isBusy, 'data-testid': 'token-go' },
          'Continue',
        ),
      ),
    ]),
  );
}
