/** Runs one command on an agent and hands its output on as it comes: the session behind `Exec`. */
import type { ExecDesk, ExecPart, ExecWanted, NewSession } from '../desk.ts';
import { Failure } from '../failure.ts';
import type { AgentId, SessionId } from '../ids.ts';
import type { SessionView } from '../views.ts';
import { type House, sessionOf, stateOf, until } from './house.ts';
import { endSession, sessionDesk, startSession } from './sessions.ts';

const READ_BYTES_MAX = 256 << 10;
const START_MS = 60_000;

/** Ends the process when the consumer leaves early or the signal is aborted. */
export async function* exec(house: House, wanted: ExecWanted, signal: AbortSignal): AsyncGenerator<ExecPart> {
  const { agent, command, args, workingDir, env, timeoutSeconds } = wanted;
  const session: NewSession = {
    command,
    args,
    workingDir,
    env,
    timeoutSeconds,
    name: null,
    type: 'headless',
    cols: 80,
    rows: 24,
    stdin: wanted.stdin === null ? 'closed' : 'open',
  };
  const id = await startSession(house, agent as AgentId, session);
  const desk = sessionDesk(house);
  let offset = 0;
  let isOver = false;
  try {
    if (wanted.stdin !== null) await feed(house, id, { stdin: wanted.stdin, signal });
    for (;;) {
      isOver = !house.fleet.isLive(`session:${id}`);
      const terminal = await desk.terminal(id);
      for (;;) {
        const slice = await terminal?.read(offset, READ_BYTES_MAX);
        if (!slice || slice.bytes.length === 0) break;
        offset = slice.next;
        yield { stream: slice.stream === 'stderr' ? 'stderr' : 'stdout', bytes: slice.bytes };
      }
      if (isOver) return yield { ended: desk.find(id) as SessionView };
      await more(house, id, { offset, signal });
    }
  } finally {
    if (!isOver) {
      // Nobody waits for it any more.
      endSession(house, id, { graceMs: 2_000, reason: 'its caller left' }).catch((thrown) => {
        house.log.warn('session not ended', { session: id, why: String(thrown) });
      });
    }
  }
}

interface Feeding {
  readonly stdin: string;
  readonly signal: AbortSignal;
}

/** Types the input once the process runs, and ends it. */
async function feed(house: House, id: SessionId, { stdin, signal }: Feeding): Promise<void> {
  const look = () => (stateOf(house, `session:${id}`) === 'starting' ? null : true);
  const late = () => new Failure('timed-out', 'the process did not start');
  await until(house, { fact: `changed:session:${id}`, look, withinMs: START_MS, signal, late });
  const agent = sessionOf(house, id)?.agent;
  const link = agent === undefined ? null : house.links.get(agent as AgentId);
  if (!link || !house.fleet.isLive(`session:${id}`)) return;
  await link.type(id, new TextEncoder().encode(stdin), { key: `${id}:stdin`, signal });
  link.closeStdin(id);
}

/** Waits until there is more output, or the end. */
async function more(
  house: House,
  id: SessionId,
  { offset, signal }: { offset: number; signal: AbortSignal },
) {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const late = () => new Failure('timed-out', 'no more output');
  const look = () => {
    const next = house.terminals.find(id)?.nextOffset() ?? 0;
    return next > offset || !house.fleet.isLive(`session:${id}`) ? true : null;
  };
  const facts = [`recorded:${id}`, `ended:${id}`] as const;
  try {
    await Promise.race(
      facts.map((fact) => until(house, { fact, look, withinMs: null, signal: either, late })),
    );
  } finally {
    stop.abort(new Failure('cancelled', 'one of the two was enough'));
  }
}

export const execDesk = (house: House): ExecDesk => ({
  run: (wanted, _by, signal) => exec(house, wanted, signal),
});
