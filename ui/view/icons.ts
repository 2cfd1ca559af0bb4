/**
 * The icons, drawn on a 20 × 20 grid with one stroke width. Decorative: what they mean is said in words
 * beside them.
 */
import type { VNode } from 'preact';
import { h } from './h.ts';

const paths = {
  overview: 'M3.5 3.5h5v5h-5zM11.5 3.5h5v5h-5zM3.5 11.5h5v5h-5zM11.5 11.5h5v5h-5z',
  question: 'M4 4.5h12v9H9l-3.5 3v-3H4zM8.2 7.6a1.8 1.8 0 1 1 2.4 1.7c-.4.2-.6.4-.6.9M10 12v.01',
  tasks: 'M3.5 5.5l1.5 1.5 2.5-3M10 5.5h6.5M3.5 14l1.5 1.5 2.5-3M10 14h6.5',
  instances: 'M3.5 4h13v5h-13zM3.5 11h13v5h-13zM6.5 6.5v.01M6.5 13.5v.01M9.5 6.5h4M9.5 13.5h4',
  events: 'M2.5 10.5h3l2-6 4 11 2.5-7 1 2h2.5',
  terminal: 'M3 4h14v12H3zM6 8l2.5 2L6 12M10.5 12.5h3.5',
  plus: 'M10 4v12M4 10h12',
  close: 'M5 5l10 10M15 5L5 15',
  check: 'M4 10.5l4 4 8-9',
  alert: 'M10 3.5l7.5 13h-15zM10 8.5v3.5M10 14.2v.01',
  copy: 'M7 7h9.5v9.5H7zM4 13H3.5V3.5H13V4',
  expand: 'M12 3.5h4.5V8M8 16.5H3.5V12M16.5 3.5l-5 5M3.5 16.5l5-5',
  hand: 'M6.5 10.5v-5a1.2 1.2 0 0 1 2.4 0v3.5-5.3a1.2 1.2 0 0 1 2.4 0v5.3-4.2a1.2 1.2 0 0 1 2.4 0v6.7c0 3-1.7 5-4.5 5-2.5 0-3.5-1.3-4.5-3.2l-1.4-2.6c-.5-1 1-1.9 1.7-1z',
  eye: 'M2 10s3-5.5 8-5.5 8 5.5 8 5.5-3 5.5-8 5.5-8-5.5-8-5.5zM10 12.3a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6z',
  download: 'M10 3.5v9M6 9l4 4 4-4M3.5 16.5h13',
  upload: 'M10 13V4M6 7.5l4-4 4 4M3.5 16.5h13',
  folder: 'M3 5h5l1.5 2H17v9H3z',
  file: 'M5 3h6.5L15 6.5V17H5zM11 3v4h4',
  search: 'M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11zM13 13l4 4',
  refresh: 'M16 10a6 6 0 1 1-1.8-4.3M16.5 3v3.5H13',
  play: 'M6 4l10 6-10 6z',
  stop: 'M5.5 5.5h9v9h-9z',
  trash: 'M3.5 5.5h13M8 5.5v-2h4v2M5 5.5l.8 11h8.4l.8-11M8.5 8.5v5M11.5 8.5v5',
  bell: 'M5 13.5V9a5 5 0 0 1 10 0v4.5l1.5 1.5h-13zM8.5 17h3',
  sun: 'M10 13.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.4 4.4l1 1M14.6 14.6l1 1M4.4 15.6l1-1M14.6 5.4l1-1',
  moon: 'M16.5 11.5A6.8 6.8 0 0 1 8.5 3.5a6.8 6.8 0 1 0 8 8z',
  keyboard: 'M2.5 5.5h15v9h-15zM5.5 8.5v.01M8.5 8.5v.01M11.5 8.5v.01M14.5 8.5v.01M7 11.5h6',
  book: 'M4 4.5c2-1 4-1 6 .5 2-1.5 4-1.5 6-.5v11c-2-1-4-1-6 .5-2-1.5-4-1.5-6-.5zM10 5v11',
  arrow: 'M4 10h12M11 5l5 5-5 5',
  lock: 'M5 9h10v7.5H5zM7 9V6.5a3 3 0 0 1 6 0V9',
  fit: 'M3.5 7V3.5H7M13 3.5h3.5V7M16.5 13v3.5H13M7 16.5H3.5V13M7.5 7.5h5v5h-5z',
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }): VNode {
  return h(
    'svg',
    {
      class: 'icon',
      width: size,
      height: size,
      viewBox: '0 0 20 20',
      'aria-hidden': 'true',
      focusable: 'false',
    },
    h('path', { d: paths[name] }),
  );
}
