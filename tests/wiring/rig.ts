/**
 * The house as main.ts builds it, over a memory journal and real terminals, with links that a test cranks by
 * hand.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SimulatedClock } from 'xstate';
import { type Fleet, fleet as makeFleet } from '../../src/actors/fleet.ts';
import type { AgentLink, AgentListener, Launch, Registration } from '../../src/agent-link.ts';
import { systemClock } from '../../src/clock.ts';
import { type Config, readConfig } from '../../src/config.ts';
import type { AgentId, SessionId } from '../../src/ids.ts';
import { type MemoryJournal, memoryJournal } from '../../src/journal/memory.ts';
import { jsonLog } from '../../src/log.ts';
import { secretFiles } from '../../src/tasks/secret-files.ts';
import { resolveSecrets } from '../../src/tasks/secrets.ts';
import { keysFor } from '../../src/terminal/asking-keys.ts';
import { terminals } from '../../src/terminal/terminals.ts';
import type { AskedOnScreen } from '../../src/terminal.ts';
import { veil } from '../../src/veil.ts';
import { changed, terminalListener } from '../../src/wiring/data-plane.ts';
import { type House, nothingObserved } from '../../src/wiring/house.ts';
import { forgetLinks, presence, reopenTerminals } from '../../src/wiring/presence.ts';
import type { Credentials } from '../../src/wiring/proofs.ts';
import { wire } from '../../src/wiring/wire.ts';

export const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

export async function until<T>(what: string, look: () => T | null | undefined | false): Promise<T> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const found = look();
    if (found) return found;
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await Bun.sleep(2);
  }
}

/** A link that writes down what it is told. */
export class HandLink implements AgentLink {
  readonly agent: AgentId;
  readonly instanceId = 'i-1';
  readonly features: ReadonlySet<string>;
  readonly proven = { kind: 'peer-credentials' } as const;
  readonly launches: Launch[] = [];
  readonly typed: { readonly session: string; readonly text: string; readonly key: string | null }[] = [];
  readonly acks: { readonly session: string; readonly offset: number; readonly resume: boolean }[] = [];
  readonly results: string[] = [];
  readonly killed: string[] = [];

  constructor(agent: string, features = ['offsets', 'started', 'stdin-acks']) {
    this.agent = agent as AgentId;
    this.features = new Set(features);
  }

  async launch(launch: Launch): Promise<void> {
    this.launches.push(launch);
  }

  async type(session: SessionId, bytes: Uint8Array, { key }: { readonly key: string | null }): Promise<void> {
    this.typed.push({ session, text: Buffer.from(bytes).toString('utf8'), key });
  }

  closeStdin(): void {}
  resize(): void {}
  signal(): void {}

  ackOutput(session: SessionId, offset: number, resume: boolean): void {
    this.acks.push({ session, offset, resume });
  }

  ackResult(session: SessionId): void {
    this.results.push(session);
  }

  async reconcile({ kill }: { readonly kill: readonly SessionId[] }) {
    this.killed.push(...kill);
    return { killed: kill, kept: [], failed: [] };
  }

  shutdown(): void {}
}

/** Secrets by their references, and a gateway whose keys can be told apart. */
function credentials(config: Config): Credentials {
  const { secrets, memoryDirs, models } = config.credentials;
  const hidden = veil();
  let minted = 0;
  return {
    async resolve(refs) {
      const values = await resolveSecrets(refs, { env: config.env, ...secrets });
      hidden.add(values.values());
      return values;
    },
    files: secretFiles({ places: memoryDirs, dataDir: config.dataDir, uid: process.getuid?.() ?? 0 }),
    hide: hidden.hide,
    models: models.anthropic && {
      providers: new Set(['anthropic'] as const),
      url: () => 'http://127.0.0.1:1',
      mint: async ({ session }) => `key-${++minted}-of-${session}`,
      forget: async () => {},
      sweep: async () => {},
    },
  };
}

export interface Rig {
  readonly house: House;
  readonly journal: MemoryJournal;
  readonly listener: AgentListener;
  readonly clock: SimulatedClock;
  readonly log: string[];
  connect(agent: string, features?: string[]): Promise<HandLink>;
  /** The screen of a session is judged. */
  judge(session: SessionId, question: AskedOnScreen | null): void;
  settle(): Promise<void>;
  /** Lets time pass, and what is due happen. */
  pass(ms: number): Promise<void>;
  /** As after a kill -9: the next house on the same journal and recordings. */
  crash(): Promise<Rig>;
  remove(): Promise<void>;
}

export async function rig(
  journal = memoryJournal(),
  dir = mkdtempSync(join(tmpdir(), 'rig-')),
  env: Readonly<Record<string, string>> = {},
): Promise<Rig> {
  const clock = new SimulatedClock();
  clock.increment(1_000_000);
  const log: string[] = [];
  const lines = jsonLog({ clock, level: 'debug', write: (line) => void log.push(line) });
  const late: { house: House | null } = { house: null };
  const listening = terminalListener(() => late.house as House);
  const data = terminals({
    dir: join(dir, 'recordings'),
    // Output is coalesced by real time; what is tested here is what the house makes of it.
    clock: systemClock,
    log: lines,
    listener: { ...listening, asking: () => {} },
    read: () => null,
  });
  const config = readConfig({ ...env, AGENTIC_DATA_DIR: dir }, dir, dir);
  const house: House = {
    clock,
    log: lines,
    config,
    credentials: credentials(config),
    runtimes: new Map(),
    share: null,
    terminals: data,
    recordings: data.recordings,
    ...nothingObserved(),
    get fleet(): Fleet {
      return fleet;
    },
  };
  late.house = house;
  const fleet = makeFleet({
    clock,
    journal,
    log: lines,
    kinds: wire(house, { keysFor, revoke: async () => {}, isRevoked: async () => false }),
    defer: (fn) => void setImmediate(fn),
    fatal: (thrown) => {
      throw thrown;
    },
  });
  fleet.watch((change) => changed(house, change));
  await fleet.restore();
  forgetLinks(house);
  reopenTerminals(house);
  const listener = presence(house, async () => {});
  const settle = async () => {
    for (let i = 0; i < 20; i++) await turn();
  };
  return {
    house,
    journal,
    listener,
    clock,
    log,
    settle,
    async connect(agent, features) {
      const link = new HandLink(agent, features);
      await listener.connected(link, registration(agent));
      return link;
    },
    judge: (session, question) => listening.asking(session, question),
    async pass(ms) {
      clock.increment(ms);
      await settle();
    },
    async crash() {
      await settle();
      return await rig(journal.crash('kept'), dir, env);
    },
    async remove() {
      await fleet.close();
      await data.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

const registration = (agent: string): Registration => ({
  agent: agent as AgentId,
  instanceId: 'i-1',
  hostname: 'box',
  ipAddress: '127.0.0.1',
  profile: '',
  loadout: '',
  labels: {},
  system: null,
  frameworks: [],
});

export const reported = (session: string, more: object = {}) => ({
  session: session as SessionId,
  name: 'work',
  type: 'interactive' as const,
  command: 'bash',
  startedAt: 1_000,
  pid: 7,
  pty: { cols: 80, rows: 24 },
  spool: { first: 0, next: 0 },
  ...more,
});

export const onScreen = (question: string, more: Partial<AskedOnScreen> = {}): AskedOnScreen => ({
  kind: 'confirm',
  question,
  context: question,
  options: [
    { id: 'yes', label: 'Yes', keys: 'y\r' },
    { id: 'no', label: 'No', keys: 'n\r' },
  ],
  confidence: 0.95,
  submit: '\r',
  fingerprint: question,
  ...more,
});
