/**
 * Tells of a new question outside the page: the tab's title always, the desktop when the reader allowed it.
 */
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { openQuestions } from '../state/readings.ts';
import { house, useCell } from '../state/store.ts';
import { plural } from '../words.ts';
import { h } from './h.ts';
import { Button } from './marks.ts';
import { onPageTitle, pageTitle } from './page.ts';
import { go, to } from './route.ts';

const key = 'agentic.notify';

function isWanted(): boolean {
  return (
    'Notification' in window && Notification.permission === 'granted' && localStorage.getItem(key) === 'yes'
  );
}

export function NotifyButton(): VNode | null {
  const [isOn, setOn] = useState(isWanted);
  if (!('Notification' in window)) return null;
  const toggle = async () => {
    const allowed = isOn ? 'denied' : await Notification.requestPermission();
    localStorage.setItem(key, allowed === 'granted' ? 'yes' : 'no');
    setOn(isWanted());
  };
  const isBlocked = Notification.permission === 'denied';
  return h(Button, {
    label: isOn ? 'Notifications on' : 'Notify me',
    icon: 'bell',
    isDisabled: isBlocked,
    title: isBlocked
      ? 'This browser blocks notifications for this page'
      : 'Desktop notification for new questions',
    onClick: () => void toggle(),
    testId: 'notify',
  });
}

/** Speaks the newest question once, to screen readers and to the desktop. */
export function Announcer(): VNode {
  const known = useCell(house);
  const open = openQuestions(known);
  const told = useRef<Set<string> | null>(null);
  const [words, setWords] = useState('');
  useEffect(() => {
    const draw = () => {
      document.title = `${open.length > 0 ? `(${open.length}) ` : ''}${pageTitle()} · Agentic Sandbox`;
    };
    draw();
    return onPageTitle(draw);
  }, [open.length]);
  useEffect(() => {
    if (!known.isLoaded) return;
    // Those that stood open when the page came are no news.
    const before = told.current ?? new Set(open.map((question) => question.hitl_id));
    const fresh = open.filter((question) => question.state === 'open' && !before.has(question.hitl_id));
    told.current = new Set([...before, ...open.map((question) => question.hitl_id)]);
    const [first] = fresh;
    if (!first) return;
    setWords(`${plural(fresh.length, 'new question')}. ${first.agent_id} asks: ${first.prompt}`);
    if (document.hidden && isWanted()) desktop(first.hitl_id, first.agent_id, first.prompt);
  });
  return h(
    'div',
    { class: 'sr', 'aria-live': 'assertive', role: 'status', 'data-testid': 'announcer' },
    words,
  );
}

function desktop(id: string, agent: string, prompt: string): void {
  const notification = new Notification(`${agent} asks`, { body: prompt, tag: id });
  notification.onclick = () => {
    window.focus();
    go(to('questions', id));
    notification.close();
  };
}
