/**
 * `h` with types that hold under exact optional properties; Preact's own are looser than this house allows.
 *
 * Children come after the props, as in markup. A list of children needs keys only when it changes.
 */
import { type ComponentChildren, createElement, type JSX, type VNode } from 'preact';

type Tag = keyof JSX.IntrinsicElements;
type Marked<P> = P & { readonly [name: `data-${string}`]: string | undefined } & {
  readonly key?: string | number;
};
type Component<P> = (props: P) => VNode | null;
type Given<P> = Omit<P, 'children'> & {
  readonly children?: ComponentChildren;
  readonly key?: string | number;
};

export function h<K extends Tag>(
  tag: K,
  props: Marked<Omit<JSX.IntrinsicElements[K], 'key'>> | null,
  ...children: ComponentChildren[]
): VNode;
export function h<P>(component: Component<P>, props: Given<P>, ...children: ComponentChildren[]): VNode;
export function h(type: unknown, props: object | null, ...children: ComponentChildren[]): VNode {
  // The overloads above are the truth; Preact's signature cannot say "a tag or a component".
  return createElement(
    type as string,
    props as Record<string, unknown>,
    ...children.flatMap(spread),
  ) as VNode;
}

/**
 * `h('div', null, [a, b])` reads well and means two fixed children, not a changing list; keyed lists stay one
 * child.
 */
function spread(child: ComponentChildren): ComponentChildren[] {
  if (!Array.isArray(child)) return [child];
  return child.some(isKeyed) ? [child] : child;
}

function isKeyed(child: unknown): boolean {
  return (
    typeof child === 'object' &&
    child !== null &&
    'key' in child &&
    child.key !== undefined &&
    child.key !== null
  );
}
