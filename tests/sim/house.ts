/**
 * The world of the house game: one place with instances, agents, links, recordings and a journal, and the
 * server in it, which is killed and started again. Real are the fleet, the machines and the wiring; fake are
 * the runtime, the agents with their links, the terminals, and what a task's tool needs of disk and git.
 */
import { type Fleet, fleetParts, fleet as makeFleet } from '../../src/actors/fleet.ts';
import type { Committing, GroupCommit } from '../../src/actors/group-commit.ts';
import type { Kinds } from '../../src/actors/kinds.ts';
import type { OpenPorts, PortsWorld } from '../../src/actors/open-ports.ts';
import type { AgentListener } from '../../src/agent-link.ts';
import type { Clock } from '../../src/clock.ts';
import { readConfig } from '../../src/config.ts';
import type { SessionId } from '../../src/ids.ts';
import { type Fate, type MemoryJournal, memoryJournal } from '../../src/journal/memory.ts';
import type { Batch } from '../../src/journal.ts';
import { silentLog } from '../../src/log.ts';
import type { Recordings } from '../../src/recordings.ts';
import type { Runtime } from '../../src/runtime.ts';
import { keysFor } from '../../src/terminal/asking-keys.ts';
import { changed, terminalListener } from '../../src/wiring/data-plane.ts';
import { type House, nothingObserved } from '../../src/wiring/house.ts';
import { forgetLinks, presence } from '../../src/wiring/presence.ts';
import { wire } from '../../src/wiring/wire.ts';
import { type AgentFaults, type Deed, FakeAgent, type Told as Heard, type Said } from './agents.ts';
import { noCredentials } from './credentials.ts';
import { taskEffects, watched } from './effects.ts';
import { kept, Ledger } from './ledger.ts';
import { HandLink } from './links.ts';
import { random } from './random.ts';
import { FakeRuntimes } from './runtimes.ts';
import { fakeTerminals, type Recorded } from './screens.ts';
import { type Owner, SimTime, STARTS_AT } from './time.ts';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
/** A turn that never comes to rest is a fault of its own. */
const TURNS_MAX = 10_000;

/** Where a sabotage may put itself; every place is a seam that is there anyhow. */
export interface Breaks {
  readonly faults?: AgentFaults;
  journal?(inner: MemoryJournal, world: HouseWorld): MemoryJournal;
  groupCommit?(given: Committing): GroupCommit;
  openPorts?(given: PortsWorld, server: Server): OpenPorts;
  kinds?(kinds: Kinds, server: Server): Kinds;
  fleet?(fleet: Fleet, server: Server): Fleet;
  listener?(listener: AgentListener, server: Server): AgentListener;
  link?(link: HandLink): void;
  runtime?(door: Runtime, all: FakeRuntimes): Runtime;
}

/** One life of the server. */
export interface Server extends Owner {
  readonly world: HouseWorld;
  readonly house: House;
  readonly fleet: Fleet;
  readonly listener: AgentListener;
  readonly open: Map<string, HandLink>;
  readonly clock: Clock;
  /** Effects that it has run: actor and port. */
  readonly opened: Set<string>;
  /** Outcomes that effects gave while their port was open and have not been told of yet: actor and event. */
  readonly given: Map<string, number>;
  isRestoring: boolean;
}

/** An answer that was promised: the first, which must stand. */
export interface Answered {
  readonly hitl: string;
  readonly by: string;
}

export interface Game {
  readonly w: HouseWorld;
  readonly answered: Answered[];
}

/** A line of a trace. */
export type Tell = (at: number, actor: string, event: string, state: string) => void;

const config = {
  ...readConfig({ AGENTIC_DATA_DIR: '/nowhere' }, '/', '/'),
  hitlExpiresMs: 20_000,
  stopGraceMs: 1_000,
  crashes: { max: 3, withinMs: 60_000, backoffMs: [0, 500, 2_000] },
};

export class HouseWorld implements Owner {
  readonly isAlive = true;
  readonly pick: (below: number) => number;
  readonly time = new SimTime();
  readonly clock = this.time.clockOf(this);
  readonly deeds = new Map<string, Deed>();
  readonly faults: AgentFaults;
  readonly disk = new Map<SessionId, Recorded>();
  readonly ledger = new Ledger();
  readonly runtimes: FakeRuntimes;
  readonly breaks: Breaks;
  /** Every link whose server may still take something from it. */
  readonly links = new Set<HandLink>();
  /** Actors whose lives were folded up to this entry and found well. */
  readonly folded = new Map<string, number>();
  /** What was found wrong where it happened. */
  readonly wrong: string[] = [];
  readonly defers: { readonly server: Server; readonly fn: () => void }[] = [];
  readonly #tell: Tell | null;
  journal: MemoryJournal;
  server: Server | null = null;
  /** So many effects die of a bug next. */
  bugs = 0;
  /** Nothing fails or is slow any more. */
  isCalm = false;
  /** The memory below the ledger, and what a server that is dead may still write to it: for sabotage. */
  readonly raw: { memory: MemoryJournal | null; stale: Batch | null } = { memory: null, stale: null };
  #made = 0;
  #kept = 0;

