/** What is known of a request while it is on its way, and how that becomes a record of the audit log. */
import type { Caller } from '../access.ts';
import type { Audit, AuditNote } from '../audit.ts';
import { Failure } from '../failure.ts';

/** Where a request comes from. */
export interface Client {
  /** Null: unknown, as on a Unix socket. */
  readonly address: string | null;
  /** A trusted proxy said so. */
  readonly proxied: boolean;
  /** The client speaks TLS, to us or to the proxy. */
  readonly secure: boolean;
  /** The name it asked for, with its port. */
  readonly host: string;
}

export const unknownClient: Client = { address: null, proxied: false, secure: false, host: '' };

/** Filled in as it becomes known. A route adds to `params` what it made, and to `caller` who signed in. */
export interface Seen {
  readonly client: Client;
  door: 'http' | 'ws';
  route: string | null;
  params: Readonly<Record<string, string>>;
  caller: Caller | null;
  code: string | null;
}

export const seenOf = (client: Client): Seen => ({
  client,
  door: 'http',
  route: null,
  params: {},
  caller: null,
  code: null,
});

export interface Ended {
  readonly method: string;
  readonly status: number;
  readonly ms: number;
}

export function noteOf(
  { client, door, route, params, caller, code }: Seen,
  { method, status, ms }: Ended,
): AuditNote {
  const { name, role, via, id } = caller ?? { via: 'none' };
  const isKnown = name !== undefined && role !== undefined && via !== 'none';
  return {
    door,
    caller: isKnown ? { name, role, via, id: id ?? null } : null,
    from: client.address,
    proxied: client.proxied,
    method,
    route,
    params,
    outcome: isRefusal(status) ? 'refused' : status < 400 ? 'done' : 'failed',
    status,
    code,
    ms: Math.round(ms),
  };
}

const isRefusal = (status: number): boolean => status === 401 || status === 403;

/** Whether it may change something. */
export const isUnsafe = (method: string): boolean => !['GET', 'HEAD', 'OPTIONS'].includes(method);

/**
 * Notes what has to be noted. Throws Failure('audit-away') when something may have been changed and cannot be
 * noted.
 */
export async function noted(audit: Audit, seen: Seen, ended: Ended): Promise<void> {
  if (isRefusal(ended.status)) return audit.refused(noteOf(seen, ended));
  if (!isUnsafe(ended.method) || seen.route === null) return;
  try {
    await audit.note(noteOf(seen, ended));
  } catch (thrown) {
    if (!(thrown instanceof Failure) || ended.status >= 400) throw thrown;
    const what = 'it was carried out, but could not be noted yet';
    throw new Failure('audit-away', `${what}: ${thrown.message}`, { cause: thrown });
  }
}
