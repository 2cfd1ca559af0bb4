/**
 * Identities of instances: what doors may ask, and what becomes of one when its instance is destroyed or made
 * anew. First the ledger says that nothing of it is good any more, then what is open is ended.
 */
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import type { InstanceContext } from '../actors/instance.ts';
import type { Audit, AuditNote, AuditOutcome } from '../audit.ts';
import type { Audited, CertificateAuthority, IdentityEvent, Register } from '../certificates.ts';
import { rfc3339 } from '../clock.ts';
import type { Address, IdentityConfig } from '../config.ts';
import type { IdentityDesk, VsockProbe } from '../desk.ts';
import { Failure } from '../failure.ts';
import type { InstanceView, RevokedView } from '../views.ts';
import { type House, sessionsOf } from './house.ts';
import type { Secrets } from './identity.ts';

/** Ends what an identity holds open. Returns how many connections that were. */
export type Cut = (who: { readonly agent: string; readonly instanceId: string }, reason: Failure) => number;

export interface IdentityPlaces {
  /** `host:port`; null: off. */
  readonly grpcTls: string | null;
  readonly enrolUrl: string | null;
}

interface Found {
  /** Those we listen on; null: not at all. */
  readonly ports: { readonly tls: number | null; readonly enrol: number | null };
  readonly path: string;
}

/** Where agents find us, as well as we know. */
export function identityPlaces(config: IdentityConfig, { ports, path }: Found): IdentityPlaces {
  const at = (listens: Address | null, port: number | null): string | null => {
    if (listens === null || port === null) return null;
    const isAny = ['0.0.0.0', '::'].includes(listens.host);
    const host = isAny ? (config.names[0] ?? hostname()) : listens.host;
    return `${host.includes(':') ? `[${host}]` : host}:${port}`;
  };
  const enrol = at(config.enrol, ports.enrol);
  const enrolUrl = enrol === null ? null : (config.enrolUrl ?? `https://${enrol}${path}`);
  return { grpcTls: at(config.tls, ports.tls), enrolUrl };
}

/**
 * Who asked is an operator, a SPIFFE id or an address: none of them has a token of ours to show, so it is
 * said.
 */
function noteOf({ what, outcome, actor, spiffeId, details }: IdentityEvent): AuditNote {
  const { code, ...rest } = details;
  const said = Object.entries(rest).map(([name, value]) => [name, String(value)]);
  return {
    door: 'identity',
    caller: null,
    from: isIP(actor) === 0 ? null : actor,
    proxied: false,
    method: what,
    route: null,
    params: { actor, ...(spiffeId === null ? {} : { spiffe_id: spiffeId }), ...Object.fromEntries(said) },
    outcome: { success: 'done', denied: 'refused', failure: 'failed' }[outcome] as AuditOutcome,
    status: 0,
    code: code === undefined ? null : String(code),
    ms: 0,
  };
}

/** Refusals, which strangers cause, are bounded; the rest is not. */
export function auditedIn(audit: Audit): Audited {
  const owed = () => {}; // It is written once that is possible; see Audit.
  return {
    ready: () => audit.ready(),
    note: (event) => audit.note(noteOf(event)),
    tell(event) {
      const note = noteOf(event);
      if (note.outcome === 'done') void audit.note(note).catch(owed);
      else audit.refused(note);
    },
  };
}

export interface Identities {
  readonly authority: CertificateAuthority;
  readonly register: Register;
  readonly secrets: Secrets;
  readonly cut: Cut;
  readonly vsock: () => VsockProbe;
  readonly places: IdentityPlaces;
  readonly caPem: () => string;
}

interface Why {
  readonly by: string;
  readonly reason: string;
}

/** Everything an agent proves itself with is worth nothing from here on, and is forgotten. */
export async function revokeInstance(
  { fleet }: Pick<House, 'fleet'>,
  { register, secrets, cut }: Pick<Identities, 'register' | 'secrets' | 'cut'>,
  { name, ...why }: Why & { readonly name: string },
): Promise<RevokedView> {
  const instanceId = (fleet.context(`instance:${name}`) as InstanceContext | null)?.spec.instanceId;
  const failure = new Failure('unauthenticated', `the identity of ${name} was revoked: ${why.reason}`);
  let connections = 0;
  let revoked: { readonly at: number; readonly certificates: number; readonly tokens: number } | null = null;
  try {
    await secrets.revoke(name);
    if (instanceId) revoked = register.revoke(instanceId, why);
  } finally {
    // Also where the disk is full and it cannot be kept: whoever asked is told so, and has it out for now.
    if (instanceId) connections = cut({ agent: name, instanceId }, failure);
  }
  if (revoked === null) return { revoked_at: '', certificates: 0, tokens: 0, connections };
  const { at, certificates, tokens } = revoked;
  return { revoked_at: rfc3339(at), certificates, tokens, connections };
}

/** The name of a living instance, by its id; a fleet that comes back at once asks for each of its own. */
export function instanceNamed(fleet: () => House['fleet']): (instanceId: string) => string | null {
  let names = new Map<string, string>();
  const lives = (view: InstanceView | null, instanceId: string) =>
    view?.instance_id === instanceId && !['destroying', 'destroyed'].includes(view.state);
  const find = (instanceId: string) => {
    const name = names.get(instanceId);
    const view = name === undefined ? null : (fleet().view(`instance:${name}`) as InstanceView | null);
    return lives(view, instanceId) ? (name ?? null) : null;
  };
  return (instanceId) => {
    const known = find(instanceId);
    if (known !== null) return known;
    const views = fleet().views('instance') as readonly InstanceView[];
    names = new Map(
      views.filter((view) => lives(view, view.instance_id)).map((view) => [view.instance_id, view.name]),
    );
    return find(instanceId);
  };
}

export function identityDesk(house: House, identities: Identities): IdentityDesk {
  const { register, authority, vsock, caPem } = identities;
  const { grpcTls, enrolUrl } = identities.places;
  const there = (name: string): InstanceView => {
    const view = house.fleet.view(`instance:${name}`) as InstanceView | null;
    if (view && view.state !== 'destroyed') return view;
    throw new Failure('not-found', `there is no instance "${name}"; see GET /api/v1/instances`);
  };
  return {
    async describe() {
      const { available, reasons } = await authority.health();
      return {
        trust_domain: register.trustDomain,
        authority: { kind: authority.kind, available, reasons },
        ca_pem: caPem(),
        grpc_tls: grpcTls,
        enrol_url: enrolUrl,
        vsock: vsock(),
      };
    },
    async bootstrap(name, by) {
      const { instance_id: instanceId, state } = there(name);
      if (state === 'destroying') throw new Failure('wrong-state', `instance ${name} is being destroyed`);
      if (enrolUrl === null) {
        const how = 'start the server with AGENTIC_ENROL_LISTEN';
        throw new Failure('not-implemented', `nothing listens for one-time tokens here: ${how}`);
      }
      const { token, spiffeId, expiresAt } = register.grant(instanceId, by);
      return {
        token,
        spiffe_id: spiffeId,
        expires_at: rfc3339(expiresAt),
        enrol_url: enrolUrl,
        grpc_tls: grpcTls,
        ca_pem: caPem(),
      };
    },
    async revoke(name, why) {
      const view = await revokeInstance(house, identities, { name: there(name).name, ...why });
      // What runs there goes on without its agent, and would go on asking models.
      const sessions = sessionsOf(house, name).map(({ id }) => id);
      await Promise.all(sessions.map((id) => house.credentials.models?.forget(id)));
      return view;
    },
  };
}
