/**
 * Who this agent is, by certificate: enrolled once by a one-time token, renewed on the live channel at half
 * of its life, under a new key each time.
 *
 * A link is not dropped for a new certificate: it changes over when nothing runs, or when half of what was
 * left is over, and sessions go on across it as across every reconnect.
 */
import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { type Client, Metadata, type ServiceError } from '@grpc/grpc-js';
import { RenewCertificateRequestSchema, type RenewCertificateResponse } from '../proto/gen/agent_pb.ts';
import { agentService } from '../proto/service.ts';
import { type Bootstrap, EnrolFailed, enrol, tokenIn } from './enrol.ts';
import { checkGiven, type Held, held, keep, newRequest } from './keys.ts';
import type { Log } from './log.ts';

export interface IdentityOptions {
  /** `cert.pem`, `key.pem` and `ca.pem` are in it, or will be. */
  readonly dir: string;
  /** Null: the certificate is there already. */
  readonly bootstrap: Bootstrap | null;
}

export interface IdentityWorld {
  readonly options: IdentityOptions;
  readonly log: Log;
  /** Sessions whose process runs. */
  readonly running: () => number;
  /** Connects anew, with what is in the files then. */
  readonly changeOver: () => void;
}

export interface Identity {
  /** Enrols when it must. Null: there is a certificate; else why there is none. */
  ready(): Promise<string | null>;
  /** Whether a token lies there that was not tried yet: then there is no reason to wait. */
  hasNewToken(): boolean;
  /** A link that was accepted; certificates are renewed over it. */
  live(client: Client): void;
  over(): void;
}

const RETRY_MS = 60_000;
const RENEW_WITHIN_MS = 20_000;
const TIMER_MS_MAX = 2 ** 31 - 1;
/** Of a life, beyond the half: so that a fleet that was started together does not come together. */
const JITTER = 0.1;

/** When to ask for the next one: the half, and a part of a tenth that is the certificate's own. */
export function renewAt({ cert, since, until }: Pick<Held, 'cert' | 'since' | 'until'>): number {
  const share = createHash('sha256').update(cert).digest().readUInt32BE(0) / 2 ** 32;
  return since + (until - since) * (0.5 + share * JITTER);
}

export function identity({ options, log, running, changeOver }: IdentityWorld): Identity {
  const { dir, bootstrap } = options;
  /** A token that was used, or that the server has refused, is not shown to it again. */
  let spent: { readonly token: string; readonly why: string } | null = null;
  /** The last that was tried, whatever became of it. */
  let tried: string | null = null;
  let client: Client | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const later = (at: number, act: () => void) => {
    clearTimeout(timer);
    timer = setTimeout(act, Math.min(Math.max(0, at - Date.now()), TIMER_MS_MAX));
  };
  const next = () => {
    const now = held(dir);
    if (now) later(renewAt(now), () => void renew());
  };
  const renew = async () => {
    const [asked, now] = [client, held(dir)];
    if (!asked || !now) return;
    // A timer that could not reach so far.
    if (Date.now() < renewAt(now)) return next();
    try {
      await renewOver(asked, now, dir);
      log('info', 'certificate renewed', { spiffe_id: now.spiffeId });
      if (client === asked) changeWhenCalm(now.until);
    } catch (thrown) {
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      log('warn', 'certificate not renewed', { why, until: new Date(now.until).toISOString() });
      const left = now.until - Date.now();
      if (client === asked)
        later(Date.now() + Math.min(RETRY_MS, Math.max(1_000, left / 4)), () => void renew());
    }
  };
  /** The old certificate is good until then. */
  const changeWhenCalm = (until: number) => {
    const latest = Date.now() + (until - Date.now()) / 2;
    const look = () => {
      if (running() === 0 || Date.now() >= latest) return changeOver();
      later(Math.min(latest, Date.now() + 1_000), look);
    };
    look();
  };
  /** A token that was not tried yet is a new beginning, whatever is held. Null: there is none. */
  const begin = async (from: Bootstrap): Promise<'enrolled' | null> => {
    const token = tokenIn(from);
    if (!token || token === spent?.token) return null;
    tried = token;
    try {
      await enrol(from, token, dir);
      spent = { token, why: 'that token was used' };
    } catch (thrown) {
      if (thrown instanceof EnrolFailed && thrown.isFinal)
        spent = { token, why: `${thrown.message} (put a new one-time token into ${from.tokenFile})` };
      throw thrown;
    }
    log('info', 'enrolled', { spiffe_id: from.spiffeId, dir });
    return 'enrolled';
  };
  return {
    async ready() {
      try {
        const now = held(dir);
        const isGood = now !== null && now.until > Date.now();
        try {
          if (bootstrap && (await begin(bootstrap))) return null;
        } catch (thrown) {
          if (!isGood) throw thrown;
          log('warn', 'not enrolled anew', {
            why: thrown instanceof Error ? thrown.message : String(thrown),
          });
        }
        if (isGood) return null;
        if (spent && bootstrap && tokenIn(bootstrap) === spent.token) return spent.why;
        const state = now ? `expired at ${new Date(now.until).toISOString()}` : 'is missing';
        const where = bootstrap ? `put a new one-time token into ${bootstrap.tokenFile}` : 'enrol again';
        return `the certificate in ${dir} ${state}: ${where}`;
      } catch (thrown) {
        return thrown instanceof Error ? thrown.message : String(thrown);
      }
    },
    hasNewToken() {
      try {
        const token = bootstrap && tokenIn(bootstrap);
        return token !== null && token !== tried;
      } catch {
        return false; // Why it cannot be read is said with the next try.
      }
    },
    live(opened) {
      client = opened;
      next();
    },
    over() {
      client = null;
      clearTimeout(timer);
    },
  };
}

async function renewOver(client: Client, now: Held, dir: string): Promise<void> {
  const { spiffeId } = now;
  const { key, csr } = newRequest(spiffeId);
  const { path, requestSerialize, responseDeserialize } = agentService.renewCertificate;
  const wanted = create(RenewCertificateRequestSchema, { csrPem: csr });
  const options = { deadline: Date.now() + RENEW_WITHIN_MS };
  const answer = await new Promise<RenewCertificateResponse>((resolve, reject) => {
    const told = (error: ServiceError | null, response?: RenewCertificateResponse) =>
      response ? resolve(response) : reject(new Error(error?.details || error?.message || 'no answer'));
    const call = [path, requestSerialize, responseDeserialize, wanted] as const;
    client.makeUnaryRequest(...call, new Metadata(), options, told);
  });
  const { certificatePem: cert, caPem: ca } = answer;
  // The channel was checked against the roots we have, so the server may bring new ones.
  checkGiven(cert, { key, spiffeId, ca });
  keep(dir, { key, cert, ca });
}
