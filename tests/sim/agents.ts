/**
 * Fake agents: small and honest. One keeps its sessions, their output, the keys it has typed and the results
 * nobody has acknowledged, over links and over deaths of the server; it loses all of it when its own process
 * dies. It speaks as agent/sessions.ts does.
 */
import type { Launch, ReportedSession } from '../../src/agent-link.ts';
import type { SessionId } from '../../src/ids.ts';
import type { Owner, SimTime } from './time.ts';

/** A server that acknowledges has so long to ask for the output of a session that has ended. */
const RESUME_WAIT_MS = 5_000;
/** How long a program takes to end once it is asked to. */
const ENDS_MS = 700;

/** What an agent says over a link. */
export type Said =
  | { readonly say: 'report'; readonly sessions: readonly ReportedSession[] }
  | { readonly say: 'started'; readonly session: SessionId; readonly error: string }
  | { readonly say: 'typed'; readonly session: SessionId; readonly key: string; readonly error: string }
  | { readonly say: 'output'; readonly session: SessionId; readonly offset: number; readonly text: string }
  | { readonly say: 'result'; readonly session: SessionId; readonly exitCode: number; readonly bytes: number }
  | { readonly say: 'ended'; readonly killed: readonly SessionId[] };

/** What a server says over a link. */
export type Told =
  | { readonly tell: 'welcome' }
  | { readonly tell: 'launch'; readonly launch: Launch }
  | { readonly tell: 'type'; readonly session: SessionId; readonly text: string; readonly key: string | null }
  | { readonly tell: 'eof'; readonly session: SessionId }
  | { readonly tell: 'ack'; readonly session: SessionId; readonly offset: number; readonly resume: boolean }
  | { readonly tell: 'forget'; readonly session: SessionId }
  | { readonly tell: 'end'; readonly sessions: readonly SessionId[] };

export interface Outlet {
  say(said: Said): void;
}

/** What a session has really done, whoever has heard of it. Kept by the world, past every death. */
export interface Deed {
  readonly session: SessionId;
  readonly agent: string;
  /** Processes started under this id. */
  starts: number;
  /** All it ever said. */
  said: string;
  /** What was typed, once for each time that it reached the program. */
  readonly typed: string[];
  /** How its process ended by itself or by a signal; null: it runs, or its agent died with it. */
  exitCode: number | null;
  isRunning: boolean;
  /** Its agent died with it. */
  isLost: boolean;
  /** Somebody asked it to end. */
  wasEnded: boolean;
}

/** How agents of this world misbehave: for sabotage. */
export interface AgentFaults {
  /** A launch of a known session starts another process. */
  readonly startsAgain?: boolean;
  /** What comes twice under one key is typed twice. */
  readonly ignoresKeys?: boolean;
}

class Program {
  readonly deed: Deed;
  readonly launch: Launch;
  readonly keys = new Set<string>();
  readonly startedAt: number;
  acked = 0;
  sent = 0;
  isFlowing = false;
  isResultSent = false;
  /** The question that it waits with; null: it works. */
  asking: number | null = null;
  asked = 0;

  constructor(launch: Launch, deed: Deed, startedAt: number) {
    this.launch = launch;
    this.deed = deed;
    this.startedAt = startedAt;
  }
}

export interface AgentWorld {
  readonly time: SimTime;
  readonly deeds: Map<string, Deed>;
  readonly faults: AgentFaults;
  /** One in so many launches fails, by the seed; 0: none. */
  readonly chance: (oneIn: number) => boolean;
}

export class FakeAgent implements Owner {
  readonly name: string;
  readonly pid: number;
  readonly programs = new Map<SessionId, Program>();
  isAlive = true;
  /** The server that has welcomed us. */
  outlet: Outlet | null = null;
  readonly #world: AgentWorld;

  constructor(name: string, pid: number, world: AgentWorld) {
    this.name = name;
    this.pid = pid;
    this.#world = world;
  }

  /** Its process is gone, and all it had. */
  die(): void {
    this.isAlive = false;
    this.outlet = null;
    for (const { deed } of this.programs.values()) {
      if (deed.isRunning) deed.isLost = true;
      deed.isRunning = false;
    }
    this.programs.clear();
  }

  detach(outlet: Outlet): void {
    if (this.outlet !== outlet) return;
    this.outlet = null;
    for (const program of this.programs.values()) {
      program.isFlowing = false;
      program.isResultSent = false;
    }
  }

  take(told: Told, from: Outlet): void {
    if (!this.isAlive) return;
    switch (told.tell) {
      case 'welcome':
        return this.#welcomed(from);
      case 'launch':
        return this.#launch(told.launch);
      case 'type':
        return this.#type(told);
      case 'ack':
        return this.#acknowledged(told);
      case 'forget': {
        const program = this.programs.get(told.session);
        if (program && !program.deed.isRunning) this.programs.delete(told.session);
        return;
      }
      case 'end':
        return this.#end(told.sessions, from);
      case 'eof':
        return;
    }
  }

  /** A program says something. */
  say(session: SessionId, text: string): void {
    const program = this.programs.get(session);
    if (!program?.deed.isRunning) return;
    program.deed.said += text;
    this.#pump(program);
  }

