/** The agent's end of the output channel (proto/channel.ts). */
import { fromBinary } from '@bufbuild/protobuf';
import { channelPath } from '../proto/channel.ts';
import { DelimitedReader } from '../proto/delimited.ts';
import { type ManagementMessage, ManagementMessageSchema, type OutputChunk } from '../proto/gen/agent_pb.ts';
import { type OutputStream, outputParts, putOutput } from '../proto/output.ts';
import { putVarint } from '../proto/varint.ts';

/** The server is at the same machine; if it takes longer, the stream does as well. */
const OPEN_MS = 2_000;
/** An acknowledgement, or input that was typed at once. */
const HEARD_BYTES_MAX = 16 << 20;
const BUFFER_BYTES = 256 << 10;

export interface OutputChannel {
  /** Only while it is open. */
  send(stream: OutputStream, chunk: OutputChunk): void;
  isOpen(): boolean;
  close(): void;
}

export interface OutputEvents {
  heard(payload: ManagementMessage['payload']): void;
  /** It can take more. */
  drained(): void;
  /** It is over, and nobody here has closed it. */
  lost(reason: string): void;
}

/** Null when it cannot be opened: then output goes on the stream. `address`: as grpc-js takes it. */
export async function openOutput(
  address: string,
  ticket: string,
  events: OutputEvents,
): Promise<OutputChannel | null> {
  const [, path] = /^unix:(.+)$/.exec(address) ?? [];
  if (!path) return null;
  const welcomed = Promise.withResolvers<boolean>();
  /** What the socket has not taken yet lies from `at` to `end`. */
  const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  let at = 0;
  let end = 0;
  let isWelcome = false;
  let isOver = false;
  const over = (reason: string) => {
    welcomed.resolve(false);
    if (isOver) return;
    isOver = true;
    if (isWelcome) events.lost(reason);
  };
  const reader = new DelimitedReader(HEARD_BYTES_MAX, (bytes) => {
    if (isOver) return;
    if (isWelcome) return events.heard(fromBinary(ManagementMessageSchema, bytes).payload);
    isWelcome = true;
    welcomed.resolve(true);
  });
  const opening = Bun.connect({
    unix: channelPath(path),
    socket: {
      data(socket, bytes) {
        try {
          reader.push(bytes);
        } catch (thrown) {
          over(thrown instanceof Error ? thrown.message : String(thrown));
          socket.terminate();
        }
      },
      drain(socket) {
        flush(socket);
        if (at === end && isWelcome && !isOver) events.drained();
      },
      close: () => over('the output channel was lost'),
      error: (_, error) => over(`the output channel was lost: ${error.message}`),
    },
  });
  const flush = (socket: Bun.Socket) => {
    if (at < end) at += Math.max(0, socket.write(buffer, at, end - at));
  };
  const timer = setTimeout(() => welcomed.resolve(false), OPEN_MS);
  try {
    const socket = await opening;
    socket.write(`${ticket}\n`);
    if (!(await welcomed.promise)) {
      isOver = true;
      socket.terminate();
      return null;
    }
    return {
      send(stream, chunk) {
        const message = outputParts(stream, chunk);
        if (!message) throw new Error('not a chunk of ours');
        const start = putVarint(buffer, message.bytes, 0);
        at = 0;
        end = putOutput(buffer, message, start);
        flush(socket);
      },
      isOpen: () => at === end && !isOver,
      close() {
        isOver = true;
        socket.terminate();
      },
    };
  } catch {
    return null; // Nobody is there.
  } finally {
    clearTimeout(timer);
  }
}
