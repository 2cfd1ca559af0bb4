/** One session at full size, and the dialog that starts a new one. */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { SessionView } from '../../src/views.ts';
import { learn } from '../state/feed.ts';
import { agentsByName, isLive, sessionsInOrder } from '../state/readings.ts';
import { house, useCell } from '../state/store.ts';
import { call, post, segment } from '../wire/api.ts';
import { bytes, commandLine, plural, shortId } from '../words.ts';
import { typed, useAction } from './action.ts';
import { closeDialog, confirm, Dialog } from './dialog.ts';
import { h } from './h.ts';
import { Ago, Button, Empty, loading, State, TroubleBox } from './marks.ts';
import { Back, Page } from './page.ts';
import { QuestionCard } from './question-card.ts';
import { go, to, useRoute } from './route.ts';
import { TerminalView } from './terminal.ts';

const pollMs = 2000;

export function SessionPage(): VNode {
  const known = useCell(house);
  const { path } = useRoute();
  const session = known.sessions.get(path[1] ?? '');
  if (!session) {
    return h(
      Page,
      { title: 'Session', testId: 'page-session' },
      known.isLoaded ? h(NoSession, { id: path[1] ?? '' }) : loading('the session'),
    );
  }
  return h(Live, { key: session.session_id, session });
}

/** What flows is counted, not journalled: the figures are asked for while someone looks. */
function useFreshSession({ session_id: id, ended_at }: SessionView): void {
  useEffect(() => {
    const read = () => {
      if (document.hidden) return;
      // Silence is right: the stream tells of a lost server.
      call<SessionView>(`sessions/${segment(id)}`).then(
        (session) => learn({ session }),
        () => {},
      );
    };
    read();
    const timer = ended_at === null ? setInterval(read, pollMs) : null;
    return () => {
      if (timer !== null) clearInterval(timer);
    };
  }, [id, ended_at]);
}

function Live({ session }: { session: SessionView }): VNode {
  const known = useCell(house);
  useFreshSession(session);
  const question = session.hitl_id ? known.questions.get(session.hitl_id) : undefined;
  return h(
    Page,
    {
      title: `${session.session_name} on ${session.agent_id}`,
      heading: [
        h(Back, { href: to('agents', session.agent_id), label: session.agent_id }),
        session.session_name,
      ],
      sub: h(Line, { session }),
      actions: isLive(session)
        ? h(Button, {
            label: 'End session',
            tone: 'danger',
            onClick: () => endSession(session),
            needs: 'operator',
            testId: 'end-session',
          })
        : null,
      testId: 'page-session',
      isFull: true,
    },
    h('div', { class: 'beside' }, [
      h(TerminalView, { key: session.session_id, session, isTile: false }),
      question
        ? h(
            'div',
            { class: 'beside-card' },
            h(QuestionCard, { key: question.hitl_id, question, isAtTerminal: true, isCompact: true }),
          )
        : null,
    ]),
  );
}

function NoSession({ id }: { id: string }): VNode {
  return h(
    Empty,
    { title: `There is no session ${shortId(id)}.` },
    h('p', null, h('a', { href: to() }, 'Back to the overview')),
  );
}

function Line({ session }: { session: SessionView }): VNode {
  const { tasks } = useCell(house);
  const task = session.task_id ? tasks.get(session.task_id) : undefined;
  return h('p', { class: 'counts' }, [
    h(State, { state: session.state, title: session.reason }),
    session.reason ? h('span', null, session.reason) : null,
    h('span', null, session.session_type),
    session.working_dir === '' ? null : h('span', null, h('code', null, session.working_dir)),
    h('span', null, [
      isLive(session) ? 'started ' : 'ended ',
      h(Ago, { at: session.ended_at ?? session.created_at }),
    ]),
    h('span', { 'data-testid': 'session-output' }, bytes(session.output_bytes)),
    session.task_id ? h('a', { href: to('tasks', session.task_id) }, task?.name ?? 'task') : null,
  ]);
}

