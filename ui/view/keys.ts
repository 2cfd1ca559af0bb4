/**
 * The page's shortcuts. They never fire while the reader types, controls a terminal, or has a dialog open.
 *
 * One table is both what the keys do and what the help shows.
 */
import { caller, mayAs } from '../state/caller.ts';
import { openDialog, show } from './dialog.ts';
import { go, to } from './route.ts';
import { toggleTheme } from './theme.ts';

export interface Shortcut {
  /** One key, or two pressed one after the other. */
  readonly keys: string;
  readonly words: string;
  readonly run: () => void;
}

export const shortcuts: readonly Shortcut[] = [
  { keys: 'g o', words: 'Overview', run: () => go(to()) },
  { keys: 'g q', words: 'Questions', run: () => go(to('questions')) },
  { keys: 'g t', words: 'Tasks', run: () => go(to('tasks')) },
  { keys: 'g i', words: 'Instances', run: () => go(to('instances')) },
  { keys: 'g e', words: 'Events', run: () => go(to('events')) },
  { keys: 'q', words: 'Go to the first open question; then 1 to 9, y or n answer it', run: focusQuestion },
  { keys: 'n', words: 'New task', run: operating(() => go(to('tasks', 'new'))) },
  { keys: 's', words: 'New terminal', run: operating(() => show('session')) },
  { keys: '/', words: 'Filter this list', run: focusFilter },
  { keys: 'j', words: 'Next entry', run: () => move(1) },
  { keys: 'k', words: 'Previous entry', run: () => move(-1) },
  { keys: 'd', words: 'Light or dark', run: toggleTheme },
  { keys: '?', words: 'These keys', run: () => show('help') },
];

/** Nothing happens for whoever may not. */
function operating(run: () => void): () => void {
  return () => {
    if (mayAs(caller.get(), 'operator')) run();
  };
}

function focusQuestion(): void {
  const card = document.querySelector<HTMLElement>('.question[data-state=open]');
  if (card) card.focus();
  else go(to('questions'));
}

function focusFilter(): void {
  document.querySelector<HTMLElement>('[data-filter]')?.focus();
}

/** Through the entries of the page: rows of a list by their link, else cards and terminals. */
function move(step: number): void {
  const rows = [
    ...document.querySelectorAll<HTMLElement>(
      'main .row a.strong, main .card-head a.strong, main .terminal-head a.strong',
    ),
  ];
  const place = rows.indexOf(document.activeElement as HTMLElement);
  const next = rows[place < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, place + step))];
  next?.focus();
  next?.scrollIntoView({ block: 'nearest' });
}

const sequenceMs = 1200;

export function listenForKeys(): void {
  let first = '';
  let firstAt = 0;
  document.addEventListener('keydown', (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k' && !isControlling(event.target)) {
      event.preventDefault();
      if (openDialog.get() === null) show('palette');
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || openDialog.get() !== null)
      return;
    const isSecond = first !== '' && event.timeStamp - firstAt < sequenceMs;
    const keys = isSecond ? `${first} ${event.key}` : event.key;
    const found = shortcuts.find((shortcut) => shortcut.keys === keys);
    first =
      !isSecond && !found && shortcuts.some((shortcut) => shortcut.keys.startsWith(`${event.key} `))
        ? event.key
        : '';
    firstAt = event.timeStamp;
    if (!found) return;
    event.preventDefault();
    found.run();
  });
}

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.closest('.xterm')) return isControlling(target);
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

function isControlling(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest('[data-role=controller] .xterm') !== null;
}
