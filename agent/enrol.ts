/**
 * The first certificate: a one-time token for it, over HTTPS, to a server that is known by a pinned root and
 * by its own SPIFFE id, whatever address it has.
 */
import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { instanceOf, onlyUriOf, serverIdOf } from '../proto/spiffe.ts';
import { checkGiven, isSameBundle, keep, newRequest } from './keys.ts';

export interface Bootstrap {
  readonly url: string;
  readonly tokenFile: string;
  /** A file with the roots to trust, whatever the server says. */
  readonly caFile: string;
  readonly spiffeId: string;
  /** A Unix socket that leads to where `url` says; absent: the network does. */
  readonly socket?: string;
  /** The token lies in a mount of this instance alone: whoever put it there takes it away again. */
  readonly isMounted?: boolean;
}

/** `isFinal`: the same token will not do next time either. */
export class EnrolFailed extends Error {
  readonly isFinal: boolean;

  constructor(message: string, isFinal: boolean, options?: ErrorOptions) {
    super(message, options);
    this.isFinal = isFinal;
  }
}

const WITHIN_MS = 20_000;
const ANSWER_CHARS_MAX = 256 << 10;

/** Throws an Error when others may read it, unless nobody else sees it anyway. */
export function tokenIn({ tokenFile: path, isMounted = false }: Bootstrap): string | null {
  let mode: number;
  try {
    mode = statSync(path).mode;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw thrown;
  }
  if (!isMounted && (mode & 0o077) !== 0)
    throw new EnrolFailed(`others may read ${path}: chmod 600 it`, false);
  return readFileSync(path, 'utf8').trim() || null;
}

/** The token is of no use any more; nobody need read it again. Gone where that is possible, else empty. */
function scrub(path: string): void {
  const { size } = statSync(path);
  const fd = openSync(path, 'r+');
  try {
    writeSync(fd, Buffer.alloc(size));
    fsyncSync(fd);
    ftruncateSync(fd, 0);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  try {
    rmSync(path);
  } catch {
    // A mount of its own cannot be removed; it is empty.
  }
}

interface Given {
  readonly certificate_pem?: unknown;
  readonly ca_pem?: unknown;
}

async function ask({ url, spiffeId, socket }: Bootstrap, said: object, pinned: string): Promise<Given> {
  const domain = instanceOf(spiffeId)?.domain ?? '';
  const checkServerIdentity = (_: string, { subjectaltname }: { subjectaltname?: string }) => {
    const shown = onlyUriOf(subjectaltname);
    if (shown === serverIdOf(domain)) return undefined;
    return new Error(`the server at ${url} is ${shown ?? 'nobody'} and not ${serverIdOf(domain)}`);
  };
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(said),
      redirect: 'error',
      signal: AbortSignal.timeout(WITHIN_MS),
      tls: { ca: pinned, checkServerIdentity },
      ...(socket === undefined ? {} : { unix: socket }),
    } as RequestInit);
    text = await response.text();
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new EnrolFailed(`${url} cannot be asked for a certificate: ${why}`, false, { cause: thrown });
  }
  let answer: unknown = null;
  try {
    if (text.length <= ANSWER_CHARS_MAX) answer = JSON.parse(text);
  } catch {
    // Told below: it is no answer of ours.
  }
  if (response.status === 201 && answer !== null) return answer as Given;
  const { detail = `status ${response.status}` } = (answer ?? {}) as { readonly detail?: string };
  const isFinal = response.status >= 400 && response.status < 500 && response.status !== 429;
  throw new EnrolFailed(`no certificate: ${detail}`, isFinal);
}

/**
 * Throws EnrolFailed. When it resolves, key, certificate and roots are in `dir` and the token is of no more
 * use.
 */
export async function enrol(bootstrap: Bootstrap, token: string, dir: string): Promise<void> {
  const { spiffeId, caFile, tokenFile, isMounted = false } = bootstrap;
  const ca = readFileSync(caFile, 'utf8');
  const { key, csr } = newRequest(spiffeId);
  const given = await ask(bootstrap, { token, spiffe_id: spiffeId, csr_pem: csr }, ca);
  const { certificate_pem: cert, ca_pem: theirs } = given;
  try {
    if (typeof cert !== 'string' || typeof theirs !== 'string') throw new Error('the answer is not whole');
    if (!isSameBundle(theirs, ca)) throw new Error(`the server's roots are not those in ${caFile}`);
    checkGiven(cert, { key, spiffeId, ca });
    keep(dir, { key, cert, ca });
  } catch (thrown) {
    // The token is used up all the same.
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new EnrolFailed(why, true, { cause: thrown });
  }
  if (!isMounted) scrub(tokenFile);
}
