/** What confines an instance, and what it uses of what it may. */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { InstanceView } from '../../src/views.ts';
import type { InstanceUseView } from '../../src/views-usage.ts';
import type { WallsView } from '../../src/views-walls.ts';
import { limitWords, networkWords, shortDigest, storageWords, wallsMissing } from '../state/walls.ts';
import { call, segment } from '../wire/api.ts';
import { type Problem, problemOf } from '../wire/problem.ts';
import { bytes, percent, plural } from '../words.ts';
import { h } from './h.ts';
import { Copy, Fact, loading, Meter, TroubleBox } from './marks.ts';

export function Walls({ instance }: { instance: InstanceView }): VNode {
  const { walls } = instance;
  return h('article', { class: 'card', 'data-testid': 'walls', 'data-kind': instance.runtime }, [
    h('header', { class: 'card-head' }, h('strong', null, 'Walls')),
    walls === null
      ? h('p', { class: 'muted', 'data-testid': 'walls-none' }, wallsMissing(instance))
      : h(Confining, { walls }),
    h(Use, { key: instance.instance_id, instance }),
  ]);
}

function Confining({ walls }: { walls: WallsView }): VNode {
  const { image, network, unenforced } = walls;
  const limits = limitWords(walls.limits);
  return h('dl', { class: 'facts' }, [
    h(Fact, { name: 'Image' }, [
      h('span', null, image.name),
      h('code', { class: 'muted', title: image.digest }, shortDigest(image.digest)),
      h(Copy, { text: image.digest, name: 'the digest' }),
    ]),
    h(
      Fact,
      { name: 'Limits' },
      limits.length === 0 ? 'none is set' : limits.map((one) => h('span', { key: one, class: 'tag' }, one)),
    ),
    h(Fact, { name: 'Network' }, [
      networkWords[network.mode],
      ...network.allow.map((host) => h('code', { key: host, class: 'tag' }, host)),
    ]),
    unenforced.length === 0
      ? null
      : h(
          Fact,
          { name: 'Not enforced' },
          h(
            'ul',
            { class: 'reasons', 'data-testid': 'unenforced' },
            unenforced.map(({ what, why }) =>
              h('li', { key: what + why }, [h('strong', null, what.replaceAll('-', ' ')), `: ${why}`]),
            ),
          ),
        ),
  ]);
}

const pollMs = 4_000;

interface Looked {
  readonly use: InstanceUseView | null;
  readonly problem: Problem | null;
}

/** Measured while somebody looks. */
function useInstanceUse({ name, state }: InstanceView): Looked {
  const [looked, setLooked] = useState<Looked>({ use: null, problem: null });
  useEffect(() => {
    let isCurrent = true;
    const read = () => {
      if (document.hidden) return;
      call<InstanceUseView>(`instances/${segment(name)}/usage`)
        .then((use) => isCurrent && setLooked({ use, problem: null }))
        .catch(
          (thrown: unknown) => isCurrent && setLooked(({ use }) => ({ use, problem: problemOf(thrown) })),
        );
    };
    read();
    const timer = state === 'running' ? setInterval(read, pollMs) : null;
    return () => {
      isCurrent = false;
      if (timer !== null) clearInterval(timer);
    };
  }, [name, state]);
  return looked;
}

function Use({ instance }: { instance: InstanceView }): VNode {
  const { use, problem } = useInstanceUse(instance);
  const { storage, walls } = instance;
  // A lost server says so at the top of the page.
  if (problem && problem.status !== 0) return h(TroubleBox, { problem });
  if (use === null) return loading('what it uses');
  const limits = walls?.limits;
  return h('div', { class: 'use', 'data-testid': 'instance-use' }, [
    use.processes === null
      ? h('p', { class: 'muted' }, 'It does not run, and uses neither processor nor memory.')
      : h('div', { class: 'meters' }, [
          h(Meter, {
            label: 'CPU',
            part: percent(use.cpu_percent ?? 0, 100 * (limits?.cpus ?? 1)),
            text: `${(use.cpu_percent ?? 0).toFixed(0)}%${limits?.cpus ? ` of ${100 * limits.cpus}%` : ''}`,
          }),
          h(Meter, {
            label: 'Memory',
            part: percent(use.memory_bytes ?? 0, limits?.memory_bytes ?? 0),
            text: outOf(bytes(use.memory_bytes ?? 0), limits?.memory_bytes ?? null),
          }),
        ]),
    h('p', { class: 'muted' }, [
      use.processes === null ? '' : `${plural(use.processes, 'process', 'processes')} · `,
      storage === null
        ? 'files are not measured yet'
        : h('span', { class: storage.high ? 'bad' : undefined }, `files ${storageWords(storage)}`),
    ]),
  ]);
}

const outOf = (used: string, limit: number | null): string =>
  limit === null ? used : `${used} / ${bytes(limit)}`;
