/**
 * What agents tell us, made into events of the fleet and bytes of the data plane.
 *
 * After every (re)connect: what the agent reports is matched with what we remember. Known and reported goes
 * on from the byte we have [N3]; reported and unknown is adopted, unless the operator wants such sessions
 * ended [N4]; known and not reported has ended and says so, or is lost after a grace [N5]. Each of these
 * decisions is in the log of the agent [N8].
 */
import type { AgentFacts, SettledSessions } from '../actors/agent.ts';
import type { ChildSpec, Told } from '../actors/port.ts';
import type { SessionContext, SessionExited, SessionInput } from '../actors/session.ts';
import type {
  AgentLink,
  AgentListener,
  HeartbeatFacts,
  OutputBytes,
  Proof,
  Registration,
  ReportedSession,
  SessionResult,
} from '../agent-link.ts';
import type { SessionId } from '../ids.ts';
import type { Terminal } from '../terminal.ts';
import { agentOf, type House, sessionOf, sessionsOf, stateOf } from './house.ts';

/** How long a session that its agent does not report may still send its result. */
const MISSING_GRACE_MS = 5_000;
/** How long a result waits for output that was announced and has not come. */
const RESULT_WAIT_MS = 10_000;
/** Without a heartbeat for so long an agent is stale. */
const STALE_AFTER_MS = 60_000;
const LOOK_EVERY_MS = 5_000;
/** Terminals that are opened after a restart: in the first turn, and in each that follows. */
const OPENED_AT_ONCE = 64;
const OPENED_A_TURN = 4;

export type Admit = (proof: Proof, agent: string, instanceId: string) => Promise<void>;

export function presence(house: House, admit: Admit): AgentListener {
  const { fleet, clock, links, log, signals } = house;
  const results = new Map<SessionId, { link: AgentLink; result: SessionResult }>();

  const finish = async (link: AgentLink, result: SessionResult) => {
    results.delete(result.session);
    const at = clock.now();
    const terminal = terminalOf(house, result.session);
    const exited: SessionExited = {
      type: 'session.exited',
      at,
      exitCode: result.exitCode,
      error: result.error,
      outputBytes: terminal?.nextOffset() ?? result.outputBytes ?? 0,
    };
    terminal?.ended(result.exitCode, result.error);
    await fleet.send(`session:${result.session}`, exited);
    link.ackResult(result.session);
  };

  return {
    admit,

    async connected(link, registration) {
      const { agent } = link;
      links.set(agent, link);
      house.telemetry.set(agent, { heartbeat: null, metrics: null, seenAt: clock.now() });
      const at = clock.now();
      await fleet.remind([`agent:${agent}`]);
      await fleet.together(() => {
        if (!fleet.isLive(`agent:${agent}`)) startForeign(house, link, registration);
        fleet.note(`agent:${agent}`, {
          type: 'link.up',
          at,
          facts: factsOf(registration, link),
          isSetUp: true,
        } as Told);
      });
      log.info('agent connected', { agent, instance_id: link.instanceId, features: [...link.features] });
      signals.tell(`link:${agent}`);
    },

    async reported(link, reported) {
      const at = clock.now();
      await fleet.remind(reported.map(({ session }) => `session:${session}`));
      const known = new Map(sessionsOf(house, link.agent).map((session) => [session.id, session]));
      const unknown = reported.filter(({ session }) => fleet.view(`session:${session}`) === null);
      const adopted = house.config.unknownSessions === 'adopt' ? unknown : [];
      await fleet.together(() => {
        for (const session of adopted) adopt(house, link, session);
        for (const { session } of reported) {
          if (isOf(house, link, session)) fleet.note(`session:${session}`, { type: 'link.up', at });
        }
        const ended = reported.map(({ session }) => session).filter((id) => !fleet.isLive(`session:${id}`));
        settled(house, link, { adopted: adopted.map(({ session }) => session), ended });
      });
      endForgotten(house, link, reported);
      for (const id of new Set([...known.keys(), ...adopted.map(({ session }) => session)])) {
        const context = sessionOf(house, id);
        if (!context) continue;
        const terminal = openTerminal(house, context);
        if (!link.features.has('terminal-state')) terminal.evidence(null);
        link.ackOutput(id, terminal.nextOffset(), true);
      }
      const there = new Set(reported.map(({ session }) => session));
      // What is still being started may be launched after this report was made.
      const isStarting = (id: SessionId) => stateOf(house, `session:${id}`) === 'starting';
      const missing = [...known.keys()].filter((id) => !there.has(id) && !isStarting(id));
      if (missing.length > 0) clock.setTimeout(() => loseMissing(house, link, missing), MISSING_GRACE_MS);
    },

    heartbeat(link, facts) {
      seen(house, link, facts);
    },

    metrics(link, facts) {
      const telemetry = house.telemetry.get(link.agent);
      if (telemetry) telemetry.metrics = facts;
    },

    output(link, session, chunk) {
      take(house, link, { session, chunk });
      const waiting = results.get(session);
      if (waiting && isWhole(house, waiting.result)) {
        finish(waiting.link, waiting.result).catch((thrown) =>
          log.error('result not kept', { session, why: String(thrown) }),
        );
      }
    },

    terminalState(link, session, state) {
      if (isOf(house, link, session)) terminalOf(house, session)?.evidence(state);
    },

    async result(link, result) {
      // An agent speaks for its own sessions only; one that we hold for ended is settled.
      if (!isOf(house, link, result.session)) return link.ackResult(result.session);
      if (isWhole(house, result)) return await finish(link, result);
      results.set(result.session, { link, result });
      clock.setTimeout(() => {
        if (results.get(result.session)?.result === result) void finish(link, result);
      }, RESULT_WAIT_MS);
    },

    lost(link, reason) {
      if (links.get(link.agent) !== link) return; // A newer link has taken its place.
      links.delete(link.agent);
      const at = clock.now();
      log.info('agent link lost', { agent: link.agent, reason });
      const sessions = sessionsOf(house, link.agent);
      fleet.note(`agent:${link.agent}`, { type: 'link.lost', at, reason } as Told);
      for (const { id } of sessions) fleet.note(`session:${id}`, { type: 'link.lost', at });
      signals.tell(`link:${link.agent}`);
    },
  };
}

