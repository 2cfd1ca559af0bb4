/**
 * What this server shows to agents, and the roots it checks them against; both change while it runs.
 *
 * The certificate and its key are two files, mode 0600. They are looked at again and again: what somebody
 * put there is taken, and what has lived two thirds of its life is made anew. Who listens is told, and goes
 * on with what is open.
 */
import { createPrivateKey, generateKeyPairSync, sign, type X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { requestPem, requestToSign } from '../../proto/request.ts';
import { serverIdOf, serverNameOf } from '../../proto/spiffe.ts';
import type { Audited, CertificateAuthority } from '../certificates.ts';
import { type Clock, rfc3339 } from '../clock.ts';
import type { Log } from '../log.ts';
import { certificatesIn, checkedChain, isIssuedUnder, validityOf } from './checks.ts';
import { readText, replaceFiles } from './files.ts';

export interface Material {
  readonly cert: string;
  readonly key: string;
  /** The trust bundle. */
  readonly ca: string;
}

export interface ServerCertificate {
  current(): Material;
  /** Called at each change. Returns how to stop. */
  watch(listener: (material: Material) => void): () => void;
  /** Looks at once, and not only at its time. */
  look(): Promise<void>;
  close(): void;
}

export interface ServerCertificateOptions {
  readonly dir: string;
  readonly authority: CertificateAuthority;
  readonly trustDomain: string;
  readonly names: readonly string[];
  readonly ttlMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly audited: Audited;
}

const LOOK_EVERY_MS = 5_000;
/** The bundle of an authority elsewhere costs a program each time; a new certificate too. */
const ASK_EVERY_MS = 60_000;

/** Throws Failure('authority-away') when there is no certificate and nobody makes one. */
export async function serverCertificate(options: ServerCertificateOptions): Promise<ServerCertificate> {
  const { authority, clock, log, audited, ttlMs, trustDomain } = options;
  const at = (name: string) => join(options.dir, name);
  const paths = { cert: at('server-cert.pem'), key: at('server-key.pem'), bundle: at('bundle.pem') };
  const listeners = new Set<(material: Material) => void>();
  const read = async (): Promise<Pick<Material, 'cert' | 'key'> | null> => {
    const [cert, key] = await Promise.all([readText(paths.cert), readText(paths.key)]);
    return cert === null || key === null ? null : { cert, key };
  };
  const make = async (ca: string): Promise<Material> => {
    const made = await newCertificate(options, ca);
    await replaceFiles([
      [paths.key, made.key],
      [paths.cert, made.cert],
    ]);
    return { ...made, ca };
  };
  const isGood = (pair: Pick<Material, 'cert' | 'key'>, ca: string) =>
    whyNot({ ...pair, ca }, { at: clock.now(), names: namesOf(options) }) === null;
  /** The last one that was seen, when nobody can say it now: agents must come back to us all the same. */
  const bundleNow = async (): Promise<string> => {
    try {
      return await authority.trustBundle();
    } catch (thrown) {
      const last = await readText(paths.bundle);
      if (last === null) throw thrown;
      log.warn('trust bundle as it was last seen', { why: String(thrown) });
      return last;
    }
  };
  const keepBundle = (bundle: string) => replaceFiles([[paths.bundle, bundle]]);
  const ca = await bundleNow();
  const found = await read();
  let now: Material = found && isGood(found, ca) ? { ...found, ca } : await make(ca);
  await keepBundle(ca);
  let askedAt = clock.now();
  let passedOver = '';
  let turn: Promise<void> = Promise.resolve();

  const change = (next: Material) => {
    now = next;
    const [leaf] = certificatesIn(next.cert);
    const until = leaf ? rfc3339(validityOf(leaf).until) : '';
    const details = { serial: leaf?.serialNumber ?? '', until };
    const spiffeId = serverIdOf(trustDomain);
    audited.tell({
      what: 'server-certificate.changed',
      outcome: 'success',
      actor: 'house',
      spiffeId,
      details,
    });
    for (const listener of listeners) listener(next);
  };
  const look = async () => {
    const pair = await read();
    const isOther = pair !== null && (pair.cert !== now.cert || pair.key !== now.key);
    if (isOther && pair.cert + pair.key !== passedOver) {
      const why = whyNot({ ...pair, ca: now.ca }, { at: clock.now(), names: [] });
      if (why === null) change({ ...pair, ca: now.ca });
      else log.warn('server certificate not taken', { path: paths.cert, why });
      passedOver = why === null ? '' : pair.cert + pair.key;
    }
    const isOld = isOldAt(now.cert, { at: clock.now(), ttlMs });
    if (clock.now() - askedAt < Math.min(ASK_EVERY_MS, ttlMs / 10)) return;
    askedAt = clock.now();
    const bundle = await authority.trustBundle();
    if (isOld || !isGood(now, bundle)) {
      change(await make(bundle));
      return await keepBundle(bundle);
    }
    if (bundle === now.ca) return;
    change({ ...now, ca: bundle });
    await keepBundle(bundle);
  };
  const looking = () => {
    turn = turn
      .then(look)
      .catch((thrown) => log.warn('server certificate not looked at', { why: String(thrown) }));
    return turn;
  };
  let timer: unknown;
  const again = () => {
    if (isOpen)
      timer = clock.setTimeout(() => void looking().then(again), Math.min(LOOK_EVERY_MS, ttlMs / 20));
  };
  let isOpen = true;
  again();
  return {
    current: () => now,
    watch(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    look: looking,
    close() {
      isOpen = false;
      clock.clearTimeout(timer);
    },
  };
}

function namesOf({ trustDomain, names }: ServerCertificateOptions): readonly string[] {
  return [...new Set([serverNameOf(trustDomain), 'localhost', '127.0.0.1', '::1', ...names])];
}

/** Two thirds of its life, or of ours where that is shorter, are over. */
function isOldAt(cert: string, { at, ttlMs }: { at: number; ttlMs: number }): boolean {
  const [leaf] = certificatesIn(cert);
  if (!leaf) return true;
  const { from, until } = validityOf(leaf);
  return until - at < Math.min(until - from, ttlMs) / 3;
}

async function newCertificate(options: ServerCertificateOptions, bundle: string) {
  const { authority, trustDomain, ttlMs, clock } = options;
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKey = new Uint8Array(pair.publicKey.export({ type: 'spki', format: 'der' }));
  const spiffeId = serverIdOf(trustDomain);
  const toSign = requestToSign(publicKey, spiffeId);
  const csr = requestPem(toSign, sign('sha256', toSign, pair.privateKey));
  const purpose = 'server';
  const cert = await authority.issue({ csr, spiffeId, purpose, names: namesOf(options), ttlMs });
  checkedChain(cert, { spiffeId, purpose, publicKey, ttlMs, bundle, at: clock.now() });
  return { cert, key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string };
}

const isPair = (leaf: X509Certificate, key: string): boolean => leaf.checkPrivateKey(createPrivateKey(key));

/** Null: it can be shown. */
function whyNot({ cert, key, ca }: Material, { at, names }: { at: number; names: readonly string[] }) {
  try {
    const chain = certificatesIn(cert);
    const [leaf] = chain;
    if (!leaf) return 'there is no certificate in it';
    if (!isPair(leaf, key)) return 'the key is not that of the certificate';
    if (validityOf(leaf).until <= at) return 'it has expired';
    if (!isIssuedUnder(chain, ca, at)) return 'agents would not trust it: no root of ours is above it';
    const missing = names.find((name) => leaf.checkHost(name) === undefined && !leaf.checkIP(name));
    return missing === undefined ? null : `it does not name ${missing}`;
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
}
