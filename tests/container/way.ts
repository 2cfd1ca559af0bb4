/** A way out of an instance: what is tried, and the words of the wall that it must meet. */

export type Family = 'network' | 'engine' | 'files' | 'identity';

export interface Way {
  readonly family: Family;
  /** Unique; as docs/containers.md has it. */
  readonly tries: string;
  /** What must be there afterwards: not that it failed, but why. */
  readonly sees: RegExp;
  /** What the same probe reaches where it may: a probe that is wrong in itself would not. */
  readonly isControl?: true;
  /** From inside, as the user inside, by the API; `outside`: what an instance prepared, or got to know. */
  readonly from: 'isolated' | 'allowlist' | 'full' | 'outside';
  /** Returns what it saw. */
  readonly run: (world: World) => Promise<string>;
}

/** The names of the instances. */
export const rooms = { isolated: 'cell', allowlist: 'guided', full: 'free', neighbour: 'other' } as const;

export interface World {
  readonly dataDir: string;
  /** A directory of this host that nothing may reach. */
  readonly outside: string;
  readonly engineSocket: string;
  readonly ports: Readonly<Record<'http' | 'grpc' | 'gateway' | 'enrol' | 'site' | 'closed', number>>;
  /** An address of this host that is not on its loopback interface. */
  readonly bridge: string;
  readonly freeAddress: string;
  readonly instanceId: Readonly<Record<'cell' | 'other', string>>;
  /** What another agent proves itself by, as if it were stolen. */
  readonly stolen: { readonly cert: string; readonly key: string };
  readonly virtualKey: Readonly<Record<'cell' | 'other' | 'ended', string>>;
  readonly realKey: string;
  /** Of an admin. */
  readonly adminToken: string;
  readonly otherSession: string;
  readonly enrolUrl: string;
  /** Runs a line of bash by the API, and gives all that it said. */
  readonly inside: (room: string, script: string) => Promise<string>;
  /** What the server has said. */
  readonly log: () => string;
  readonly call: (method: string, path: string, wish?: CallWish) => Promise<Response>;
}

export interface CallWish {
  readonly body?: string;
  /** Another than the admin's. */
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An address that no machine has (RFC 5737), on this host's loopback interface while the tests run. */
export const SITE = '203.0.113.10';

/** What the program in the inbox is told, each word quoted. */
export const probe = (...words: readonly (string | number)[]): string =>
  `node /mnt/inbox/probe.mjs ${words.map((word) => `'${word}'`).join(' ')}`;

/** A status and what is said, in one line. */
export const answer = async (response: Response): Promise<string> =>
  `${response.status} ${(await response.text()).slice(0, 400)}`;
