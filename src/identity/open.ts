/** The authority, the register and this server's own certificate, as the configuration wants them. */
import { join } from 'node:path';
import { trustDomainPattern } from '../../proto/spiffe.ts';
import type { Audited, CertificateAuthority, Register } from '../certificates.ts';
import type { Clock } from '../clock.ts';
import type { IdentityConfig } from '../config.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import { commandAuthority } from './command-authority.ts';
import { openLedger } from './ledger.ts';
import { localAuthority } from './local-authority.ts';
import { register } from './register.ts';
import { type ServerCertificate, serverCertificate } from './server-certificate.ts';

export interface IdentityWorld {
  readonly config: IdentityConfig;
  /** `<data>/secrets`: `ca/`, `tls/` and `identity.db` are in it. */
  readonly dir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly instanceNamed: (instanceId: string) => string | null;
  readonly clock: Clock;
  readonly log: Log;
  readonly audited: Audited;
}

export interface OpenIdentity {
  readonly authority: CertificateAuthority;
  readonly register: Register;
  readonly server: ServerCertificate;
  close(): void;
}

/** What the program that signs may see of our environment. */
const passedOn = /^(PATH|HOME|LANG|TZ|AGENTIC_CA_\w+)$/;

/** Throws Failure('wrong-state' | 'authority-away' | 'bad-input'). */
export async function openIdentity(world: IdentityWorld): Promise<OpenIdentity> {
  const { config, dir, clock, log, audited } = world;
  const { trustDomain } = config;
  if (!trustDomainPattern.test(trustDomain))
    throw new Failure('bad-input', `"${trustDomain}" is no trust domain: a DNS name in lower case`);
  const ledger = openLedger(join(dir, 'identity.db'));
  try {
    const authority = await authorityOf(world);
    const { names, serverTtlMs: ttlMs } = config;
    const options = { dir: join(dir, 'tls'), authority, trustDomain, names, ttlMs, clock, log, audited };
    const server = await serverCertificate(options);
    const { agentTtlMs, tokenTtlMs } = config;
    const { instanceNamed } = world;
    const bundle = () => server.current().ca;
    const given = { trustDomain, authority, ledger, bundle, instanceNamed, agentTtlMs, tokenTtlMs };
    return {
      authority,
      server,
      register: register({ ...given, clock, audited }),
      close() {
        server.close();
        ledger.close();
      },
    };
  } catch (thrown) {
    ledger.close();
    throw thrown;
  }
}

async function authorityOf({ config, dir, env, clock, log }: IdentityWorld): Promise<CertificateAuthority> {
  const { trustDomain, authority: program } = config;
  if (program === null) return await localAuthority({ dir: join(dir, 'ca'), trustDomain, clock });
  const seen = Object.entries(env).flatMap(([name, value]) =>
    value !== undefined && passedOn.test(name) ? [[name, value] as const] : [],
  );
  return commandAuthority({ program, trustDomain, clock, log, env: Object.fromEntries(seen) });
}
