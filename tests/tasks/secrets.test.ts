/** Secrets by reference: what may be named, what a command may do, and where a file lies. */
import { afterAll, describe, expect, test } from 'bun:test';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { Failure } from '../../src/failure.ts';
import { jsonLog } from '../../src/log.ts';
import type { SecretRef } from '../../src/tasks/manifest.ts';
import { fromCommand } from '../../src/tasks/secret-command.ts';
import { secretFiles } from '../../src/tasks/secret-files.ts';
import type { SecretSources } from '../../src/tasks/secret-sources.ts';
import { resolveSecrets, toolSecrets } from '../../src/tasks/secrets.ts';
import { veil } from '../../src/veil.ts';
import { ground, manifest } from './ground.ts';

const here = ground('secrets');
afterAll(here.clear);
const value = 'marker-of-a-secret-7f3a';

const allowed = join(here.dir, 'allowed');
mkdirSync(allowed);
writeFileSync(join(allowed, 'token'), `${value}\n`);
writeFileSync(join(here.dir, 'outside'), value);
symlinkSync(join(here.dir, 'outside'), join(allowed, 'link'));

function program(name: string, text: string): string {
  const path = join(here.dir, name);
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o700);
  return path;
}

const sources = (more: Partial<SecretSources> = {}): SecretSources => ({
  env: { PATH: process.env['PATH'], TASK_TOKEN: value, AWS_SECRET_ACCESS_KEY: value, AGENTIC_TASK_X: value },
  names: ['ANTHROPIC_API_KEY', 'TASK_*', 'AGENTIC_*'],
  dirs: [allowed],
  commands: {},
  ...more,
});

const ref = (source: SecretRef['source'], key: string): SecretRef => ({ name: 'IT', source, key });

async function refused(one: SecretRef, more: Partial<SecretSources> = {}): Promise<string> {
  const failure = await resolveSecrets([one], sources(more)).catch((thrown: unknown) => thrown);
  if (!(failure instanceof Failure)) throw new Error('it was not refused');
  expect(failure.message).not.toContain(value);
  return failure.message;
}

describe('[V9] a reference', () => {
  test('to a variable, a file and a command that are allowed gives its value', async () => {
    const commands = { VAULT: program('vault', `printf '%s' "${value}:$1"`) };
    const refs = [
      { ...ref('env', 'TASK_TOKEN'), name: 'A' },
      { ...ref('file', join(allowed, 'token')), name: 'B' },
      { ...ref('command', 'VAULT/team/one'), name: 'C' },
    ];
    const values = await resolveSecrets(refs, sources({ commands }));
    expect([...values]).toEqual([
      ['A', value],
      ['B', value],
      ['C', `${value}:team/one`],
    ]);
  });

  test.each([
    ['env', 'AWS_SECRET_ACCESS_KEY', 'AGENTIC_SECRET_ENV'],
    ['env', 'TASK_OTHER', 'not set'],
    ['env', 'AGENTIC_TASK_X', 'belongs to the server'],
    ['command', 'VAULT/x', 'AGENTIC_SECRET_COMMAND_'],
    ['command', 'constructor', 'AGENTIC_SECRET_COMMAND_'],
  ] as const)('to %s %s is refused', async (source, key, why) => {
    expect(await refused(ref(source, key))).toContain(why);
  });

  test('to a file elsewhere is refused in the same words, whether it is there or not', async () => {
    const link = await refused(ref('file', join(allowed, 'link')));
    const outside = await refused(ref('file', join(here.dir, 'outside')));
    const nowhere = await refused(ref('file', join(here.dir, 'nowhere')));
    for (const message of [link, outside, nowhere]) expect(message).toContain('AGENTIC_SECRET_DIRS');
    expect(outside.replace('outside', 'nowhere')).toBe(nowhere);
    expect(await refused(ref('file', join(allowed, 'nowhere')))).toContain('ENOENT');
    expect(await refused(ref('file', `${allowed}-more/token`))).toContain('AGENTIC_SECRET_DIRS');
  });
});

describe('[V10] a command', () => {
  const told = (name: string, text: string, limitMs = 5_000) =>
    fromCommand(`${name}/what`, { env: sources().env, commands: { [name]: program(name, text) } }, limitMs);

  test('answers in plain text or in JSON', async () => {
    expect(await told('PLAIN', `echo '${value}'`)).toEqual({ value });
    expect(await told('JSON', `echo '{"value": "${value}", "lease": 5}'`)).toEqual({ value });
    expect(await told('OTHER', `echo '{"password": "${value}"}'`)).toEqual({
      why: 'command OTHER gave JSON without a text "value"',
    });
    expect(await told('HALF', `echo '{"value": "${value}'`)).toEqual({
      why: 'command HALF gave what begins like JSON and is none',
    });
  });

  test('that fails, says nothing or too much is told without its words', async () => {
    expect(await told('FAILS', `echo '${value}'; echo '${value}' >&2; exit 3`)).toEqual({
      why: 'command FAILS exited with 3',
    });
    expect(await told('SILENT', 'true')).toEqual({ why: 'what command SILENT said is empty' });
    expect(await told('MUCH', 'yes secret')).toEqual({ why: 'command MUCH said more than 64 KiB' });
    const absent = await fromCommand('NONE', { env: {}, commands: { NONE: join(here.dir, 'none') } });
    expect(absent).toEqual({ why: 'command NONE cannot be run (ENOENT)' });
  });

  test('that does not answer ends, with what it started', async () => {
    const pidFile = join(here.dir, 'pid');
    const slow = await told('SLOW', `sleep 600 & echo $! > ${pidFile}; wait`, 700);
    expect(slow).toEqual({ why: 'command SLOW did not answer within 0.7 s' });
    const pid = Number(readFileSync(pidFile, 'utf8'));
    const isThere = () =>
      existsSync(`/proc/${pid}/stat`) && !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z');
    for (let i = 0; i < 400 && isThere(); i++) await Bun.sleep(5);
    expect(isThere()).toBeFalse();
  });

  test('sees its own variables and none of the server’s', async () => {
    const env = { PATH: process.env['PATH'], VAULT_ADDR: 'here', TASK_TOKEN: value, AGENTIC_KEY: value };
    const commands = { VAULT: program('vault-env', 'env') };
    const got = await fromCommand('VAULT', { env, commands });
    expect('value' in got && got.value).toContain('VAULT_ADDR=here');
    expect('value' in got && got.value).not.toContain(value);
  });
});

