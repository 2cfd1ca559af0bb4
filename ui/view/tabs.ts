/**
 * The tabs above a panel, as the pattern for them has it: one is reached by Tab, arrows move between them.
 */

import type { VNode } from 'preact';
import { h } from './h.ts';

export interface Tab {
  readonly id: string;
  readonly name: string;
  /** Said when pointed at. */
  readonly words?: string;
  /** How many things are behind it; 0: not said. */
  readonly count?: number;
}

interface TabListProps {
  readonly label: string;
  readonly tabs: readonly Tab[];
  readonly chosen: string;
  readonly onChoose: (id: string) => void;
  /** The id of a tab begins with it. */
  readonly prefix: string;
  /** The id of the panel that they show; absent: it has none of its own. */
  readonly panel?: string;
}

export function TabList({ label, tabs, chosen, onChoose, prefix, panel }: TabListProps): VNode {
  return h(
    'div',
    { class: 'tablist', role: 'tablist', 'aria-label': label, onKeyDown: arrowKeys },
    tabs.map(({ id, name, words, count = 0 }) =>
      h(
        'button',
        {
          key: id,
          type: 'button',
          role: 'tab',
          id: `${prefix}-${id}`,
          'aria-selected': id === chosen,
          ...(panel === undefined ? {} : { 'aria-controls': panel }),
          tabIndex: id === chosen ? 0 : -1,
          ...(words === undefined ? {} : { title: words }),
          onClick: () => onChoose(id),
          'data-testid': `${prefix}-${id}`,
        },
        name,
        count > 0 ? h('span', { class: 'chip-count' }, String(count)) : null,
      ),
    ),
  );
}

function arrowKeys(event: KeyboardEvent): void {
  const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
  if (step === 0 || !(event.currentTarget instanceof HTMLElement)) return;
  const all = [...event.currentTarget.querySelectorAll<HTMLElement>('[role=tab]')];
  const next = all[(all.indexOf(document.activeElement as HTMLElement) + step + all.length) % all.length];
  next?.focus();
  next?.click();
}
