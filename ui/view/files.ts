/**
 * The files of an instance: what is in its inbox, outbox, workspace and in what all instances read, to look
 * into, to download, and for operators to add to. Nothing follows a link.
 */
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { StorageEntryView } from '../../src/views.ts';
import { useMay } from '../state/caller.ts';
import {
  type AreaName,
  areaPath,
  areas,
  crumbs,
  downloadPath,
  isArea,
  listPath,
  uploadPath,
  within,
} from '../state/files.ts';
import { noteGood } from '../state/notes.ts';
import { call, request } from '../wire/api.ts';
import { type Problem, problemOf } from '../wire/problem.ts';
import { bytes, shownName } from '../words.ts';
import { type Action, useAction } from './action.ts';
import { Peek } from './file-peek.ts';
import { h } from './h.ts';
import { Icon, type IconName } from './icons.ts';
import { Ago, Button, Empty, loading, TroubleBox } from './marks.ts';
import { setQuery, useRoute } from './route.ts';
import { TabList } from './tabs.ts';

interface Page {
  readonly entries: readonly StorageEntryView[];
  readonly next: string | null;
}

interface Listing {
  readonly page: Page | null;
  readonly problem: Problem | null;
  readonly more: Action;
  readonly again: () => void;
  readonly goOn: () => void;
}

/** One directory, in pages; read again when asked to. */
function useListing(base: string, dir: string): Listing {
  const [page, setPage] = useState<Page | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [round, setRound] = useState(0);
  const more = useAction();
  const place = useRef('');
  place.current = `${base} ${dir}`;
  useEffect(() => {
    const asked = place.current;
    const isCurrent = () => place.current === asked;
    setProblem(null);
    call<Page>(listPath(base, dir, null))
      .then((fresh) => isCurrent() && setPage(fresh))
      .catch((thrown: unknown) => {
        if (!isCurrent()) return;
        setPage(null);
        setProblem(problemOf(thrown));
      });
  }, [base, dir, round]);
  const goOn = () => {
    const asked = place.current;
    void more.run(async () => {
      const next = await call<Page>(listPath(base, dir, page?.next ?? null));
      if (place.current !== asked) return;
      setPage({ entries: [...(page?.entries ?? []), ...next.entries], next: next.next });
    });
  };
  return { page, problem, more, goOn, again: () => setRound((one) => one + 1) };
}

export function Files({ instance }: { instance: string }): VNode {
  const { query } = useRoute();
  const asked = query.get('area');
  const area: AreaName = isArea(asked) ? asked : 'outbox';
  const dir = query.get('dir') ?? '';
  const choose = (next: AreaName) => {
    setQuery('dir', null);
    setQuery('area', next);
  };
  return h('section', { class: 'block tabs', 'aria-labelledby': 'files', 'data-testid': 'files' }, [
    h('h2', { id: 'files' }, 'Files'),
    h(TabList, {
      label: 'Places for files',
      tabs: (Object.keys(areas) as AreaName[]).map((id) => ({ id, ...areas[id] })),
      chosen: area,
      onChoose: (id) => isArea(id) && choose(id),
      prefix: 'area',
      panel: 'area-panel',
    }),
    h(
      'div',
      { role: 'tabpanel', id: 'area-panel', 'aria-labelledby': `area-${area}`, class: 'panel files' },
      h(Directory, { key: `${instance} ${area} ${dir}`, base: areaPath(instance, area), area, dir }),
    ),
  ]);
}

function Directory({ base, area, dir }: { base: string; area: AreaName; dir: string }): VNode {
  const { page, problem, more, again, goOn } = useListing(base, dir);
  const [peeked, setPeeked] = useState<StorageEntryView | null>(null);
  const isEmpty = page !== null && page.entries.length === 0;
  return h('div', { class: 'block' }, [
    h('div', { class: 'block-head' }, [
      h(Trail, { area, dir }),
      h('span', { class: 'push' }),
      h(Upload, { base, dir, onDone: again }),
      h(Button, {
        label: '',
        icon: 'refresh',
        tone: 'quiet',
        name: 'Read this directory again',
        onClick: again,
      }),
    ]),
    problem ? h(TroubleBox, { problem, testId: 'files-problem' }) : null,
    page === null && !problem ? loading('files') : null,
    isEmpty
      ? h(
          Empty,
          { title: dir === '' ? 'Nothing is here yet.' : 'This directory is empty.', testId: 'files-empty' },
          dir === '' ? h('p', null, areas[area].hint) : null,
        )
      : null,
    h(
      'ul',
      { class: 'rows', 'data-testid': 'file-rows' },
      page?.entries.map((entry) =>
        h(Entry, { key: entry.raw_path, base, entry, onPeek: () => setPeeked(entry) }),
      ),
    ),
    more.problem ? h(TroubleBox, { problem: more.problem }) : null,
    page?.next ? h(Button, { label: 'Show more', isDisabled: more.isBusy, onClick: goOn }) : null,
    peeked ? h(Peek, { base, entry: peeked, onClose: () => setPeeked(null) }) : null,
  ]);
}

