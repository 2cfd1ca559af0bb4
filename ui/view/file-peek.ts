/** The beginning of a file as text, without taking it to disk. */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { StorageEntryView } from '../../src/views.ts';
import { downloadPath, isText } from '../state/files.ts';
import { request } from '../wire/api.ts';
import { type Problem, problemOf } from '../wire/problem.ts';
import { bytes } from '../words.ts';
import { Dialog } from './dialog.ts';
import { h } from './h.ts';
import { loading, TroubleBox } from './marks.ts';

const peekBytes = 64 * 1024;

export interface PeekProps {
  /** Of the area, below /api/v1. */
  readonly base: string;
  readonly entry: StorageEntryView;
  readonly onClose: () => void;
}

/** The head of a file; null: it is not text. */
async function headOf(base: string, entry: StorageEntryView): Promise<string | null> {
  if (entry.size_bytes === 0) return '';
  const headers = { range: `bytes=0-${peekBytes - 1}`, accept: '*/*' };
  const response = await request(downloadPath(base, entry.raw_path), { headers });
  const head = new Uint8Array(await response.arrayBuffer()).subarray(0, peekBytes);
  return isText(head) ? new TextDecoder().decode(head) : null;
}

export function Peek({ base, entry, onClose }: PeekProps): VNode {
  const [head, setHead] = useState<{ readonly text: string | null } | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => {
    headOf(base, entry).then(
      (text) => setHead({ text }),
      (thrown: unknown) => setProblem(problemOf(thrown)),
    );
  }, [base, entry.raw_path]);
  const rest = entry.size_bytes - peekBytes;
  return h(Dialog, { title: entry.name, onClose, width: 'wide', testId: 'file-peek' }, [
    problem ? h(TroubleBox, { problem }) : null,
    head === null && !problem ? loading('the file') : null,
    head === null ? null : h(Shown, { text: head.text }),
    head !== null && head.text !== null && rest > 0
      ? h('p', { class: 'muted' }, `${bytes(rest)} more: download it to see all of it.`)
      : null,
  ]);
}

function Shown({ text }: { text: string | null }): VNode {
  if (text === null) return h('p', { class: 'muted' }, 'It is no text. Download it instead.');
  if (text === '') return h('p', { class: 'muted' }, 'It is empty.');
  return h('pre', { class: 'peek', tabIndex: 0, 'aria-label': 'The file', 'data-testid': 'peek-text' }, text);
}