describe('[V11] a secret as a file', () => {
  const uid = process.getuid?.() ?? 0;
  const at = (dataDir: string) => secretFiles({ places: ['/dev/shm'], dataDir, uid });

  test('lies in memory, for its user only, until its session is over', async () => {
    const files = at(here.dir);
    const named = await files.put('s1', { API_TOKEN: value }, null);
    const path = named['API_TOKEN_FILE'] as string;
    expect(path).toStartWith('/dev/shm/');
    expect(readFileSync(path, 'utf8')).toBe(value);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(path, '..')).mode & 0o777).toBe(0o700);
    expect(statSync(join(path, '..', '..')).mode & 0o777).toBe(0o700);
    await files.drop('s1');
    expect(existsSync(join(path, '..'))).toBeFalse();
  });

  test('that a killed server left is swept by the next, and those of live sessions stay', async () => {
    const dead = (await at(here.dir).put('dead', { A: value }, null))['A_FILE'] as string;
    const live = (await at(here.dir).put('live', { A: value }, null))['A_FILE'] as string;
    const other = (await at(`${here.dir}/other`).put('dead', { A: value }, null))['A_FILE'] as string;
    await at(here.dir).sweep((session) => session === 'live');
    expect([existsSync(dead), existsSync(live), existsSync(other)]).toEqual([false, true, true]);
    await at(here.dir).drop('live');
    await at(`${here.dir}/other`).drop('dead');
  });

  test('for an instance with files of its own lies in its own directory, under the path it has there', async () => {
    const files = at(here.dir);
    const dir = (await files.lodging('web-1')) as string;
    const named = await files.put('s1', { A: value }, { instance: 'web-1', seenAt: '/seen' });
    await files.put('s2', { A: value }, { instance: 'web-1', seenAt: '/seen' });
    expect(named).toEqual({ A_FILE: '/seen/s1/A' });
    expect(readFileSync(join(dir, 's1', 'A'), 'utf8')).toBe(value);
    // Another user reads it, and only who may come this far comes this far.
    expect(statSync(join(dir, 's1', 'A')).mode & 0o777).toBe(0o444);
    expect(statSync(join(dir, '..', '..')).mode & 0o777).toBe(0o700);
    await files.drop('s1');
    expect(readdirSync(dir)).toEqual(['s2']);
    await at(here.dir).sweep(() => false);
    // What is mounted stays the same directory.
    expect([existsSync(dir), readdirSync(dir)]).toEqual([true, []]);
  });

  test('is refused where it would be on a disk, or where somebody else’s directory is in the way', async () => {
    const onDisk = secretFiles({ places: [here.dir], dataDir: here.dir, uid });
    await expect(onDisk.put('s1', { A: value }, null)).rejects.toThrow('no file system in memory');
    const foreign = secretFiles({ places: ['/dev/shm'], dataDir: here.dir, uid: uid + 1 });
    await expect(foreign.put('s1', { A: value }, null)).rejects.toThrow('is not ours');
  });

  test('is not in the environment, and one for cloning is in neither', () => {
    const secrets = [
      { name: 'A', source: 'env', deliver: 'file' },
      { name: 'B', source: 'env' },
      { name: 'C', source: 'env' },
    ];
    const repository = { url: 'https://example.org/x.git', secret: 'C' };
    const values = new Map([['A', '1'], ['B', '2'], ['C', '3']]); // biome-ignore format: one line
    expect(toolSecrets(manifest({ repository, secrets }), values)).toEqual({
      env: { B: '2' },
      files: { A: '1' },
    });
  });
});

test('[V12] a value that is known is hidden in a line of the log, in every form', () => {
  const hidden = veil();
  const lines: string[] = [];
  const log = jsonLog({
    clock: systemClock,
    level: 'info',
    write: (line) => void lines.push(hidden.hide(line)),
  });
  const odd = 'pa"ss\nwörd&1';
  hidden.add([value, odd, 'abc']);
  log.info('cloned', { from: `https://x:${encodeURIComponent(odd)}@example.org`, why: `said ${value}` });
  log.info('failed', { text: odd, basic: Buffer.from(value).toString('base64'), letters: 'abc' });
  const all = lines.join('');
  for (const form of [value, odd, JSON.stringify(odd).slice(1, -1), encodeURIComponent(odd)])
    expect(all).not.toContain(form);
  expect(all).not.toContain(Buffer.from(value).toString('base64'));
  expect(all).toContain('abc');
  expect(JSON.parse(lines[1] as string)).toMatchObject({ message: 'failed', text: '***' });
});
