/** The frame of a view: its name, what can be done here, and its content. */
import type { ComponentChildren, VNode } from 'preact';
import { useEffect } from 'preact/hooks';
import { h } from './h.ts';

export interface PageProps {
  readonly title: string;
  /** Shown instead of the title, e.g. with a way back. */
  readonly heading?: ComponentChildren;
  readonly sub?: ComponentChildren;
  readonly actions?: ComponentChildren;
  readonly children: ComponentChildren;
  readonly testId: string;
  readonly isFull?: boolean;
}

/** The title of the tab, without the count of questions that the shell puts before it. */
let title = 'Overview';
const listeners = new Set<() => void>();

export function pageTitle(): string {
  return title;
}

export function onPageTitle(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function Page(props: PageProps): VNode {
  useEffect(() => {
    title = props.title;
    for (const listener of listeners) listener();
  }, [props.title]);
  return h(
    'div',
    { class: `page${props.isFull ? ' full' : ''}`, 'data-testid': props.testId },
    h('header', { class: 'page-head' }, [
      h('div', { class: 'page-title' }, [h('h1', null, props.heading ?? props.title), props.sub ?? null]),
      props.actions ? h('div', { class: 'actions' }, props.actions) : null,
    ]),
    props.children,
  );
}

export function Back({ href, label }: { href: string; label: string }): VNode {
  return h('a', { class: 'back', href }, label);
}