function endSession(session: SessionView): void {
  confirm({
    title: 'End this session?',
    body: h('p', null, [
      h('code', null, session.command),
      ` on ${session.agent_id} gets SIGTERM. What it was doing is interrupted; its recording stays.`,
    ]),
    verb: 'End session',
    run: async () => {
      await call(`sessions/${segment(session.session_id)}?signal=TERM`, { method: 'DELETE' });
    },
  });
}

export function SessionRows({ agent }: { agent?: string }): VNode {
  const sessions = sessionsInOrder(useCell(house), agent);
  if (sessions.length === 0) return h(Empty, { title: 'No sessions yet.' });
  return h(
    'ul',
    { class: 'rows', 'data-testid': 'session-rows' },
    sessions.slice(0, 60).map((session) =>
      h('li', { key: session.session_id, class: 'row' }, [
        h(State, {
          state: session.hitl_id ? 'open' : session.state,
          title: session.hitl_id ? 'asks a question' : session.reason,
        }),
        h('a', { class: 'strong nowrap', href: to('sessions', session.session_id) }, session.session_name),
        h('code', { class: 'ellipsis grow' }, commandLine(session.command, session.args)),
        session.exit_code === null ? null : h('span', { class: 'muted nowrap' }, `exit ${session.exit_code}`),
        h('span', { class: 'muted nowrap' }, bytes(session.output_bytes)),
        h('span', { class: 'muted nowrap' }, plural(session.observers.length, 'viewer')),
        h('span', { class: 'muted nowrap' }, h(Ago, { at: session.created_at })),
      ]),
    ),
  );
}

export function NewSessionDialog({ agent: wanted }: { agent: string | undefined }): VNode {
  const agents = agentsByName(useCell(house)).filter((one) => one.state === 'ready' || one.state === 'busy');
  const [agent, setAgent] = useState(wanted ?? agents[0]?.id ?? '');
  const [command, setCommand] = useState('bash');
  const [workingDir, setWorkingDir] = useState('');
  const action = useAction();
  const submit = (event: Event) => {
    event.preventDefault();
    void action.run(async () => {
      const isPlain = /^[\w./-]+$/.test(command.trim());
      const launch = isPlain ? { command: command.trim() } : { command: 'bash', args: ['-lc', command] };
      const place = workingDir.trim() === '' ? {} : { working_dir: workingDir.trim() };
      const session = await post<SessionView>(`agents/${segment(agent)}/sessions`, {
        ...launch,
        ...place,
        cols: 120,
        rows: 32,
      });
      learn({ session });
      closeDialog();
      go(to('sessions', session.session_id));
    });
  };
  return h(
    Dialog,
    { title: 'New terminal', onClose: closeDialog, testId: 'dialog-session' },
    h('form', { class: 'form', onSubmit: submit }, [
      agents.length === 0 ? h('p', { class: 'muted' }, 'No agent is ready. Start an instance first.') : null,
      h('label', { class: 'field' }, [
        h('span', { class: 'label' }, 'Agent'),
        h(
          'select',
          {
            value: agent,
            onChange: (event: Event) => setAgent(typed(event)),
            'data-testid': 'session-agent',
          },
          agents.map((one) => h('option', { key: one.id, value: one.id }, one.id)),
        ),
      ]),
      h('label', { class: 'field' }, [
        h('span', { class: 'label' }, 'Command'),
        h('input', {
          class: 'mono',
          value: command,
          onInput: (event: Event) => setCommand(typed(event)),
          required: true,
          autofocus: true,
          spellcheck: false,
          'data-testid': 'session-command',
        }),
      ]),
      h('label', { class: 'field' }, [
        h('span', { class: 'label' }, ['Working directory ', h('span', { class: 'muted' }, 'optional')]),
        h('input', {
          class: 'mono',
          value: workingDir,
          onInput: (event: Event) => setWorkingDir(typed(event)),
          spellcheck: false,
        }),
      ]),
      action.problem ? h(TroubleBox, { problem: action.problem }) : null,
      h('footer', { class: 'dialog-foot' }, [
        h(Button, { label: 'Cancel', tone: 'quiet', onClick: closeDialog }),
        h(
          'button',
          {
            class: 'button primary',
            disabled: action.isBusy || agent === '',
            'data-testid': 'session-start',
          },
          'Start',
        ),
      ]),
    ]),
  );
}
