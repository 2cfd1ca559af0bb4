/** A task's life as its log tells it: folded from the journal through the pure machine, never from memory. */

import type { Told } from '../actors/port.ts';
import { born, type Living, step } from '../actors/step.ts';
import { taskMachine } from '../actors/task.ts';
import type { TaskContext } from '../actors/task-ports.ts';
import { tallyView, taskView } from '../actors/task-view.ts';
import type { TaskLog } from '../desk.ts';
import type { SessionId, TaskId } from '../ids.ts';
import type { Journal, JournalEntry } from '../journal.ts';
import { type LogSources, type StoryEvent, taskLogs } from '../tasks/logs.ts';
import type { TaskView } from '../views.ts';
import type { House } from './house.ts';

const PAGE = 500;

/** What happened so far; `catchUp` reads what the journal has got since. */
function story(journal: Journal, id: TaskId) {
  const events: StoryEvent[] = [];
  const sessions: SessionId[] = [];
  let living: Living | null = null;
  let told: TaskView | null = null;
  let seq = 0;
  const take = (entry: JournalEntry, question: (hitl: string) => unknown) => {
    const event = entry.event as Told & { readonly input?: unknown; readonly hitl?: string };
    seq = entry.seq;
    if (event.type === 'born') {
      // The name was used before: this is another task's story.
      events.length = 0;
      sessions.length = 0;
      living = born(taskMachine, event.input, seq).next;
    } else if (living) {
      living = step(taskMachine, living, event)?.next ?? { ...living, seq };
    }
    if (!living) return;
    const context = living.snapshot.context as TaskContext;
    const session = context.run?.session.id;
    if (session && sessions.at(-1) !== session) sessions.push(session);
    const view = taskView(living.snapshot as never);
    const at = { cursor: seq, at: entry.at };
    if (event.type === 'question.opened') {
      events.push({ ...at, event: 'question', data: JSON.stringify(question(event.hitl ?? '')) });
    }
    if (view.state !== told?.state || view.state_message !== told.state_message) {
      events.push({ ...at, ...eventOf(view, living.snapshot.status === 'done') });
    }
    told = view;
  };
  return {
    sessions,
    after: (cursor: number, limit: number) => events.filter((event) => event.cursor > cursor).slice(0, limit),
    async catchUp(question: (hitl: string) => unknown): Promise<void> {
      for (;;) {
        const page = await journal.history(`task:${id}`, seq + 1, PAGE);
        for (const entry of page) take(entry, question);
        if (page.length < PAGE) return;
      }
    },
  };
}

function eventOf(view: TaskView, isOver: boolean): Pick<StoryEvent, 'event' | 'data'> {
  const { state, state_message, exit_code, summary, failure } = view;
  if (!isOver)
    return {
      event: 'state',
      data: JSON.stringify({ state, message: state_message, at: view.state_changed_at }),
    };
  if (state === 'COMPLETED')
    return { event: 'completed', data: JSON.stringify({ state, exit_code, summary }) };
  const code = failure?.code ?? state.toLowerCase();
  return {
    event: 'error',
    data: JSON.stringify({ state, code, message: view.error ?? state_message, exit_code }),
  };
}

/** Everything a task said, from an id on, and on until it has ended. */
export const logsOf =
  (house: House, journal: Journal) =>
  (id: TaskId, after: string | null, signal: AbortSignal): AsyncIterable<TaskLog> =>
    taskLogs(sourcesOf(house, journal, id), { after, signal });

function sourcesOf(house: House, journal: Journal, id: TaskId): LogSources {
  const { fleet, terminals, signals, tallies } = house;
  const told = story(journal, id);
  const question = (hitl: string) => fleet.view(`hitl:${hitl}`) ?? { hitl_id: hitl };
  const terminalOf = async (session: SessionId) =>
    terminals.find(session) ?? (await terminals.recall(session));
  return {
    async story(after, limit) {
      await told.catchUp(question);
      return told.after(after, limit);
    },
    sessions: () => told.sessions.length,
    async read(n, from, maxBytes) {
      const session = told.sessions[n];
      const terminal = session ? await terminalOf(session) : null;
      return terminal ? await terminal.read(from, maxBytes) : null;
    },
    progress() {
      const tally = tallies.get(id);
      return tally ? JSON.stringify(tallyView(tally)) : null;
    },
    isOver: () => !fleet.isLive(`task:${id}`),
    watch(onMore) {
      const offs = [signals.on(`changed:task:${id}`, onMore)];
      let heard: string | null = null;
      const follow = () => {
        const session = (fleet.context(`task:${id}`) as TaskContext | null)?.run?.session.id ?? null;
        if (session === null || session === heard) return;
        heard = session;
        offs.push(signals.on(`recorded:${session}`, onMore));
      };
      follow();
      offs.push(signals.on(`changed:task:${id}`, follow));
      return () => {
        for (const off of offs) off();
      };
    },
  };
}
