/** Authorities, keys and requests for tests, also such as nobody honest would make. */
import { createPublicKey, generateKeyPairSync, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requestPem, requestToSign } from '../../proto/request.ts';
import type { Audited, IdentityEvent, ShownCertificate } from '../../src/certificates.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { Failure } from '../../src/failure.ts';
import { commonName, type Issuer, keyIdOf, leafPem, rootPem } from '../../src/identity/certificate.ts';
import { shownOf } from '../../src/identity/checks.ts';
import { newId, newSerial } from '../../src/ids.ts';

export const DOMAIN = 'sandbox.local';
export const WAIT_MS = 20_000;

export async function until<T>(what: string, look: () => T | null | undefined | false): Promise<T> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const found = look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited ${WAIT_MS} ms in vain for ${what}`);
    await Bun.sleep(5);
  }
}

/** Removed by `clean`, with everything else that was begun. */
export function cleaning() {
  const undo: (() => unknown)[] = [];
  return {
    add: (fn: () => unknown) => void undo.push(fn),
    dir(name: string): string {
      const dir = mkdtempSync(join(tmpdir(), `identity-${name}-`));
      undo.push(() => rmSync(dir, { recursive: true, force: true }));
      return dir;
    },
    async clean() {
      for (const fn of undo.splice(0).reverse()) await fn();
    },
  };
}

export interface Pair {
  readonly key: string;
  readonly privateKey: KeyObject;
  /** SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
}

export function pair(namedCurve = 'P-256'): Pair {
  const made = generateKeyPairSync('ec', { namedCurve });
  const publicKey = new Uint8Array(made.publicKey.export({ type: 'spki', format: 'der' }));
  const key = made.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  return { key, privateKey: made.privateKey, publicKey };
}

export const idOf = (instanceId: string, domain = DOMAIN) => `spiffe://${domain}/instance/${instanceId}`;

export function request(spiffeId: string, of: Pair = pair()) {
  const toSign = requestToSign(of.publicKey, spiffeId);
  return { ...of, csr: requestPem(toSign, sign('sha256', toSign, of.privateKey)) };
}

export interface Root {
  readonly pem: string;
  readonly issuer: Issuer;
}

export function root(domain = DOMAIN): Root {
  const { publicKey, privateKey } = pair();
  const issuer = { name: commonName(`test ${newId()}`), keyId: keyIdOf(publicKey), key: privateKey };
  const validity = { from: Date.now() - 60_000, until: Date.now() + 86_400_000 };
  return { issuer, pem: rootPem(issuer, { serial: newSerial(), publicKey, validity, domain }) };
}

export interface Credentials {
  readonly cert: string;
  readonly key: string;
}

/** A certificate, made without any of the server's rules. */
export function forged(
  by: Root,
  spiffeId: string,
  { ageMs = 60_000, leftMs = 3_600_000, purpose = 'agent' as 'agent' | 'server' } = {},
): Credentials {
  const { key, publicKey } = pair();
  const validity = { from: Date.now() - ageMs, until: Date.now() + leftMs };
  const serial = newSerial();
  const names = purpose === 'server' ? [`server.${DOMAIN}`, 'localhost'] : [];
  return { key, cert: leafPem(by.issuer, { publicKey, spiffeId, purpose, names, validity, serial }) };
}

export const shown = (pem: string): ShownCertificate => shownOf(new X509Certificate(pem)) as ShownCertificate;
export const spkiOf = (pem: string): Buffer =>
  createPublicKey(pem).export({ type: 'spki', format: 'der' }) as Buffer;

/** Keeps what is audited. */
export function audit(): { readonly events: IdentityEvent[]; readonly audited: Audited } {
  const events: IdentityEvent[] = [];
  const tell = (event: IdentityEvent) => void events.push(event);
  return { events, audited: { ready: async () => {}, note: async (event) => tell(event), tell } };
}

/** A clock whose hands a test moves; timers ring when they are passed. */
export function handClock(startAt = Date.now()): Clock & { move(ms: number): void } {
  let now = startAt;
  const timers = new Set<{ at: number; fn: () => void }>();
  return {
    now: () => now,
    setTimeout(fn, ms) {
      const timer = { at: now + ms, fn };
      timers.add(timer);
      return timer;
    },
    clearTimeout: (timer) => void timers.delete(timer as never),
    move(ms) {
      now += ms;
      for (const timer of [...timers].filter(({ at }) => at <= now)) {
        timers.delete(timer);
        timer.fn();
      }
    },
  };
}

export async function refusal(promise: Promise<unknown> | (() => unknown)): Promise<Failure> {
  try {
    await (typeof promise === 'function' ? promise() : promise);
  } catch (thrown) {
    if (thrown instanceof Failure) return thrown;
    throw thrown;
  }
  throw new Error('it was not refused');
}

export const clock = systemClock;
