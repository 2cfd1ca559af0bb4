/** A WebSocket client that keeps what it is told. */
import { until } from './world.ts';

export interface Message {
  readonly type: string;
  readonly [key: string]: unknown;
}

export interface Client {
  readonly socket: WebSocket;
  readonly messages: Message[];
  readonly frames: Buffer[];
  /** The close code; null while it is open. */
  code: number | null;
  readonly protocol: () => string;
  say(message: object | string | Uint8Array): void;
  /** Waits for the first message of a type that fits, from now or before. */
  told(type: string, fits?: (message: Message) => boolean): Promise<Message>;
  /** The text of all output frames, in order; throws where there is a hole. */
  output(): string;
}

interface Options {
  readonly headers?: Record<string, string>;
  readonly protocols?: string[];
  readonly tls?: { readonly ca: string };
}

export function client(url: string, options: Options = {}): Client {
  const socket = new WebSocket(url, options as never);
  socket.binaryType = 'arraybuffer';
  const made: Client = {
    socket,
    messages: [],
    frames: [],
    code: null,
    protocol: () => socket.protocol,
    say: (message) =>
      socket.send(
        message instanceof Uint8Array
          ? Buffer.from(message)
          : typeof message === 'string'
            ? message
            : JSON.stringify(message),
      ),
    told: (type, fits = () => true) =>
      until(`a message ${type}`, () => made.messages.find((one) => one.type === type && fits(one))),
    output() {
      let next: number | null = null;
      const parts: Buffer[] = [];
      for (const frame of made.frames) {
        const offset = Number(frame.readBigUInt64BE(1));
        const isOutput = frame[0] === 1;
        if (isOutput && next !== null && offset !== next) throw new Error(`a hole: ${next} to ${offset}`);
        next = isOutput ? offset + frame.length - 9 : offset;
        if (isOutput) parts.push(frame.subarray(9));
      }
      return Buffer.concat(parts).toString('utf8');
    },
  };
  socket.onmessage = ({ data }) => {
    if (typeof data === 'string') made.messages.push(JSON.parse(data) as Message);
    else made.frames.push(Buffer.from(data as ArrayBuffer));
  };
  socket.onclose = ({ code }) => {
    made.code = code;
  };
  return made;
}

/** Input as `attach` takes it. */
export const typed = (text: string): Uint8Array => Buffer.concat([Buffer.from([1]), Buffer.from(text)]);
