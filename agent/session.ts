/**
 * One session: a process, what it said that nobody has acknowledged yet, and how it ended.
 *
 * Output flows from the launch on. After a reconnect to a server that acknowledges, nothing is sent until the
 * server says from which byte; then exactly that byte is next. The result follows the last byte, and is sent
 * again after every reconnect until it is acknowledged. A process whose output nobody takes waits once its
 * spool is full.
 */

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import {
  type ActiveSession,
  ActiveSessionSchema,
  type AgentMessage,
  type CommandRequest,
  type CommandResult,
  CommandResultSchema,
  OutputChunkSchema,
  SessionType,
} from '../proto/gen/agent_pb.ts';
import { argvOf } from './argv.ts';
import { type Command, type Ended, type Running, run, type TerminalFacts } from './process.ts';
import { Spool } from './spool.ts';

/** The way to the server while there is one. */
export interface Outlet {
  /** The server acknowledges: it speaks our additions. */
  readonly acks: boolean;
  send(payload: AgentMessage['payload']): void;
  /** More may be sent without piling up here. */
  isOpen(): boolean;
}

export interface Place {
  readonly home: string;
  /** Where a command runs that names no directory. */
  readonly workingDir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly spoolDir: string;
  readonly spoolMemoryBytes: number;
  readonly spoolDiskBytes: number;
}

/**
 * The largest piece of output in one message, and how many pieces a session may send before the next one's
 * turn.
 */
const PIECE_BYTES_MAX = 32 << 10;
const PIECES_A_TURN = 4;
/** What may be on its way to a server that acknowledges: keystrokes of other sessions wait behind it. */
const WINDOW_BYTES = 128 << 10;
/** Keys of input that is never written twice; the oldest are forgotten beyond it. */
const KEYS_MAX = 1_024;
const TIMEOUT_GRACE_MS = 2_000;

export class Session {
  readonly id: string;
  readonly #request: CommandRequest;
  readonly #place: Place;
  readonly #spool: Spool;
  readonly #startedAt = Date.now();
  readonly #keys = new Set<string>();
  readonly #onChange: () => void;
  #running: Running | null = null;
  #result: CommandResult | null = null;
  #isTimedOut = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  /** Somebody takes output now; then `#sent` is the next byte to send. */
  #isFlowing = false;
  #sent = 0;
  #isResultSent = false;
  #isPaused = false;
  #size: { cols: number; rows: number } | null;
  /** When it last said or was told something: its terminal may have changed. */
  stirredAt = Date.now();
  lastState = '';
  /** When output of it was last sent, on the clock of `performance`. */
  sentAt = 0;

