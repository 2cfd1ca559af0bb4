/**
 * Ways out by being somebody else: on its own socket to the server, at the gateway, and, with all that can be
 * seen inside, at the doors outside.
 */
import { create } from '@bufbuild/protobuf';
import {
  AgentMessageSchema,
  ExecRequestSchema,
  RenewCertificateRequestSchema,
} from '../../proto/gen/agent_pb.ts';
import { agentService } from '../../proto/service.ts';
import type { BootstrapView, InstanceView } from '../../src/views.ts';
import { until } from '../e2e/house.ts';
import { request as certificateRequest, idOf } from '../identity/ground.ts';
import { answer, probe, rooms, type Way, type World } from './way.ts';

const SOCKET = '/opt/agentic/socket/s';
const base64 = (bytes: Buffer): string => bytes.toString('base64');

interface Claim {
  readonly agentId: string;
  readonly instanceId: string;
  /** Its own certificate when absent. */
  readonly proof?: 'none' | 'plain' | { readonly cert: string; readonly key: string };
  readonly metadata?: Readonly<Record<string, string>>;
  /** What is said behind the registration. */
  readonly more?: readonly string[];
}

/** An agent's first words on the socket of the instance. */
const connect = ({ agentId, instanceId, proof, metadata = {}, more = [] }: Claim): string => {
  const value = { agentId, instanceId, hostname: 'x' };
  const first = create(AgentMessageSchema, { payload: { case: 'registration', value: value as never } });
  return probe(
    'call',
    SOCKET,
    'Connect',
    JSON.stringify({
      keep: true,
      proof,
      metadata,
      messages: [base64(agentService.connect.requestSerialize(first)), ...more],
    }),
  );
};

const exec = (agentId: string, token?: string): string => {
  const wanted = create(ExecRequestSchema, { agentId, command: 'id' });
  const metadata = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const messages = [base64(agentService.exec.requestSerialize(wanted))];
  return probe('call', SOCKET, 'Exec', JSON.stringify({ metadata, messages }));
};

const way = (tries: string, sees: RegExp, script: (world: World) => string): Way => ({
  family: 'identity',
  from: 'isolated',
  tries,
  sees,
  run: (world) => world.inside(rooms.isolated, script(world)),
});

const outside = (tries: string, sees: RegExp, run: Way['run']): Way => ({
  family: 'identity',
  from: 'outside',
  tries,
  sees,
  run,
});

const control = (one: Way): Way => ({ ...one, isControl: true });
const own = ({ instanceId }: World) => ({ agentId: 'cell', instanceId: instanceId.cell });
const other = ({ instanceId }: World) => ({ agentId: 'other', instanceId: instanceId.other });
const DENIED = 'status 7 ';
const refusal = (start: string, why: string) => new RegExp(`^${start}.*${why}`);

/** Who is turned away before the first word hears nothing of why: the audit log has it. */
const turnedAway = (tries: string, why: string, script: (world: World) => string): Way => ({
  ...way(tries, new RegExp(`^refused[^]*the socket of cell.*${why}`), script),
  async run(world) {
    const heard = await world.inside(rooms.isolated, script(world));
    const page = await world.call('GET', 'audit?outcome=refused&limit=1');
    const { records } = (await page.json()) as { records: { params: Record<string, string> }[] };
    return `${heard}; ${records[0]?.params['actor']}: ${records[0]?.params['reason']}`;
  },
});

