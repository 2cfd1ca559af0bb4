/**
 * The holder: what must not die. It has the sessions, their terminals and what nobody has acknowledged, and
 * it is the process that the runtime starts and watches.
 *
 *   runtime ──starts──▶ holder ──starts──▶ network side ◀══ gRPC ══▶ server
 *                         ║  └──── a pair of sockets ────┘              ▲
 *                         ╚══ output, when they are on one machine ═════╝
 *
 * All that has to do with networks is in the other process, which may die at any time and is started again:
 * to a session, and to the server, that is a lost link. A new one may be put in its place from disk.
 * Knows nothing of gRPC.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  AgentMessageSchema,
  type ManagementMessage,
  ManagementMessageSchema,
  type OutputChunk,
  SessionReportSchema,
} from '../proto/gen/agent_pb.ts';
import { isOutputStream } from '../proto/output.ts';
import type { Log } from './log.ts';
import type { Options } from './options.ts';
import { type OutputChannel, openOutput } from './output.ts';
import { CREDIT_BYTES, type NoteDown } from './pipe.ts';
import type { Outlet } from './session.ts';
import type { Sessions } from './sessions.ts';
import { type Side, startSide } from './side.ts';

/** How long sessions are looked at for what changed: terminals, and how many run. */
const LOOK_EVERY_MS = 50;
/** The first start after a death is at once, and so is that after a life that was long enough. */
const BACKOFF_FIRST_MS = 100;
const BACKOFF_MAX_MS = 5_000;
const GOOD_AFTER_MS = 3_000;
/** How long the last results may take to be acknowledged. */
const GOODBYE_MS = 2_000;

export interface Shutdown {
  readonly reason: string;
  readonly graceMs: number;
}

export interface HolderOptions {
  readonly options: Options;
  readonly sessions: Sessions;
  readonly log: Log;
  readonly onShutdown: (shutdown: Shutdown) => void;
  /** One that starts already; null: none could be started yet. */
  readonly firstSide: Side | null;
}

/** What a network side has told of its link to the server. */
interface Joined {
  readonly side: Side;
  readonly link: number;
  outlet: Outlet | null;
  channel: OutputChannel | null;
  /** Output on its way through the network side. */
  unpaidBytes: number;
}

export class Holder {
  readonly #given: HolderOptions;
  /** The one that may connect. */
  #side: Side | null = null;
  /** Ready to take its place. */
  #next: Side | null = null;
  #joined: Joined | null = null;
  #told = -1;
  #isUpgrading = false;
  #isEnding = false;
  #hurry = () => {};
  readonly #over: Promise<void>;