/** Marks agents stale that have a link and no heartbeat. Returns how to stop. */
export function liveness(house: House): () => void {
  const { clock, fleet, telemetry, links } = house;
  let timer: unknown;
  const look = () => {
    const at = clock.now();
    for (const agent of links.keys()) {
      const seenAt = telemetry.get(agent)?.seenAt ?? at;
      if (at - seenAt > STALE_AFTER_MS) fleet.note(`agent:${agent}`, { type: 'heartbeat.missed', at });
    }
    timer = clock.setTimeout(look, LOOK_EVERY_MS);
  };
  timer = clock.setTimeout(look, LOOK_EVERY_MS);
  return () => clock.clearTimeout(timer);
}

/** After a restart nobody is connected until they say so. */
export function forgetLinks(house: House): void {
  const { fleet, clock } = house;
  const at = clock.now();
  const reason = 'the server was restarted';
  for (const { id, kind, live } of fleet.specs()) {
    if (!live) continue;
    const state = stateOf(house, id);
    if (kind === 'agent' && state !== 'awaited') fleet.note(id, { type: 'link.lost', at, reason } as Told);
    if (kind === 'session') fleet.note(id, { type: 'link.lost', at });
  }
}

/**
 * Opens the terminals of live sessions again after a restart, those of tasks first: a few at once, the others
 * a few each turn, because building a screen takes a millisecond or two. Returns how to stop.
 */
export function reopenTerminals(house: House): () => void {
  const live = house.fleet.specs().filter((spec) => spec.kind === 'session' && spec.live);
  const all = live.flatMap(({ id }) => (house.fleet.context(id) as SessionContext | null) ?? []);
  const sessions = [...all.filter(({ task }) => task !== null), ...all.filter(({ task }) => task === null)];
  let timer: unknown = null;
  const open = (from: number, count: number) => {
    for (const { id } of sessions.slice(from, from + count)) terminalOf(house, id);
    const next = from + count;
    if (next < sessions.length) timer = house.clock.setTimeout(() => open(next, OPENED_A_TURN), 0);
  };
  open(0, OPENED_AT_ONCE);
  return () => house.clock.clearTimeout(timer);
}

/** The terminal of a live session, opened when nobody has done so yet; null when there is no such session. */
function terminalOf(house: House, id: SessionId): Terminal | null {
  const found = house.terminals.find(id);
  if (found) return found;
  const context = sessionOf(house, id);
  return context && house.fleet.isLive(`session:${id}`) ? openTerminal(house, context) : null;
}

export function openTerminal({ terminals }: House, { id, cols, rows, type }: SessionInput) {
  return terminals.open(id, { cols, rows, pty: type !== 'headless' });
}

function startForeign(house: House, link: AgentLink, registration: Registration) {
  const { fleet, clock } = house;
  const at = clock.now();
  const spec: ChildSpec = {
    id: `agent:${link.agent}`,
    kind: 'agent',
    input: {
      id: link.agent,
      instanceId: link.instanceId,
      runtime: null,
      loadout: registration.loadout || null,
      profile: registration.profile || null,
      createdAt: at,
    },
    restart: 'always',
    graceMs: 10_000,
    parent: null,
  };
  // Durable with the batch that `together` waits for.
  fleet
    .start(spec, at)
    .catch((thrown) => house.log.error('agent not taken', { agent: link.agent, why: String(thrown) }));
}

const factsOf = (r: Registration, link: AgentLink): AgentFacts => ({
  instanceId: r.instanceId || link.instanceId,
  hostname: r.hostname,
  ipAddress: r.ipAddress,
  profile: r.profile || null,
  loadout: r.loadout || null,
  system: r.system,
  frameworks: r.frameworks,
  features: [...link.features],
});

