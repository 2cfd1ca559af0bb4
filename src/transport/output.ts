/**
 * The door of the output channel (proto/channel.ts).
 *
 * A ticket goes out on a stream whose agent has proven itself, and is good once and as long as that stream:
 * who shows it is that agent. What comes is given on at once and never kept here, so an agent has no more on
 * its way than it may have unacknowledged.
 */
import { chmod, rm } from 'node:fs/promises';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { TICKET_CHARACTERS } from '../../proto/channel.ts';
import { DelimitedReader, delimited } from '../../proto/delimited.ts';
import {
  type AgentMessage,
  AgentMessageSchema,
  type ManagementMessage,
  ManagementMessageSchema,
  OutputAckSchema,
  type StdinChunk,
} from '../../proto/gen/agent_pb.ts';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import { newSecret } from '../ids.ts';
import type { Log } from '../log.ts';

/** The stream that a channel belongs to. */
export interface Guest {
  /** Its data is good until this returns. */
  said(message: AgentMessage): void;
  opened(channel: Channel): void;
  /** The channel is over, though nobody here has closed it. */
  broken(why: unknown): void;
}

export interface Channel {
  acknowledge(session: string, offset: number): void;
  /** Nothing that was typed is overtaken by what is typed later. */
  type(input: StdinChunk): void;
  close(): void;
}

export interface OutputDoor {
  /** A ticket. Whatever an earlier one of this guest opened stays. */
  invite(guest: Guest): string;
  /** Its ticket is no longer good. */
  withdraw(guest: Guest): void;
  close(): Promise<void>;
}

export interface OutputDoorOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly messageBytesMax: number;
  /** What may wait to be sent to one agent. */
  readonly unsentBytesMax: number;
}

/** How long a connection may take to show its ticket, and how many may be at it. */
const TICKET_MS = 5_000;
const NEWCOMERS_MAX = 64;
const WELCOME = delimited(new Uint8Array());

interface Data {
  line: string;
  guest: Guest | null;
  reader: DelimitedReader | null;
  patience: unknown;
  /** What the agent has not read yet, oldest first. */
  readonly unsent: Uint8Array[];
  unsentBytes: number;
  isClosed: boolean;
}

type Connection = Bun.Socket<Data>;

/** Throws Failure('bad-input') when it cannot listen there. */
export async function outputDoor({
  path,
  clock,
  log,
  messageBytesMax,
  unsentBytesMax,
}: OutputDoorOptions): Promise<OutputDoor> {
  const invited = new Map<string, Guest>();
  let newcomers = 0;

  const end = (socket: Connection) => {
    if (socket.data.isClosed) return;
    socket.data.isClosed = true;
    clock.clearTimeout(socket.data.patience);
    if (!socket.data.guest) newcomers -= 1;
    socket.terminate();
  };
  const lost = (socket: Connection, why: unknown) => {
    const { guest, isClosed } = socket.data;
    end(socket);
    if (guest && !isClosed) guest.broken(why);
  };
  const say = (socket: Connection, payload: ManagementMessage['payload']) => {
    const { data } = socket;
    if (data.isClosed) return;
    const message = create(ManagementMessageSchema, { payload });
    const bytes = delimited(toBinary(ManagementMessageSchema, message));
    const written = data.unsent.length > 0 ? 0 : Math.max(0, socket.write(bytes));
    if (written === bytes.length) return;
    data.unsent.push(bytes.subarray(written));
    data.unsentBytes += bytes.length - written;
    if (data.unsentBytes > unsentBytesMax)
      lost(socket, new Failure('over-quota', 'the agent does not read its output channel'));
  };
  const flush = (socket: Connection) => {
    const { data } = socket;
    for (let first = data.unsent[0]; first && !data.isClosed; first = data.unsent[0]) {
      const written = Math.max(0, socket.write(first));
      data.unsentBytes -= written;
      if (written < first.length) {
        data.unsent[0] = first.subarray(written);
        return;
      }
      data.unsent.shift();
    }
  };
  const channel = (socket: Connection): Channel => ({
    acknowledge(session, offset) {
      const value = create(OutputAckSchema, { commandId: session, offset: BigInt(offset) });
      say(socket, { case: 'outputAck', value });
    },
    type: (value) => say(socket, { case: 'stdin', value }),
    close: () => end(socket),
  });
  const listener = (socket: Connection, guest: Guest) =>
    new DelimitedReader(messageBytesMax, (bytes) => {
      if (!socket.data.isClosed) guest.said(messageOf(bytes));
    });
  /** Returns what follows the ticket; null while that is not whole. */
  const ticketOf = (socket: Connection, bytes: Uint8Array): Uint8Array | null => {
    const { data } = socket;
    const missing = TICKET_CHARACTERS + 1 - data.line.length;
    data.line += Buffer.from(bytes.subarray(0, missing)).toString('latin1');
    if (data.line.length <= TICKET_CHARACTERS) return null;
    const ticket = data.line.slice(0, TICKET_CHARACTERS);
    const guest = data.line.endsWith('\n') ? invited.get(ticket) : undefined;
    if (!guest) {
      log.warn('output channel refused', { why: 'its ticket is not good, or was used already' });
      end(socket);
      return null;
    }
    invited.delete(ticket);
    clock.clearTimeout(data.patience);
    newcomers -= 1;
    data.guest = guest;
    data.reader = listener(socket, guest);
    socket.write(WELCOME);
    guest.opened(channel(socket));
    return bytes.subarray(missing);
  };

  const door = await listening(path, {
    open(socket) {
      newcomers += 1;
      const patience = clock.setTimeout(() => end(socket), TICKET_MS);
      socket.data = {
        line: '',
        guest: null,
        reader: null,
        patience,
        unsent: [],
        unsentBytes: 0,
        isClosed: false,
      };
      if (newcomers > NEWCOMERS_MAX) end(socket);
    },
    data(socket, bytes) {
      if (socket.data.isClosed) return;
      try {
        const rest = socket.data.guest ? bytes : ticketOf(socket, bytes);
        if (rest) socket.data.reader?.push(rest);
        giveBack(bytes);
      } catch (thrown) {
        lost(socket, thrown instanceof RangeError ? new Failure('bad-input', thrown.message) : thrown);
      }
    },
    drain: flush,
    close: (socket) => lost(socket, new Failure('cancelled', 'the output channel was lost')),
    error: (socket) => lost(socket, new Failure('cancelled', 'the output channel was lost')),
  });
  return {
    invite(guest) {
      const ticket = newSecret();
      invited.set(ticket, guest);
      return ticket;
    },
    withdraw(guest) {
      for (const [ticket, one] of invited) if (one === guest) invited.delete(ticket);
    },
    async close() {
      door.stop(true);
      await rm(path, { force: true });
    },
  };
}

/** Nobody holds them any more: a flood would be garbage as fast as it comes, until the collector looks. */
function giveBack({ buffer, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

function messageOf(bytes: Uint8Array): AgentMessage {
  try {
    return fromBinary(AgentMessageSchema, bytes);
  } catch (thrown) {
    throw new Failure('bad-input', 'what came by the output channel is no message', { cause: thrown });
  }
}

async function listening(path: string, socket: Bun.SocketHandler<Data>) {
  try {
    await rm(path, { force: true });
    const door = Bun.listen<Data>({ unix: path, socket });
    await chmod(path, 0o600);
    return door;
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    const cure = 'set AGENTIC_DATA_DIR to a directory of yours';
    throw new Failure('bad-input', `cannot listen for agents on ${path}: ${why}; ${cure}`, { cause: thrown });
  }
}
