/**
 * Certificates that agents and this server prove themselves with: who signs them, who has one, and when one
 * is good.
 *
 * `identity/` implements the authority and the register; the transport shows what a connection proved; doors
 * ask for enrolment, renewal and revocation. A private key is never part of any of it.
 */

/** What a connection showed, after its chain was verified. */
export interface ShownCertificate {
  readonly spiffeId: string;
  /** Upper-case hex. */
  readonly serial: string;
  readonly from: number;
  readonly until: number;
}

export interface SigningWanted {
  /** PKCS#10, PEM; its signature and its one name were checked. */
  readonly csr: string;
  readonly spiffeId: string;
  readonly purpose: 'agent' | 'server';
  /** DNS names and IP addresses; none for an agent. */
  readonly names: readonly string[];
  readonly ttlMs: number;
}

/** Signs requests. Every call throws Failure('authority-away') when nobody can sign just now. */
export interface CertificateAuthority {
  readonly kind: 'local' | 'command';
  /** The leaf and what stands between it and the trust bundle, in PEM, the leaf first. */
  issue(wanted: SigningWanted): Promise<string>;
  /** Roots that leaves are checked against, in PEM. */
  trustBundle(): Promise<string>;
  health(): Promise<AuthorityHealth>;
}

export interface AuthorityHealth {
  readonly available: boolean;
  readonly reasons: readonly string[];
}

export interface NewCertificate {
  readonly spiffeId: string;
  readonly certificatePem: string;
  readonly caPem: string;
  readonly until: number;
}

export interface EnrolWanted {
  readonly token: string;
  readonly spiffeId: string;
  readonly csr: string;
}

export interface Grant {
  /** Shown this once. */
  readonly token: string;
  readonly spiffeId: string;
  readonly expiresAt: number;
}

export interface Revoked {
  readonly at: number;
  /** How many of each were good until now. */
  readonly certificates: number;
  readonly tokens: number;
}

/** Who has a certificate, and whether it is still good. What it promises is durable when it is answered. */
export interface Register {
  readonly trustDomain: string;
  /** The name that this server's certificate has whatever its address is. */
  readonly serverName: string;
  spiffeId(instanceId: string): string;
  /**
   * The instance that a certificate is for. Throws Failure('unauthenticated') for one of another trust
   * domain, one that has expired and one that was revoked, 'forbidden' when its instance is no more.
   */
  standing(shown: ShownCertificate): { readonly instanceId: string };
  /**
   * Takes a one-time token for a certificate. Throws Failure('unauthenticated' | 'token-consumed' |
   * 'forbidden' | 'unprocessable' | 'authority-away').
   */
  enrol(wanted: EnrolWanted, from: string): Promise<NewCertificate>;
  /** The same id again, under a key of the agent's own. Throws as `standing` and `enrol` do. */
  renew(shown: ShownCertificate, csr: string): Promise<NewCertificate>;
  /** Whether an instance has a certificate that is good now, and a token that is. */
  held(instanceId: string): { readonly certificate: boolean; readonly token: boolean };
  /** A token that is good for one certificate of that instance, for minutes. */
  grant(instanceId: string, by: string): Grant;
  /** Nothing that was issued or granted to the instance so far is good any more. */
  revoke(instanceId: string, why: { readonly by: string; readonly reason: string }): Revoked;
}

/** For the audit log: each attempt, whatever became of it. */
export interface IdentityEvent {
  readonly what:
    | 'token.granted'
    | 'certificate.issued'
    | 'certificate.renewed'
    | 'certificate.refused'
    | 'connection.refused'
    | 'identity.revoked'
    | 'server-certificate.changed';
  readonly outcome: 'success' | 'denied' | 'failure';
  /** Who asked, as far as it is known: an operator, a SPIFFE id, an address. */
  readonly actor: string;
  readonly spiffeId: string | null;
  readonly details: Readonly<Record<string, string | number>>;
}

/** The audit log, as identities tell it. */
export interface Audited {
  /** Throws Failure('audit-away') while nothing can be noted; asked before anything is signed. */
  ready(): Promise<void>;
  /** Resolves when it is on the disk; throws Failure('audit-away'), and it is owed then. */
  note(event: IdentityEvent): Promise<void>;
  /** In the background, for what is not waited for; never throws. */
  tell(event: IdentityEvent): void;
}
