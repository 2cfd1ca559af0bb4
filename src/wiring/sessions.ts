/** Sessions: the effects of their machine, and what the doors may ask of them. */
import { constants } from 'node:os';
import type { ChildSpec, EffectScope, EffectsOf, Told } from '../actors/port.ts';
import { type SessionInput, type sessionPorts, withFacts } from '../actors/session.ts';
import { rfc3339 } from '../clock.ts';
import type { NewSession, SessionDesk } from '../desk.ts';
import { Failure } from '../failure.ts';
import { type AgentId, newId, type SessionId } from '../ids.ts';
import type { SessionView } from '../views.ts';
import { agentOf, type House, linkOf, overLink, sessionOf, sessionsOf, stateOf, until } from './house.ts';
import { openTerminal } from './presence.ts';

/** How long a launch waits for its agent to be connected. */
const LINK_WAIT_MS = 30_000;
/** How long an end waits: an agent that comes back learns of it then. */
const END_WAIT_MS = 60_000;

/** What a session gets at its launch and is never remembered. */
export interface LaunchExtras {
  readonly env: Readonly<Record<string, string>>;
  /** Typed once and followed by the end of input; null: nothing. */
  readonly stdin: string | null;
}

/** Asked at every launch; null for a session that needs nothing beside what it remembers. */
export type ExtrasFor = (session: SessionInput) => Promise<LaunchExtras | null>;

export function sessionEffects(house: House, extrasFor: ExtrasFor): EffectsOf<typeof sessionPorts> {
  return {
    launch: (input, scope) => launch(house, { input, extrasFor }, scope),
    async end({ session, agent, graceMs }, { signal }) {
      const link = await linkOf(house, agent, { withinMs: END_WAIT_MS, signal });
      const graceSeconds = Math.ceil(graceMs / 1_000);
      await link.reconcile({ keep: [], kill: [session], killUnrecognized: false, graceSeconds });
    },
  };
}

interface Launching {
  readonly input: SessionInput;
  readonly extrasFor: ExtrasFor;
}

async function launch(house: House, { input, extrasFor }: Launching, { signal }: EffectScope): Promise<void> {
  const extras = await extrasFor(input);
  const { cols, rows } = input;
  const wish = {
    session: input.id,
    name: input.name,
    type: input.type,
    command: input.command,
    args: input.args,
    workingDir: input.workingDir,
    env: { ...input.env, ...extras?.env },
    timeoutSeconds: input.timeoutSeconds,
    pty: input.type === 'headless' ? null : { cols, rows, term: 'xterm-256color' },
    runAs: '',
  };
  await overLink(house, { agent: input.agent, withinMs: LINK_WAIT_MS, signal }, async (link) => {
    openTerminal(house, input);
    await link.launch(wish, signal);
    if (input.type !== 'headless' || input.stdin === 'open') return;
    if (extras?.stdin) {
      await link.type(input.id, new TextEncoder().encode(extras.stdin), {
        key: `${input.id}:stdin`,
        signal,
      });
    }
    link.closeStdin(input.id);
  });
}

/** Asks every session of an agent to end, newest first, and waits until they have or the grace is over. */
export async function endSessionsOf(house: House, agent: string, graceMs: number): Promise<void> {
  const { fleet, clock } = house;
  const sessions = sessionsOf(house, agent).reverse();
  const at = clock.now();
  for (const { id } of sessions) {
    fleet.note(`session:${id}`, {
      type: 'end',
      at,
      graceMs,
      reason: 'its instance is being stopped',
    } as Told);
  }
  await Promise.all(
    sessions.map(({ id }) => ended(house, id, { withinMs: graceMs + 1_000 }).catch(() => null)),
  );
}

interface Patience {
  /** Null: as long as it takes. */
  readonly withinMs: number | null;
  readonly signal?: AbortSignal;
}

/** Waits until a session is over. */
function ended(house: House, id: string, { withinMs, signal }: Patience): Promise<SessionView> {
  const look = () => (house.fleet.isLive(`session:${id}`) ? null : viewOf(house, id));
  const late = () => new Failure('timed-out', `session ${id} is not over yet`);
  return until(house, { fact: `ended:${id}`, look, withinMs, late, ...(signal ? { signal } : {}) });
}

/** Asks a session to end and waits for it; resolves also when it is over already. */
export async function endSession(
  house: House,
  id: string,
  { graceMs, reason }: { graceMs: number; reason: string },
) {
  house.fleet.note(`session:${id}`, { type: 'end', at: house.clock.now(), graceMs, reason } as Told);
  if (!house.fleet.isLive(`session:${id}`)) return;
  await ended(house, id, { withinMs: graceMs + 5_000 });
}

function viewOf(house: House, id: string): SessionView | null {
  const view = house.fleet.view(`session:${id}`) as SessionView | null;
  if (!view) return null;
  return observedSession(house, view);
}

/** Adds what is observed beside it: what it has said so far, and who watches. */
export function observedSession({ terminals, recordings }: House, view: SessionView): SessionView {
  const id = view.session_id as SessionId;
  const terminal = terminals.find(id);
  const removal = recordings.removed(id);
  const members = terminal?.members();
  return withFacts(view, {
    outputBytes: terminal?.nextOffset() ?? view.output_bytes,
    removed: removal && { ...removal, at: rfc3339(removal.at) },
    controller: members?.controller ?? null,
    observers: members?.observers ?? [],
  });
}

/**
 * Starts a session on an agent; durable when it resolves. Throws Failure('not-found' | 'already-exists' |
 * 'wrong-state').
 */