function adopt(house: House, link: AgentLink, reported: ReportedSession) {
  const { fleet, clock, log } = house;
  const at = clock.now();
  const input: SessionInput & { adopted: boolean } = {
    id: reported.session,
    agent: link.agent,
    task: null,
    name: reported.name || `adopted-${reported.session.slice(-8)}`,
    type: reported.pty ? reported.type : 'headless',
    command: reported.command,
    args: [],
    workingDir: '',
    env: {},
    cols: reported.pty?.cols ?? 80,
    rows: reported.pty?.rows ?? 24,
    timeoutSeconds: 0,
    stdin: 'open',
    createdAt: reported.startedAt || at,
    adopted: true,
  };
  log.info('session adopted', { agent: link.agent, session: reported.session, command: reported.command });
  const spec: ChildSpec = {
    id: `session:${reported.session}`,
    kind: 'session',
    input,
    restart: 'on-failure',
    graceMs: 5_000,
    parent: `agent:${link.agent}`,
  };
  if (!fleet.isLive(spec.id)) {
    fleet
      .start(spec, at)
      .catch((thrown) => log.error('session not adopted', { session: spec.id, why: String(thrown) }));
  }
}

function loseMissing(house: House, link: AgentLink, missing: readonly SessionId[]) {
  const { links } = house;
  if (links.get(link.agent) !== link) return;
  const reason = 'its agent came back without it';
  const lost = missing.filter((id) => house.fleet.isLive(`session:${id}`));
  for (const id of lost) loseSession(house, id, reason);
  settled(house, link, { lost });
}

/** Named in one entry; more are counted by the log lines that go with them. */
const SETTLED_MAX = 1_000;

/** What was decided about sessions that only one side knew is in the log of their agent. */
function settled({ fleet, clock }: House, link: AgentLink, found: Partial<SettledSessions>) {
  const { adopted = [], ended = [], lost = [] } = found;
  if (adopted.length + ended.length + lost.length === 0) return;
  const [a, e, l] = [adopted, ended, lost].map((ids) => ids.slice(0, SETTLED_MAX));
  const event = { type: 'sessions.settled', at: clock.now(), adopted: a, ended: e, lost: l };
  fleet.note(`agent:${link.agent}`, event as Told);
}

/** It is over without its agent's word: the recording ends where it ends. */
export function loseSession(house: House, id: SessionId, reason: string): void {
  const { fleet, clock } = house;
  const terminal = terminalOf(house, id);
  terminal?.ended(null, reason);
  const said = { outputBytes: terminal?.nextOffset() ?? 0 };
  fleet.note(`session:${id}`, { type: 'session.missing', at: clock.now(), reason, ...said } as Told);
}

function seen(house: House, link: AgentLink, facts: HeartbeatFacts) {
  const telemetry = house.telemetry.get(link.agent);
  if (!telemetry) return;
  const at = house.clock.now();
  telemetry.heartbeat = facts;
  telemetry.seenAt = at;
  const id = `agent:${link.agent}`;
  const state = stateOf(house, id);
  if (state === 'stale') house.fleet.note(id, { type: 'heartbeat.seen', at });
  const isSetUp = facts.setupStatus === '' || facts.setupStatus.startsWith('ready');
  const context = agentOf(house, link.agent);
  const moved = facts.setupStatus !== '' && facts.setupStatus !== context?.setup;
  const matters = state === 'provisioning' || (state === 'ready' && !isSetUp);
  if (moved && matters)
    house.fleet.note(id, { type: 'setup.moved', at, setup: facts.setupStatus, isSetUp } as Told);
}

interface Taken {
  readonly session: SessionId;
  readonly chunk: OutputBytes;
}

/** The hot path: two map look-ups, then the data plane. */
function take(house: House, link: AgentLink, { session, chunk }: Taken) {
  const context = sessionOf(house, session);
  if (!context || context.agent !== link.agent) {
    house.log.warn('output of an unknown session dropped', { agent: link.agent, session });
    return;
  }
  const terminal = house.terminals.find(session) ?? openTerminal(house, context);
  terminal.output(chunk.stream, chunk.bytes, chunk.offset);
}

/** True for a live session of this link's agent: nobody speaks for another's. */
function isOf(house: House, link: AgentLink, session: SessionId): boolean {
  return house.fleet.isLive(`session:${session}`) && sessionOf(house, session)?.agent === link.agent;
}

/** Sessions that we hold for ended and that still run are ended there too. */
function endForgotten(house: House, link: AgentLink, reported: readonly ReportedSession[]) {
  const kill = reported.map(({ session }) => session).filter((id) => !house.fleet.isLive(`session:${id}`));
  if (kill.length === 0) return;
  house.log.info('sessions ended that are over here', { agent: link.agent, sessions: kill });
  link.reconcile({ keep: [], kill, killUnrecognized: false, graceSeconds: 5 }).catch((thrown) => {
    house.log.warn('sessions not ended', { agent: link.agent, sessions: kill, why: String(thrown) });
  });
}

function isWhole(house: House, { session, outputBytes }: SessionResult): boolean {
  const terminal = terminalOf(house, session);
  return outputBytes === null || !terminal || terminal.nextOffset() >= outputBytes;
}
