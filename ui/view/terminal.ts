/**
 * A session's terminal on the page: the picture, who controls it, and what can be done with it.
 *
 * A tile is attached only while it is on the screen; a full one always. Observers watch; control is taken by
 * a press of a button, shown to everyone, and given back the same way.
 */
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { SessionView } from '../../src/views.ts';
import { isLive } from '../state/readings.ts';
import type { AttachState } from '../terminal/attach.ts';
import { openPane, type Pane } from '../terminal/pane.ts';
import { bytes, commandLine } from '../words.ts';
import { h } from './h.ts';
import { Icon } from './icons.ts';
import { Button, Dot, toneOf } from './marks.ts';
import { to } from './route.ts';

const tileBounds = { min: 2, max: 13 };
const fullBounds = { min: 8, max: 15 };

interface PaneHold {
  readonly box: { current: HTMLDivElement | null };
  readonly pane: { current: Pane | null };
  readonly state: AttachState | null;
}

function usePane(session: SessionView, isTile: boolean): PaneHold {
  const box = useRef<HTMLDivElement>(null);
  const pane = useRef<Pane | null>(null);
  const [state, setState] = useState<AttachState | null>(null);
  const id = session.session_id;
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const open = () => {
      pane.current ??= openPane(element, {
        sessionId: id,
        bounds: isTile ? tileBounds : fullBounds,
        isTile,
        isPiped: !session.has_screen,
        label: `Terminal of ${session.session_name} on ${session.agent_id}`,
        onState: setState,
        onLeave: () => element.closest<HTMLElement>('[data-terminal]')?.focus(),
      });
    };
    const close = () => {
      pane.current?.close();
      pane.current = null;
    };
    const watcher = new IntersectionObserver((entries) => {
      if (entries.at(-1)?.isIntersecting) open();
      // Who has control keeps the connection: scrolling away must not give it up.
      else if (pane.current && isTile && !hasControl.has(id)) close();
    });
    watcher.observe(element);
    return () => {
      watcher.disconnect();
      close();
      hasControl.delete(id);
    };
  }, [id, isTile]);
  if (state?.role === 'controller') hasControl.add(id);
  else hasControl.delete(id);
  return { box, pane, state };
}

const hasControl = new Set<string>();

export function TerminalView({ session, isTile }: { session: SessionView; isTile: boolean }): VNode {
  const { box, pane, state } = usePane(session, isTile);
  const isController = state?.role === 'controller';
  const ratio =
    state && state.cols > 0 ? state.cols / (state.rows * 2.15) : session.cols / (session.rows * 2.15);
  return h(
    'section',
    {
      class: `term${isTile ? ' tile' : ' full'}${isController ? ' controlled' : ''}${session.hitl_id ? ' asks' : ''}`,
      'aria-label': `Terminal ${session.session_name} on ${session.agent_id}`,
      tabIndex: -1,
      'data-terminal': '',
      'data-testid': 'terminal',
      'data-session-id': session.session_id,
      'data-link': state?.link ?? 'connecting',
      'data-role': state?.role ?? 'observer',
    },
    h(Head, { session, state, pane, isTile }),
    h('div', { class: 'terminal-box', style: isTile ? { aspectRatio: String(ratio) } : {} }, [
      h('div', { ref: box, class: 'terminal-grid', 'data-testid': 'terminal-grid' }),
      h(Overlay, { state }),
    ]),
    isTile ? null : h(Foot, { state }),
  );
}

interface PartProps {
  readonly session: SessionView;
  readonly state: AttachState | null;
  readonly pane: { current: Pane | null };
  readonly isTile: boolean;
}

function Head({ session, state, pane, isTile }: PartProps): VNode {
  const label = commandLine(session.command, session.args);
  return h('header', { class: 'terminal-head' }, [
    h(Dot, {
      tone: session.hitl_id ? 'ask' : toneOf(session.state),
      label: session.hitl_id ? 'asks a question' : session.state,
    }),
    isTile
      ? h(
          'a',
          {
            class: 'strong nowrap',
            href: to('sessions', session.session_id),
            'data-testid': 'open-terminal',
          },
          session.agent_id,
        )
      : null,
    h(
      'span',
      { class: 'ellipsis muted', title: label },
      isTile ? `${session.session_name} · ${label}` : label,
    ),
    h('span', { class: 'push' }),
    h(Control, { state, pane, isTile, canControl: isLive(session) }),
    isTile ? null : h(FullTools, { state, pane }),
    isTile
      ? h(
          'a',
          {
            class: 'button quiet icon-only',
            href: to('sessions', session.session_id),
            'aria-label': 'Open full size',
          },
          h(Icon, { name: 'expand' }),
        )
      : null,
  ]);
}

