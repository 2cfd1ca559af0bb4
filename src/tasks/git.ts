/**
 * One call of git: an argv, a hardened environment, its own process group, a time limit.
 *
 * No configuration of the user or the system is read, no hook or file system monitor runs, no prompt waits,
 * and only the protocol that the caller names is spoken. An abort ends the whole group. Knows nothing of
 * tasks.
 */
import { type Clock, sleep } from '../clock.ts';
import { Failure } from '../failure.ts';

export interface GitCall {
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: { readonly [name: string]: string | undefined };
  /** Beside the hardening: credentials, object directories. */
  readonly extra?: { readonly [name: string]: string };
  readonly stdin?: string | Uint8Array;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Standard output is kept up to so many bytes; beyond it git is ended and `overflow` is true. */
  readonly stdoutBytesMax?: number;
  /** Gets standard output instead of keeping it. */
  readonly onStdout?: (bytes: Uint8Array) => Promise<void> | void;
  /** A line of progress or complaint. */
  readonly onLine?: (line: string) => void;
}

export interface GitResult {
  readonly code: number;
  readonly stdout: string;
  /** Its last 16 KiB. */
  readonly stderr: string;
  readonly overflow: boolean;
}

const STDOUT_BYTES_MAX = 64 * 1024 * 1024;
const STDERR_CHARS_MAX = 16 * 1024;
const KILL_AFTER_MS = 2_000;

/** What git and ssh need of the server's environment, and no more. */
const passedOn = [
  'PATH',
  'HOME',
  'TMPDIR',
  'SSH_AUTH_SOCK',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'GIT_SSL_CAINFO',
  'http_proxy',
  'https_proxy',
  'HTTPS_PROXY',
  'all_proxy',
  'ALL_PROXY',
  'no_proxy',
  'NO_PROXY',
];

const configuration = [
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  'core.autocrlf=false',
  'core.quotePath=false',
  'credential.helper=',
  'gc.auto=0',
  'maintenance.auto=false',
  'submodule.recurse=false',
  'fetch.recurseSubmodules=false',
  'advice.detachedHead=false',
  'init.defaultBranch=main',
  'protocol.ext.allow=never',
  'safe.bareRepository=all',
];

function environment({ env, extra }: GitCall): Record<string, string> {
  const kept = passedOn.flatMap((name): [string, string][] => {
    const value = env[name];
    return value === undefined ? [] : [[name, value]];
  });
  return {
    ...Object.fromEntries(kept),
    LC_ALL: 'C',
    GIT_TERMINAL_PROMPT: '0',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_LFS_SKIP_SMUDGE: '1',
    GIT_ALLOW_PROTOCOL: 'none',
    GIT_SSH_COMMAND: 'ssh -oBatchMode=yes -oStrictHostKeyChecking=accept-new',
    ...extra,
  };
}

/**
 * Resolves however git ends. Throws Failure('timed-out') and the signal's reason; Failure('not-implemented')
 * without git.
 */
export async function git(call: GitCall): Promise<GitResult> {
  call.signal.throwIfAborted();
  const argv = ['git', ...configuration.flatMap((setting) => ['-c', setting]), ...call.args];
  const child = start(argv, call);
  const stop = new AbortController();
  let ended: 'late' | 'aborted' | 'overflow' | null = null;
  const end = (why: typeof ended): void => {
    ended ??= why;
    void endGroup(child, call.clock, stop.signal);
  };
  const onAbort = () => end('aborted');
  call.signal.addEventListener('abort', onAbort, { once: true });
  if (call.signal.aborted) onAbort();
  sleep(call.clock, call.timeoutMs, stop.signal).then(
    () => end('late'),
    () => {},
  );
  try {
    const [stdout, stderr, code] = await Promise.all([
      output(child.stdout, call, () => end('overflow')),
      complaints(child.stderr, call.onLine),
      child.exited,
    ]);
    if (ended === 'aborted') throw call.signal.reason;
    if (ended === 'late') {
      throw new Failure(
        'timed-out',
        `git ${call.args[0]} took longer than ${Math.round(call.timeoutMs / 1000)} s`,
      );
    }
    return { code, stdout, stderr, overflow: ended === 'overflow' };
  } finally {
    stop.abort();
    call.signal.removeEventListener('abort', onAbort);
  }
}

function start(argv: string[], call: GitCall) {
  try {
    return Bun.spawn(argv, {
      cwd: call.cwd,
      env: environment(call),
      detached: true,
      stdout: 'pipe',
      stderr: 'pipe',
      stdin: call.stdin === undefined ? 'ignore' : Buffer.from(call.stdin),
    });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw new Failure('not-implemented', `git cannot be started in ${call.cwd}; install git on the server`, {
      cause,
    });
  }
}

async function endGroup(child: { readonly pid: number }, clock: Clock, gone: AbortSignal): Promise<void> {
  const kill = (signal: 'SIGTERM' | 'SIGKILL'): void => {
    try {
      process.kill(-child.pid, signal);
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ESRCH') throw thrown; // Already gone is what we want.
    }
  };
  kill('SIGTERM');
  try {
    await sleep(clock, KILL_AFTER_MS, gone);
    kill('SIGKILL');
  } catch {
    // It ended in time.
  }
}

async function output(
  stream: ReadableStream<Uint8Array>,
  call: GitCall,
  overflow: () => void,
): Promise<string> {
  const max = call.stdoutBytesMax ?? STDOUT_BYTES_MAX;
  const kept: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > max) {
      overflow();
      continue;
    }
    if (call.onStdout) await call.onStdout(chunk);
    else kept.push(chunk);
  }
  return Buffer.concat(kept).toString('utf8');
}

async function complaints(
  stream: ReadableStream<Uint8Array>,
  onLine?: (line: string) => void,
): Promise<string> {
  const decoder = new TextDecoder();
  let all = '';
  let line = '';
  for await (const chunk of stream) {
    const text = decoder.decode(chunk, { stream: true });
    all = (all + text).slice(-STDERR_CHARS_MAX);
    if (!onLine) continue;
    const lines = (line + text).split(/[\r\n]+/);
    line = (lines.pop() ?? '').slice(-STDERR_CHARS_MAX);
    for (const one of lines) if (one.trim() !== '') onLine(one.trim());
  }
  if (onLine && line.trim() !== '') onLine(line.trim());
  return all;
}
