/**
 * One viewer's connection to one session: attaches, follows, paces, reconnects where it left off.
 *
 *     connecting ─▶ live ─▶ ended            `closed` came: the program is over and the picture is final
 *         ▲          └────▶ lost ─▶ connecting (backoff, `from` the next byte wanted)
 *
 * Acknowledges an offset only after the sink has shown everything below it, so the server is paced by the
 * browser and not by its receive buffer. Sends input only as controller. Knows no terminal and no page.
 */
import { backoffMs } from '../wire/backoff.ts';
import {
  type ClientMessage,
  decodeFrame,
  decodeMessage,
  type Frame,
  inputFrame,
  type Role,
  type ServerMessage,
} from '../wire/frames.ts';

/** Where the bytes go. `done` is called once they have been parsed. */
export interface Sink {
  screen(size: { cols: number; rows: number }, bytes: Uint8Array, done: () => void): void;
  output(bytes: Uint8Array, done: () => void): void;
  resize(cols: number, rows: number): void;
}

export interface AttachState {
  readonly link: 'connecting' | 'live' | 'lost' | 'ended';
  readonly role: Role;
  readonly viewerId: string | null;
  readonly controller: string | null;
  readonly observers: readonly string[];
  readonly cols: number;
  readonly rows: number;
  readonly ended: { readonly exitCode: number | null; readonly reason: string | null } | null;
  /** Bytes that this viewer was skipped over, and bytes that the recording lacks. */
  readonly skippedBytes: number;
  readonly gapBytes: number;
  /** The server's last refusal, in its words. */
  readonly error: string | null;
}

export interface AttachOptions {
  readonly url: (role: Role, from: number | null) => string;
  readonly sink: Sink;
  readonly onState: (state: AttachState) => void;
}

export interface Attached {
  state(): AttachState;
  input(bytes: Uint8Array): void;
  send(message: ClientMessage): void;
  control(action: 'take' | 'release'): void;
  detach(): void;
}

const ackEveryMs = 30;
const ackEveryBytes = 128 * 1024;

const initial: AttachState = {
  link: 'connecting',
  role: 'observer',
  viewerId: null,
  controller: null,
  observers: [],
  cols: 0,
  rows: 0,
  ended: null,
  skippedBytes: 0,
  gapBytes: 0,
  error: null,
};

export function attach(options: AttachOptions): Attached {
  return new Attachment(options);
}

class Attachment implements Attached {
  readonly #options: AttachOptions;
  #state = initial;
  #socket: WebSocket | null = null;
  #failures = 0;
  #retry: ReturnType<typeof setTimeout> | null = null;
  #ackTimer: ReturnType<typeof setTimeout> | null = null;
  /** The next byte wanted; null until something was shown. */
  #next: number | null = null;
  #shown = 0;
  #acked = 0;
  /** Kept across reconnects: who had control asks for it again. */
  #wants: Role = 'observer';
  #isOver = false;

  constructor(options: AttachOptions) {
    this.#options = options;
    this.#connect();
  }

  state(): AttachState {
    return this.#state;
  }

  input(bytes: Uint8Array): void {
    if (this.#state.role === 'controller' && bytes.length > 0) this.#sendRaw(inputFrame(bytes));
  }

  send(message: ClientMessage): void {
    this.#sendRaw(JSON.stringify(message));
  }

  control(action: 'take' | 'release'): void {
    this.#wants = action === 'take' ? 'controller' : 'observer';
    this.send({ type: 'control', action });
  }

  detach(): void {
    this.#isOver = true;
    if (this.#retry) clearTimeout(this.#retry);
    if (this.#ackTimer) clearTimeout(this.#ackTimer);
    this.#socket?.close();
  }

  #connect(): void {
    if (this.#isOver) return;
    const socket = new WebSocket(this.#options.url(this.#wants, this.#next));
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (this.#socket !== socket) return;
      if (typeof data === 'string') this.#hear(decodeMessage(data));
      else this.#show(decodeFrame(data));
    };
    socket.onclose = () => {
      if (this.#socket === socket) this.#lost();
    };
  }

  #lost(): void {
    this.#socket = null;
    if (this.#isOver || this.#state.link === 'ended') return;
    this.#become({ link: 'lost', role: 'observer' });
    this.#retry = setTimeout(() => this.#connect(), backoffMs(this.#failures++, Math.random()));
  }

  #hear(message: ServerMessage | null): void {
    switch (message?.type) {
      case 'hello': {
        const { role, cols, rows, viewer_id } = message;
        this.#failures = 0;
        this.#options.sink.resize(cols, rows);
        this.#become({ link: 'live', role, cols, rows, viewerId: viewer_id, error: null });
        break;
      }
      case 'role':
        if (message.role === 'observer') this.#wants = 'observer';
        this.#become({ role: message.role });
        break;
      case 'members':
        this.#become({ controller: message.controller, observers: message.observers });
        break;
      case 'resize':
        this.#options.sink.resize(message.cols, message.rows);
        this.#become({ cols: message.cols, rows: message.rows });
        break;
      case 'skipped':
        this.#become({ skippedBytes: this.#state.skippedBytes + message.to - message.from });
        break;
      case 'gap':
        this.#become({ gapBytes: this.#state.gapBytes + message.bytes });
        break;
      case 'closed':
        this.#become({
          link: 'ended',
          role: 'observer',
          ended: { exitCode: message.exit_code, reason: message.reason },
        });
        break;
      case 'error':
        this.#become({ error: message.message });
        break;
    }
  }

  #show(frame: Frame | null): void {
    if (!frame) return;
    const { offset, bytes } = frame;
    if (frame.kind === 'screen') {
      this.#next = offset;
      this.#options.sink.screen({ cols: frame.cols, rows: frame.rows }, bytes, () => this.#parsed(offset));
      if (frame.cols !== this.#state.cols || frame.rows !== this.#state.rows) {
        this.#become({ cols: frame.cols, rows: frame.rows });
      }
      return;
    }
    // Bytes we have already shown come again after a reconnect: only what is new is written.
    const known = this.#next === null ? 0 : Math.min(bytes.length, Math.max(0, this.#next - offset));
    const end = offset + bytes.length;
    this.#next = Math.max(end, this.#next ?? 0);
    this.#options.sink.output(bytes.subarray(known), () => this.#parsed(end));
  }

  #parsed(offset: number): void {
    this.#shown = Math.max(this.#shown, offset);
    if (this.#shown - this.#acked >= ackEveryBytes) this.#ack();
    else this.#ackTimer ??= setTimeout(() => this.#ack(), ackEveryMs);
  }

  #ack(): void {
    if (this.#ackTimer) clearTimeout(this.#ackTimer);
    this.#ackTimer = null;
    this.#acked = this.#shown;
    this.send({ type: 'ack', offset: this.#shown });
  }

  #sendRaw(message: string | Uint8Array<ArrayBuffer>): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(message);
  }

  #become(change: Partial<AttachState>): void {
    this.#state = { ...this.#state, ...change };
    this.#options.onState(this.#state);
  }
}