  constructor(seed: number, breaks: Breaks = {}, tell: Tell | null = null) {
    this.pick = random(seed);
    this.#tell = tell;
    this.breaks = breaks;
    this.faults = breaks.faults ?? {};
    this.runtimes = new FakeRuntimes({
      time: this.time,
      spawn: (name, pid) => this.#spawn(name, pid),
      latency: () => (this.pick(3) > 0 ? 0 : this.pick(400)),
      fails: () => this.chance(15),
      onGone: (agent) => this.#gone(agent),
      onDestroy: (name) => this.#destroyed(name),
    });
    this.journal = this.#over(memoryJournal());
  }

  readonly chance = (oneIn: number): boolean => !this.isCalm && this.pick(oneIn) === 0;

  next(prefix: string): string {
    this.#made += 1;
    return `${prefix}${this.#made}`;
  }

  tell(actor: string, event: string, state = ''): void {
    this.#tell?.(this.time.now - STARTS_AT, actor, event, state);
  }

  found(wrong: string): void {
    this.wrong.push(wrong);
  }

  // ── Time ──────────────────────────────────────────────────────────────────

  /** Lets happen what is due, or only so many turns of it. */
  async drain(turns = TURNS_MAX): Promise<void> {
    for (let i = 0; i < turns; i++) {
      await turn();
      const due = this.defers.splice(0);
      if (due.length === 0) return;
      for (const { server, fn } of due) if (server.isAlive) fn();
    }
    if (turns === TURNS_MAX) this.found('[S16] a turn of the server never ends');
  }

  async advance(ms: number): Promise<void> {
    const until = this.time.now + ms;
    for (let at = this.time.next(); at !== null && at <= until; at = this.time.next()) {
      this.time.ring();
      await this.drain();
    }
    this.time.jump(until);
  }

  // ── The server ────────────────────────────────────────────────────────────

  async boot(): Promise<Server> {
    const server = serverIn(this);
    this.server = server;
    const { fleet, house } = server;
    fleet.watch((change) => changed(house, change));
    fleet.watch(({ entry, view }) => {
      const state = (view as { state?: string } | null)?.state ?? '';
      this.tell(entry.actor, entry.event.type, state);
      told(server, entry.actor, entry.event.type);
    });
    server.isRestoring = true;
    await fleet.restore();
    server.isRestoring = false;
    await this.#allOpen(server);
    forgetLinks(house);
    return server;
  }

  /** As by `kill -9`: what had not been acknowledged is in the journal, or is not. */
  kill(unacknowledged: Fate): void {
    const { server } = this;
    if (!server) return;
    server.isAlive = false;
    this.server = null;
    for (const link of this.links) link.cut();
    this.links.clear();
    // Of several that were on their way, every other time only the oldest is in.
    const isFirst = unacknowledged === 'kept' && ++this.#kept % 2 === 0;
    this.journal = this.journal.crash(isFirst ? 'first' : unacknowledged);
  }

  connect(agent: FakeAgent): void {
    const { server } = this;
    if (!server?.isAlive || !agent.isAlive) return;
    for (const link of this.links) if (link.peer.name === agent.name) link.cut();
    const link = new HandLink(agent, server, (over, sessions) => this.#reported(server, over, sessions));
    this.breaks.link?.(link);
    this.links.add(link);
    for (const one of this.links) if (one.isGone) this.links.delete(one);
  }

  /** The server takes the next thing that an agent said over this link. */
  crankUp(link: HandLink): void {
    const said = link.crankUp();
    if (said) this.tell(`${link.agent} ▶`, `${said.say} ${sessionOf(said)}`);
  }

  /** The agent takes the next thing that the server said. */
  crankDown(link: HandLink): void {
    const heard = link.crankDown();
    if (heard) this.tell(`${link.agent} ◀`, `${heard.tell} ${sessionOf(heard)}`);
  }

  /** The link of an agent that has joined one. */
  linkOf(agent: FakeAgent): HandLink | null {
    for (const link of this.links) if (link.peer === agent && link.isJoined && !link.isGone) return link;
    return null;
  }

  /** Agent processes that live. */
  get agents(): FakeAgent[] {
    return [...this.runtimes.made.values()].flatMap(({ processes }) => processes.slice(-1));
  }

  #over(memory: MemoryJournal): MemoryJournal {
    this.raw.memory = memory;
    const inner = kept(memory, this.ledger);
    const crashing: MemoryJournal = { ...inner, crash: (how) => this.#over(memory.crash(how)) };
    return this.breaks.journal?.(crashing, this) ?? crashing;
  }

  async #allOpen({ opened, fleet }: Server): Promise<void> {
    const seqs = new Map(fleet.specs().map(({ id, seq }) => [id, seq]));
    // Effects are called in the turn that opens them, and may have gone on with other actors since.
    for (const { actor, seq, snapshot } of await this.journal.live()) {
      if (seqs.get(actor) !== seq) continue;
      const { ports } = snapshot as { ports: Readonly<Record<string, { src: string }>> };
      for (const { src } of Object.values(ports))
        if (!opened.has(`${actor} ${src}`)) this.found(`[S3] ${src} of ${actor} was not opened again`);
    }
  }

