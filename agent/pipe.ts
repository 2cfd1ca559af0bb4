/**
 * What the holder and its network side say to each other, over a pair of sockets that nobody else can open.
 *
 * Frames in protobuf's delimited form: one byte says what it is, the rest is
 *
 *   hello     from the network side: the oldest and the newest version it speaks, and what program it is;
 *             from the holder: the version that is spoken from now on
 *   message   down: a ManagementMessage as the server sent it; up: an AgentMessage as it goes to the server
 *   note      what the two have to say themselves, as JSON
 *
 * A network side of tomorrow meets a holder of today, so hello keeps its form for ever. What waits is
 * bounded: output by credit (`CREDIT_BYTES`), all else by `WAITING_BYTES_MAX`, and who does not read that is
 * given up.
 */
import { DelimitedReader } from '../proto/delimited.ts';
import type { OutputChunk } from '../proto/gen/agent_pb.ts';
import { type OutputStream, outputParts, putOutput } from '../proto/output.ts';
import { putVarint, varintLength } from '../proto/varint.ts';

/**
 * Of this program. Raise the newest when frames change, the oldest when old ones are no longer understood.
 */
export const PIPE_VERSIONS = { oldest: 1, newest: 1 } as const;

/** Output that a network side has not handed to the stream yet. */
export const CREDIT_BYTES = 256 << 10;
/** Given back in portions of at least so much; less than `CREDIT_BYTES`, or it would end. */
export const CREDIT_PORTION_BYTES = 32 << 10;

const FRAME_BYTES_MAX = 64 << 20;
const WAITING_BYTES_MAX = 64 << 20;
/** Frames up to it are put together in the same memory. */
const SCRATCH_BYTES = 64 << 10;

const HELLO = 0;
const MESSAGE = 1;
const NOTE = 2;

/** From the network side. `link` numbers its links, so that neither takes an earlier one's word. */
export type NoteDown =
  | {
      /** The server has accepted us. What is to be sent goes to this link from `attached` on. */
      readonly note: 'attach';
      readonly link: number;
      readonly acks: boolean;
      /** For the output channel; null when the server has none. */
      readonly ticket: string | null;
      /** As grpc-js takes it. */
      readonly address: string;
    }
  | { readonly note: 'detach' }
  | { readonly note: 'credit'; readonly bytes: number }
  | { readonly note: 'pong' };

/** From the holder. */
export type NoteUp =
  | { readonly note: 'attached'; readonly link: number; readonly channel: boolean }
  /** The output channel is over, and so must be its link. */
  | { readonly note: 'lost'; readonly link: number; readonly reason: string }
  /** Sessions whose process runs, for heartbeats. */
  | { readonly note: 'running'; readonly count: number }
  /** Drop the link and make another at once. */
  | { readonly note: 'renew' }
  /** To be answered by `pong`. */
  | { readonly note: 'ping' }
  /** Send what is there and end; `goodbye`: the agent itself ends. */
  | { readonly note: 'leave'; readonly goodbye: boolean };

export interface PipeEvents<Note> {
  hello(bytes: Uint8Array): void;
  /** The bytes are the receiver's. */
  message(bytes: Buffer): void;
  note(note: Note): void;
  /** Nothing waits any more. */
  drained(): void;
  /** Once, and not after `close`. */
  over(reason: string): void;
}

export interface Pipe<Note> {
  hello(bytes: Uint8Array): void;
  message(bytes: Uint8Array): void;
  /** Output without a copy in between. Returns how many bytes it is; 0: only `message` can say it. */
  output(stream: OutputStream, chunk: OutputChunk): number;
  note(note: Note): void;
  /** Bytes that the other side has not taken. */
  readonly waiting: number;
  close(): void;
}