  constructor(given: HolderOptions) {
    this.#given = given;
    this.#next = given.firstSide;
    this.#over = this.#keep();
    setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  /** Drops the link and makes another at once. */
  renew(): void {
    this.#side?.tell({ note: 'renew' });
    this.#hurry();
  }

  /** Puts what is on disk now in the network side's place. One that does not start changes nothing. */
  async upgrade(): Promise<void> {
    const { log } = this.#given;
    if (this.#isUpgrading || this.#isEnding) return;
    this.#isUpgrading = true;
    try {
      const fresh = startSide(this.#given.options.base);
      const why = await fresh.ready;
      if (why !== null) throw new Error(why);
      if (this.#isEnding) return fresh.kill();
      log('info', 'network side is replaced', { old: this.#side?.program, new: fresh.program });
      this.#next = fresh;
      this.#detach();
      await this.#side?.leave(false);
      this.#hurry();
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      log('error', 'no upgrade: the network side on disk does not start; the one before goes on', { reason });
    } finally {
      this.#isUpgrading = false;
    }
  }

  /** Ends the sessions, sees their results off, and ends the network side. */
  async end(graceMs: number): Promise<void> {
    const { sessions } = this.#given;
    await sessions.endAll(graceMs);
    await sessions.settled(GOODBYE_MS);
    this.#isEnding = true;
    this.#next?.kill();
    this.#detach();
    await this.#side?.leave(true);
    this.#hurry();
    await this.#over;
  }

  /** Keeps one network side alive, for ever. */
  async #keep(): Promise<void> {
    const { log } = this.#given;
    let waitMs = 0;
    while (!this.#isEnding) {
      const startedAt = performance.now();
      const reason = await this.#oneLife();
      if (this.#isEnding) return;
      const isGood = performance.now() - startedAt >= GOOD_AFTER_MS;
      if (isGood || this.#next) waitMs = 0;
      if (!this.#next) log('warn', 'no network side', { reason, again_in_ms: waitMs });
      await Promise.race([Bun.sleep(waitMs), new Promise<void>((resolve) => (this.#hurry = resolve))]);
      waitMs = Math.min(Math.max(waitMs * 2, BACKOFF_FIRST_MS), BACKOFF_MAX_MS);
    }
  }

  /** Resolves with how it ended. */
  async #oneLife(): Promise<string> {
    let side: Side;
    try {
      side = this.#next ?? startSide(this.#given.options.base);
    } catch (thrown) {
      return thrown instanceof Error ? thrown.message : String(thrown);
    }
    this.#next = null;
    this.#side = side;
    if ((await side.ready) === null) {
      side.begin({
        message: (bytes) => side === this.#side && this.#hear(side, bytes),
        note: (note) => side === this.#side && this.#take(side, note),
      });
      this.#told = -1;
      this.#look();
    }
    const how = await side.over;
    if (this.#joined?.side === side) this.#detach();
    this.#side = null;
    return how;
  }

  #take(side: Side, note: NoteDown): void {
    switch (note.note) {
      case 'attach':
        this.#detach();
        return void this.#attach(side, note);
      case 'detach':
        return this.#detach();
      case 'credit': {
        if (!this.#joined) return;
        this.#joined.unpaidBytes -= note.bytes;
        return this.#given.sessions.wake();
      }
    }
  }

  /** Output goes the one way or the other, never both. */
  async #attach(side: Side, { link, acks, ticket, address }: NoteDown & { note: 'attach' }): Promise<void> {
    const { sessions } = this.#given;
    const joined: Joined = { side, link, outlet: null, channel: null, unpaidBytes: 0 };
    this.#joined = joined;
    const events = {
      heard: (payload: ManagementMessage['payload']) => void sessions.take(payload),
      drained: () => sessions.wake(),
      lost: (reason: string) => side.pipe.note({ note: 'lost', link, reason }),
    };
    const channel = ticket === null ? null : await openOutput(address, ticket, events);
    if (this.#joined !== joined) return channel?.close();
    joined.channel = channel;
    joined.outlet = outletOf(joined, acks);
    // What is sent from here on is for this link.
    side.pipe.note({ note: 'attached', link, channel: channel !== null });
    sessions.attach(joined.outlet);
  }

  #detach(): void {
    const joined = this.#joined;
    this.#joined = null;
    if (joined?.outlet) this.#given.sessions.detach(joined.outlet);
    joined?.channel?.close();
  }

  #hear(side: Side, bytes: Buffer): void {
    const { sessions, options, onShutdown } = this.#given;
    const { payload } = fromBinary(ManagementMessageSchema, bytes);
    switch (payload.case) {
      case 'sessionQuery': {
        const { reportAll, sessionIds } = payload.value;
        const found = sessions.report(reportAll ? [] : sessionIds);
        const timestampMs = BigInt(Date.now());
        const value = create(SessionReportSchema, {
          agentId: options.agentId,
          sessions: found,
          timestampMs,
        });
        const message = create(AgentMessageSchema, { payload: { case: 'sessionReport', value } });
        return say(side.pipe, toBinary(AgentMessageSchema, message), this.#joined);
      }
      case 'shutdown': {
        const { reason, gracePeriodSeconds } = payload.value;
        return onShutdown({ reason, graceMs: gracePeriodSeconds * 1_000 });
      }
      case 'config':
        Object.assign(options.childEnv, payload.value.config);
        return;
      default:
        sessions.take(payload);
    }
  }

  #look(): void {
    const { sessions } = this.#given;
    sessions.look();
    const count = sessions.running;
    if (!this.#side || this.#told === count) return;
    this.#told = count;
    this.#side.tell({ note: 'running', count });
  }
}

function outletOf(joined: Joined, acks: boolean): Outlet {
  const { side } = joined;
  return {
    acks,
    isOpen: () => (joined.channel ? joined.channel.isOpen() : joined.unpaidBytes < CREDIT_BYTES),
    send(payload) {
      const { case: what, value } = payload;
      if (isOutputStream(what)) {
        if (joined.channel) return joined.channel.send(what, value as OutputChunk);
        const bytes = side.pipe.output(what, value as OutputChunk);
        joined.unpaidBytes += bytes;
        if (bytes > 0) return;
      }
      say(side.pipe, toBinary(AgentMessageSchema, create(AgentMessageSchema, { payload })), joined);
    },
  };
}

function say(pipe: Side['pipe'], message: Uint8Array, joined: Joined | null): void {
  if (joined) joined.unpaidBytes += message.length;
  pipe.message(message);
}
