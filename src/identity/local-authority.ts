/**
 * An authority of our own, in two files: its root certificate and the root's key, mode 0600.
 *
 * Both come into being at once, as a folder that is moved into its place, so that two servers that start
 * together, or one that is killed, leave one whole authority or none.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { CertificateAuthority } from '../certificates.ts';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import { newId, newSerial } from '../ids.ts';
import { BACKDATE_MS, commonName, type Issuer, keyIdOf, leafPem, rootPem } from './certificate.ts';
import { checkedRequest } from './checks.ts';
import { readText, syncDir, writeSynced } from './files.ts';

export interface LocalOptions {
  /** `root.pem` and `root-key.pem` are in it. */
  readonly dir: string;
  readonly trustDomain: string;
  readonly clock: Clock;
}

const ROOT_YEARS = 10;
const YEAR_MS = 365 * 86_400_000;

const derOf = (pem: string): Uint8Array =>
  new Uint8Array(createPublicKey(pem).export({ type: 'spki', format: 'der' }));

/** Throws Failure('wrong-state') for files that are not a whole authority of this trust domain. */
export async function localAuthority(options: LocalOptions): Promise<CertificateAuthority> {
  const { clock } = options;
  const found = (await load(options)) ?? (await make(options));
  const { issuer, pem } = found;
  return {
    kind: 'local',
    async issue({ csr, spiffeId, purpose, names, ttlMs }) {
      const { publicKey } = checkedRequest(csr);
      const at = clock.now();
      const validity = { from: at - BACKDATE_MS, until: at + ttlMs };
      return leafPem(issuer, { publicKey, spiffeId, purpose, names, validity, serial: newSerial() });
    },
    trustBundle: async () => pem,
    async health() {
      const left = Date.parse(new X509Certificate(pem).validTo) - clock.now();
      const isGood = left > 0;
      return { available: isGood, reasons: isGood ? [] : ['its root certificate has expired'] };
    },
  };
}

interface Found {
  readonly issuer: Issuer;
  readonly pem: string;
}

async function load({ dir, trustDomain }: LocalOptions): Promise<Found | null> {
  const [rootPath, keyPath] = [join(dir, 'root.pem'), join(dir, 'root-key.pem')];
  const [pem, key] = await Promise.all([readText(rootPath), readText(keyPath)]);
  if (pem === null && key === null) return null;
  const cure = 'restore both files from a backup, or move them away to begin a new authority';
  if (pem === null || key === null)
    throw new Failure('wrong-state', `half of the authority in ${dir} is missing: ${cure}`);
  const { mode } = await stat(keyPath);
  if ((mode & 0o077) !== 0)
    throw new Failure('wrong-state', `others may read ${keyPath}: chmod 600 it, if nobody has read it yet`);
  try {
    const root = new X509Certificate(pem);
    const issuerKey = createPrivateKey(key);
    if (!root.checkPrivateKey(issuerKey)) throw new Error('the key is not that of the certificate');
    if (root.subjectAltName !== `URI:spiffe://${trustDomain}`)
      throw new Error(`it is of ${root.subjectAltName} and AGENTIC_TRUST_DOMAIN is ${trustDomain}`);
    const [, name = ''] = /^CN=(.+)$/.exec(root.subject) ?? [];
    return { pem, issuer: { name: commonName(name), keyId: keyIdOf(derOf(pem)), key: issuerKey } };
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new Failure('wrong-state', `the authority in ${dir} cannot be used: ${why}; ${cure}`, {
      cause: thrown,
    });
  }
}

async function make(options: LocalOptions): Promise<Found> {
  const { dir, trustDomain, clock } = options;
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKey = new Uint8Array(pair.publicKey.export({ type: 'spki', format: 'der' }));
  const keyId = keyIdOf(publicKey);
  // Two authorities of one domain must not have one name, or a certificate could be looked up under either.
  const name = `${trustDomain} ${Buffer.from(keyId).toString('hex').slice(0, 8)}`;
  const issuer: Issuer = { name: commonName(name), keyId, key: pair.privateKey };
  const at = clock.now();
  const validity = { from: at - BACKDATE_MS, until: at + ROOT_YEARS * YEAR_MS };
  const pem = rootPem(issuer, { serial: newSerial(), publicKey, validity, domain: trustDomain });
  const making = `${dir}.${newId()}`;
  await mkdir(making, { recursive: true, mode: 0o700 });
  const key = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  await writeSynced(join(making, 'root-key.pem'), key);
  await writeSynced(join(making, 'root.pem'), pem);
  await syncDir(making);
  try {
    await rename(making, dir);
    await syncDir(dirname(dir));
    return { issuer, pem };
  } catch (thrown) {
    await rm(making, { recursive: true, force: true });
    // Somebody was faster.
    const theirs = await load(options);
    if (theirs) return theirs;
    throw thrown;
  }
}
