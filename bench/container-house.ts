/**
 * Ground for measuring containers: an engine, a real server beside it with a data directory of its own, and
 * what the benches ask of both.
 *
 * The engine is the one that DOCKER_HOST or CONTAINER_TEST_SOCKET names; without either one of our own is
 * started (scripts/check/with-engine.ts), and the bench is run again beside it.
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import Docker from 'dockerode';
import { type House, openHouse, until } from '../tests/e2e/house.ts';
import { nowMs } from './terminal-figures.ts';

const root = resolve(import.meta.dir, '..');
const GONE_MS = 120_000;
export const ANSWER_MS = 120_000;

export interface Ran {
  readonly exit_code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ContainerHouse extends House {
  readonly docker: Docker;
  readonly socket: string;
  readonly ws: string;
  exec(agent: string, script: string, timeoutSeconds?: number): Promise<Ran>;
  /** Waits until the agent is connected and has taken a command and answered it. */
  answers(name: string): Promise<{ readonly readyMs: number; readonly answeredMs: number }>;
  container(name: string): Promise<Docker.ContainerInspectInfo>;
  destroy(names: readonly string[]): Promise<void>;
}

/**
 * The engine's socket. Without an engine the bench is run again beside one, and this process ends with it.
 */
export async function engineSocket(): Promise<string> {
  const { DOCKER_HOST: host, CONTAINER_TEST_SOCKET: given } = process.env;
  if (given) return given;
  if (host?.startsWith('unix://')) return host.slice('unix://'.length);
  const beside = [process.execPath, join(root, 'scripts', 'check', 'with-engine.ts'), 'docker'];
  const again = [...beside, process.execPath, ...process.argv.slice(1)];
  process.exit(await Bun.spawn(again, { stdio: ['ignore', 'inherit', 'inherit'] }).exited);
}

/** `env` is added to the server's. */
/**
 * Agents that are ready, as the feed of events tells: asking again and again would keep the server, and one
 * of two processors, busy with the answers.
 */
async function readyAgents(house: House) {
  const closing = new AbortController();
  const since = new Map<string, number>();
  let wake = Promise.withResolvers<void>();
  const feed = await fetch(new URL('api/v1/events', `${house.url()}/`), {
    headers: { accept: 'text/event-stream' },
    signal: closing.signal,
  });
  if (!feed.ok || !feed.body) throw new Error(`the feed of events: ${feed.status} ${await feed.text()}`);
  const take = (line: string) => {
    if (!line.startsWith('data:')) return;
    const { kind, data } = JSON.parse(line.slice('data:'.length)) as { kind?: string; data?: unknown };
    if (kind !== 'agent') return;
    const { id, state } = data as { id: string; state: string };
    if (state !== 'ready') since.delete(id);
    else if (!since.has(id)) since.set(id, nowMs());
    wake.resolve();
    wake = Promise.withResolvers();
  };
  const follow = async (body: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    let rest = '';
    for await (const piece of body) {
      const lines = (rest + decoder.decode(piece, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) take(line);
    }
  };
  void follow(feed.body).catch(() => {}); // Closed; whoever still waits says that it was in vain.
  return {
    /** When it became ready. */
    async ready(name: string): Promise<number> {
      for (const end = nowMs() + ANSWER_MS; nowMs() < end; ) {
        const at = since.get(name);
        if (at !== undefined) return at;
        await Promise.race([wake.promise, Bun.sleep(end - nowMs())]);
      }
      throw new Error(`${name} was not ready within ${ANSWER_MS} ms:\n${house.log()}`);
    },
    close: () => closing.abort(),
  };
}

export async function containerHouse(
  socket: string,
  env: Readonly<Record<string, string>> = {},
): Promise<ContainerHouse> {
  const { CONTAINER_TEST_IMAGES, AGENTIC_IMAGES_DIR } = process.env;
  const house = await openHouse('bench', {
    DOCKER_HOST: `unix://${socket}`,
    AGENTIC_IMAGES_DIR: AGENTIC_IMAGES_DIR || CONTAINER_TEST_IMAGES || join(root, '.tools', 'images'),
    AGENTIC_FIRST_INSTANCE: '',
    ...env,
  });
  const docker = new Docker({ socketPath: socket });
  const dataDir = env['AGENTIC_DATA_DIR'] ?? house.dataDir;
  const label = [`agentic-sandbox.data-dir=${dataDir}`];
  const all = () => docker.listContainers({ all: true, filters: { label } });
  const agents = await readyAgents(house);
  const exec = (agent: string, script: string, timeoutSeconds = 60) => {
    const body = { command: 'bash', args: ['-c', script], timeout_seconds: timeoutSeconds };
    return house.post<Ran>(`agents/${agent}/exec`, body);
  };
  const remove = (name: string) =>
    fetch(new URL(`api/v1/instances/${name}`, `${house.url()}/`), { method: 'DELETE' });
  return {
    ...house,
    docker,
    socket,
    ws: (JSON.parse(readFileSync(join(dataDir, 'server.json'), 'utf8')) as { ws: string }).ws,
    exec,
    async answers(name) {
      const readyMs = await agents.ready(name);
      const { exit_code: code } = await exec(name, 'exit 7');
      if (code !== 7) throw new Error(`${name}: its first command ended with ${code} instead of 7`);
      return { readyMs, answeredMs: nowMs() };
    },
    async container(name) {
      const found = (await all()).find(({ Labels }) => Labels['agentic-sandbox.instance'] === name);
      if (!found) throw new Error(`instance ${name} has no container`);
      return await docker.getContainer(found.Id).inspect();
    },
    async destroy(names) {
      await Promise.all(names.map(remove));
      const left = async () =>
        (await all()).filter(({ Labels }) => names.includes(Labels['agentic-sandbox.instance'] ?? ''));
      await until('the containers to be gone', async () => (await left()).length === 0, {
        withinMs: GONE_MS,
        seen: house.log,
      });
    },
    async close() {
      agents.close();
      // Whatever became of the bench: nothing of it stays in an engine that is not ours.
      for (const { Id } of await all()) await docker.getContainer(Id).remove({ force: true, v: true });
      await house.close();
    },
  };
}
