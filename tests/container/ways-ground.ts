/**
 * A server with a model gateway, Agentshare, operators and enrolment, four instances in containers, and what
 * they might reach if a wall were missing.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BootstrapView, InstanceView, SessionView } from '../../src/views.ts';
import { type House, openHouse, until } from '../e2e/house.ts';
import { readScenario } from '../model-server/scenario.ts';
import { type ModelServer, startModelServer } from '../model-server/server.ts';
import { docker, engineSocket, imagesDir } from './ground.ts';
import { type CallWish, rooms, SITE, type World } from './way.ts';

const realKey = 'sk-ant-real-77c1f0-must-not-be-seen-by-any-probe';

export interface Prison {
  readonly world: World;
  /** What no probe could have reached, because it is not there. */
  whatIsClosed(): Promise<readonly string[]>;
  close(): Promise<void>;
}

interface Around {
  readonly site: Bun.Server<undefined>;
  readonly closed: Bun.Server<undefined>;
  readonly abstract: Bun.UnixSocketListener<undefined>;
  readonly outside: string;
  readonly model: ModelServer;
}

function around(): Around {
  const outside = mkdtempSync(join(tmpdir(), 'outside-'));
  mkdirSync(outside, { recursive: true, mode: 0o755 });
  writeFileSync(join(outside, 'secret.txt'), 'not yours\n', { mode: 0o644 });
  const said = (words: string) => ({
    hostname: '0.0.0.0',
    port: 0,
    fetch: ({ url }: Request) => new Response(`${words} ${new URL(url).pathname}`),
  });
  return {
    outside,
    site: Bun.serve(said('a site')),
    closed: Bun.serve(said('never')),
    abstract: Bun.listen<undefined>({ unix: '\0ways-out', socket: { data() {} } }),
    model: startModelServer(
      readScenario({ key: realKey, rules: [{ user: 'no probe', turns: [{ say: 'Nothing.' }] }] }),
    ),
  };
}

const isOpen = (where: { host: string; port: number } | { path: string }): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(where);
    socket.on('error', () => resolve(false));
    socket.on('connect', () => resolve(socket.destroy().destroyed));
  });

/** The API, with the token of an admin once there is one. */
function calling(house: House, token: () => string | null) {
  return async (method: string, path: string, wish: CallWish = {}): Promise<Response> => {
    const shown = wish.token ?? token();
    const isJson = wish.body?.startsWith('{') ?? false;
    return await fetch(new URL(path, `${house.url()}/api/v1/`), {
      method,
      headers: {
        ...(shown === null ? {} : { authorization: `Bearer ${shown}` }),
        ...(isJson ? { 'content-type': 'application/json' } : {}),
        ...wish.headers,
      },
      ...(wish.body === undefined ? {} : { body: wish.body }),
    });
  };
}

type Call = World['call'];

async function asked<T>(call: Call, method: string, path: string, body?: object | string): Promise<T> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await call(method, path, body === undefined ? {} : { body: text });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

async function openInstances(house: House, call: Call, site: number): Promise<void> {
  const http = Number(new URL(house.url()).port);
  const allow = [
    `${SITE}:${site}`,
    ...['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]'].map((name) => `${name}:${http}`),
    '169.254.169.254',
  ];
  const made = [
    { name: rooms.isolated, image: 'claude' },
    { name: rooms.neighbour, image: 'base' },
    { name: rooms.allowlist, image: 'claude', network: { mode: 'allowlist', allow } },
    { name: rooms.full, image: 'claude', network: { mode: 'full' } },
  ];
  await Promise.all(made.map((one) => asked(call, 'POST', 'instances', { runtime: 'container', ...one })));
  for (const { name } of made)
    await until(
      `${name} to be ready`,
      async () =>
        (await asked<{ state: string }>(call, 'GET', `agents/${name}`).catch(() => null))?.state === 'ready',
      { seen: () => house.log() },
    );
  const probe = readFileSync(join(import.meta.dir, 'probe.mjs'), 'utf8');
  for (const name of [rooms.isolated, rooms.allowlist, rooms.full])
    await asked(call, 'PUT', `storage/instances/${name}/inbox?path=probe.mjs`, probe);
  await asked(call, 'PUT', 'storage/global?path=notice.txt', 'for all\n');
  await asked(call, 'PUT', `storage/instances/${rooms.neighbour}/inbox?path=kept.txt`, 'another’s\n');
}

/** A session that says its virtual key. */
async function keyed(
  call: Call,
  name: string,
  then = 'exec sleep 600',
): Promise<{ readonly id: string; readonly key: string }> {
  const args = ['-c', `echo "key $ANTHROPIC_AUTH_TOKEN"; ${then}`];
  const { session_id: id } = await asked<SessionView>(call, 'POST', `agents/${name}/sessions`, {
    command: 'bash',
    args,
  });
  const key = await until(`the key of ${name}`, async () => {
    const text = await (await call('GET', `sessions/${id}/output`)).text();
    return /key (agk_[\w-]{43})/.exec(text)?.[1];
  });
  return { id, key };
}

/** Of a session that is over. */
async function endedKey(call: Call): Promise<string> {
  const { id, key } = await keyed(call, rooms.isolated, 'exit 0');
  const isOver = async () => (await asked<SessionView>(call, 'GET', `sessions/${id}`)).state === 'exited';
  await until('a session to be over', isOver);
  return key;
}

/** Its address, and this host's on the same bridge. */
async function addressesOf(house: House, name: string): Promise<{ own: string; bridge: string }> {
  const label = [`agentic-sandbox.data-dir=${house.dataDir}`, `agentic-sandbox.instance=${name}`];
  const [found] = await docker.listContainers({ filters: { label } });
  const [network] = Object.values(found?.NetworkSettings.Networks ?? {});
  if (!network?.IPAddress || !network.Gateway) throw new Error(`${name} has no address`);
  return { own: network.IPAddress, bridge: network.Gateway };
}

