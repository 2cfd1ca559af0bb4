/**
 * From references to values, at the moment they are needed. Values live in memory and in the environment of
 * the one process they are for; no message, log line or record of ours holds one.
 */
import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { Failure, type FieldFault } from '../failure.ts';
import type { Manifest, SecretRef } from './manifest.ts';

const SECRET_BYTES_MAX = 64 * 1024;
/** Our own configuration is nobody's task secret. */
const ourOwn = /^(AGENTIC_|AGENT_|OPERATOR_)/;
/** Hiding shorter values would blacken every log and hide nothing that cannot be guessed. */
const HIDDEN_CHARS_MIN = 4;

export interface SecretSources {
  readonly env: { readonly [name: string]: string | undefined };
  /** When given, files must lie below it, links resolved. */
  readonly fileRoot?: string;
}

export type Secrets = ReadonlyMap<string, string>;

/** All of them, or a Failure('not-found') that names each one that is missing and why. */
export async function resolveSecrets(refs: readonly SecretRef[], sources: SecretSources): Promise<Secrets> {
  const values = new Map<string, string>();
  const faults: FieldFault[] = [];
  for (const [index, ref] of refs.entries()) {
    const got = ref.source === 'env' ? fromEnv(ref, sources) : await fromFile(ref, sources);
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

type Got = { value: string } | { why: string };

function fromEnv({ key }: SecretRef, { env }: SecretSources): Got {
  if (ourOwn.test(key)) return { why: `${key} belongs to the server itself; give the secret another name` };
  const value = env[key];
  return value === undefined || value === ''
    ? { why: `${key} is not set in the environment of the server` }
    : { value };
}

async function fromFile({ key }: SecretRef, { fileRoot }: SecretSources): Promise<Got> {
  try {
    const path = await realpath(key);
    const root = fileRoot === undefined ? null : await realpath(fileRoot);
    if (root !== null && !path.startsWith(`${root}/`)) return { why: `${key} is not below ${fileRoot}` };
    // A pipe would wait for a writer for ever.
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const facts = await file.stat();
      if (!facts.isFile()) return { why: `${key} is not a file` };
      if (facts.size > SECRET_BYTES_MAX)
        return { why: `${key} is larger than ${SECRET_BYTES_MAX / 1024} KiB` };
      const value = (await file.readFile('utf8')).replace(/\r?\n$/, '');
      if (value.includes('\0')) return { why: `${key} holds a NUL, which no environment can carry` };
      return value === '' ? { why: `${key} is empty` } : { value };
    } finally {
      await file.close();
    }
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === undefined) throw thrown;
    return { why: `${key} cannot be read (${code})` };
  }
}

/** What the tool gets: everything but the one that is for cloning only. */
export function toolSecrets({ repository }: Manifest, secrets: Secrets): Record<string, string> {
  return Object.fromEntries([...secrets].filter(([name]) => name !== repository?.secret));
}

/** Replaces every value, also as URLs and Basic authorisation carry it, by `***`. */
export function redactor(values: Iterable<string>): (text: string) => string {
  const forms = [...values]
    .filter((value) => value.length >= HIDDEN_CHARS_MIN)
    .flatMap((value) => [
      value,
      encodeURIComponent(value),
      encodeURI(value),
      Buffer.from(value).toString('base64'),
    ])
    .sort((a, b) => b.length - a.length);
  const unique = [...new Set(forms)];
  return (text) => unique.reduce((redacted, form) => redacted.replaceAll(form, '***'), text);
}