function Control({
  state,
  pane,
  isTile,
  canControl,
}: Omit<PartProps, 'session'> & { canControl: boolean }): VNode | null {
  if (!state || !canControl || state.link === 'ended') return null;
  // Everyone who watches is in it, this viewer too.
  const watching = state.observers.length;
  const take = () => {
    pane.current?.control('take');
    pane.current?.focus();
  };
  if (state.role === 'controller') {
    return h('span', { class: 'control' }, [
      h('span', { class: 'control-who mine', 'data-testid': 'control-state' }, 'You control'),
      h(Button, {
        label: 'Release',
        tone: 'quiet',
        onClick: () => pane.current?.control('release'),
        testId: 'release-control',
      }),
    ]);
  }
  const who = state.controller
    ? `Controlled by ${state.controller}`
    : watching > 1
      ? `${watching} watching`
      : 'Watching';
  return h('span', { class: 'control' }, [
    h('span', { class: 'control-who', 'data-testid': 'control-state', title: who }, [
      h(Icon, { name: 'eye', size: 14 }),
      isTile && !state.controller ? h('span', { class: 'sr' }, who) : who,
    ]),
    h(Button, {
      label: isTile ? '' : 'Take control',
      name: 'Take control',
      tone: 'quiet',
      icon: 'hand',
      onClick: take,
      needs: 'operator',
      isDisabled: state.link !== 'live',
      testId: 'take-control',
      title: state.controller
        ? `Takes control from ${state.controller}; they will see it`
        : 'Type into this terminal',
    }),
  ]);
}

function FullTools({ state, pane }: Pick<PartProps, 'state' | 'pane'>): VNode | null {
  if (!state) return null;
  const isController = state.role === 'controller';
  /** The keys stay the terminal's: on the button they would be the page's shortcuts. */
  const press = (act: (pane: Pane) => void) => () => {
    const held = pane.current;
    if (!held) return;
    act(held);
    held.focus();
  };
  return h('span', { class: 'control' }, [
    isController
      ? h(Button, {
          label: 'Ctrl-C',
          tone: 'quiet',
          onClick: press((one) => one.signal('SIGINT')),
          title: 'Send SIGINT',
          testId: 'signal-int',
        })
      : null,
    isController
      ? h(Button, {
          label: 'Resize to window',
          icon: 'fit',
          tone: 'quiet',
          onClick: press((one) => one.resizeToFit()),
          title: 'Give the program as many columns and rows as fit here',
          testId: 'resize-pty',
        })
      : null,
    h(Button, {
      label: '',
      icon: 'copy',
      tone: 'quiet',
      name: 'Copy the text',
      onClick: () => void navigator.clipboard?.writeText(pane.current?.text() ?? ''),
    }),
    h(Button, {
      label: '',
      icon: 'refresh',
      tone: 'quiet',
      name: 'Draw the screen afresh',
      onClick: () => pane.current?.refresh(),
    }),
  ]);
}

function Overlay({ state }: { state: AttachState | null }): VNode | null {
  if (!state || state.link === 'connecting')
    return h('p', { class: 'overlay', role: 'status' }, 'Attaching…');
  if (state.link === 'lost')
    return h('p', { class: 'overlay lost', role: 'status' }, 'Connection lost. Attaching again…');
  if (!state.ended) return null;
  const { exitCode, reason } = state.ended;
  const words = exitCode === null ? 'Ended' : exitCode === 0 ? 'Exited with 0' : `Exited with ${exitCode}`;
  return h(
    'p',
    { class: 'overlay ended', role: 'status', 'data-testid': 'terminal-ended' },
    reason ? `${words}: ${reason}` : words,
  );
}

function Foot({ state }: { state: AttachState | null }): VNode {
  const parts = [
    state && state.cols > 0 ? `${state.cols} × ${state.rows}` : '',
    state && state.skippedBytes > 0 ? `skipped ${bytes(state.skippedBytes)} to keep up` : '',
    state && state.gapBytes > 0 ? `${bytes(state.gapBytes)} missing in the recording` : '',
    state?.error ?? '',
  ].filter((part) => part !== '');
  return h('footer', { class: 'terminal-foot' }, [
    h('span', { class: 'ellipsis' }, parts.join('  ·  ')),
    state?.role === 'controller'
      ? h('span', { class: 'push nowrap' }, [
          h('kbd', null, 'Shift'),
          ' ',
          h('kbd', null, 'Esc'),
          ' leaves the terminal',
        ])
      : null,
  ]);
}