/** Lets the instance with a network listen, so that there is somebody to be reached. */
async function listening(call: Call, port: number): Promise<void> {
  const args = [
    '-e',
    `require("node:http").createServer((q, a) => a.end("free")).listen(${port}, "0.0.0.0")`,
  ];
  await asked(call, 'POST', `agents/${rooms.full}/sessions`, { command: 'node', args });
}

export async function openPrison(): Promise<Prison> {
  const there = around();
  let token: string | null = null;
  const house = await openHouse('ways', {
    DOCKER_HOST: `unix://${engineSocket}`,
    AGENTIC_IMAGES_DIR: imagesDir,
    AGENTIC_FIRST_INSTANCE: '',
    AGENTIC_ANTHROPIC_BASE_URL: there.model.url,
    AGENTIC_ANTHROPIC_API_KEY: 'env:WAYS_REAL_KEY',
    WAYS_REAL_KEY: realKey,
    AGENTIC_GATEWAY_LISTEN: '127.0.0.1:0',
  });
  const call = calling(house, () => token);
  const close = async () => {
    await closeHouse(house, call);
    for (const server of [there.site, there.closed]) await server.stop(true);
    there.abstract.stop(true);
    await there.model.stop();
    rmSync(there.outside, { recursive: true, force: true });
  };
  try {
    await openInstances(house, call, Number(there.site.port));
    await listening(call, Number(there.site.port));
    const found = await foundInside(call);
    const places = await placesOf({ house, call, there });
    const admin = await asked<{ token: string }>(call, 'POST', 'tokens', { name: 'ada', role: 'admin' });
    token = admin.token;
    const world: World = {
      ...found,
      ...places,
      stolen: { cert: proofOf(house, 'cert'), key: proofOf(house, 'key') },
      realKey,
      adminToken: admin.token,
      inside: insideBy(call),
      call,
      log: house.log,
    };
    return { world, close, whatIsClosed: () => whatIsClosed(world) };
  } catch (thrown) {
    const log = house.log().slice(-4_000);
    await close();
    throw new Error(`${thrown}\n${log}`, { cause: thrown });
  }
}

const proofOf = ({ dataDir }: House, file: 'cert' | 'key') =>
  readFileSync(join(dataDir, 'instances', rooms.neighbour, 'identity', `${file}.pem`), 'utf8');

/** What a program inside could get to know, and what of another it could have stolen. */
async function foundInside(call: Call): Promise<Pick<World, 'virtualKey' | 'otherSession' | 'instanceId'>> {
  const cell = await keyed(call, rooms.isolated);
  const other = await keyed(call, rooms.neighbour);
  const idOf = async (name: string) =>
    (await asked<InstanceView>(call, 'GET', `instances/${name}`)).instance_id;
  return {
    virtualKey: { cell: cell.key, other: other.key, ended: await endedKey(call) },
    otherSession: other.id,
    instanceId: { cell: await idOf(rooms.isolated), other: await idOf(rooms.neighbour) },
  };
}

type Places = 'dataDir' | 'outside' | 'engineSocket' | 'ports' | 'bridge' | 'freeAddress' | 'enrolUrl';

async function placesOf({
  house,
  call,
  there,
}: {
  readonly house: House;
  readonly call: Call;
  readonly there: Around;
}): Promise<Pick<World, Places>> {
  const { enrol_url: enrolUrl } = await asked<BootstrapView>(
    call,
    'POST',
    `instances/${rooms.neighbour}/bootstrap`,
  );
  const { own, bridge } = await addressesOf(house, rooms.full);
  return {
    dataDir: house.dataDir,
    outside: there.outside,
    engineSocket,
    ports: {
      http: Number(new URL(house.url()).port),
      grpc: house.port,
      gateway: gatewayPort(house),
      enrol: Number(new URL(enrolUrl).port),
      site: Number(there.site.port),
      closed: Number(there.closed.port),
    },
    bridge,
    freeAddress: own,
    enrolUrl,
  };
}

const insideBy =
  (call: Call): World['inside'] =>
  async (room, script) => {
    const body = { command: 'bash', args: ['-c', script], timeout_seconds: 60 };
    const ran = await asked<{ stdout: string; stderr: string }>(call, 'POST', `agents/${room}/exec`, body);
    return `${ran.stdout}${ran.stderr}`.trim();
  };

const gatewayPort = ({ dataDir }: House): number =>
  Number(readFileSync(join(dataDir, 'gateway', 'port'), 'utf8'));

async function whatIsClosed({ ports, bridge, freeAddress }: World): Promise<readonly string[]> {
  const places = [
    ...(['http', 'grpc', 'gateway', 'enrol'] as const).map((one) => ({
      host: '127.0.0.1',
      port: ports[one],
    })),
    ...[SITE, bridge, freeAddress].map((host) => ({ host, port: ports.site })),
    { host: SITE, port: ports.closed },
    { path: '\0ways-out' },
    { path: engineSocket },
  ];
  const open = await Promise.all(places.map(isOpen));
  return places.filter((_, i) => !open[i]).map((place) => JSON.stringify(place));
}

async function closeHouse(house: House, call: Call): Promise<void> {
  const { instances } = await asked<{ instances: InstanceView[] }>(call, 'GET', 'instances');
  for (const { name } of instances) await call('DELETE', `instances/${name}`);
  const label = [`agentic-sandbox.data-dir=${house.dataDir}`];
  await until(
    'every container to be gone',
    async () => (await docker.listContainers({ all: true, filters: { label } })).length === 0,
  );
  await house.close();
}
