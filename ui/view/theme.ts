/** Light or dark: the system's choice until the reader makes one. Kept for the next visit. */
import { type Cell, cell } from '../state/store.ts';

export type Theme = 'light' | 'dark';

const key = 'agentic.theme';

/** Watched by every button that shows it. */
export const theme: Cell<Theme> = cell<Theme>('light');

function current(): Theme {
  const chosen = document.documentElement.dataset['theme'];
  if (chosen === 'light' || chosen === 'dark') return chosen;
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}

export function restoreTheme(): void {
  const kept = localStorage.getItem(key);
  if (kept === 'light' || kept === 'dark') document.documentElement.dataset['theme'] = kept;
  theme.set(current());
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => theme.set(current()));
}

export function toggleTheme(): void {
  const next = current() === 'dark' ? 'light' : 'dark';
  document.documentElement.dataset['theme'] = next;
  localStorage.setItem(key, next);
  theme.set(next);
}