  /** `onChange`: there is something to send. */
  constructor(request: CommandRequest, place: Place, onChange: () => void) {
    this.id = request.commandId;
    this.#request = request;
    this.#place = place;
    this.#onChange = onChange;
    this.#size = request.allocatePty ? { cols: request.ptyCols || 80, rows: request.ptyRows || 24 } : null;
    const name = Buffer.from(this.id).toString('base64url').slice(0, 200);
    this.#spool = new Spool({
      memoryBytes: place.spoolMemoryBytes,
      diskBytes: place.spoolDiskBytes,
      file: place.spoolDiskBytes > 0 ? join(place.spoolDir, name) : null,
    });
  }

  get pid(): number {
    return this.#running?.pid ?? 0;
  }

  get name(): string {
    return this.#request.sessionName;
  }

  get startedAt(): number {
    return this.#startedAt;
  }

  get hasEnded(): boolean {
    return this.#result !== null;
  }

  /** Why it could not be started, or empty. Then its result is there already. */
  launch(): string {
    const { env, timeoutSeconds } = this.#request;
    try {
      const cwd = directory(this.#request.workingDir, this.#place);
      const pty = this.#size && { ...this.#size, term: this.#request.ptyTerm || 'xterm-256color' };
      const command = { argv: argvOf(this.#request), cwd, env: { ...this.#place.env, ...env }, pty };
      findable(command);
      this.#running = run(command, (stream, bytes) => this.#take(stream, bytes));
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown.message : String(thrown);
      this.#finish({ exitCode: -1, signal: null }, error);
      return error;
    }
    if (timeoutSeconds > 0) this.#timer = setTimeout(() => this.#expire(), timeoutSeconds * 1_000);
    void this.#running.ended.then((ended) => {
      this.#finish(ended, this.#isTimedOut ? `timed out after ${timeoutSeconds} s` : '');
    });
    return '';
  }

  /** Output is taken from now on: at once for a session that this link has just launched. */
  flow(from: number): void {
    this.#spool.acknowledge(from);
    this.#sent = Math.max(from, this.#spool.first);
    this.#isFlowing = true;
    this.#easeUp();
  }

  /** Nobody takes anything until `flow`. */
  hold(): void {
    this.#isFlowing = false;
    this.#isResultSent = false;
    // There is the disk now.
    this.#easeUp();
  }

  acknowledge(offset: number): void {
    this.#spool.acknowledge(offset);
    this.#easeUp();
  }

  /** Sends a turn's worth. True: there is more, as soon as the outlet is open. */
  pump(outlet: Outlet): boolean {
    if (!this.#isFlowing) return false;
    for (let pieces = 0; pieces < PIECES_A_TURN && outlet.isOpen(); pieces++) {
      if (outlet.acks && this.#sent - this.#spool.first >= WINDOW_BYTES) return false;
      const piece = this.#spool.read(this.#sent, PIECE_BYTES_MAX);
      if (!piece) {
        this.#sendResult(outlet);
        return false;
      }
      const offset = BigInt(piece.offset);
      const value = create(OutputChunkSchema, {
        streamId: this.id,
        data: piece.bytes,
        timestampMs: BigInt(Date.now()),
        ...(outlet.acks ? { offset } : {}),
      });
      outlet.send({ case: piece.stream, value });
      this.#sent += piece.bytes.length;
      this.sentAt = performance.now();
      if (!outlet.acks) {
        this.#spool.acknowledge(this.#sent, true);
        this.#easeUp();
      }
    }
    return this.#sent < this.#spool.next || (this.#result !== null && !this.#isResultSent);
  }

  /** Writes input once per key. Throws when it cannot be written; that key is used up all the same. */
  async type(bytes: Uint8Array, key: string | undefined): Promise<void> {
    if (key !== undefined) {
      if (this.#keys.has(key)) return;
      this.#keys.add(key);
      if (this.#keys.size > KEYS_MAX)
        for (const oldest of this.#keys) {
          this.#keys.delete(oldest);
          break;
        }
    }
    if (!this.#running || this.hasEnded) throw new Error('the session has ended');
    this.stirredAt = Date.now();
    await this.#running.write(bytes);
  }

  closeInput(): void {
    this.#running?.closeInput();
  }

  resize(cols: number, rows: number): void {
    if (!this.#size || cols === 0 || rows === 0) return;
    this.#size = { cols, rows };
    this.stirredAt = Date.now();
    this.#running?.terminal?.resize(this.#size);
  }

  signal(number: number): void {
    if (!this.hasEnded) this.#running?.signal(number);
  }

  /** True when nothing of it lives any more. */
  async end(graceMs: number): Promise<boolean> {
    if (!this.#running || this.hasEnded) return true;
    return await this.#running.end(graceMs);
  }

  terminalState(): TerminalFacts | null {
    return this.hasEnded ? null : (this.#running?.terminal?.state() ?? null);
  }

  /** Gives up file and memory. */
  forget(): void {
    this.#spool.close();
  }

  report(): ActiveSession {
    const { sessionName, sessionId, sessionType, command, allocatePty } = this.#request;
    return create(ActiveSessionSchema, {
      commandId: this.id,
      sessionName,
      sessionType: sessionType ?? (allocatePty ? SessionType.INTERACTIVE : SessionType.HEADLESS),
      command,
      startedAtMs: BigInt(this.#startedAt),
      pid: this.hasEnded ? 0 : this.pid,
      isPty: allocatePty,
      sessionId,
      firstOffset: BigInt(this.#spool.first),
      nextOffset: BigInt(this.#spool.next),
      ...(this.#size ?? {}),
    });
  }

  #take(stream: 'stdout' | 'stderr', bytes: Uint8Array): void {
    this.stirredAt = Date.now();
    this.#spool.append(stream, bytes, this.#isFlowing);
    if (!this.#isPaused && this.#spool.isFull(this.#isFlowing)) {
      this.#isPaused = true;
      this.#running?.pause();
    }
    this.#onChange();
  }

  #easeUp(): void {
    if (!this.#isPaused || this.#spool.isFull(this.#isFlowing)) return;
    this.#isPaused = false;
    this.#running?.resume();
  }

  #expire(): void {
    this.#isTimedOut = true;
    void this.#running?.end(TIMEOUT_GRACE_MS);
  }

  #finish({ exitCode, signal }: Ended, error: string): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#result = create(CommandResultSchema, {
      commandId: this.id,
      exitCode,
      error,
      durationMs: BigInt(Date.now() - this.#startedAt),
      success: exitCode === 0,
      outputBytes: BigInt(this.#spool.next),
      timedOut: this.#isTimedOut,
      ...(signal === null ? {} : { signal }),
    });
    this.#onChange();
  }

  /** Also without the output, to a server that does not ask for it. */
  sendResult(outlet: Outlet): void {
    this.#sendResult(outlet);
  }

  #sendResult(outlet: Outlet): void {
    if (!this.#result || this.#isResultSent) return;
    this.#isResultSent = true;
    outlet.send({ case: 'commandResult', value: this.#result });
  }

  /** What a server that does not acknowledge will never ask for again. */
  get isDone(): boolean {
    return this.#isResultSent;
  }
}

/** Throws an Error: asked here, because `setsid` would start in its stead and fail on its own. */
function findable({ argv, cwd, env }: Command): void {
  const [program = ''] = argv;
  if (Bun.which(program, { PATH: env['PATH'] ?? '', cwd }) !== null) return;
  throw new Error(
    program.includes('/') ? `${program} is not a program` : `there is no program "${program}" on PATH`,
  );
}

function directory(wanted: string, { home, workingDir }: Place): string {
  const below = wanted.startsWith('~/') ? join(home, wanted.slice(2)) : wanted;
  const path = wanted === '' ? workingDir : wanted === '~' ? home : below;
  const facts = statSync(path, { throwIfNoEntry: false });
  if (!facts) throw new Error(`working directory ${path} does not exist`);
  if (!facts.isDirectory()) throw new Error(`working directory ${path} is not a directory`);
  return path;
}
