/**
 * What the processes in an instance are given to prove themselves with: secrets of their manifest, and, where
 * models are reached by the gateway, a virtual key in the place of the real one. Asked for at every launch,
 * and void once the session is over.
 */
import type { SessionInput } from '../actors/session.ts';
import { Failure } from '../failure.ts';
import type { AgentId, SessionId } from '../ids.ts';
import type { Spender } from '../spending.ts';
import type { Manifest, SecretRef } from '../tasks/manifest.ts';
import type { Lodger } from '../tasks/secret-files.ts';
import { type ForTool, toolSecrets } from '../tasks/secrets.ts';
import type { House } from './house.ts';
import { handleOf } from './instances.ts';
import { hasOwnFiles } from './lending.ts';
import type { Provider } from './proofs.ts';

/** What a tool proves itself with to a provider, and where it finds it. */
const variables: Readonly<Record<Provider, readonly string[]>> = {
  anthropic: ['ANTHROPIC_API_KEY', 'ANTHROPIC_AUTH_TOKEN', 'ANTHROPIC_BASE_URL', 'CLAUDE_CODE_OAUTH_TOKEN'],
  openai: ['OPENAI_API_KEY', 'OPENAI_BASE_URL'],
};
const baseUrls = ['ANTHROPIC_BASE_URL', 'OPENAI_BASE_URL'];

/** What a tool speaks; any of them for a command. */
const spoken = ({ agent }: Manifest): readonly Provider[] =>
  agent.tool === 'claude' ? ['anthropic'] : ['anthropic', 'openai'];

/**
 * Providers that a task reaches by the gateway; empty: none. Throws Failure('unprocessable') when the
 * manifest wants what this server has not.
 */
export function providersOf({ credentials }: House, manifest: Manifest): readonly Provider[] {
  const { gateway = 'off', agent, budget } = manifest;
  const offered = spoken(manifest).filter((one) => credentials.models?.providers.has(one));
  const own = baseUrls.find((name) => Object.hasOwn(agent.env, name));
  const isUsed = gateway === 'on' || (gateway === 'auto' && own === undefined);
  const used = isUsed ? offered : [];
  if (gateway === 'on' && offered.length === 0) {
    throw missing(
      'gateway',
      'is on, and this server has no key for that tool: set AGENTIC_ANTHROPIC_API_KEY there',
    );
  }
  if (budget && used.length === 0) {
    throw missing(
      'budget',
      'can only be kept where models are reached by the gateway, which this task does not',
    );
  }
  return used;
}

const missing = (path: string, message: string) =>
  new Failure('unprocessable', `the manifest has a fault: ${path} ${message}`, {
    faults: [{ path, message }],
  });

/** The variables that the gateway fills, so that nothing else may. */
export const filled = (providers: readonly Provider[]): ReadonlySet<string> =>
  new Set(providers.flatMap((one) => variables[one]));

/** References whose values the tool is given: not the real keys of what it reaches by the gateway. */
function given(manifest: Manifest, providers: readonly Provider[]): readonly SecretRef[] {
  const names = filled(providers);
  return manifest.secrets.filter(({ name }) => !names.has(name) || name === manifest.repository?.secret);
}

export async function secretsOf(house: House, manifest: Manifest): Promise<ForTool> {
  const refs = given(manifest, providersOf(house, manifest));
  return toolSecrets(manifest, await house.credentials.resolve(refs));
}

/** Null: the instance sees the files of this host. Throws Failure('not-implemented'). */
export function lodgerOf(house: House, agent: AgentId, files: ForTool['files']): Lodger | null {
  if (!hasOwnFiles(house, agent) || Object.keys(files).length === 0) return null;
  const seenAt = handleOf(house, agent)?.['secrets'];
  if (typeof seenAt === 'string') return { instance: agent, seenAt };
  const names = Object.keys(files).join(', ');
  throw new Failure(
    'not-implemented',
    `instance ${agent} has no place in memory for the secrets ${names}: deliver them as env, or set ` +
      'XDG_RUNTIME_DIR to a directory in memory and make the instance anew',
  );
}

export interface Calling {
  readonly providers: readonly Provider[];
  /** Claude Code asks a person about a key in the other variable. */
  readonly isClaude: boolean;
}

/** Base URLs and a virtual key, which is new each time. */
export async function modelEnv(
  house: House,
  spender: Spender,
  { providers, isClaude }: Calling,
): Promise<Record<string, string>> {
  const { models } = house.credentials;
  if (models === null || providers.length === 0) return {};
  const key = await models.mint(spender);
  // An instance with a network of its own reaches it by a way of its own.
  const own = handleOf(house, spender.agent)?.['models'];
  const url = typeof own === 'string' ? own : models.url();
  return {
    ...(providers.includes('anthropic') ? { ANTHROPIC_BASE_URL: url, ANTHROPIC_AUTH_TOKEN: key } : {}),
    ...(providers.includes('anthropic') && !isClaude ? { ANTHROPIC_API_KEY: key } : {}),
    ...(providers.includes('openai') ? { OPENAI_BASE_URL: `${url}/v1`, OPENAI_API_KEY: key } : {}),
  };
}

/** A person's own terminal reaches models too, unless it was opened with ways of its own. */
export async function personsEnv(house: House, session: SessionInput): Promise<Record<string, string>> {
  const { models } = house.credentials;
  if (models === null || session.type !== 'interactive') return {};
  const providers = [...models.providers].filter(
    (one) => !variables[one].some((name) => Object.hasOwn(session.env, name)),
  );
  const spender = { session: session.id, agent: session.agent, task: null };
  return await modelEnv(house, spender, { providers, isClaude: true });
}

/** What a session had is of no use to anybody any more. */
export function voided({ credentials, log }: House, session: SessionId): void {
  const { files, models } = credentials;
  Promise.all([files.drop(session), models?.forget(session)]).catch((thrown) => {
    log.warn('credentials of a session not removed', { session, why: String(thrown) });
  });
}

/** What a killed server left of sessions that are over. */
export async function voidedAll({ credentials, fleet }: House): Promise<void> {
  const isLive = (session: string) => fleet.isLive(`session:${session}`);
  await credentials.files.sweep(isLive);
  await credentials.models?.sweep(isLive);
}
