/** What a newcomer meets: one agent, the first words, and a file that says where this server is. */
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { Failure } from '../failure.ts';
import type { AgentId } from '../ids.ts';
import type { InstanceView } from '../views.ts';
import type { IdentityPlaces } from './certificates.ts';
import { type House, until } from './house.ts';
import type { Secrets } from './identity.ts';
import { makeInstance } from './instances.ts';

/** How long the first words wait for agents that should be there. */
const WELCOME_MS = 20_000;

/** A newcomer finds one agent; what was destroyed on purpose is not made again. */
export async function firstInstance(house: House): Promise<void> {
  const { fleet, config, log } = house;
  if (config.firstInstance === null || fleet.views('instance').length > 0) return;
  const name = config.firstInstance;
  await makeInstance(house, { name, runtime: 'host' }, 'house');
  log.info('first instance made', { name });
}

/**
 * Waits until the agents that should be there are, but not for ever, and not for those that are turned away.
 */
export async function welcome(house: House, { isRevoked }: Pick<Secrets, 'isRevoked'>): Promise<string> {
  const wanted = (house.fleet.views('instance') as InstanceView[]).filter(
    ({ state }) => state === 'running' || state === 'starting' || state === 'provisioning',
  );
  const found = await Promise.all(
    wanted.map(async ({ name }) => {
      const isOut = await isRevoked(name);
      return `${name} ${isOut ? 'revoked; restart it for a new identity' : await arrival(house, name)}`;
    }),
  );
  return found.length === 0 ? 'no instances yet' : found.join(', ');
}

async function arrival(house: House, name: string): Promise<string> {
  const look = () => (house.links.has(name as AgentId) ? 'ready' : null);
  const late = () => new Failure('timed-out', 'not yet');
  const wait = { fact: `link:${name}`, look, withinMs: WELCOME_MS, late } as const;
  return await until(house, wait).catch(() => 'not connected yet');
}

export interface Places extends IdentityPlaces {
  readonly httpPort: number;
  readonly wsPort: number;
  readonly grpc: string;
}

/** Where this server is, for programs. Whole or not at all. Returns the URL of the dashboard. */
export async function publish({ dataDir, httpHost, tls }: Config, places: Places): Promise<string> {
  const { httpPort, wsPort, grpc, grpcTls, enrolUrl } = places;
  const host = httpHost === '0.0.0.0' || httpHost === '::' ? '127.0.0.1' : httpHost;
  const bracketed = host.includes(':') ? `[${host}]` : host;
  const s = tls ? 's' : '';
  const url = `http${s}://${bracketed}:${httpPort}`;
  const ws = `ws${s}://${bracketed}:${wsPort}`;
  const facts = { http: url, ws, grpc, grpc_tls: grpcTls, enrol: enrolUrl, pid: process.pid };
  const path = join(dataDir, 'server.json');
  await writeFile(`${path}.new`, `${JSON.stringify(facts)}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
  return url;
}
