/** Ground for the tests of tasks: a temporary directory, real repositories, and a git server over HTTP. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readManifest } from '../../src/tasks/manifest.ts';

export interface Ground {
  readonly dir: string;
  readonly clear: () => void;
}

export function ground(name: string): Ground {
  const dir = mkdtempSync(`/tmp/tasks-${name}-`);
  return { dir, clear: () => rmSync(dir, { recursive: true, force: true }) };
}

const quiet = { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' };

/** Runs the real git as a person would; throws with its words when it fails. */
export function git(cwd: string, ...args: string[]): string {
  const who = ['-c', 'user.name=Ada', '-c', 'user.email=ada@example.org', '-c', 'init.defaultBranch=main'];
  const { exitCode, stdout, stderr } = Bun.spawnSync(['git', ...who, ...args], {
    cwd,
    env: { PATH: process.env['PATH'] ?? '', HOME: cwd, ...quiet },
  });
  if (exitCode !== 0) throw new Error(`git ${args.join(' ')}: ${stderr.toString()}`);
  return stdout.toString().trim();
}

export function put(dir: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), content);
  }
}

export interface Source {
  readonly path: string;
  readonly first: string;
  readonly second: string;
  readonly topic: string;
}

/** Two commits on main, a third on `topic/one`, a tag `v1` at the first. */
export function source(dir: string): Source {
  const path = join(dir, 'source');
  mkdirSync(path, { recursive: true });
  git(path, 'init', '-q');
  const commit = (message: string): string => {
    git(path, 'add', '-A');
    git(path, 'commit', '-q', '-m', message);
    return git(path, 'rev-parse', 'HEAD');
  };
  put(path, { 'readme.md': 'one\n', 'packages/api/index.ts': 'api\n', 'packages/web/index.ts': 'web\n' });
  const first = commit('first');
  git(path, 'tag', 'v1');
  put(path, { 'readme.md': 'two\n' });
  const second = commit('second');
  git(path, 'checkout', '-q', '-b', 'topic/one');
  put(path, { 'readme.md': 'topic\n' });
  const topic = commit('topic');
  git(path, 'checkout', '-q', 'main');
  return { path, first, second, topic };
}

export const manifest = (over: object = {}) =>
  readManifest({ metadata: { name: 'A task' }, agent: { tool: 'command', command: 'true' }, ...over });

export interface GitServer {
  readonly url: string;
  readonly asked: () => number;
  readonly stop: () => void;
}

export interface GitServerRules {
  /** Basic credentials it wants, as `user:password`. */
  readonly wants?: string;
  /** Answers the first so many requests with 503. */
  readonly ill?: number;
  /** Never answers. */
  readonly mute?: boolean;
}

/** Serves every repository below `root` by git's own http-backend. */
export function gitServer(root: string, rules: GitServerRules = {}): GitServer {
  let asked = 0;
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    idleTimeout: 60,
    async fetch(request) {
      asked++;
      if (rules.mute) return new Promise<Response>(() => {});
      if (asked <= (rules.ill ?? 0)) return new Response('ill', { status: 503 });
      const given = request.headers.get('authorization');
      if (rules.wants !== undefined && given !== `Basic ${btoa(rules.wants)}`) {
        return new Response('who?', { status: 401, headers: { 'www-authenticate': 'Basic realm="git"' } });
      }
      return backend(root, request);
    },
  });
  return { url: `http://127.0.0.1:${server.port}`, asked: () => asked, stop: () => void server.stop(true) };
}

async function backend(root: string, request: Request): Promise<Response> {
  const url = new URL(request.url);
  const child = Bun.spawn(['git', 'http-backend'], {
    stdin: Buffer.from(await request.arrayBuffer()),
    stdout: 'pipe',
    env: {
      ...quiet,
      PATH: process.env['PATH'] ?? '',
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      REQUEST_METHOD: request.method,
      PATH_INFO: decodeURIComponent(url.pathname),
      QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: request.headers.get('content-type') ?? '',
      HTTP_CONTENT_ENCODING: request.headers.get('content-encoding') ?? '',
      GIT_PROTOCOL: request.headers.get('git-protocol') ?? '',
      REMOTE_USER: 'ada',
    },
  });
  const bytes = Buffer.from(await new Response(child.stdout).arrayBuffer());
  const end = bytes.indexOf('\r\n\r\n');
  const headers = new Headers();
  let status = 200;
  for (const line of bytes.subarray(0, end).toString().split('\r\n')) {
    const colon = line.indexOf(':');
    const [name, value] = [line.slice(0, colon), line.slice(colon + 1).trim()];
    if (name.toLowerCase() === 'status') status = Number.parseInt(value, 10);
    else headers.set(name, value);
  }
  return new Response(bytes.subarray(end + 4), { status, headers });
}