export async function startSession(house: House, agent: AgentId, wanted: NewSession): Promise<SessionId> {
  const { fleet, clock } = house;
  const id = newId<SessionId>();
  const name = wanted.name ?? `${wanted.type === 'headless' ? 'exec' : 'terminal'}-${id.slice(-8)}`;
  if (!agentOf(house, agent) || !fleet.isLive(`agent:${agent}`)) {
    throw new Failure('not-found', `there is no agent "${agent}"; see GET /api/v1/agents`);
  }
  const state = stateOf(house, `agent:${agent}`);
  if (!house.links.has(agent))
    throw new Failure('agent-gone', `agent ${agent} is ${state}, not connected; start its instance`);
  if (state === 'provisioning')
    throw new Failure('wrong-state', `agent ${agent} is still being set up; try again shortly`);
  if (sessionsOf(house, agent).some((session) => session.name === name)) {
    throw new Failure(
      'already-exists',
      `agent ${agent} has a session named "${name}"; attach to it or choose another name`,
    );
  }
  const input: SessionInput = {
    id,
    agent,
    task: null,
    name,
    type: wanted.type,
    command: wanted.command,
    args: wanted.args,
    workingDir: wanted.workingDir ?? '',
    env: wanted.env,
    cols: wanted.cols,
    rows: wanted.rows,
    timeoutSeconds: wanted.timeoutSeconds,
    stdin: wanted.stdin,
    createdAt: clock.now(),
  };
  const parent = `agent:${agent}`;
  const spec: ChildSpec = {
    id: `session:${id}`,
    kind: 'session',
    input,
    restart: 'on-failure',
    graceMs: 5_000,
    parent,
  };
  await fleet.start(spec, input.createdAt);
  return id;
}

const signalNumbers: Readonly<Record<string, number>> = constants.signals;

/** `INT`, `SIGINT` and `2` are the same. Throws Failure('bad-input') that lists what there is. */
export function signalNumber(name: string): number {
  const upper = name.toUpperCase();
  const found = signalNumbers[upper.startsWith('SIG') ? upper : `SIG${upper}`] ?? Number(name);
  if (Number.isInteger(found) && found > 0 && found < 65) return found;
  throw new Failure('bad-input', `"${name}" is no signal; TERM, KILL, INT, HUP, QUIT, USR1 and the like are`);
}

export function sessionDesk(house: House): SessionDesk {
  const { fleet, clock } = house;
  const there = (id: string): SessionView => {
    const view = viewOf(house, id);
    if (!view) throw new Failure('not-found', `there is no session "${id}"; see GET /api/v1/sessions`);
    return view;
  };
  const live = (id: string) => {
    const view = there(id);
    const link = house.links.get(view.agent_id as AgentId);
    if (view.state === 'detached' || (view.state === 'live' && !link)) {
      throw new Failure(
        'agent-gone',
        `session ${id} is detached: agent ${view.agent_id} is not connected just now`,
      );
    }
    if (view.state !== 'live' || !link)
      throw new Failure('wrong-state', `session ${id} is ${view.state}, not live`);
    return link;
  };
  return {
    list: ({ agent, live }) =>
      (fleet.views('session') as SessionView[])
        .filter(
          (v) =>
            (agent === undefined || v.agent_id === agent) &&
            (!live || fleet.isLive(`session:${v.session_id}`)),
        )
        .flatMap((v) => viewOf(house, v.session_id) ?? []),
    find: (id) => viewOf(house, id),
    async create(agent, wanted, _by) {
      const id = await startSession(house, agent as AgentId, wanted);
      // Resolves once it runs, or says why it does not.
      return await until(house, {
        fact: `changed:session:${id}`,
        look: () => {
          const view = there(id);
          if (view.state === 'lost' && view.exit_code === null) {
            throw new Failure('runtime-failed', `"${wanted.command}" was not started: ${view.reason}`);
          }
          return view.state === 'starting' ? null : view;
        },
        withinMs: LINK_WAIT_MS + 10_000,
        late: () =>
          new Failure('timed-out', `session ${id} is still starting; see GET /api/v1/sessions/${id}`),
      });
    },
    input(id, bytes, _by) {
      // A full queue towards the agent is told to whoever types, by the link's Failure.
      live(id)
        .type(id as SessionId, bytes, { key: null })
        .catch((thrown) => {
          house.log.warn('input not typed', { session: id, why: String(thrown) });
        });
    },
    resize(id, { cols, rows }, by) {
      live(id).resize(id as SessionId, cols, rows);
      house.terminals.find(id as SessionId)?.resized(cols, rows);
      fleet.note(`session:${id}`, { type: 'resized', at: clock.now(), by, cols, rows } as Told);
    },
    async signal(id, name, by) {
      const number = signalNumber(name);
      const link = live(id);
      const final = number === constants.signals.SIGKILL || number === constants.signals.SIGTERM;
      if (!final) {
        link.signal(id as SessionId, number);
        return there(id);
      }
      const graceMs = number === constants.signals.SIGKILL ? 0 : 5_000;
      await fleet.send(`session:${id}`, {
        type: 'end',
        at: clock.now(),
        by,
        graceMs,
        reason: `${by} sent ${name}`,
      } as Told);
      return there(id);
    },
    async terminal(id) {
      const context = sessionOf(house, id);
      if (!context) return null;
      const found = house.terminals.find(context.id);
      if (found) return found;
      return fleet.isLive(`session:${id}`)
        ? openTerminal(house, context)
        : await house.terminals.recall(context.id);
    },
    ended: (id, signal) => ended(house, id, { withinMs: null, signal }),
  };
}
