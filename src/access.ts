/**
 * Who a caller is and what it may do: one answer for HTTP, SSE, WebSocket and gRPC.
 *
 * A door shows what its transport knows of the caller and the role that the resolved route asks for.
 * No role resolved means no access.
 */
import { Failure } from './failure.ts';

export type Role = 'viewer' | 'operator' | 'admin';

const rank: Readonly<Record<Role, number>> = { viewer: 1, operator: 2, admin: 3 };

export const roles = Object.keys(rank) as readonly Role[];

/**
 * How a caller showed who it is. `local`: it is on the loopback of a server without tokens; `socket`: it is
 * the server's user at the Unix socket; `cookie`: a browser that signed in; `none`: at an open route.
 */
export type Via = 'local' | 'socket' | 'token' | 'cookie' | 'none';

export interface Caller {
  /** For the log; `local` for a caller on the loopback of a server without tokens. */
  readonly name: string;
  readonly role: Role;
  readonly via: Via;
  /** Of the token, also where a session began with it; null without one. */
  readonly id: string | null;
}

/** What a transport can tell of a caller. */
export interface Shown {
  /** A bearer token, without its scheme. */
  readonly token: string | null;
  /** The secret of a browser's session; absent where there are none. */
  readonly cookie?: string | null;
  /** The user behind a Unix socket; null on every other transport. */
  readonly peerUid: number | null;
}

export interface Access {
  /** Throws Failure('unauthenticated') when nobody we know is there. */
  caller(shown: Shown): Caller;
}

/** Throws Failure('forbidden') that names the role that is missing. */
export function demand(caller: Caller, role: Role): Caller {
  if (rank[caller.role] >= rank[role]) return caller;
  throw new Failure('forbidden', `${caller.name} is ${caller.role}; this takes the role ${role}`);
}
