/**
 * Gets one commit of a repository into a bare repository of ours, as shallow as the remote allows.
 *
 * Tells plainly what is wrong: no such branch, no such commit, not let in, not reached. Only what may pass by
 * itself (network, a server that is ill) is a 'staging-failed', which is tried again; the rest is final.
 * Credentials reach git by an askpass program that reads that one process's environment: they are in no
 * argument, no configuration file and no message.
 */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import { redactor } from '../veil.ts';
import { type GitResult, git } from './git.ts';
import type { RepositoryWish } from './manifest.ts';
import { type PlainRemote, plainRemote } from './repository.ts';

export interface Fetching {
  readonly repository: RepositoryWish;
  /** The value of `repository.secret`. */
  readonly secret: string | null;
  /** An existing bare repository. */
  readonly base: string;
  readonly env: { readonly [name: string]: string | undefined };
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** Progress as git tells it, credentials removed. */
  readonly onLine?: (line: string) => void;
}

export interface Fetched {
  readonly commit: string;
  /** The branch it was found on; null for a tag, or a commit without a branch. */
  readonly branch: string | null;
}

type Run = (args: readonly string[]) => Promise<GitResult>;

export async function fetchCommit(fetching: Fetching): Promise<Fetched> {
  const remote = plainRemote(fetching.repository.url);
  const access = await credentials(remote, fetching.secret);
  const until = fetching.clock.now() + fetching.timeoutMs;
  const hide = redactor([remote.password, fetching.secret].filter((value) => value !== null));
  const run: Run = async (args) => {
    const result = await git({
      args,
      cwd: fetching.base,
      env: fetching.env,
      clock: fetching.clock,
      signal: fetching.signal,
      extra: { ...access.env, GIT_DIR: fetching.base, GIT_ALLOW_PROTOCOL: protocols(remote.url) },
      timeoutMs: Math.max(1, until - fetching.clock.now()),
      onLine: (line) => fetching.onLine?.(hide(line)),
    });
    return { ...result, stderr: hide(result.stderr) };
  };
  try {
    return await found(run, { ...fetching.repository, url: remote.url });
  } finally {
    await access.forget();
  }
}

async function found(run: Run, wish: RepositoryWish): Promise<Fetched> {
  const ref = await remoteRef(run, wish);
  if (wish.commit !== null) return { commit: await pinned(run, wish, ref), branch: branchOf(ref) };
  if (ref === null)
    throw new Failure('not-found', `clone ${wish.url}: the repository is empty; push a commit first`);
  await fetched(run, wish, { shallow: true, specs: [`+${ref}:${ref}`] });
  const commit = await commitNamed(run, `${ref}^{commit}`);
  if (commit === null) throw new Failure('not-found', `clone ${wish.url}: ${ref} names no commit`);
  return { commit, branch: branchOf(ref) };
}

const branchOf = (ref: string | null): string | null =>
  ref?.startsWith('refs/heads/') ? ref.slice(11) : null;

/** The full name of the branch or tag, or of the remote's default branch; null when the remote has none. */
async function remoteRef(run: Run, { url, branch }: RepositoryWish): Promise<string | null> {
  const wanted = branch === null ? ['HEAD'] : [`refs/heads/${branch}`, `refs/tags/${branch}`];
  const listed = await run(['ls-remote', '--symref', '--', url, ...wanted]);
  if (listed.code !== 0) throw refusal(url, listed.stderr);
  const lines = listed.stdout.split('\n');
  if (branch === null) {
    return (
      lines
        .map((line) => /^ref: (refs\/heads\/\S+)\tHEAD$/.exec(line)?.[1])
        .find((ref) => ref !== undefined) ?? null
    );
  }
  const names = new Set(lines.map((line) => line.split('\t')[1]));
  const ref = wanted.find((name) => names.has(name));
  if (ref === undefined) {
    throw new Failure(
      'not-found',
      `clone ${url}: there is no branch or tag "${branch}"; check repository.branch`,
    );
  }
  return ref;
}

/**
 * Most servers hand out any commit by its full name; where one does not, the history is fetched and searched.
 */
async function pinned(run: Run, wish: RepositoryWish, ref: string | null): Promise<string> {
  const commit = (wish.commit ?? '').toLowerCase();
  if (commit.length === 40 || commit.length === 64) {
    const direct = await run(['fetch', '--progress', '--no-tags', '--depth=1', '--', wish.url, commit]);
    if (direct.code === 0) {
      const named = await commitNamed(run, `${commit}^{commit}`);
      if (named !== null) return named;
    } else if (isTransient(direct.stderr)) {
      throw refusal(wish.url, direct.stderr);
    }
  }
  const all = ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'];
  await fetched(run, wish, {
    shallow: false,
    specs: wish.branch === null || ref === null ? all : [`+${ref}:${ref}`],
  });
  const named = await commitNamed(run, `${commit}^{commit}`);
  if (named !== null) return named;
  const where = wish.branch === null ? 'in the repository' : `on "${wish.branch}"`;
  throw new Failure(
    'not-found',
    `clone ${wish.url}: there is no one commit ${commit} ${where}; check repository.commit`,
  );
}

