/** Paths into the storage of an instance, as its routes take them: percent-encoded by their bytes. Pure. */
import { segment } from '../wire/api.ts';

export const areas = {
  inbox: { name: 'Inbox', words: 'for the instance', hint: 'What is uploaded here, it finds in its inbox.' },
  outbox: { name: 'Outbox', words: 'from the instance', hint: 'What it puts into its outbox shows here.' },
  workspace: { name: 'Workspace', words: 'its own', hint: 'What it works on between its tasks shows here.' },
  global: {
    name: 'Global',
    words: 'read by all instances',
    hint: 'What is put here, every instance finds in its global directory.',
  },
} as const;
export type AreaName = keyof typeof areas;

export const isArea = (text: string | null): text is AreaName => text !== null && text in areas;

/** Below /api/v1. */
export const areaPath = (instance: string, area: AreaName): string =>
  area === 'global' ? 'storage/global' : `storage/instances/${segment(instance)}/${area}`;

/** `raw` empty: the area itself. */
export function listPath(base: string, raw: string, after: string | null): string {
  const query = new URLSearchParams({ limit: '200' });
  if (raw !== '') query.set('raw_path', raw);
  if (after !== null) query.set('after', after);
  return `${base}?${query}`;
}

const named = (raw: string): string => new URLSearchParams({ raw_path: raw }).toString();
export const downloadPath = (base: string, raw: string): string => `${base}/_download?${named(raw)}`;
export const uploadPath = (base: string, raw: string): string => `${base}?${named(raw)}`;

/** A file of this name in a directory. */
export const within = (dir: string, name: string): string => {
  const encoded = encodeURIComponent(name);
  return dir === '' ? encoded : `${dir}/${encoded}`;
};

export interface Crumb {
  readonly name: string;
  readonly raw: string;
}

/** From the area's root to this directory, which is the last. */
export function crumbs(raw: string): Crumb[] {
  const parts = raw.split('/').filter((part) => part !== '');
  return parts.map((part, index) => ({ name: shown(part), raw: parts.slice(0, index + 1).join('/') }));
}

/** A name that is not UTF-8 shows as it is encoded. */
function shown(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Nothing that a terminal or a reader of text would stumble over. */
export const isText = (head: Uint8Array): boolean => !head.includes(0);
