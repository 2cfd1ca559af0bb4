/**
 * The rules of who gets a certificate and whose is good.
 *
 * A token is checked, then consumed, and only then is anything signed; what was signed is in the ledger
 * before it is answered. While somebody signs, an id may be revoked: so it is looked at again afterwards.
 * Every attempt is audited, whatever became of it; a certificate is given out when that is on the disk.
 */
import { createHash } from 'node:crypto';
import { instanceOf, serverNameOf, spiffeIdOf } from '../../proto/spiffe.ts';
import type {
  Audited,
  CertificateAuthority,
  EnrolWanted,
  IdentityEvent,
  NewCertificate,
  Register,
  ShownCertificate,
} from '../certificates.ts';
import { type Clock, rfc3339 } from '../clock.ts';
import { Failure } from '../failure.ts';
import { newSecret } from '../ids.ts';
import { type CheckedRequest, checkedChain, checkedRequest, hashOfKey } from './checks.ts';
import type { Ledger } from './ledger.ts';

export interface RegisterWorld {
  readonly trustDomain: string;
  readonly authority: CertificateAuthority;
  readonly ledger: Ledger;
  /** The roots that connections are checked against just now. */
  readonly bundle: () => string;
  /** The name of a living instance; null: there is none of that id. */
  readonly instanceNamed: (instanceId: string) => string | null;
  readonly agentTtlMs: number;
  readonly tokenTtlMs: number;
  readonly clock: Clock;
  readonly audited: Audited;
}

export const TOKEN_PREFIX = 'asbt_';
const tokenPattern = /^asbt_[A-Za-z0-9_-]{43}$/;
/** Certificates for one id in a minute. */
const PER_MINUTE = 60;

const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex');

export function register(world: RegisterWorld): Register {
  const { trustDomain, ledger, clock, audited } = world;
  const told = (event: Omit<IdentityEvent, 'outcome' | 'details'> & { thrown: unknown }): never => {
    const { thrown, ...rest } = event;
    const code = thrown instanceof Failure ? thrown.code : 'bug';
    const isOurs = code === 'bug' || code === 'authority-away' || code === 'audit-away';
    const outcome = isOurs ? 'failure' : 'denied';
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    audited.tell({ ...rest, outcome, details: { code, reason } });
    throw thrown;
  };
  const standing = (shown: ShownCertificate) => {
    const id = instanceOf(shown.spiffeId);
    if (!id) throw new Failure('unauthenticated', `${shown.spiffeId} is not the id of an instance`);
    if (id.domain !== trustDomain)
      throw new Failure('unauthenticated', `trust domain ${id.domain} is not ${trustDomain}`);
    checkTime(shown, clock.now());
    checkNotRevoked(world, shown);
    return { instanceId: livingOf(world, shown.spiffeId) };
  };
  const idOf = (instanceId: string) => spiffeIdOf(trustDomain, instanceId);
  return {
    trustDomain,
    serverName: serverNameOf(trustDomain),
    spiffeId: idOf,
    standing,
    async enrol(wanted, from) {
      const { spiffeId } = wanted;
      const known = instanceOf(spiffeId) === null ? null : spiffeId;
      const event = { actor: from, spiffeId: known };
      try {
        await audited.ready();
        const made = await enrol(world, wanted);
        const details = { until: rfc3339(made.until), serial: made.serial };
        await audited.note({ ...event, what: 'certificate.issued', outcome: 'success', details });
        return made.certificate;
      } catch (thrown) {
        return told({ ...event, what: 'certificate.refused', thrown });
      }
    },
    async renew(shown, csr) {
      const event = { actor: shown.spiffeId, spiffeId: shown.spiffeId };
      try {
        standing(shown);
        await audited.ready();
        const request = checkedRequest(csr);
        if (request.spiffeId !== shown.spiffeId)
          throw new Failure('forbidden', `${shown.spiffeId} may not ask for ${request.spiffeId}`);
        checkKey(ledger, request, 'renew');
        const made = await issue(world, { csr, request, recheck: () => void standing(shown) });
        const details = { until: rfc3339(made.until), serial: made.serial, instead_of: shown.serial };
        await audited.note({ ...event, what: 'certificate.renewed', outcome: 'success', details });
        return made.certificate;
      } catch (thrown) {
        return told({ ...event, what: 'certificate.refused', thrown });
      }
    },
    held: (instanceId) => ledger.held(idOf(instanceId), clock.now()),
    grant(instanceId, by) {
      const token = `${TOKEN_PREFIX}${newSecret()}`;
      const spiffeId = idOf(instanceId);
      const at = clock.now();
      const expiresAt = at + world.tokenTtlMs;
      ledger.addToken({ hash: hashOf(token), spiffeId, by, at, expiresAt });
      const details = { expires_at: rfc3339(expiresAt) };
      audited.tell({ what: 'token.granted', outcome: 'success', actor: by, spiffeId, details });
      return { token, spiffeId, expiresAt };
    },
    revoke(instanceId, { by, reason }) {
      const at = clock.now();
      const spiffeId = idOf(instanceId);
      const { certificates, tokens } = ledger.revoke(spiffeId, { at, by, reason });
      const details = { certificates, tokens, reason };
      audited.tell({ what: 'identity.revoked', outcome: 'success', actor: by, spiffeId, details });
      return { at, certificates, tokens };
    },
  };
}