async function fetched(
  run: Run,
  { url }: RepositoryWish,
  { shallow, specs }: { shallow: boolean; specs: string[] },
) {
  const result = await run([
    'fetch',
    '--progress',
    '--no-tags',
    ...(shallow ? ['--depth=1'] : []),
    '--',
    url,
    ...specs,
  ]);
  if (result.code === 0) return;
  // A plain file server over http knows no shallow clones.
  if (shallow && /does not support shallow/i.test(result.stderr)) {
    return fetched(run, { url } as RepositoryWish, { shallow: false, specs });
  }
  throw refusal(url, result.stderr);
}

async function commitNamed(run: Run, name: string): Promise<string | null> {
  const { code, stdout } = await run(['rev-parse', '--verify', '--quiet', '--end-of-options', name]);
  return code === 0 ? stdout.trim() : null;
}

const transient = new RegExp(
  [
    'could not resolve host',
    'connection (refused|reset|timed out|closed)',
    'failed to connect',
    'operation timed out',
    'network is unreachable',
    'early EOF',
    'RPC failed',
    'unexpected disconnect',
    'the remote end hung up',
    'SSL_ERROR_SYSCALL',
    'error: (429|5\\d\\d)',
    'HTTP (429|5\\d\\d)',
    'temporary failure',
    'no route to host',
    'kex_exchange_identification',
    'empty reply from server',
    'invalid index-pack output',
  ].join('|'),
  'i',
);

export const isTransient = (stderr: string): boolean => transient.test(stderr) && !denied.test(stderr);

const denied = new RegExp(
  [
    'authentication failed',
    'could not read (username|password)',
    'permission denied',
    'access denied',
    'invalid credentials',
    'error: (401|403)',
    'host key verification failed',
    'terminal prompts disabled',
  ].join('|'),
  'i',
);

const missing =
  /not found|does not (appear to be a git repository|exist)|error: 404|no such file or directory|not a git repository/i;

/** From git's words to ours; git's last line is kept, as it often says it best. */
function refusal(url: string, stderr: string): Failure {
  const said =
    stderr
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => /^(fatal|error|remote):/i.test(line))
      .at(-1) ??
    stderr.trim().split('\n').at(-1) ??
    '';
  const told = said === '' ? '' : ` (${said.slice(0, 300)})`;
  if (/dubious ownership/i.test(stderr)) {
    return new Failure(
      'forbidden',
      `clone ${url}: the repository belongs to another user of this host; clone it by URL`,
    );
  }
  if (denied.test(stderr)) {
    return new Failure(
      'forbidden',
      `clone ${url}: we were not let in; list a token or key under secrets and name it as ` +
        `repository.secret${told}`,
    );
  }
  if (transient.test(stderr))
    return new Failure('staging-failed', `clone ${url}: it could not be reached${told}`);
  if (missing.test(stderr))
    return new Failure('not-found', `clone ${url}: there is no repository; check repository.url${told}`);
  return new Failure('staging-failed', `clone ${url}: git failed${told}`);
}

function protocols(url: string): string {
  if (url.startsWith('https://')) return 'https';
  if (url.startsWith('http://')) return 'http:https';
  return url.startsWith('/') || url.startsWith('file://') ? 'file' : 'ssh';
}

interface Access {
  readonly env: Record<string, string>;
  forget(): Promise<void>;
}

async function credentials(remote: PlainRemote, secret: string | null): Promise<Access> {
  const password = secret ?? remote.password ?? (remote.url.startsWith('http') ? remote.username : null);
  if (password === null) return { env: {}, forget: async () => {} };
  const dir = await mkdtemp(join(tmpdir(), 'agentic-git-'));
  const forget = () => rm(dir, { recursive: true, force: true });
  try {
    if (protocols(remote.url) === 'ssh') {
      const key = join(dir, 'key');
      await writeFile(key, password.endsWith('\n') ? password : `${password}\n`, { mode: 0o600 });
      const ssh = `ssh -i ${key} -oIdentitiesOnly=yes -oBatchMode=yes -oStrictHostKeyChecking=accept-new`;
      return { env: { GIT_SSH_COMMAND: ssh }, forget };
    }
    const askpass = join(dir, 'askpass');
    await writeFile(
      askpass,
      '#!/bin/sh\ncase "$1" in\n' +
        'Username*) printf "%s\\n" "$TASK_GIT_USER" ;;\n*) printf "%s\\n" "$TASK_GIT_PASSWORD" ;;\nesac\n',
    );
    await chmod(askpass, 0o700);
    const user = remote.username ?? 'x-access-token';
    return { env: { GIT_ASKPASS: askpass, TASK_GIT_USER: user, TASK_GIT_PASSWORD: password }, forget };
  } catch (thrown) {
    await forget();
    throw thrown;
  }
}
