/**
 * The key, certificate and roots of this agent: three files of one folder, mode 0600, of which the key was
 * made here and goes nowhere.
 *
 * They change together. A crash in between leaves a new key beside an old certificate and the new one under
 * another name; whoever reads them next puts that right.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { requestPem, requestToSign } from '../proto/request.ts';
import { instanceOf, onlyUriOf, serverNameOf } from '../proto/spiffe.ts';

export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** Empty: the one that every server of our certificate's trust domain has. */
  readonly serverName: string;
}

export interface Held {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly spiffeId: string;
  /** By our clock, as far as we know. */
  readonly since: number;
  readonly until: number;
}

export const filesIn = (dir: string, serverName: string): TlsFiles => ({
  ca: join(dir, 'ca.pem'),
  cert: join(dir, 'cert.pem'),
  key: join(dir, 'key.pem'),
  serverName,
});

const spkiOf = (key: string): Buffer =>
  createPublicKey(createPrivateKey(key)).export({ type: 'spki', format: 'der' }) as Buffer;

const read = (path: string): string | null => {
  try {
    return readFileSync(path, 'utf8');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw thrown;
  }
};

function write(path: string, text: string): void {
  const fd = openSync(path, 'w', 0o600);
  try {
    fchmodSync(fd, 0o600);
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function keep(dir: string, { key, cert, ca }: Pick<Held, 'key' | 'cert' | 'ca'>): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const files = filesIn(dir, '');
  const all = [
    [files.ca, ca],
    [files.key, key],
    [files.cert, cert],
  ] as const;
  for (const [path, text] of all) write(`${path}.new`, text);
  for (const [path] of all) renameSync(`${path}.new`, path);
  const fd = openSync(dir, 'r');
  fsyncSync(fd);
  closeSync(fd);
}

const isPair = (cert: string, key: string): boolean =>
  new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));

/** Null when there is nothing whole. Throws when something is there that is no key or no certificate. */
export function held(dir: string): Held | null {
  const files = filesIn(dir, '');
  const [ca, key] = [read(files.ca), read(files.key)];
  let cert = read(files.cert);
  if (ca === null || key === null) return null;
  if (cert === null || !isPair(cert, key)) {
    cert = read(`${files.cert}.new`);
    if (cert === null || !isPair(cert, key)) return null;
    renameSync(`${files.cert}.new`, files.cert);
  }
  const x509 = new X509Certificate(cert);
  const [from, until] = [Date.parse(x509.validFrom), Date.parse(x509.validTo)];
  const since = Math.min(Math.max(statSync(files.cert).mtimeMs, from), until);
  return { ca, key, cert, since, until, spiffeId: onlyUriOf(x509.subjectAltName) ?? '' };
}

export interface Request {
  readonly key: string;
  readonly csr: string;
}

/** A new key, and the request for its certificate. */
export function newRequest(spiffeId: string): Request {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  const toSign = requestToSign(new Uint8Array(spkiOf(key)), spiffeId);
  return { key, csr: requestPem(toSign, sign('sha256', toSign, privateKey)) };
}

const blocks = (pem: string): readonly X509Certificate[] =>
  (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map(
    (block) => new X509Certificate(block),
  );

/** The same certificates, however they are written. */
export function isSameBundle(a: string, b: string): boolean {
  const names = (pem: string) =>
    blocks(pem)
      .map(({ fingerprint256 }) => fingerprint256)
      .sort()
      .join();
  return names(a) === names(b) && names(a) !== '';
}

const CHAIN_MAX = 5;

function leadsTo(chain: readonly X509Certificate[], ca: string): boolean {
  const roots = blocks(ca);
  let current = chain[0];
  for (let depth = 0; current && depth < CHAIN_MAX; depth++) {
    const by = (one: X509Certificate) =>
      one.ca && current?.checkIssued(one) === true && current.verify(one.publicKey);
    if (roots.some(by)) return true;
    current = chain.slice(1).find((one) => one !== current && by(one));
  }
  return false;
}

/** Throws an Error that says why a certificate that we were given is not ours. */
export function checkGiven(cert: string, { key, spiffeId, ca }: Pick<Held, 'key' | 'spiffeId' | 'ca'>): void {
  const chain = blocks(cert);
  const [leaf] = chain;
  if (!leaf) throw new Error('the server answered with no certificate');
  if (leaf.subjectAltName !== `URI:${spiffeId}`)
    throw new Error(`the certificate is for ${leaf.subjectAltName} and not for ${spiffeId}`);
  if (!isPair(cert, key)) throw new Error('the certificate is for another key');
  const now = Date.now();
  if (Date.parse(leaf.validFrom) > now || Date.parse(leaf.validTo) <= now)
    throw new Error(
      `the certificate is good from ${leaf.validFrom} to ${leaf.validTo}: is this clock right?`,
    );
  if (!leadsTo(chain, ca)) throw new Error('the certificate leads to no root that we trust');
}

/** Reads the files for one connection. Throws an Error that names what is missing. */
export function tlsMaterial({ ca, cert, key, serverName }: TlsFiles) {
  const pem = readFileSync(cert);
  const domain = instanceOf(onlyUriOf(new X509Certificate(pem).subjectAltName) ?? '')?.domain;
  const name = serverName || (domain === undefined ? '' : serverNameOf(domain));
  if (name === '') throw new Error(`${cert} has no SPIFFE id: say with --tls-server-name who the server is`);
  return { ca: readFileSync(ca), key: readFileSync(key), cert: pem, serverName: name };
}
