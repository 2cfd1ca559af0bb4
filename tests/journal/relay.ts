/** Stands between a client and a Unix socket, and holds back what either side says when it is told so. */
import { rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';

export interface Relay {
  readonly path: string;
  /** From now on nothing that clients say arrives. */
  holdRequests(): void;
  /** From now on nothing that the server says arrives. */
  holdReplies(): void;
  /** Bytes of clients that are held. */
  held(): number;
  /** Ends every client's connection; what is held of it stays, and its other side is open. */
  cut(): void;
  /** What was held of connections that were cut arrives now, and they end. */
  release(): Promise<void>;
  close(): void;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  readonly requests: Buffer[];
  isCut: boolean;
}

export async function relay(target: string): Promise<Relay> {
  const path = `${target}.relay`;
  rmSync(path, { force: true });
  const pairs = new Set<Pair>();
  let areRequestsHeld = false;
  let areRepliesHeld = false;
  const door = createServer((client) => {
    const server = connect(target);
    const pair: Pair = { client, server, requests: [], isCut: false };
    pairs.add(pair);
    client.on('data', (bytes) => {
      if (areRequestsHeld) pair.requests.push(Buffer.from(bytes));
      else server.write(bytes);
    });
    server.on('data', (bytes) => {
      if (!areRepliesHeld && !pair.isCut) client.write(bytes);
    });
    client.on('close', () => {
      if (!pair.isCut) server.destroy();
    });
    server.on('close', () => client.destroy());
    for (const socket of [client, server]) socket.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => door.listen(path, resolve));
  return {
    path,
    holdRequests: () => {
      areRequestsHeld = true;
    },
    holdReplies: () => {
      areRepliesHeld = true;
    },
    held: () => [...pairs].flatMap(({ requests }) => requests).reduce((sum, { length }) => sum + length, 0),
    cut() {
      areRequestsHeld = false;
      areRepliesHeld = false;
      for (const pair of pairs) {
        pair.isCut = true;
        pair.client.destroy();
      }
    },
    async release() {
      for (const pair of [...pairs].filter(({ isCut }) => isCut)) {
        pairs.delete(pair);
        const late = Buffer.concat(pair.requests);
        await new Promise<void>((resolve) => {
          pair.server.once('data', () => resolve());
          pair.server.once('close', () => resolve());
          if (late.length === 0) resolve();
          else pair.server.write(late);
        });
        pair.server.end();
      }
    },
    close() {
      for (const { client, server } of pairs) {
        client.destroy();
        server.destroy();
      }
      door.close();
    },
  };
}