/** Takes the descriptor over. */
export function openPipe<In, Out>(fd: number, events: PipeEvents<In>): Pipe<Out> {
  const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  let socket: Bun.Socket | null = null;
  let queue: Buffer[] = [];
  let waiting = 0;
  let isOver = false;
  const end = () => {
    isOver = true;
    queue = [];
    socket?.terminate();
  };
  const over = (reason: string) => {
    if (isOver) return;
    end();
    events.over(reason);
  };
  const flush = (to: Bun.Socket) => {
    for (let first = queue[0]; first; first = queue[0]) {
      const written = Math.max(0, to.write(first));
      waiting -= written;
      if (written < first.length) {
        queue[0] = first.subarray(written);
        return;
      }
      queue.shift();
    }
    if (!isOver) events.drained();
  };
  const reader = frameReader(events);
  const opening: Bun.FdSocketOptions = {
    fd,
    socket: {
      open(opened) {
        socket = opened;
        if (isOver) opened.terminate();
        else flush(opened);
      },
      data(_, bytes) {
        try {
          if (!isOver) reader.push(bytes);
        } catch (thrown) {
          over(thrown instanceof Error ? thrown.message : String(thrown));
        }
      },
      drain: flush,
      close: () => over('its pipe was closed'),
      error: (_, error) => over(`its pipe broke: ${error.message}`),
    },
  };
  // Bun takes a descriptor in place of an address, which its types say of the options and not of the call.
  Bun.connect(opening as unknown as Bun.UnixSocketOptions).catch((thrown: Error) =>
    over(`its pipe cannot be used: ${thrown.message}`),
  );
  const write = (bytes: Buffer) => {
    const written = queue.length > 0 || !socket ? 0 : Math.max(0, socket.write(bytes));
    if (written === bytes.length) return;
    // A copy: the memory is used again.
    queue.push(Buffer.from(bytes.subarray(written)));
    waiting += bytes.length - written;
    if (waiting > WAITING_BYTES_MAX) over('it does not read its pipe');
  };
  const frame = (kind: number, bytes: number, put: (into: Buffer, at: number) => void) => {
    if (isOver) return;
    const head = varintLength(1 + bytes) + 1;
    const all = head + bytes;
    const into = all <= SCRATCH_BYTES ? scratch : Buffer.allocUnsafe(all);
    into[putVarint(into, 1 + bytes, 0)] = kind;
    put(into, head);
    write(into.subarray(0, all));
  };
  const whole = (kind: number, bytes: Uint8Array) =>
    frame(kind, bytes.length, (into, at) => into.set(bytes, at));
  return {
    hello: (bytes) => whole(HELLO, bytes),
    message: (bytes) => whole(MESSAGE, bytes),
    output(stream, chunk) {
      const parts = outputParts(stream, chunk);
      if (!parts) return 0;
      frame(MESSAGE, parts.bytes, (into, at) => putOutput(into, parts, at));
      return parts.bytes;
    },
    note: (note) => whole(NOTE, Buffer.from(JSON.stringify(note))),
    get waiting() {
      return waiting;
    },
    close: end,
  };
}

function frameReader<In>(events: PipeEvents<In>): DelimitedReader {
  return new DelimitedReader(FRAME_BYTES_MAX, (frame) => {
    const body = frame.subarray(1);
    switch (frame[0]) {
      case HELLO:
        return events.hello(body);
      case MESSAGE:
        // Its parts are kept by whoever reads it, and the frame's memory is used again.
        return events.message(Buffer.from(body));
      case NOTE:
        return events.note(JSON.parse(Buffer.from(body).toString('utf8')) as In);
      default:
        throw new RangeError(`a frame of unknown kind ${frame[0]}`);
    }
  });
}

/** What a network side says first. */
export const helloOf = (program: string): Uint8Array =>
  Buffer.concat([Buffer.from([PIPE_VERSIONS.oldest, PIPE_VERSIONS.newest]), Buffer.from(program)]);

/** The version that both speak; null when there is none. And who is there. */
export function agreed(hello: Uint8Array): { readonly version: number | null; readonly program: string } {
  const [oldest = 0, newest = 0] = hello;
  const version = Math.min(newest, PIPE_VERSIONS.newest);
  const isSpoken = version >= Math.max(oldest, PIPE_VERSIONS.oldest);
  const program = Buffer.from(hello.subarray(2)).toString('utf8');
  return { version: isSpoken ? version : null, program };
}
