/**
 * `bin/up` as a newcomer meets it: a fresh clone, an empty home, and of tools only Node, npm and what POSIX
 * has.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentView } from '../../src/views.ts';
import { git, put } from './ground.ts';
import { endStrays, freePorts, root, until } from './house.ts';

const READY_MS = 60_000;
const dir = mkdtempSync(join(tmpdir(), 'e2e-up-'));
const clone = join(dir, 'clone');
const tools = join(dir, 'tools');

/** Everything of POSIX that a shell script may lean on, and a little for the agent; no Bun. */
const words =
  'sh env awk sed cat cksum cut dirname basename grep head tail tr sort uname mkdir rm ls cp mv ln chmod id ps kill bash git tar gzip node npm';

beforeAll(() => {
  for (const each of [tools, join(dir, 'home')]) mkdirSync(each);
  for (const word of words.split(' ')) {
    const path = Bun.which(word);
    if (path !== null) symlinkSync(path, join(tools, word));
  }
  git(dir, 'clone', '-q', root, clone);
  // What is being written right now is tried too, not only what is committed.
  const changed = git(root, 'ls-files', '-z', '--modified', '--others', '--exclude-standard')
    .split('\0')
    .filter(Boolean);
  for (const file of changed.filter((name) => existsSync(join(root, name))))
    put(clone, { [file]: readFileSync(join(root, file)) });
  for (const script of ['up', 'bun', 'install']) Bun.spawnSync(['chmod', '+x', join(clone, 'bin', script)]);
}, 60_000);
afterAll(() => {
  endStrays(dir);
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

interface Up {
  readonly said: () => string;
  readonly child: Bun.Subprocess<'ignore', 'pipe', 'pipe'>;
}

function up(port: number): Up {
  const { NODE_EXTRA_CA_CERTS: certificates, HTTPS_PROXY: proxy } = process.env;
  const child = Bun.spawn([join(clone, 'bin', 'up')], {
    cwd: dir,
    env: {
      PATH: tools,
      HOME: join(dir, 'home'),
      LISTEN_ADDR: `127.0.0.1:${port}`,
      ...(certificates ? { NODE_EXTRA_CA_CERTS: certificates } : {}),
      ...(proxy ? { HTTPS_PROXY: proxy } : {}),
    },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  let said = '';
  const read = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
    for await (const bytes of stream) said += new TextDecoder().decode(bytes);
  };
  void read(child.stdout);
  void read(child.stderr);
  return { child, said: () => said };
}

/** The URL it prints, once it does. */
function address({ child, said }: Up, withinMs: number): Promise<string> {
  const look = (): string | undefined => {
    if (child.exitCode !== null) throw new Error(`bin/up exited with ${child.exitCode}:\n${said()}`);
    return /is ready at (http:\S+)/.exec(said())?.[1];
  };
  return until('bin/up prints its URL', look, { withinMs, seen: said });
}

const agents = async (url: string): Promise<AgentView[]> =>
  ((await (await fetch(`${url}/api/v1/agents`)).json()) as { agents: AgentView[] }).agents;

const port = freePorts();

test('[E4] a fresh clone with only Node and npm comes to a ready agent and a printed URL; a second run resumes', async () => {
  const first = up(port);
  const url = await address(first, READY_MS);
  const ready = async () => (await agents(url)).find((agent) => agent.state === 'ready');
  const agent = await until('an agent is ready', ready, { withinMs: READY_MS, seen: first.said });
  expect(first.said()).toContain('Fetching Bun');
  expect(existsSync(join(clone, '.tools', 'node_modules', '.bin', 'bun'))).toBe(true);
  expect(existsSync(join(clone, 'node_modules', 'playwright-core'))).toBe(false);
  first.child.kill('SIGTERM');
  expect(await first.child.exited).toBe(0);

  const second = up(port);
  const again = await address(second, READY_MS);
  expect(second.said()).not.toContain('Fetching');
  expect(second.said()).not.toContain('Installing');
  const back = await until('the same agent is ready', async () =>
    (await agents(again)).find((one) => one.state === 'ready'),
  );
  expect(back.instance_id).toBe(agent.instance_id);
  second.child.kill('SIGTERM');
  expect(await second.child.exited).toBe(0);
}, 180_000);

test('[E5] with a port taken it says which, and what to do', async () => {
  const taken = Bun.serve({ port: port + 2, hostname: '127.0.0.1', fetch: () => new Response('mine') });
  const third = up(port);
  const code = await third.child.exited;
  await taken.stop(true);
  expect(code).not.toBe(0);
  await until('it says so', () => third.said().includes(String(port + 2)), {
    withinMs: 2_000,
    seen: third.said,
  });
  expect(third.said()).toContain('LISTEN_ADDR');
}, 120_000);
