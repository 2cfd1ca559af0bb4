/**
 * What the agent inside proves itself with: files in its `credentials`, which it reads and cannot change.
 *
 * By certificate: the roots, and a one-time token while it has no certificate, which it takes by a socket of
 * its own for one under a key that it made and keeps in `identity`. Else: its secret. Which of the two is
 * said by `agent.env`, written at every start; until then a container that runs goes on with what it has.
 */
import { existsSync, lstatSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type Docker from 'dockerode';
import { type ContainerDirs, placeCredentials, placeFile } from './container-files.ts';
import { ENV_FILE_VARIABLE, inside } from './container-spec.ts';
import {
  type Certified,
  dirsOf,
  engineOf,
  type Identities,
  inspected,
  type State,
} from './container-state.ts';

/** How often it is looked whether an agent waits for a token. */
const LOOK_EVERY_MS = 60_000;

const names = { env: 'agent.env', ca: 'ca.pem', token: 'token', secret: 'secret' } as const;

export interface Whose {
  readonly name: string;
  readonly instanceId: string;
  readonly container: string;
  readonly engine: string;
}

/** One made by a server that knew of no certificates has its secret for good. */
const readsEnvFile = ({ Config: { Env: env = [] } }: Docker.ContainerInspectInfo): boolean =>
  env.some((one) => one.startsWith(`${ENV_FILE_VARIABLE}=`));

/** For a container that is about to start. What was revoked before begins anew. */
export async function placeProof(
  state: State,
  whose: Whose,
  there: Docker.ContainerInspectInfo,
): Promise<void> {
  const { issueCredentials, identities } = state.options;
  const dirs = dirsOf(state, whose.name);
  const paths = await issueCredentials(whose.name, whose.instanceId);
  if (!identities?.isWanted || !readsEnvFile(there)) {
    const files = Object.entries(paths).map(
      async ([name, path]) => [name, await readFile(path, 'utf8')] as const,
    );
    const env = secretEnv(dirs);
    return await placeCredentials(dirs, {
      ...Object.fromEntries(await Promise.all(files)),
      [names.env]: env,
    });
  }
  const { instanceId } = whose;
  const known = { [names.env]: certifiedEnv(dirs, identities, instanceId), [names.ca]: identities.caPem() };
  // Last, so that nothing is granted for a place that cannot be written.
  await placeCredentials(dirs, known, waits(dirs, identities, instanceId) ? [names.token] : []);
  if (needs(dirs, identities, instanceId)) await placeToken(dirs, identities, instanceId);
}

/** How the agent of a container was told to prove itself; null: by its secret. */
export function certifiedOf(state: State, { name, instanceId }: Whose): Certified | null {
  const dirs = dirsOf(state, name);
  if (!state.options.identities || !existsSync(join(dirs.credentials, names.ca))) return null;
  const enrolled = () => rm(join(dirs.credentials, names.token), { force: true });
  return { instanceId, enrolPath: dirs.enrolPath, enrolled };
}

/** Gives the agent another token when it needs one: now, and from time to time until `forgetToken`. */
export async function keepToken(state: State, whose: Whose): Promise<void> {
  forgetToken(state, whose.name);
  const { clock, log, identities } = state.options;
  if (!identities || certifiedOf(state, whose) === null) return;
  const look = async (): Promise<void> => {
    if (!(await renewToken(state, whose, identities))) return;
    if (state.looks.get(whose.name) === turn) turn.timer = clock.setTimeout(again, LOOK_EVERY_MS);
  };
  const again = () =>
    void look().catch((thrown) => {
      log(`instance ${whose.name}: no token for its agent: ${thrown}`);
      if (state.looks.get(whose.name) === turn) turn.timer = clock.setTimeout(again, LOOK_EVERY_MS);
    });
  const turn: { timer: unknown } = { timer: null };
  state.looks.set(whose.name, turn);
  await look();
}

export function forgetToken({ looks, options }: State, name: string): void {
  const turn = looks.get(name);
  looks.delete(name);
  if (turn) options.clock.clearTimeout(turn.timer);
}

/** False: it does not run, and nobody needs to look again. */
async function renewToken(state: State, whose: Whose, identities: Identities): Promise<boolean> {
  const { name, instanceId, container, engine } = whose;
  const dirs = dirsOf(state, name);
  // Who was revoked begins anew with a start, and not by waiting.
  if (!needs(dirs, identities, instanceId) || (await identities.isRevoked(name))) return true;
  const { docker } = await engineOf(state, engine);
  if (!(await inspected(docker, container))?.State.Running) return false;
  await placeToken(dirs, identities, instanceId);
  return true;
}

const waits = ({ credentials }: ContainerDirs, { held }: Identities, instanceId: string): boolean =>
  held(instanceId).token && existsSync(join(credentials, names.token));

const needs = (dirs: ContainerDirs, identities: Identities, instanceId: string): boolean =>
  !(identities.held(instanceId).certificate && hasCertificate(dirs)) && !waits(dirs, identities, instanceId);

/** As far as we may look: its user keeps it to itself. */
function hasCertificate({ identity }: ContainerDirs): boolean {
  try {
    return lstatSync(join(identity, 'cert.pem'), { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
}

const placeToken = (dirs: ContainerDirs, { grant }: Identities, instanceId: string): Promise<void> =>
  placeFile(dirs, names.token, `${grant(instanceId)}\n`);

const file = (name: string): string => `${inside.credentials}/${name}`;
const socket = (path: string): string => `${inside.socket}/${basename(path)}`;
const lines = (env: Readonly<Record<string, string>>): string =>
  Object.entries(env)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');

const secretEnv = (dirs: ContainerDirs): string =>
  lines({
    AGENT_TRANSPORT: 'uds',
    AGENT_GRPC_UDS_PATH: socket(dirs.socketPath),
    AGENT_SECRET_FILE: file(names.secret),
  });

const certifiedEnv = (dirs: ContainerDirs, { spiffeId, enrolUrl }: Identities, instanceId: string): string =>
  lines({
    AGENT_TRANSPORT: 'tls',
    MANAGEMENT_SERVER: `unix:${socket(dirs.socketPath)}`,
    AGENT_BOOTSTRAP_URL: enrolUrl,
    AGENT_BOOTSTRAP_SOCKET: socket(dirs.enrolPath),
    AGENT_BOOTSTRAP_CA: file(names.ca),
    AGENT_BOOTSTRAP_TOKEN_FILE: file(names.token),
    AGENT_BOOTSTRAP_TOKEN_MOUNTED: '1',
    AGENT_BOOTSTRAP_SPIFFE_ID: spiffeId(instanceId),
    AGENT_BOOTSTRAP_TLS_DIR: inside.identity,
  });
