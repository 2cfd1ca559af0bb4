/**
 * The house behind the doors, as small as it can be: it keeps what it is told, in order, and admits by the
 * same rules. A test may hold back one of its answers.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Access } from '../../src/access.ts';
import type { AgentLink, AgentListener, Proof, Registration, ReportedSession } from '../../src/agent-link.ts';
import { noAudit } from '../../src/audit.ts';
import { systemClock } from '../../src/clock.ts';
import type { ExecDesk, ExecPart, ExecWanted } from '../../src/desk.ts';
import { Failure } from '../../src/failure.ts';
import { type Fields, type Log, silentLog } from '../../src/log.ts';
import { type AgentServer, type AgentServerOptions, agentServer } from '../../src/transport/server.ts';

export const WAIT_MS = 10_000;

export async function until<T>(what: string, look: () => T | null | undefined | false): Promise<T> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const found = look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited ${WAIT_MS} ms in vain for ${what}`);
    await Bun.sleep(3);
  }
}

export const SECRET = 'sesame-for-web-1';

/** One thing the house was told: a word, and what belongs to it. */
export interface Told {
  readonly what: string;
  readonly link: AgentLink;
  readonly value?: unknown;
}

export class House implements AgentListener {
  readonly told: Told[] = [];
  readonly proofs: Proof[] = [];
  /** Null: answers come at once. */
  hold: { readonly what: 'connected' | 'reported'; readonly until: Promise<void> } | null = null;

  async admit(proof: Proof, agent: string, instanceId: string): Promise<void> {
    this.proofs.push(proof);
    if (proof.kind === 'peer' && proof.uid === process.getuid?.()) return;
    if (proof.kind !== 'secret') throw new Failure('unauthenticated', `${agent} has proven nothing`);
    if (proof.token !== SECRET) throw new Failure('unauthenticated', `not the secret of ${agent}`);
    if (instanceId === 'another') throw new Failure('forbidden', `${agent} is not instance ${instanceId}`);
  }
  connected = (link: AgentLink, value: Registration) => this.#keep('connected', link, value);
  reported = (link: AgentLink, value: readonly ReportedSession[]) => this.#keep('reported', link, value);
  heartbeat = (link: AgentLink, value: unknown) => void this.#keep('heartbeat', link, value);
  metrics = (link: AgentLink, value: unknown) => void this.#keep('metrics', link, value);
  output = (link: AgentLink, session: string, chunk: { readonly bytes: Uint8Array }): void =>
    void this.#keep('output', link, { ...chunk, session, text: Buffer.from(chunk.bytes).toString() });
  terminalState = (link: AgentLink, session: string, state: object) =>
    void this.#keep('terminalState', link, { session, ...state });
  result = (link: AgentLink, value: unknown) => this.#keep('result', link, value);
  lost = (link: AgentLink, value: string) => void this.#keep('lost', link, value);

  /** Everything of one kind. */
  all(what: string): readonly Told[] {
    return this.told.filter((told) => told.what === what);
  }

  async #keep(what: string, link: AgentLink, value: unknown): Promise<void> {
    this.told.push({ what, link, value });
    if (this.hold?.what !== what) return;
    await this.hold.until;
    this.told.push({ what: `${what}, durable`, link });
  }
}

/** Runs nothing: says what it is told to, and keeps what was wanted. */
export class Desk implements ExecDesk {
  readonly wanted: { readonly wanted: ExecWanted; readonly by: string; readonly signal: AbortSignal }[] = [];
  parts: (signal: AbortSignal) => AsyncIterable<ExecPart> = async function* () {};

  run(wanted: ExecWanted, by: string, signal: AbortSignal): AsyncIterable<ExecPart> {
    this.wanted.push({ wanted, by, signal });
    return this.parts(signal);
  }
}

const access: Access = {
  caller({ token, peerUid }) {
    if (token === 'for-operators') return { name: 'olga', role: 'operator', via: 'token', id: 'o' };
    if (token === 'for-viewers') return { name: 'vera', role: 'viewer', via: 'token', id: 'v' };
    if (token === null && peerUid !== null && peerUid === process.getuid?.())
      return { name: 'local', role: 'admin', via: 'socket', id: null };
    throw new Failure('unauthenticated', 'nobody we know');
  },
};

export interface Rig {
  readonly house: House;
  readonly desk: Desk;
  readonly server: AgentServer;
  readonly warnings: { readonly message: string; readonly fields: Fields }[];
  readonly tcp: string;
  readonly unix: string;
  close(): Promise<void>;
}

export async function rig(options: Partial<AgentServerOptions> = {}): Promise<Rig> {
  const dir = mkdtempSync(join(tmpdir(), 'transport-'));
  const house = new House();
  const desk = new Desk();
  const warnings: Rig['warnings'] = [];
  const warn = (message: string, fields: Fields = {}) => void warnings.push({ message, fields });
  const log: Log = { ...silentLog, warn, error: warn };
  const socketPath = join(dir, 'agent.sock');
  const server = await agentServer({
    host: '127.0.0.1',
    port: 0,
    socketPath,
    listener: house,
    exec: desk,
    access,
    audit: noAudit,
    heartbeatSeconds: 7,
    clock: systemClock,
    log,
    ...options,
  }).catch((thrown) => {
    rmSync(dir, { recursive: true, force: true });
    throw thrown;
  });
  return {
    house,
    desk,
    server,
    warnings,
    tcp: `127.0.0.1:${server.port}`,
    unix: `unix:${socketPath}`,
    async close() {
      await server.close(500);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