const NOT_ITS_OWN = 'not of spiffe:';
const socket: readonly Way[] = [
  way('another agent’s id, with its own certificate', refusal(DENIED, 'is not agent other'), (world) =>
    connect(other(world)),
  ),
  turnedAway('another agent’s id, with that one’s stolen key and certificate', NOT_ITS_OWN, (world) =>
    connect({ ...other(world), proof: world.stolen }),
  ),
  turnedAway('its own id, with another’s key and certificate', NOT_ITS_OWN, (world) =>
    connect({ ...own(world), proof: world.stolen }),
  ),
  turnedAway('its own id without a certificate', 'no certificate', (world) =>
    connect({ ...own(world), proof: 'none' }),
  ),
  turnedAway('its own id without TLS', 'it spoke no TLS', (world) =>
    connect({ ...own(world), proof: 'plain' }),
  ),
  way('another’s id in the metadata', refusal(DENIED, 'the metadata says other'), (world) =>
    connect({ ...own(world), metadata: { 'x-agent-id': 'other' } }),
  ),
  way('another’s instance id', refusal(DENIED, 'instance'), (world) =>
    connect({ ...own(world), instanceId: world.instanceId.other }),
  ),
  way('another’s instance id in the metadata', refusal(DENIED, 'the metadata says instance'), (world) =>
    connect({ ...own(world), metadata: { 'x-agent-instance-id': world.instanceId.other } }),
  ),
  way('an id that leads out of a directory', refusal('status 3 ', 'is no agent id'), (world) =>
    connect({ ...own(world), agentId: '../other' }),
  ),
  way('a command in another instance', refusal(DENIED, 'only operators run commands'), () => exec('other')),
  way(
    'a command with a stolen token of an admin',
    refusal(DENIED, 'only operators run commands'),
    ({ adminToken }) => exec('other', adminToken),
  ),
  way('a certificate for another', refusal(DENIED, 'may not ask for'), ({ instanceId }) => {
    const { csr } = certificateRequest(idOf(instanceId.other));
    const wanted = create(RenewCertificateRequestSchema, { csrPem: csr });
    const messages = [base64(agentService.renewCertificate.requestSerialize(wanted))];
    return probe('call', SOCKET, 'RenewCertificate', JSON.stringify({ metadata: {}, messages }));
  }),
  way('another instance’s socket', /^refused ENOENT$/, ({ dataDir }) =>
    probe('unix', `${dataDir}/agent.sock`),
  ),
];

const message = (payload: unknown): string =>
  base64(agentService.connect.requestSerialize(create(AgentMessageSchema, { payload: payload as never })));

/** Its own agent comes back at once, and takes its place again. */
const taken = /^(welcomed|status 10 superseded)/;
const forgery = 'words that other never said';

/** These come last: the one that is welcomed takes the place of the instance's own agent for a moment. */
const impostors: readonly Way[] = [
  outside(
    'streams that never say who they are, to keep others out',
    /^[5-9]\d of 96 refused: .*; another hears status 7 .*the metadata says other/,
    async (world) => {
      const { inside, call } = world;
      await inside(rooms.isolated, 'rm -f /mnt/outbox/crowded /mnt/outbox/enough');
      const crowd = inside(rooms.isolated, probe('crowd', SOCKET, 'Connect', 96));
      const isThere = async () =>
        (await call('GET', `storage/instances/${rooms.isolated}/outbox/_download?path=crowded`)).ok;
      await until('the crowd', isThere);
      const guided = { agentId: rooms.allowlist, instanceId: '', metadata: { 'x-agent-id': 'other' } };
      const heard = await inside(rooms.allowlist, connect(guided));
      await inside(rooms.isolated, 'touch /mnt/outbox/enough');
      return `${await crowd}; another hears ${heard}`;
    },
  ),
  control(way('its own id and certificate on its own socket', taken, (world) => connect(own(world)))),
  outside(
    'output and an end forged for another’s session',
    /^live, and nothing was said, but dropped$/,
    async (world) => {
      const { otherSession: id, call, inside, log } = world;
      const output = { streamId: id, data: Buffer.from(forgery), timestampMs: 0n, eof: false };
      const more = [
        message({ case: 'stdout', value: output }),
        message({ case: 'commandResult', value: { commandId: id, exitCode: 0, error: '', success: true } }),
      ];
      const told = await inside(rooms.isolated, connect({ ...own(world), more }));
      if (!taken.test(told)) return told;
      const dropped = () =>
        log().includes(`"output of an unknown session dropped","agent":"cell","session":"${id}"`);
      await until('the forgery to be dropped', dropped, { withinMs: 10_000 });
      const view = (await (await call('GET', `sessions/${id}`)).json()) as { state: string };
      const said = await (await call('GET', `sessions/${id}/output`)).text();
      return `${view.state}, and ${said.includes(forgery) ? 'it' : 'nothing'} was said, but dropped`;
    },
  ),
];

const ask =
  (key: string, room: string = rooms.isolated): Way['run'] =>
  async (world) =>
    await world.inside(
      room,
      probe('http', '127.0.0.1', 3129, 'GET /v1/models HTTP/1.1', 'host: x', `authorization: Bearer ${key}`),
    );

/** The words to be found are in nobody's command line meanwhile. */
const searched = (a: string, b: string): string =>
  `k='${a}'; k="$k"'${b}'; of() { printf "%s\\n" "$k"; }; ` +
  'found=$(cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" "\\n" | grep -cFf <(of)); ' +
  'files=$(grep -rlFf <(of) /opt/agentic /home/agent /srv/work /mnt /workspace /tmp /run /dev/shm /etc 2>/dev/null); ' +
  '[ "$found" = 0 ] && [ -z "$files" ] && echo nothing || echo "$found $files"';

