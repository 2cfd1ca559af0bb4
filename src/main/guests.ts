/**
 * The sockets that the agent of one instance comes by: one for gRPC, and, where it proves itself by a
 * certificate, one to take its one-time token for the first.
 */
import { chmod, rm } from 'node:fs/promises';
import type { Register } from '../certificates.ts';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import { type EnrolDoor, enrolDoor } from '../http/enrol.ts';
import type { OpenIdentity } from '../identity/open.ts';
import type { Log } from '../log.ts';
import type { AgentDoors, Certified } from '../runtime/container-state.ts';
import type { AgentServer } from '../transport/server.ts';

export interface GuestWorld {
  readonly grpc: Pick<AgentServer, 'openGuest' | 'closeGuest'>;
  readonly identity: Pick<OpenIdentity, 'register' | 'server'>;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Guests extends AgentDoors {
  /** Ends enrolment; gRPC ends with its server. */
  close(agent?: string): Promise<void>;
}

interface Open {
  readonly path: string;
  readonly door: EnrolDoor;
}

export function guests(world: GuestWorld): Guests {
  const { grpc, identity, clock, log } = world;
  const enrols = new Map<string, Open>();
  const closeEnrol = async (agent: string) => {
    const open = enrols.get(agent);
    enrols.delete(agent);
    open?.door.close();
    if (open) await rm(open.path, { force: true });
  };
  return {
    async open(agent, path, certified = null) {
      await grpc.openGuest(agent, path, certified?.instanceId ?? null);
      if (enrols.get(agent)?.path === certified?.enrolPath) return;
      await closeEnrol(agent);
      if (certified === null) return;
      const { enrolPath } = certified;
      await rm(enrolPath, { force: true });
      const register = ownRegister(agent, certified, world);
      const door = await enrolDoor({ ...identity.server, path: enrolPath, register, clock, log });
      enrols.set(agent, { path: enrolPath, door });
      // Its directory keeps everybody out but the instance.
      await chmod(enrolPath, 0o666);
    },
    async close(agent) {
      if (agent === undefined) {
        for (const one of [...enrols.keys()]) await closeEnrol(one);
        return;
      }
      await closeEnrol(agent);
      await grpc.closeGuest(agent);
    },
  };
}

/** Of one instance: nobody else's token is taken by its socket. */
function ownRegister(
  agent: string,
  { instanceId, enrolled }: Certified,
  { identity, log }: GuestWorld,
): Pick<Register, 'enrol'> {
  const own = identity.register.spiffeId(instanceId);
  const from = `the socket of ${agent}`;
  return {
    async enrol(wanted) {
      if (wanted.spiffeId !== own)
        throw new Failure('forbidden', `this socket is for ${own}, and the request says ${wanted.spiffeId}`);
      const made = await identity.register.enrol(wanted, from);
      await enrolled().catch((thrown) =>
        log.warn('a used token was not removed', { agent, why: String(thrown) }),
      );
      return made;
    },
  };
}
