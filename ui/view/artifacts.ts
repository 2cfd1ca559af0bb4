/**
 * What a task made: files to download with their checksums, its patch as a diff, and the manifest it was
 * given.
 */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { ArtifactView, TaskView } from '../../src/views.ts';
import { isOver } from '../state/readings.ts';
import { type DiffFile, readDiff } from '../tasks/diff.ts';
import { toYaml } from '../tasks/yaml.ts';
import { call, request, segment } from '../wire/api.ts';
import { type Problem, problemOf } from '../wire/problem.ts';
import { bytes, plural } from '../words.ts';
import { h } from './h.ts';
import { Icon } from './icons.ts';
import { Copy, Empty, loading, Snippet, TroubleBox } from './marks.ts';

export interface Artifacts {
  readonly list: readonly ArtifactView[] | null;
  readonly problem: Problem | null;
}

/** Read again whenever the task moves on. */
export function useArtifacts(task: TaskView): Artifacts {
  const [artifacts, setArtifacts] = useState<Artifacts>({ list: null, problem: null });
  useEffect(() => {
    let isCurrent = true;
    call<{ artifacts: ArtifactView[] }>(`tasks/${segment(task.id)}/artifacts`)
      .then((answer) => isCurrent && setArtifacts({ list: answer.artifacts, problem: null }))
      .catch((thrown: unknown) => isCurrent && setArtifacts({ list: null, problem: problemOf(thrown) }));
    return () => {
      isCurrent = false;
    };
  }, [task.id, task.state]);
  return artifacts;
}

function pathOf(task: TaskView, artifact: ArtifactView): string {
  return `tasks/${segment(task.id)}/artifacts/${segment(artifact.name)}`;
}

export function ArtifactsTab({ task, artifacts }: { task: TaskView; artifacts: Artifacts }): VNode {
  const { list, problem } = artifacts;
  if (problem) return h(TroubleBox, { problem });
  if (!list) return loading('artifacts');
  if (list.length === 0) {
    return h(
      Empty,
      {
        title: isOver(task)
          ? 'It left nothing behind.'
          : 'Nothing yet: artifacts are collected when it completes.',
      },
      h('p', null, ['Name what to keep in the manifest: ', h('code', null, 'lifecycle.artifact_patterns')]),
    );
  }
  return h(
    'ul',
    { class: 'rows', 'data-testid': 'artifact-rows' },
    list.map((artifact) =>
      h(
        'li',
        { key: artifact.name, class: 'row', 'data-testid': 'artifact-row', 'data-name': artifact.name },
        [
          h('code', { class: 'strong ellipsis' }, artifact.name),
          h('span', { class: 'muted nowrap' }, bytes(artifact.size_bytes)),
          h('span', { class: 'muted ellipsis' }, artifact.content_type),
          h('span', { class: 'ellipsis grow checksum' }, [
            h('code', { class: 'muted ellipsis', title: artifact.checksum }, artifact.checksum),
            h(Copy, { text: artifact.checksum, name: 'the checksum' }),
          ]),
          h(Download, { task, artifact }),
        ],
      ),
    ),
  );
}

/** A plain link: it streams to disk. */
function Download({ task, artifact }: { task: TaskView; artifact: ArtifactView }): VNode {
  return h(
    'a',
    {
      class: 'button',
      href: `/api/v1/${pathOf(task, artifact)}`,
      download: artifact.name.split('/').at(-1) ?? artifact.name,
      'data-testid': 'artifact-download',
    },
    [h(Icon, { name: 'download' }), 'Download'],
  );
}

const patchBytesMax = 2 * 1024 * 1024;

export function ChangesTab({
  task,
  artifacts,
}: {
  task: TaskView;
  artifacts: readonly ArtifactView[] | null;
}): VNode {
  const patch =
    artifacts?.find(({ name }) => name === 'changes.patch') ??
    artifacts?.find(({ name }) => name.endsWith('.patch'));
  const [files, setFiles] = useState<readonly DiffFile[] | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const isTooLarge = (patch?.size_bytes ?? 0) > patchBytesMax;
  useEffect(() => {
    if (!patch || isTooLarge) return;
    request(pathOf(task, patch), { headers: { accept: '*/*' } })
      .then(async (response) => setFiles(readDiff(await response.text())))
      .catch((thrown: unknown) => setProblem(problemOf(thrown)));
  }, [task.id, patch?.checksum, isTooLarge]);
  if (problem) return h(TroubleBox, { problem });
  if (artifacts === null) return loading('changes');
  if (!patch)
    return h(Empty, {
      title: isOver(task)
        ? 'It changed nothing in the repository.'
        : 'Nothing yet: the patch is made when it completes.',
    });
  if (isTooLarge)
    return h(
      Empty,
      { title: `The patch has ${bytes(patch.size_bytes)}; download it instead.` },
      h(Download, { task, artifact: patch }),
    );
  if (!files) return loading('changes');
  const added = files.reduce((sum, file) => sum + file.added, 0);
  const removed = files.reduce((sum, file) => sum + file.removed, 0);
  return h('div', { class: 'diff', 'data-testid': 'diff' }, [
    h('header', { class: 'log-head' }, [
      h('span', null, plural(files.length, 'file')),
      h('span', { class: 'plus' }, `+${added}`),
      h('span', { class: 'minus' }, `−${removed}`),
      h('span', { class: 'push' }, h(Download, { task, artifact: patch })),
    ]),
    h(
      'div',
      null,
      files.map((file) => h(File, { key: file.path, file })),
    ),
  ]);
}

const signs = { context: ' ', added: '+', removed: '−', hunk: '', note: '' } as const;

function File({ file }: { file: DiffFile }): VNode {
  return h('details', { class: 'diff-file', open: file.lines.length < 600 }, [
    h('summary', null, [
      h('code', { class: 'ellipsis strong' }, file.path),
      file.change === 'modified' ? null : h('span', { class: 'tag' }, file.change),
      h('span', { class: 'push plus' }, `+${file.added}`),
      h('span', { class: 'minus' }, `−${file.removed}`),
    ]),
    h(
      'div',
      { class: 'diff-lines', tabIndex: 0, role: 'group', 'aria-label': `Changes in ${file.path}` },
      file.lines.map((line, index) =>
        h('div', { key: index, class: `diff-line ${line.kind}` }, [
          h('span', { class: 'number', 'aria-hidden': 'true' }, String(line.oldLine ?? '')),
          h('span', { class: 'number', 'aria-hidden': 'true' }, String(line.newLine ?? '')),
          h('span', { class: 'sign' }, signs[line.kind]),
          h('span', { class: 'code' }, line.text),
        ]),
      ),
    ),
  ]);
}

export function ManifestTab({ task }: { task: TaskView }): VNode {
  const [manifest, setManifest] = useState<unknown>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => {
    call<unknown>(`tasks/${segment(task.id)}/manifest`)
      .then(setManifest)
      .catch((thrown: unknown) => setProblem(problemOf(thrown)));
  }, [task.id]);
  if (problem) return h(TroubleBox, { problem });
  return manifest === null
    ? loading('the manifest')
    : h(Snippet, { text: toYaml(manifest), name: 'the manifest' });
}