  /** A program puts a question on its screen and waits. */
  ask(session: SessionId): void {
    const program = this.programs.get(session);
    if (!program?.deed.isRunning || program.asking !== null) return;
    program.asking = ++program.asked;
    this.say(session, `?${program.asking}?`);
  }

  exit(session: SessionId, exitCode: number): void {
    const program = this.programs.get(session);
    if (!program?.deed.isRunning) return;
    program.deed.isRunning = false;
    program.deed.exitCode = exitCode;
    program.asking = null;
    this.#pump(program);
  }

  /** A session that no server of ours has started, as of an earlier installation. */
  stray(session: SessionId): void {
    this.#start({
      session,
      name: session,
      type: 'interactive',
      command: 'stray',
      args: [],
      workingDir: '',
      env: {},
      timeoutSeconds: 0,
      pty: { cols: 80, rows: 24, term: '' },
      runAs: '',
    });
  }

  get running(): Program[] {
    return [...this.programs.values()].filter(({ deed }) => deed.isRunning);
  }

  #welcomed(outlet: Outlet): void {
    this.outlet = outlet;
    outlet.say({ say: 'report', sessions: [...this.programs.values()].map((program) => reportOf(program)) });
    this.#world.time.clockOf(this).setTimeout(() => {
      if (this.outlet !== outlet) return;
      for (const program of this.programs.values()) this.#sendResult(program);
    }, RESUME_WAIT_MS);
  }

  #start(launch: Launch): Program {
    const { deeds, time } = this.#world;
    const deed = deeds.get(launch.session) ?? {
      session: launch.session,
      agent: this.name,
      starts: 0,
      said: '',
      typed: [],
      exitCode: null,
      isRunning: true,
      isLost: false,
      wasEnded: false,
    };
    deed.starts += 1;
    deed.isRunning = true;
    deeds.set(launch.session, deed);
    const program = new Program(launch, deed, time.now);
    this.programs.set(launch.session, program);
    return program;
  }

  #launch(launch: Launch): void {
    const { faults, chance } = this.#world;
    const { session } = launch;
    const known = this.programs.get(session);
    let error = '';
    if (!known || faults.startsAgain) {
      const program = this.#start(launch);
      program.isFlowing = this.outlet !== null;
      if (chance(20)) {
        error = 'there is no such program';
        this.exit(session, -1);
      }
    }
    this.outlet?.say({ say: 'started', session, error });
    const program = this.programs.get(session);
    if (program) this.#pump(program);
  }

  #type({ session, text, key }: Extract<Told, { tell: 'type' }>): void {
    const program = this.programs.get(session);
    const isKnown = key !== null && !this.#world.faults.ignoresKeys && (program?.keys.has(key) ?? false);
    const error = !program || (!isKnown && !program.deed.isRunning) ? 'the session has ended' : '';
    if (program && key !== null) program.keys.add(key);
    if (program && !isKnown && error === '') this.#typed(program, text);
    if (key !== null) this.outlet?.say({ say: 'typed', session, key, error });
  }

  /** The program reads it: an answer to what it asks lets it go on. */
  #typed(program: Program, text: string): void {
    program.deed.typed.push(text);
    const answered = /^[yn](\d+)\r$/.exec(text)?.[1];
    if (program.asking === null || Number(answered) !== program.asking) return;
    // Now and then a program does not take it.
    if (this.#world.chance(10)) return;
    const asked = program.asking;
    program.asking = null;
    this.say(program.deed.session, `!${asked}!`);
  }

  #acknowledged({ session, offset, resume }: Extract<Told, { tell: 'ack' }>): void {
    const program = this.programs.get(session);
    if (!program) return;
    program.acked = Math.max(program.acked, offset);
    if (!resume) return;
    program.sent = offset;
    program.isFlowing = true;
    this.#pump(program);
  }

  #end(sessions: readonly SessionId[], outlet: Outlet): void {
    for (const session of sessions) {
      const program = this.programs.get(session);
      if (program) program.deed.wasEnded = true;
    }
    this.#world.time.clockOf(this).setTimeout(() => {
      for (const session of sessions) this.exit(session, 143);
      if (this.outlet === outlet) outlet.say({ say: 'ended', killed: sessions });
    }, ENDS_MS);
  }

  #pump(program: Program): void {
    if (!this.outlet || !program.isFlowing) return;
    const { said, session } = program.deed;
    if (program.sent < said.length) {
      this.outlet.say({ say: 'output', session, offset: program.sent, text: said.slice(program.sent) });
      program.sent = said.length;
    }
    this.#sendResult(program);
  }

  #sendResult(program: Program): void {
    const { deed } = program;
    if (deed.exitCode === null || program.isResultSent || !this.outlet) return;
    program.isResultSent = true;
    const { session, exitCode, said } = deed;
    this.outlet.say({ say: 'result', session, exitCode, bytes: said.length });
  }
}

function reportOf({ launch, startedAt, deed, acked }: Program): ReportedSession {
  return {
    session: launch.session,
    name: launch.name,
    type: launch.pty ? 'interactive' : 'headless',
    command: launch.command,
    startedAt,
    pid: deed.isRunning ? 7 : 0,
    pty: launch.pty && { cols: launch.pty.cols, rows: launch.pty.rows },
    spool: { first: acked, next: deed.said.length },
  };
}
