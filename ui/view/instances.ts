/** The places agents live in: what this host can do, what there is, and its whole life by button. */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Probe, RuntimeKind } from '../../src/runtime.ts';
import type { InstanceView } from '../../src/views.ts';
import { learn } from '../state/feed.ts';
import { noteGood, noteTrouble } from '../state/notes.ts';
import { house, useCell } from '../state/store.ts';
import { call, post, segment } from '../wire/api.ts';
import { type Problem, problemOf } from '../wire/problem.ts';
import { typed, useAction } from './action.ts';
import { closeDialog, confirm, Dialog, show } from './dialog.ts';
import { h } from './h.ts';
import { Icon } from './icons.ts';
import {
  Ago,
  Button,
  Empty,
  loading,
  RuntimeTag,
  runtimeWords,
  Snippet,
  State,
  TroubleBox,
} from './marks.ts';
import { Page } from './page.ts';
import { to } from './route.ts';

function useProbes(): { probes: readonly Probe[] | null; problem: Problem | null } {
  const [probes, setProbes] = useState<readonly Probe[] | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => {
    call<{ probes: Probe[] }>('instances/probes')
      .then((answer) => setProbes(answer.probes))
      .catch((thrown: unknown) => setProblem(problemOf(thrown)));
  }, []);
  return { probes, problem };
}

export function InstancesPage(): VNode {
  const known = useCell(house);
  const instances = [...known.instances.values()].sort((a, b) =>
    a.name.localeCompare(b.name, undefined, { numeric: true }),
  );
  return h(
    Page,
    {
      title: 'Instances',
      testId: 'page-instances',
      actions: h(Button, {
        label: 'Create instance',
        icon: 'plus',
        tone: 'primary',
        onClick: () => show('instance'),
        needs: 'operator',
        testId: 'new-instance',
      }),
    },
    known.isLoaded ? null : loading('instances'),
    known.isLoaded && instances.length === 0 ? h(NoInstances, {}) : null,
    instances.length > 0
      ? h(
          'ul',
          { class: 'rows instances', 'data-testid': 'instance-rows' },
          instances.map((instance) => h(Row, { key: instance.name, instance })),
        )
      : null,
    h(Runtimes, {}),
  );
}

function NoInstances(): VNode {
  return h(Empty, { title: 'No instances yet.', testId: 'instances-empty' }, [
    h('p', null, 'An instance is the place an agent lives in. Create one here, or:'),
    h(Snippet, {
      name: 'the request',
      text: `curl -X POST ${location.origin}/api/v1/instances -H 'content-type: application/json' -d '{"name":"agent-1"}'`,
    }),
  ]);
}

function Row({ instance }: { instance: InstanceView }): VNode {
  const { agents } = useCell(house);
  const agent = agents.get(instance.name);
  const reason = instance.failure?.message ?? instance.reason;
  return h(
    'li',
    {
      class: 'row',
      'data-testid': 'instance-row',
      'data-instance': instance.name,
      'data-state': instance.state,
    },
    [
      h(State, { state: instance.state, title: reason }),
      h('a', { class: 'strong nowrap', href: to('agents', instance.name) }, instance.name),
      h(RuntimeTag, { runtime: instance.runtime }),
      h(
        'span',
        { class: `ellipsis grow ${instance.failure ? 'bad' : 'muted'}`, title: reason ?? undefined },
        reason ?? '',
      ),
      agent
        ? h('span', { class: 'nowrap muted' }, ['agent ', h(State, { state: agent.state })])
        : h('span', null),
      instance.crashes > 0
        ? h('span', { class: 'bad nowrap' }, `${instance.crashes} crashes`)
        : h('span', null),
      h('span', { class: 'muted nowrap' }, h(Ago, { at: instance.state_changed_at })),
      h(InstanceActions, { instance }),
    ],
  );
}

type Verb = 'start' | 'stop' | 'restart' | 'reset';