function checkTime({ from, until }: ShownCertificate, at: number): void {
  if (until <= at) throw new Failure('unauthenticated', `the certificate expired at ${rfc3339(until)}`);
  if (from > at) throw new Failure('unauthenticated', `the certificate is good from ${rfc3339(from)} on`);
}

function checkNotRevoked({ ledger, authority }: RegisterWorld, shown: ShownCertificate): void {
  const { serial, spiffeId, from } = shown;
  const known = ledger.certificate(serial);
  // All of our own authority are in the ledger before they are given out: of others nobody knows whether they
  // were revoked.
  if (!known && authority.kind === 'local') {
    const cure = 'enrol anew with a token of POST /api/v1/instances/{name}/bootstrap';
    throw new Failure('unauthenticated', `certificate ${serial} is not one that was given out here; ${cure}`);
  }
  const revokedAt = ledger.revoked(spiffeId)?.at ?? null;
  // One that we do not know, of an authority elsewhere, is judged by its date.
  const isRevoked = known ? known.revokedAt !== null : revokedAt !== null && from <= revokedAt;
  if (!isRevoked) return;
  const at = rfc3339(known?.revokedAt ?? revokedAt ?? 0);
  throw new Failure('unauthenticated', `certificate ${serial} of ${spiffeId} was revoked at ${at}`);
}

function livingOf({ instanceNamed }: RegisterWorld, spiffeId: string): string {
  const { instanceId = '' } = instanceOf(spiffeId) ?? {};
  if (instanceNamed(instanceId) === null)
    throw new Failure('forbidden', `there is no instance ${instanceId} any more`);
  return instanceId;
}

/** A key belongs to one id, is never used again once it was revoked, and enrols once. */
function checkKey(ledger: Ledger, { publicKey, spiffeId }: CheckedRequest, by: 'enrol' | 'renew'): void {
  const refuse = (why: string) =>
    new Failure('unprocessable', `the key of this certificate request ${why}: make a new one`, {
      faults: [{ path: 'csr_pem', message: why }],
    });
  for (const { spiffeId: theirs, revokedAt } of ledger.ofKey(hashOfKey(publicKey))) {
    if (theirs !== spiffeId) throw refuse("is another instance's");
    if (revokedAt !== null) throw refuse('was revoked');
    if (by === 'enrol') throw refuse('has a certificate already');
  }
}

interface Made {
  readonly certificate: NewCertificate;
  readonly serial: string;
  readonly until: number;
}

async function enrol(world: RegisterWorld, { token, spiffeId, csr }: EnrolWanted): Promise<Made> {
  const { ledger, clock } = world;
  const hash = hashOf(token);
  const row = tokenPattern.test(token) ? ledger.token(hash) : null;
  const cure = 'ask for another with POST /api/v1/instances/{name}/bootstrap';
  if (!row) throw new Failure('unauthenticated', `that token is unknown; ${cure}`);
  if (row.consumedAt !== null) {
    throw new Failure('token-consumed', `that token was used or withdrawn already; ${cure}`);
  }
  if (row.expiresAt <= clock.now())
    throw new Failure('unauthenticated', `that token expired at ${rfc3339(row.expiresAt)}; ${cure}`);
  if (row.spiffeId !== spiffeId) throw new Failure('forbidden', `that token is not for ${spiffeId}`);
  const request = checkedRequest(csr);
  if (request.spiffeId !== spiffeId) {
    const why = `its name is ${request.spiffeId} and must be ${spiffeId}`;
    throw new Failure('unprocessable', `the certificate request cannot be taken: ${why}`, {
      faults: [{ path: 'csr_pem', message: why }],
    });
  }
  checkKey(ledger, request, 'enrol');
  livingOf(world, spiffeId);
  const before = ledger.revoked(spiffeId)?.count;
  if (!ledger.consume(hash, clock.now()))
    throw new Failure('token-consumed', `that token was used just now; ${cure}`);
  const isRevoked = () => ledger.revoked(spiffeId)?.count !== before;
  const recheck = () => {
    livingOf(world, spiffeId);
    if (isRevoked()) throw new Failure('forbidden', `${spiffeId} was revoked just now`);
  };
  try {
    return await issue(world, { csr, request, recheck });
  } catch (thrown) {
    // Nothing was given for it, and the agent may try again; unless it was withdrawn meanwhile.
    const isAway = thrown instanceof Failure && thrown.code === 'authority-away';
    if (isAway && !isRevoked()) ledger.giveBack(hash);
    throw thrown;
  }
}

interface Issuing {
  readonly csr: string;
  readonly request: CheckedRequest;
  /** Throws when the certificate may not be given out after all. */
  readonly recheck: () => void;
}

async function issue(world: RegisterWorld, { csr, request, recheck }: Issuing): Promise<Made> {
  const { authority, ledger, clock, agentTtlMs: ttlMs, bundle } = world;
  const { spiffeId, publicKey } = request;
  if (ledger.issuedSince(spiffeId, clock.now() - 60_000) >= PER_MINUTE)
    throw new Failure('over-quota', `${PER_MINUTE} certificates a minute are enough for ${spiffeId}`);
  const purpose = 'agent';
  const chain = await authority.issue({ csr, spiffeId, purpose, names: [], ttlMs });
  const at = clock.now();
  const shown = checkedChain(chain, { spiffeId, purpose, publicKey, ttlMs, bundle: bundle(), at });
  recheck();
  ledger.addCertificate(shown, hashOfKey(publicKey), at);
  const { until, serial } = shown;
  return { until, serial, certificate: { spiffeId, certificatePem: chain, caPem: bundle(), until } };
}
