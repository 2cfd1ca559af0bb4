/** Signed in, signed out: the server keeps who is there in a cookie that no script can read. */
import type { VNode } from 'preact';
import { caller } from '../state/caller.ts';
import { noteTrouble } from '../state/notes.ts';
import { signedOut, useCell } from '../state/store.ts';
import { Dialog } from './dialog.ts';
import { h } from './h.ts';
import { Button } from './marks.ts';

/** A dialog and no redirection: what was typed on this page can still be copied. */
export function SignedOutDialog(): VNode {
  return h(
    Dialog,
    { title: 'You are signed out', onClose: () => signedOut.set(false), testId: 'signed-out' },
    [
      h('p', null, 'The server does not know this browser any more: its session or its token has ended.'),
      h(
        'footer',
        { class: 'dialog-foot' },
        h(
          'a',
          { class: 'button primary', href: `/sign-in?next=%2F${location.hash}`, 'data-testid': 'sign-in' },
          'Sign in',
        ),
      ),
    ],
  );
}

/** Shown to whoever signed in; on a server without tokens there is nothing to leave. */
export function SignOut(): VNode | null {
  const who = useCell(caller);
  const name = who?.via === 'cookie' ? who.name : null;
  if (name === null) return null;
  const leave = async () => {
    try {
      await fetch('/sign-out', { method: 'POST', redirect: 'manual' });
      location.assign('/sign-in');
    } catch (thrown) {
      noteTrouble('Could not sign out', thrown);
    }
  };
  return h(Button, {
    label: '',
    icon: 'lock',
    tone: 'quiet',
    name: `Sign out ${name}`,
    onClick: () => void leave(),
    testId: 'sign-out',
  });
}