const verbsIn: Readonly<Record<InstanceView['state'], readonly Verb[]>> = {
  provisioning: [],
  stopped: ['start'],
  starting: ['stop'],
  running: ['stop', 'restart'],
  stopping: [],
  failed: ['reset'],
  'crash-looping': ['reset'],
  destroying: [],
  destroyed: [],
};

const pastWords: Readonly<Record<Verb, string>> = {
  start: 'Starting',
  stop: 'Stopping',
  restart: 'Restarting',
  reset: 'Reset',
};

export function InstanceActions({ instance }: { instance: InstanceView }): VNode {
  const action = useAction();
  const { name } = instance;
  const run = async (verb: Verb) => {
    try {
      learn({ instance: await post<InstanceView>(`instances/${segment(name)}/${verb}`) });
      noteGood(`${pastWords[verb]} ${name}`);
    } catch (thrown) {
      noteTrouble(`Could not ${verb} ${name}`, thrown);
    }
  };
  const press = (verb: Verb) => {
    if (verb === 'start' || verb === 'reset') void action.run(() => run(verb));
    else
      confirm({
        title: `${verb === 'stop' ? 'Stop' : 'Restart'} ${name}?`,
        body: h('p', null, 'Its sessions end: what runs in them is interrupted.'),
        verb: verb === 'stop' ? 'Stop' : 'Restart',
        run: () => run(verb),
      });
  };
  const isGoing = instance.state === 'destroying' || instance.state === 'destroyed';
  return h('span', { class: 'row-actions' }, [
    ...verbsIn[instance.state].map((verb) =>
      h(Button, {
        key: verb,
        label: verb[0]?.toUpperCase() + verb.slice(1),
        onClick: () => press(verb),
        needs: 'operator',
        isDisabled: action.isBusy,
        testId: `instance-${verb}`,
      }),
    ),
    h(Button, {
      key: 'destroy',
      label: '',
      icon: 'trash',
      tone: 'quiet',
      name: `Destroy ${name}`,
      onClick: () => destroy(name),
      needs: 'operator',
      isDisabled: isGoing,
      testId: 'instance-destroy',
    }),
  ]);
}

function destroy(name: string): void {
  confirm({
    title: `Destroy ${name}?`,
    body: h('p', null, [
      'Stops it at once and deletes everything it holds: its home, its work, its logs. ',
      h('strong', null, 'This cannot be undone.'),
    ]),
    verb: 'Destroy',
    word: name,
    run: async () => {
      await post(`instances/${segment(name)}/destroy`);
      noteGood(`Destroying ${name}`);
    },
  });
}

function Runtimes(): VNode {
  const { probes, problem } = useProbes();
  return h('section', { class: 'block', 'aria-labelledby': 'runtimes' }, [
    h('h2', { id: 'runtimes' }, 'What this host can run'),
    problem ? h(TroubleBox, { problem }) : null,
    probes
      ? h(
          'div',
          { class: 'cards' },
          probes.map((probe) => h(ProbeCard, { key: probe.runtime, probe })),
        )
      : problem
        ? null
        : loading('probes'),
  ]);
}

function ProbeCard({ probe }: { probe: Probe }): VNode {
  return h('article', { class: 'card', 'data-testid': 'probe', 'data-runtime': probe.runtime }, [
    h('header', { class: 'card-head' }, [
      h('strong', null, runtimeWords[probe.runtime]),
      h('span', { class: `state tone-${probe.available ? 'good' : 'idle'}` }, [
        h('span', { class: 'dot', 'aria-hidden': 'true' }),
        probe.available ? 'available' : 'not available',
      ]),
    ]),
    h('p', { class: 'muted' }, isolationWords[probe.isolation] ?? probe.isolation),
    h(
      'ul',
      { class: 'reasons' },
      probe.reasons.map((reason) => h('li', { key: reason }, reason)),
    ),
  ]);
}

const isolationWords: Readonly<Record<string, string>> = {
  'full-host-access': 'No isolation: the agent has full access to this host.',
  'shared-kernel': 'Isolated by the kernel, which is shared.',
  'hardware-virtualized': 'Isolated by hardware: each agent has its own kernel.',
};