function Trail({ area, dir }: { area: AreaName; dir: string }): VNode {
  const trail = [{ name: areas[area].name, raw: '' }, ...crumbs(dir)];
  return h(
    'nav',
    { class: 'trail', 'aria-label': 'Directory' },
    trail.map(({ name, raw }, index) =>
      index === trail.length - 1
        ? h('span', { key: raw, class: 'strong ellipsis', 'aria-current': 'page' }, shownName(name))
        : h('span', { key: raw, class: 'nowrap' }, [
            h(
              'button',
              { type: 'button', class: 'link', onClick: () => setQuery('dir', raw) },
              shownName(name),
            ),
            h('span', { class: 'muted', 'aria-hidden': 'true' }, ' / '),
          ]),
    ),
  );
}

const icons: Readonly<Record<StorageEntryView['kind'], IconName>> = {
  dir: 'folder',
  file: 'file',
  link: 'arrow',
  other: 'alert',
};

interface EntryProps {
  readonly base: string;
  readonly entry: StorageEntryView;
  readonly onPeek: () => void;
}

function Entry({ base, entry, onPeek }: EntryProps): VNode {
  const isHandedOut = entry.kind === 'file' && entry.links === 1;
  const open = entry.kind === 'dir' ? () => setQuery('dir', entry.raw_path) : onPeek;
  return h(
    'li',
    { class: 'row', 'data-testid': 'file-row', 'data-name': entry.name, 'data-kind': entry.kind },
    [
      h(Icon, { name: icons[entry.kind] }),
      entry.kind === 'dir' || isHandedOut
        ? h('button', { type: 'button', class: 'link strong ellipsis', onClick: open }, shownName(entry.name))
        : h('span', { class: 'strong ellipsis' }, shownName(entry.name)),
      h('span', { class: 'muted ellipsis grow' }, about(entry)),
      h('span', { class: 'muted nowrap' }, entry.kind === 'file' ? bytes(entry.size_bytes) : ''),
      h('span', { class: 'muted nowrap' }, h(Ago, { at: entry.modified })),
      isHandedOut
        ? h(
            'a',
            {
              class: 'button',
              href: `/api/v1/${downloadPath(base, entry.raw_path)}`,
              download: entry.name,
              'aria-label': `Download ${shownName(entry.name)}`,
              'data-testid': 'file-download',
            },
            [h(Icon, { name: 'download' }), 'Download'],
          )
        : null,
    ],
  );
}

/** What cannot be opened says why. */
function about({ kind, target, links }: StorageEntryView): string {
  if (kind === 'link') return `a link to ${target ?? 'somewhere'}, which is not followed`;
  if (kind === 'other') return 'no file: it is not handed out';
  return kind === 'file' && links > 1 ? `has ${links} names: it is not handed out` : '';
}

/** Only for those who may; the file goes as it is, whole or not at all. */
function Upload({ base, dir, onDone }: { base: string; dir: string; onDone: () => void }): VNode | null {
  const field = useRef<HTMLInputElement>(null);
  const action = useAction();
  if (!useMay('operator')) return null;
  const send = (file: File | undefined) => {
    if (!file) return;
    void action
      .run(async () => {
        await request(uploadPath(base, within(dir, file.name)), { method: 'PUT', body: file });
        noteGood(`Uploaded ${file.name}`, bytes(file.size));
        onDone();
      })
      .finally(() => {
        if (field.current) field.current.value = '';
      });
  };
  return h('span', { class: 'upload' }, [
    h('input', {
      ref: field,
      type: 'file',
      hidden: true,
      onChange: () => send(field.current?.files?.[0]),
      'data-testid': 'file-field',
    }),
    h(Button, {
      label: action.isBusy ? 'Uploading…' : 'Upload a file',
      icon: 'upload',
      isDisabled: action.isBusy,
      onClick: () => field.current?.click(),
      testId: 'file-upload',
    }),
    action.problem
      ? h('span', { class: 'bad', role: 'alert' }, action.problem.detail || action.problem.title)
      : null,
  ]);
}
