/**
 * The house as main.ts builds it, without doors: real wiring and real terminals, over a runtime whose
 * instances always run and links to agents that say nothing.
 */
import { join } from 'node:path';
import { type Fleet, fleet as makeFleet } from '../src/actors/fleet.ts';
import type { AgentLink, AgentListener, HeartbeatFacts } from '../src/agent-link.ts';
import { systemClock } from '../src/clock.ts';
import { readConfig } from '../src/config.ts';
import type { AgentId } from '../src/ids.ts';
import type { Journal } from '../src/journal.ts';
import { silentLog } from '../src/log.ts';
import type { Handle, Runtime } from '../src/runtime.ts';
import { readQuestion } from '../src/terminal/asking.ts';
import { keysFor } from '../src/terminal/asking-keys.ts';
import { terminals } from '../src/terminal/terminals.ts';
import { changed, terminalListener } from '../src/wiring/data-plane.ts';
import { type House, nothingObserved } from '../src/wiring/house.ts';
import { presence } from '../src/wiring/presence.ts';
import { wire } from '../src/wiring/wire.ts';
import { noCredentials } from '../tests/sim/credentials.ts';
import { facts } from './restore-fleet.ts';

const same = async (handle: Handle) => handle;

const steady: Runtime = {
  kind: 'host',
  probe: async () => ({
    runtime: 'host',
    available: true,
    reasons: [],
    unenforced: [],
    isolation: 'full-host-access',
  }),
  inventory: async () => [],
  check: async () => {},
  create: async ({ name }) => ({ version: 1, runtime: 'host', name }),
  start: same,
  stop: async () => {},
  destroy: async () => {},
  recover: async () => true,
  watch: () => () => {},
  usage: async () => null,
  shares: null,
};

export interface Standing {
  readonly house: House;
  readonly listener: AgentListener;
  close(): Promise<void>;
}

/** `given`: a fleet that is there already; null: one with the real effects. */
export function standing(dir: string, journal: Journal, given: Fleet | null = null): Standing {
  const log = silentLog;
  const clock = systemClock;
  const late: { house: House | null } = { house: null };
  const data = terminals({
    dir: join(dir, 'recordings'),
    clock,
    log,
    listener: terminalListener(() => late.house as House),
    read: readQuestion,
  });
  const house: House = {
    clock,
    log,
    config: readConfig({ AGENTIC_DATA_DIR: dir }, dir, dir),
    runtimes: new Map([['host', steady]]),
    share: null,
    terminals: data,
    recordings: data.recordings,
    ...nothingObserved(),
    credentials: noCredentials,
    get fleet(): Fleet {
      return fleet;
    },
  };
  late.house = house;
  const fatal = (thrown: unknown) => {
    throw thrown;
  };
  const kinds = wire(house, { keysFor, revoke: async () => {}, isRevoked: async () => false });
  const fleet = given ?? makeFleet({ clock, journal, log, kinds, defer: setImmediate, fatal });
  fleet.watch((change) => changed(house, change));
  const close = async () => {
    await fleet.close();
    await data.close();
  };
  return { house, listener: presence(house, async () => {}), close };
}

export function quietLink(agent: string): AgentLink {
  return {
    agent: agent as AgentId,
    instanceId: agent,
    features: new Set(['offsets', 'started']),
    proven: { kind: 'secret' },
    launch: async () => {},
    type: async () => {},
    closeStdin() {},
    resize() {},
    signal() {},
    ackOutput() {},
    ackResult() {},
    reconcile: async () => ({ killed: [], kept: [], failed: [] }),
    shutdown() {},
  };
}

export const registrationOf = (agent: string) => ({
  ...facts(agent),
  agent: agent as AgentId,
  profile: '',
  loadout: '',
  labels: {},
});

export const heartbeat = (at: number): HeartbeatFacts => ({
  at,
  status: 'ready',
  cpuPercent: 1.5,
  memoryUsedBytes: 2 ** 28,
  uptimeSeconds: 60,
  setupStatus: '',
  setupProgressJson: '',
});