  #reported({ fleet, isAlive }: Server, { agent }: HandLink, sessions: readonly SessionId[]): void {
    if (!isAlive) return;
    for (const session of sessions) {
      if (fleet.view(`session:${session}`) === null)
        this.found(`[N4] ${session} of ${agent} was reported and is not known`);
    }
  }

  /** It looks for its server by itself, as every agent does whose link was lost. */
  #spawn(name: string, pid: number): FakeAgent {
    const agent = new FakeAgent(name, pid, this);
    const clock = this.time.clockOf(agent);
    const look = () => {
      if (this.linkOf(agent) === null) this.connect(agent);
      clock.setTimeout(look, 1_000 + this.pick(3_000));
    };
    clock.setTimeout(look, 20 + this.pick(400));
    return agent;
  }

  #gone(agent: FakeAgent): void {
    for (const link of this.links) {
      if (link.peer !== agent) continue;
      link.cut();
      this.clock.setTimeout(
        () => link.over('the connection was lost'),
        this.pick(2) === 0 ? 0 : this.pick(300),
      );
    }
  }

  #destroyed(name: string): void {
    const life = this.ledger.of(`instance:${name}`);
    const newest = life?.entries.findLastIndex(({ event }) => event.type === 'born') ?? -1;
    const words = new Set(['destroy', 'reprovision']);
    if (!life?.entries.slice(newest).some(({ event }) => words.has(event.type)))
      this.found(`[I3] the storage of ${name} was destroyed, and nobody had said so`);
  }
}

function told(server: Server, actor: string, type: string): void {
  if (!/^xstate\.(done|error)\.actor\.|^alarm\.rang$|^runtime\.exited$/.test(type)) return;
  const name = `${actor} ${type}`;
  const left = (server.given.get(name) ?? 0) - 1;
  server.given.set(name, left);
  if (left < 0) server.world.found(`[S7] ${type} of ${actor} came from a port that was closed`);
}

/** Nobody looks through recordings here; whoever does is told so. */
const recordings = new Proxy({} as Recordings, {
  get(_, name) {
    if (name === 'removed') return () => null;
    throw new Error(`the simulation has no recordings to ask for ${String(name)}`);
  },
});

function serverIn(world: HouseWorld): Server {
  const owner: Owner = { isAlive: true };
  const clock = world.time.clockOf(owner);
  const { breaks } = world;
  const late = {} as { server: Server; fleet: Fleet };
  const listening = terminalListener(() => late.server.house);
  const door = world.runtimes.doorOf(owner);
  const house: House = {
    clock,
    log: silentLog,
    config,
    runtimes: new Map([['host', breaks.runtime?.(door, world.runtimes) ?? door]]),
    share: null,
    terminals: fakeTerminals({ disk: world.disk, server: owner, clock, listener: listening }),
    recordings,
    ...nothingObserved(),
    credentials: noCredentials,
    get fleet(): Fleet {
      return late.fleet;
    },
  };
  const facts = {
    world,
    house,
    clock,
    open: new Map<string, HandLink>(),
    opened: new Set<string>(),
    given: new Map<string, number>(),
    isRestoring: false,
    fleet: null as unknown as Fleet,
    listener: null as unknown as AgentListener,
  };
  const server = Object.assign(owner, facts);
  late.server = server;
  const wired = wire(house, { keysFor, revoke: async () => {}, isRevoked: async () => false });
  const faked: Kinds = { ...wired, task: { ...wired.task, effects: taskEffects(server, wired) } };
  server.fleet = makeFleet(
    {
      clock,
      journal: world.journal,
      log: silentLog,
      kinds: watched(server, breaks.kinds?.(faked, server) ?? faked),
      defer: (fn) => void world.defers.push({ server, fn }),
      fatal: (thrown) => world.found(`[J16] the journal refused what only this server writes: ${thrown}`),
    },
    {
      openPorts: (given) => breaks.openPorts?.(given, server) ?? fleetParts.openPorts(given),
      groupCommit: (given) => breaks.groupCommit?.(given) ?? fleetParts.groupCommit(given),
    },
  );
  late.fleet = breaks.fleet?.(server.fleet, server) ?? server.fleet;
  const heard = presence(house, async () => {});
  server.listener = breaks.listener?.(heard, server) ?? heard;
  return server;
}

/** Of which session something is said, for a trace. */
const sessionOf = (told: Said | Heard): string =>
  'session' in told ? told.session : 'launch' in told ? told.launch.session : '';