const noKey = /^connected HTTP\/1\.1 401[\s\S]*no key of a session/;
const keys: readonly Way[] = [
  { ...way('the gateway with a forged key', noKey, () => ''), run: ask(`agk_${'A'.repeat(43)}`) },
  {
    ...way('the gateway with another’s key', noKey, () => ''),
    run: (world) => ask(world.virtualKey.other)(world),
  },
  {
    ...way('the gateway with the key of a session that is over', noKey, () => ''),
    run: (world) => ask(world.virtualKey.ended)(world),
  },
  {
    ...way('the gateway with a stolen token of an admin', noKey, () => ''),
    run: (world) => ask(world.adminToken)(world),
  },
  control(
    way('its virtual key in environments, command lines and files', /^[1-9]/, ({ virtualKey }) =>
      searched(virtualKey.cell.slice(0, 9), virtualKey.cell.slice(9)),
    ),
  ),
  way('the real key in environments, command lines and files', /^nothing$/, ({ realKey }) => {
    // Told in two halves, so that the search does not find itself.
    const [a, b] = [realKey.slice(0, 9), realKey.slice(9)];
    return searched(a, b);
  }),
];

const bearer = (tries: string, token: (world: World) => string): Way =>
  outside(tries, /^401 [\s\S]*unauthenticated/, async (world) =>
    answer(await world.call('GET', 'instances', { token: token(world) })),
  );

const doors: readonly Way[] = [
  control(
    outside('the API with an admin’s token', /^200 /, async (world) =>
      answer(await world.call('GET', 'instances')),
    ),
  ),
  bearer('the API with its virtual key', ({ virtualKey }) => virtualKey.cell),
  bearer(
    'the API with a token that only looks like one',
    ({ adminToken }) => `${adminToken.slice(0, -4)}AAAA`,
  ),
];

interface Asking {
  readonly token: string;
  readonly spiffe_id: string;
  readonly csr_pem: string;
}

const enrol = async ({ enrolUrl }: World, asking: Asking): Promise<string> =>
  await answer(
    await fetch(enrolUrl, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(asking),
      tls: { rejectUnauthorized: false },
    }),
  );

let made = 0;

/** A new instance elsewhere, with a one-time token and a request that were used once. */
async function enrolled(world: World): Promise<Asking> {
  made += 1;
  const body = JSON.stringify({ name: `far-${made}`, runtime: 'host', start: false });
  const { instance_id: id } = (await (
    await world.call('POST', 'instances', { body })
  ).json()) as InstanceView;
  const given = (await (await world.call('POST', `instances/far-${made}/bootstrap`)).json()) as BootstrapView;
  const used = { token: given.token, spiffe_id: idOf(id), csr_pem: certificateRequest(idOf(id)).csr };
  const first = await enrol(world, used);
  if (!first.startsWith('201 ')) throw new Error(`not enrolled: ${first}`);
  return used;
}

const enrolment: readonly Way[] = [
  control(outside('a one-time token, once', /^spiffe:/, async (world) => (await enrolled(world)).spiffe_id)),
  outside('the same token and request again', /^409 [\s\S]*token-consumed/, async (world) =>
    enrol(world, await enrolled(world)),
  ),
  outside('a used token with another request', /^409 [\s\S]*token-consumed/, async (world) => {
    const used = await enrolled(world);
    return await enrol(world, { ...used, csr_pem: certificateRequest(used.spiffe_id).csr });
  }),
  outside('a request played again with a new token', /^422 [\s\S]*unprocessable/, async (world) => {
    const used = await enrolled(world);
    const given = await world.call('POST', `instances/far-${made}/bootstrap`);
    const { token } = (await given.json()) as BootstrapView;
    return await enrol(world, { ...used, token });
  }),
  outside('a new token for another id', /^403 [\s\S]*forbidden/, async (world) => {
    await enrolled(world);
    const given = await world.call('POST', `instances/far-${made}/bootstrap`);
    const { token } = (await given.json()) as BootstrapView;
    const id = idOf(world.instanceId.other);
    return await enrol(world, { token, spiffe_id: id, csr_pem: certificateRequest(id).csr });
  }),
  outside('its virtual key in the place of a token', /^401 [\s\S]*unauthenticated/, async (world) => {
    const id = idOf(world.instanceId.other);
    return await enrol(world, {
      token: world.virtualKey.cell,
      spiffe_id: id,
      csr_pem: certificateRequest(id).csr,
    });
  }),
];

export const identityWays: readonly Way[] = [...socket, ...keys, ...doors, ...enrolment, ...impostors];
