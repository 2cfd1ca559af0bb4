/**
 * Sockets that one instance alone sees, in a directory that is mounted into it. Whoever comes by one can only
 * be that instance's agent, and proves it all the same: by TLS with the certificate of that very instance,
 * or, where no certificates are used, by its secret.
 */
import { chmod, rm } from 'node:fs/promises';
import type { Server } from '@grpc/grpc-js';
import { spiffeIdOf } from '../../proto/spiffe.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Origin } from './identity.ts';
import { type TlsOptions, tlsDoor } from './tls-door.ts';
import { unixDoor } from './unix-door.ts';

/** Connections on a guest's socket: an agent has one, and one that it is about to leave. */
const GUEST_SOCKETS_MAX = 8;

/** What a certificate is checked against; `trustDomain` is that of every instance here. */
export interface GuestTls extends Pick<TlsOptions, 'current' | 'watch' | 'audited'> {
  readonly trustDomain: string;
}

export interface GuestDoors {
  /** `instanceId`: only who shows a certificate of that instance comes in; null: whoever has the secret. */
  open(agent: string, path: string, instanceId: string | null): Promise<void>;
  close(agent: string): Promise<void>;
  closeAll(): Promise<void>;
  /** Ends what an agent holds open by a certificate. Returns how many connections that were. */
  cut(agent: string, spiffeId: string): number;
}

interface Behind {
  readonly make: (origin: Origin) => Server;
  /** Null: no certificates here. */
  readonly tls: GuestTls | null;
  readonly clock: Clock;
  readonly log: Log;
}

interface Door {
  cut(spiffeId: string): number;
  close(): Promise<void>;
}

interface Known {
  readonly path: string;
  readonly instanceId: string | null;
  readonly door: Promise<Door>;
}

export function guestDoors(behind: Behind): GuestDoors {
  const doors = new Map<string, Known>();
  const opened = new Map<string, Door>();
  const close = async (agent: string) => {
    const known = doors.get(agent);
    doors.delete(agent);
    opened.delete(agent);
    await (await known?.door)?.close();
  };
  return {
    async open(agent, path, instanceId) {
      const known = doors.get(agent);
      if (known?.path !== path || known.instanceId !== instanceId) {
        await close(agent);
        const door =
          instanceId === null
            ? secretDoor(agent, path, behind)
            : certified({ agent, path, instanceId }, behind);
        doors.set(agent, { path, instanceId, door });
        door.then(
          (made) => doors.get(agent)?.door === door && opened.set(agent, made),
          () => doors.get(agent)?.door === door && doors.delete(agent),
        );
      }
      await doors.get(agent)?.door;
    },
    close,
    async closeAll() {
      for (const agent of [...doors.keys()]) await close(agent);
    },
    cut: (agent, spiffeId) => opened.get(agent)?.cut(spiffeId) ?? 0,
  };
}

/** The directory of a socket keeps everybody out but the instance, whose user is another than ours. */
const MODE = 0o666;

async function secretDoor(agent: string, path: string, { make, log }: Behind): Promise<Door> {
  const own = () => make({ kind: 'guest', agent });
  const door = await unixDoor(path, { make: own, log, mode: MODE, socketsMax: GUEST_SOCKETS_MAX });
  return { ...door, cut: () => 0 };
}

interface Certified {
  readonly agent: string;
  readonly path: string;
  readonly instanceId: string;
}

async function certified({ agent, path, instanceId }: Certified, behind: Behind): Promise<Door> {
  const { tls, ...rest } = behind;
  if (tls === null) throw new Error(`${agent}: this server has no certificates`);
  const { trustDomain, ...material } = tls;
  const only = { spiffeId: spiffeIdOf(trustDomain, instanceId), from: `the socket of ${agent}` };
  await rm(path, { force: true });
  const door = await tlsDoor({ ...material, path, only, socketsMax: GUEST_SOCKETS_MAX }, rest);
  await chmod(path, MODE);
  return {
    cut: door.cut,
    async close() {
      await door.close();
      await rm(path, { force: true });
    },
  };
}
