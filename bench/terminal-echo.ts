/** Keystroke echo: one byte every 20 ms, and how long until it is back. */
import { nowMs } from './terminal-figures.ts';

export interface Keyboard {
  /** Types until it is told to stop; then waits for what is under way. Milliseconds of every keystroke. */
  type(until: () => boolean): Promise<number[]>;
  close(): void;
}

const EVERY_MS = 20;
const LATE_MS = 5_000;

/** What carries keystrokes there and bytes back. */
export interface Line {
  send(bytes: Uint8Array): void;
  close(): void;
}

/** The program at the other end says `echo ready`, then sends back every byte as it is. */
export const echoScript = 'stty raw -echo; printf R; exec cat';

export async function keyboard(
  open: (onBytes: (bytes: Uint8Array) => void) => Promise<Line>,
): Promise<Keyboard> {
  const sentAt: number[] = [];
  let took: number[] = [];
  let isReady = false;
  const ready = Promise.withResolvers<void>();
  const line = await open((bytes) => {
    const at = nowMs();
    for (const byte of bytes) {
      if (!isReady && byte === 82) {
        isReady = true;
        ready.resolve();
      } else if (byte === 120) {
        const sent = sentAt.shift();
        if (sent !== undefined) took.push(at - sent);
      }
    }
  });
  await ready.promise;
  return {
    async type(until) {
      took = [];
      let next = nowMs();
      while (!until()) {
        sentAt.push(nowMs());
        line.send(new Uint8Array([120]));
        next += EVERY_MS;
        await Bun.sleep(Math.max(1, next - nowMs()));
      }
      for (const end = nowMs() + LATE_MS; sentAt.length > 0 && nowMs() < end; ) await Bun.sleep(5);
      // What never came back is worse than all that did.
      const lost = sentAt.splice(0).map(() => LATE_MS);
      return [...took, ...lost];
    },
    close: () => line.close(),
  };
}

/** Over the product's own WebSocket, as controller. */
export const overAttach =
  (ws: string, session: string) =>
  async (onBytes: (bytes: Uint8Array) => void): Promise<Line> => {
    const socket = new WebSocket(`${ws}/ws/sessions/${session}/attach?role=controller&from=0`);
    socket.binaryType = 'nodebuffer' as BinaryType;
    const open = Promise.withResolvers<void>();
    socket.onopen = () => open.resolve();
    socket.onmessage = ({ data }: MessageEvent<string | Buffer>) => {
      if (typeof data !== 'string' && data[0] === 1) onBytes(data.subarray(9));
    };
    await open.promise;
    return {
      send: (bytes) => void socket.send(Buffer.concat([new Uint8Array([1]), bytes])),
      close: () => socket.close(),
    };
  };
