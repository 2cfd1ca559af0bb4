/** Work for a server that dies all the time, and a book of what it has promised. */
import type { Victim } from './victim.ts';

/** What was acknowledged, by id. */
export interface Book {
  /** Tasks that were accepted, and how each must end. */
  readonly tasks: Map<string, 'COMPLETED' | 'CANCELLED'>;
  /** Questions whose answer was accepted. */
  readonly answers: Set<string>;
  readonly counts: { sent: number; unanswered: number; refused: number };
}

export const newBook = (): Book => ({
  tasks: new Map(),
  answers: new Set(),
  counts: { sent: 0, unanswered: 0, refused: 0 },
});

export const WORKERS = ['w1', 'w2'] as const;
/** Tasks that have not ended, for each worker. */
const BACKLOG = 3;

type Kind = 'quick' | 'asking' | 'cancelled';

const lines: Readonly<Record<Kind, string>> = {
  quick: 'echo quick',
  // A second answer, were one typed, would be read by the second `read`.
  asking:
    'read -r -p "Go on? [y/n] " a; read -r -t 0.5 b; printf "%s:%s:" "$a" "$b" > "$AGENTIC_ARTIFACTS/answer.txt"',
  cancelled: 'sleep 60',
};

const manifest = (id: string, kind: Kind, instance: string) => ({
  version: '1',
  kind: 'Task',
  metadata: { id, name: `${kind} ${id}` },
  agent: {
    tool: 'command',
    mode: kind === 'asking' ? 'interactive' : 'headless',
    command: 'bash',
    args: ['-c', lines[kind]],
    instance,
  },
});

export interface LoadOptions {
  readonly victim: Victim;
  readonly book: Book;
  readonly pick: (below: number) => number;
  /** Of the tasks of this load. */
  readonly prefix: string;
  readonly isOver: () => boolean;
}

interface Hitl {
  readonly hitl_id: string;
  readonly state: string;
}

const ended = ['COMPLETED', 'FAILED', 'FAILED_PRESERVED', 'CANCELLED'];

/** Submits, answers and cancels until it is over. */
export async function load({ victim, book, pick, prefix, isOver }: LoadOptions): Promise<void> {
  const { counts, tasks } = book;
  const ask = async (method: string, path: string, body?: unknown) => {
    counts.sent += 1;
    const answered = await victim.call(method, path, body);
    if (!answered) counts.unanswered += 1;
    else if (answered.status >= 500) counts.refused += 1;
    return answered;
  };
  const submitting = async (instance: string): Promise<void> => {
    for (let n = 1; !isOver(); n++) {
      const open = await victim.call('GET', 'tasks?limit=100');
      const list = (open?.body as { tasks?: { state: string }[] } | undefined)?.tasks ?? [];
      if (list.filter(({ state }) => !ended.includes(state)).length >= BACKLOG * WORKERS.length) {
        await Bun.sleep(100);
        continue;
      }
      const kind = (['quick', 'quick', 'asking', 'cancelled'] as const)[pick(4)] ?? 'quick';
      const id = `${prefix}-${instance}-${n}`;
      const made = await ask('POST', 'tasks', manifest(id, kind, instance));
      if (made?.status === 202 && kind !== 'cancelled') tasks.set(id, 'COMPLETED');
      if (kind === 'cancelled') {
        await Bun.sleep(pick(300));
        const done = await ask('POST', `tasks/${id}/cancel`);
        if (done?.status === 200) tasks.set(id, 'CANCELLED');
      }
      await Bun.sleep(20 + pick(80));
    }
  };
  const answering = async (): Promise<void> => {
    while (!isOver()) {
      await answerAll(victim, book);
      await Bun.sleep(30 + pick(50));
    }
  };
  await Promise.all([...WORKERS.map(submitting), answering()]);
}

/** Answers what is open. */
export async function answerAll(victim: Victim, book: Book): Promise<void> {
  const open = await victim.call('GET', 'hitl');
  for (const { hitl_id, state } of (open?.body as { requests?: Hitl[] } | undefined)?.requests ?? []) {
    if (state !== 'open') continue;
    book.counts.sent += 1;
    const taken = await victim.call('POST', `hitl/${hitl_id}/respond`, { text: 'y' });
    if (!taken) book.counts.unanswered += 1;
    if (taken?.status === 202) book.answers.add(hitl_id);
  }
}

/** What is never acknowledged as cancelled would run for a minute. */
export async function cancelTheRest(victim: Victim, prefix: string): Promise<void> {
  const all = await victim.call('GET', 'tasks?limit=1000');
  for (const task of (all?.body as { tasks?: { id: string; name: string; state: string }[] })?.tasks ?? [])
    if (task.name.startsWith(`cancelled ${prefix}`) && !ended.includes(task.state))
      await victim.call('POST', `tasks/${task.id}/cancel`);
}