export function NewInstanceDialog(): VNode {
  const { probes, problem } = useProbes();
  const { instances } = useCell(house);
  const [name, setName] = useState(() => freeName(new Set(instances.keys())));
  const [runtime, setRuntime] = useState<RuntimeKind>('host');
  const [workingDir, setWorkingDir] = useState('');
  const action = useAction();
  const submit = (event: Event) => {
    event.preventDefault();
    void action.run(async () => {
      const place = workingDir.trim() === '' ? {} : { working_dir: workingDir.trim() };
      learn({ instance: await post<InstanceView>('instances', { name: name.trim(), runtime, ...place }) });
      noteGood(`Creating ${name.trim()}`, 'Its agent reports in by itself.');
      closeDialog();
    });
  };
  const fault = (path: string) => action.problem?.faults.find((one) => one.path === path)?.message;
  return h(
    Dialog,
    { title: 'Create instance', onClose: closeDialog, testId: 'dialog-instance' },
    h('form', { class: 'form', onSubmit: submit }, [
      h('label', { class: 'field' }, [
        h('span', { class: 'label' }, 'Name'),
        h('input', {
          class: 'mono',
          value: name,
          onInput: (event: Event) => setName(typed(event)),
          required: true,
          autofocus: true,
          spellcheck: false,
          'data-testid': 'instance-name',
        }),
        h(
          'span',
          { class: fault('name') ? 'fault' : 'hint' },
          fault('name') ?? 'Lower-case letters, digits and dashes; it is the agent’s name, too.',
        ),
      ]),
      h('fieldset', { class: 'field' }, [
        h('legend', { class: 'label' }, 'Runtime'),
        probes === null && !problem ? loading('probes') : null,
        ...(probes ?? []).map((probe) =>
          h(RuntimeChoice, {
            key: probe.runtime,
            probe,
            isChosen: probe.runtime === runtime,
            onChoose: () => setRuntime(probe.runtime),
          }),
        ),
      ]),
      h('label', { class: 'field' }, [
        h('span', { class: 'label' }, ['Working directory ', h('span', { class: 'muted' }, 'optional')]),
        h('input', {
          class: 'mono',
          value: workingDir,
          placeholder: 'its own',
          onInput: (event: Event) => setWorkingDir(typed(event)),
          spellcheck: false,
        }),
        h(
          'span',
          { class: fault('working_dir') ? 'fault' : 'hint' },
          fault('working_dir') ?? 'An existing absolute directory on the host.',
        ),
      ]),
      (action.problem ?? problem) ? h(TroubleBox, { problem: (action.problem ?? problem) as Problem }) : null,
      h('footer', { class: 'dialog-foot' }, [
        h(Button, { label: 'Cancel', tone: 'quiet', onClick: closeDialog }),
        h(
          'button',
          { class: 'button primary', disabled: action.isBusy, 'data-testid': 'instance-create' },
          'Create and start',
        ),
      ]),
    ]),
  );
}

function RuntimeChoice({
  probe,
  isChosen,
  onChoose,
}: {
  probe: Probe;
  isChosen: boolean;
  onChoose: () => void;
}): VNode {
  return h('label', { class: `choice${probe.available ? '' : ' unavailable'}` }, [
    h('input', {
      type: 'radio',
      name: 'runtime',
      checked: isChosen,
      disabled: !probe.available,
      onChange: onChoose,
      value: probe.runtime,
    }),
    h('span', null, [
      h('strong', null, runtimeWords[probe.runtime]),
      h('span', { class: 'hint' }, isolationWords[probe.isolation] ?? probe.isolation),
      ...probe.reasons.map((reason) =>
        h('span', { key: reason, class: 'hint' }, [
          h(Icon, { name: probe.available ? 'eye' : 'alert', size: 14 }),
          reason,
        ]),
      ),
    ]),
  ]);
}

function freeName(taken: ReadonlySet<string>): string {
  let number = 1;
  while (taken.has(`agent-${number}`)) number += 1;
  return `agent-${number}`;
}
