/**
 * The certificate that HTTP and WebSockets show: the operator's own, read again when its files change, or one
 * that is made here and made anew before it ends.
 */
import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { Clock } from '../clock.ts';
import type { TlsWish } from '../config.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import { type Pair, selfSigned } from './self-signed.ts';

export interface Shown extends Pair {
  /** SHA-256, as `openssl x509 -fingerprint -sha256` prints it. */
  readonly fingerprint: string;
  /** Made here: no authority vouches for it. */
  readonly isOwnMade: boolean;
}

export interface Certificate {
  readonly shown: Shown;
  /**
   * The new one when there is one; null: it is the same as before. Keeps the old one where it cannot be used.
   */
  look(): Promise<Shown | null>;
}

export interface CertificateOptions {
  readonly wish: TlsWish;
  /** Where one that is made here is kept. */
  readonly dir: string;
  /** Names and addresses of this server, besides the loopback's and the machine's. */
  readonly names: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
}

const DAY_MS = 86_400_000;
/** Browsers take no longer one. */
const LASTS_MS = 397 * DAY_MS;
const RENEW_MS = 30 * DAY_MS;

/** Throws Failure('bad-input') that says what is wrong with which file. */
export async function certificate(options: CertificateOptions): Promise<Certificate> {
  return options.wish.kind === 'files' ? ofFiles(options.wish, options.log) : ownMade(options);
}

function checked({ cert, key }: Pair, from: string): Shown {
  const bad = (why: string) => new Failure('bad-input', `the certificate in ${from} cannot be used: ${why}`);
  let parsed: X509Certificate;
  try {
    parsed = new X509Certificate(cert);
    createSecureContext({ cert, key });
  } catch (thrown) {
    throw bad((thrown as Error).message);
  }
  return { cert, key, fingerprint: parsed.fingerprint256, isOwnMade: false };
}

async function ofFiles({ cert, key }: Extract<TlsWish, { kind: 'files' }>, log: Log): Promise<Certificate> {
  const read = async (): Promise<Shown> => {
    const texts = await Promise.all([cert, key].map((path) => readFile(path, 'utf8'))).catch((thrown) => {
      throw new Failure('bad-input', `the TLS certificate cannot be read: ${(thrown as Error).message}`);
    });
    return checked({ cert: texts[0] ?? '', key: texts[1] ?? '' }, `${cert} and ${key}`);
  };
  const stamp = async (): Promise<string> => {
    const found = await Promise.all(
      [cert, key].map((path) => stat(path, { bigint: true }).catch(() => null)),
    );
    return found.map((one) => (one ? `${one.ino} ${one.size} ${one.mtimeNs}` : 'none')).join(' ');
  };
  let at = await stamp();
  let shown = await read();
  return {
    get shown() {
      return shown;
    },
    async look() {
      const now = await stamp();
      if (now === at) return null;
      at = now;
      try {
        const next = await read();
        if (next.fingerprint === shown.fingerprint) return null;
        shown = next;
        return shown;
      } catch (thrown) {
        // Between the writing of one file and of the other the two do not fit.
        log.warn('the new TLS certificate is not used', { why: (thrown as Error).message });
        return null;
      }
    },
  };
}

async function ownMade({ dir, names, clock, log }: CertificateOptions): Promise<Certificate> {
  const paths = { cert: join(dir, 'cert.pem'), key: join(dir, 'key.pem') };
  const all = [...new Set(['localhost', '127.0.0.1', '::1', hostname().toLowerCase(), ...names])].filter(
    isName,
  );
  const make = async (): Promise<Shown> => {
    const now = clock.now();
    const pair = selfSigned({ names: all, from: now - DAY_MS, until: now + LASTS_MS });
    await mkdir(dir, { recursive: true, mode: 0o700 });
    for (const [name, path] of Object.entries(paths)) {
      await writeFile(`${path}.new`, name === 'key' ? pair.key : pair.cert, { mode: 0o600, flush: true });
      await rename(`${path}.new`, path);
    }
    log.info('a TLS certificate was made', { names: all.join(', ') });
    return { ...checked(pair, dir), isOwnMade: true };
  };
  const kept = async (): Promise<Shown | null> => {
    const texts = await Promise.all(Object.values(paths).map((path) => readFile(path, 'utf8'))).catch(
      () => [],
    );
    const [cert, key] = texts;
    if (cert === undefined || key === undefined) return null;
    try {
      const found = checked({ cert, key }, dir);
      return isGood(cert) ? { ...found, isOwnMade: true } : null;
    } catch {
      return null; // It broke, or half of it was written: another is made.
    }
  };
  const isGood = (cert: string): boolean => {
    const parsed = new X509Certificate(cert);
    const lasts = Date.parse(parsed.validTo) - clock.now() > RENEW_MS;
    return lasts && all.every((name) => (isIP(name) ? parsed.checkIP(name) : parsed.checkHost(name)));
  };
  let shown = (await kept()) ?? (await make());
  return {
    get shown() {
      return shown;
    },
    async look() {
      if (isGood(shown.cert)) return null;
      shown = await make();
      return shown;
    },
  };
}

/** A name may have come with a port; what stands for every address is none. */
const isName = (name: string): boolean =>
  /^[A-Za-z0-9.:_-]+$/.test(name) && name !== '0.0.0.0' && name !== '::';
