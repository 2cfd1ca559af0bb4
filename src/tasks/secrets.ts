/**
 * From references to values, at the moment they are needed. Values live in memory, in the environment of the
 * one process they are for, or in a file in memory that is its own; no message, log line or record of ours
 * holds one.
 *
 * A manifest can only name what the operator has allowed: variables by name, files below certain
 * directories, commands by the name they were given in the server's configuration.
 */
import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { Failure, type FieldFault } from '../failure.ts';
import type { Manifest, SecretRef } from './manifest.ts';
import { fromCommand } from './secret-command.ts';
import { type Got, type SecretSources, sound } from './secret-sources.ts';

const SECRET_BYTES_MAX = 64 * 1024;
/** Our own configuration is nobody's task secret. */
const ourOwn = /^(AGENTIC_|AGENT_|OPERATOR_)/;

export type Secrets = ReadonlyMap<string, string>;
export type ResolveSecrets = (refs: readonly SecretRef[]) => Promise<Secrets>;

/** All of them, or a Failure('not-found') that names each one that is missing and why. */
export async function resolveSecrets(refs: readonly SecretRef[], sources: SecretSources): Promise<Secrets> {
  const values = new Map<string, string>();
  const faults: FieldFault[] = [];
  for (const [index, ref] of refs.entries()) {
    const got = await fromSource(ref, sources);
    if ('value' in got) values.set(ref.name, got.value);
    else faults.push({ path: `secrets[${index}]`, message: `"${ref.name}": ${got.why}` });
  }
  if (faults.length > 0) {
    throw new Failure('not-found', `resolve secrets: ${faults.map(({ message }) => message).join('; ')}`, {
      faults,
    });
  }
  return values;
}

function fromSource(ref: SecretRef, sources: SecretSources): Promise<Got> | Got {
  switch (ref.source) {
    case 'env':
      return fromEnv(ref, sources);
    case 'file':
      return fromFile(ref, sources);
    case 'command':
      return fromCommand(ref.key, sources);
  }
}

const matches = (name: string, pattern: string): boolean =>
  new RegExp(`^${pattern.split('*').map(escaped).join('.*')}$`).test(name);
const escaped = (text: string): string => text.replace(/[.+?^${}()|[\]\\]/g, '\\$&');

function fromEnv({ key }: SecretRef, { env, names }: SecretSources): Got {
  if (ourOwn.test(key)) return { why: `${key} belongs to the server itself; give the secret another name` };
  if (!names.some((pattern) => matches(key, pattern))) {
    return { why: `${key} is not among the variables that manifests may name (AGENTIC_SECRET_ENV)` };
  }
  const value = env[key];
  return value === undefined || value === ''
    ? { why: `${key} is not set in the environment of the server` }
    : { value };
}

const isBelow = (path: string, dir: string): boolean => path.startsWith(dir === '/' ? '/' : `${dir}/`);

async function isAllowed(path: string, dirs: readonly string[]): Promise<boolean> {
  for (const dir of dirs) {
    const real = await realpath(dir).catch(() => null);
    if (real !== null && isBelow(path, real)) return true;
  }
  return false;
}

async function fromFile({ key }: SecretRef, { dirs }: SecretSources): Promise<Got> {
  const refused = `${key} is not below a directory that manifests may name (AGENTIC_SECRET_DIRS)`;
  try {
    // Whether a file is there is told of those below only.
    const path = await realpath(key).catch((thrown: NodeJS.ErrnoException) => {
      if (dirs.some((dir) => isBelow(key, dir))) throw thrown;
      return null;
    });
    if (path === null || !(await isAllowed(path, dirs))) return { why: refused };
    // A pipe would wait for a writer for ever.
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const facts = await file.stat();
      if (!facts.isFile()) return { why: `${key} is not a file` };
      if (facts.size > SECRET_BYTES_MAX)
        return { why: `${key} is larger than ${SECRET_BYTES_MAX / 1024} KiB` };
      return sound((await file.readFile('utf8')).replace(/\r?\n$/, ''), key);
    } finally {
      await file.close();
    }
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === undefined) throw thrown;
    return { why: `${key} cannot be read (${code})` };
  }
}

export interface ForTool {
  /** For the environment of the one process. */
  readonly env: Readonly<Record<string, string>>;
  /** To be written where only it reads, and named to it by `<NAME>_FILE`. */
  readonly files: Readonly<Record<string, string>>;
}

/** What the tool gets: everything but the one that is for cloning only. */
export function toolSecrets({ repository, secrets: refs }: Manifest, secrets: Secrets): ForTool {
  const given = [...secrets].filter(([name]) => name !== repository?.secret);
  const asFile = new Set(refs.filter(({ deliver }) => deliver === 'file').map(({ name }) => name));
  return {
    env: Object.fromEntries(given.filter(([name]) => !asFile.has(name))),
    files: Object.fromEntries(given.filter(([name]) => asFile.has(name))),
  };
}
