/** Whether it is well, and the numbers that only the house knows. */
import type { Gauges, HealthDesk, ModelCounts } from '../desk.ts';
import type { AgentView, HitlView, InstanceView, TaskView } from '../views.ts';
import { storagesHigh, storedBytes } from './agentshare.ts';
import type { House } from './house.ts';
import { sessionsOf } from './house.ts';

function count<T>(things: readonly T[], by: (thing: T) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const thing of things) counts[by(thing)] = (counts[by(thing)] ?? 0) + 1;
  return counts;
}

export interface Build {
  readonly version: string;
  readonly journal: string;
  readonly startedAt: number;
}

export function healthDesk(house: House, build: Build): HealthDesk {
  const { fleet, links, clock } = house;
  return {
    ready() {
      const away = fleet.away();
      return { ready: away === null, reasons: away ? [`the journal is away: ${away.message}`] : [] };
    },
    summary() {
      const agents = fleet.views('agent') as AgentView[];
      return {
        version: build.version,
        uptimeSeconds: Math.floor((clock.now() - build.startedAt) / 1_000),
        agents: { connected: links.size, ready: agents.filter(({ state }) => state === 'ready').length },
        tasks: count(fleet.views('task') as TaskView[], ({ state }) => state),
        journal: { kind: build.journal, away: fleet.away() },
      };
    },
  };
}

export interface DataPlaneNumbers {
  recordedBytes(): number;
  recordingFailures(): number;
  skippedFrames(): number;
}

const noModels: ModelCounts = { requests: [], tokens: [], costUsd: [] };

/** `models`: what went through the gateway, where there is one. */
export function gauges(
  house: House,
  numbers: DataPlaneNumbers,
  models: (() => ModelCounts) | null = null,
): Gauges {
  const { fleet, links } = house;
  const live = <T>(kind: 'agent' | 'hitl' | 'instance') => fleet.views(kind) as T[];
  const instances = () => live<InstanceView>('instance').filter(({ state }) => state !== 'destroyed');
  return {
    agentsByStatus: () =>
      count(
        live<AgentView>('agent').filter(({ state }) => state !== 'gone'),
        ({ status }) => status.toLowerCase(),
      ),
    tasksByState: () => count(fleet.views('task') as TaskView[], ({ state }) => state.toLowerCase()),
    sessionsByAgent: () =>
      Object.fromEntries([...links.keys()].map((agent) => [agent, sessionsOf(house, agent).length])),
    hitlOpen: () => live<HitlView>('hitl').filter(({ state }) => state === 'open').length,
    instancesByState: () => count(live<InstanceView>('instance'), ({ state }) => state),
    restartsByInstance: () =>
      Object.fromEntries(instances().map(({ name, restarts_total: restarts }) => [name, restarts])),
    alerts: () => ({
      crash_looping: instances().filter(({ state }) => state === 'crash-looping').length,
      journal_away: fleet.away() === null ? 0 : 1,
      storage_high: storagesHigh(house),
    }),
    storageBytes: () => storedBytes(house),
    recordedBytes: () => numbers.recordedBytes(),
    recordingFailures: () => numbers.recordingFailures(),
    skippedFrames: () => numbers.skippedFrames(),
    models: () => models?.() ?? noModels,
  };
}
