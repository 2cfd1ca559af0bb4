/** gRPC with client certificates, and the door for one-time tokens, over real sockets. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { create } from '@bufbuild/protobuf';
import { Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js';
import {
  ExecRequestSchema,
  RenewCertificateRequestSchema,
  type RenewCertificateResponse,
} from '../../proto/gen/agent_pb.ts';
import { agentService } from '../../proto/service.ts';
import type { Fleet } from '../../src/actors/fleet.ts';
import { systemClock } from '../../src/clock.ts';
import { Failure } from '../../src/failure.ts';
import { type EnrolDoor, enrolDoor } from '../../src/http/enrol.ts';
import { commonName, keyIdOf } from '../../src/identity/certificate.ts';
import { type OpenIdentity, openIdentity } from '../../src/identity/open.ts';
import { newId } from '../../src/ids.ts';
import { silentLog } from '../../src/log.ts';
import { admission } from '../../src/wiring/identity.ts';
import { Caller, clientOf, type TlsShown } from '../transport/caller.ts';
import { House, type Rig, rig } from '../transport/house.ts';
import {
  audit,
  cleaning,
  DOMAIN,
  forged,
  idOf,
  pair,
  type Root,
  refusal,
  request,
  root,
  shown,
  spkiOf,
  until,
} from './ground.ts';

setDefaultTimeout(30_000);

const { dir, add, clean } = cleaning();
afterEach(clean);

const SERVER_NAME = `server.${DOMAIN}`;
const instances = new Map<string, string>();

interface On {
  readonly rig: Rig;
  readonly house: House;
  readonly identity: OpenIdentity;
  readonly enrol: EnrolDoor;
  readonly at: string;
  readonly events: ReturnType<typeof audit>['events'];
  readonly ca: string;
  readonly place: string;
}

let on: On;

async function open({
  agentTtlMs = 3_600_000,
  serverTtlMs = 86_400_000,
  rate = { perSecond: 1_000, burst: 1_000 },
} = {}) {
  const place = dir('doors');
  const { events, audited } = audit();
  const config = {
    trustDomain: DOMAIN,
    tls: null,
    enrol: null,
    enrolUrl: null,
    names: [],
    authority: null,
    agentTtlMs,
    serverTtlMs,
    tokenTtlMs: 600_000,
  };
  const named = (id: string) => [...instances].find(([, one]) => one === id)?.[0] ?? null;
  const world = {
    config,
    dir: place,
    env: {},
    instanceNamed: named,
    clock: systemClock,
    log: silentLog,
    audited,
  };
  const identity = await openIdentity(world);
  const fleet = {
    isLive: (id: string) => instances.has(id.slice('instance:'.length)),
    context: (id: string) => ({ spec: { instanceId: instances.get(id.slice('instance:'.length)) } }),
    view: () => ({ state: 'running' }),
  } as unknown as Fleet;
  const secrets = {
    issue: async () => '',
    revoke: async () => {},
    matches: async () => false,
    isRevoked: async () => false,
  };
  const certificates = identity.register;
  const house = new House();
  house.admit = admission({ secrets, fleet: () => fleet, instanceOf: () => null, uid: 1_000, certificates });
  const tls = { host: '127.0.0.1', port: 0, ...identity.server, audited };
  const made = await rig({ listener: house, tls, certificates });
  const enrol = await enrolDoor({
    host: '127.0.0.1',
    port: 0,
    ...identity.server,
    register: identity.register,
    clock: systemClock,
    log: silentLog,
    rate,
  });
  add(async () => {
    enrol.close();
    await made.close();
    identity.close();
  });
  const at = `127.0.0.1:${made.server.tlsPort}`;
  return { rig: made, house, identity, enrol, at, events, place, ca: identity.server.current().ca };
}

beforeEach(async () => {
  instances.clear();
  instances.set('web-1', newId());
  instances.set('web-2', newId());
  on = await open();
});

const uuidOf = (name: string) => instances.get(name) as string;

interface Held extends TlsShown {
  readonly cert: string;
  readonly key: string;
  readonly spiffeId: string;
}

async function enrolled(name = 'web-1'): Promise<Held> {
  const { token, spiffeId } = on.identity.register.grant(uuidOf(name), 'olga');
  const { key, csr } = request(spiffeId);
  const { certificatePem: cert } = await on.identity.register.enrol({ token, spiffeId, csr }, 'x');
  return { ca: on.ca, cert, key, spiffeId, serverName: SERVER_NAME };
}

const asAgent = (tls: TlsShown, { agent = 'web-1', instanceId = uuidOf(agent) } = {}) => ({
  agent,
  secret: null,
  tls,
  metadata: { 'x-agent-instance-id': instanceId },
});

async function comeIn(
  tls: TlsShown,
  who: { agent?: string; instanceId?: string } = {},
): Promise<StatusObject> {
  const options = asAgent(tls, who);
  const caller = new Caller(on.at, options);
  add(() => caller.close());
  caller.register({ instanceId: options.metadata['x-agent-instance-id'] });
  return await caller.ended;
}

async function linked(tls: TlsShown, agent = 'web-1') {
  const options = asAgent(tls, { agent });
  const caller = new Caller(on.at, options);
  add(() => caller.close());
  caller.register({ instanceId: uuidOf(agent) });
  await caller.hears('registrationAck');
  return caller;
}

function renewed(tls: TlsShown | null, csr: string, at = on.at): Promise<RenewCertificateResponse> {
  const client = clientOf(at, tls);
  add(() => client.close());
  const { path, requestSerialize, responseDeserialize } = agentService.renewCertificate;
  const wanted = create(RenewCertificateRequestSchema, { csrPem: csr });
  const call = [path, requestSerialize, responseDeserialize, wanted] as const;
  return new Promise((resolve, reject) => {
    const told = (error: ServiceError | null, response?: RenewCertificateResponse) =>
      response ? resolve(response) : reject(error);
    client.makeUnaryRequest(...call, new Metadata(), {}, told);
  });
}

const statusOf = async (promise: Promise<unknown>): Promise<[number, string]> => {
  try {
    await promise;
  } catch (thrown) {
    return [(thrown as ServiceError).code, (thrown as ServiceError).details];
  }
  throw new Error('it was not refused');
};

/** The serial of the certificate that the port shows now. */
function seen(port: number | null, ca: string): Promise<string> {
  const { cert, key } = forgedUnderOurs();
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: port ?? 0, ca, cert, key, servername: SERVER_NAME };
    const socket = tlsConnect(options, () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

/** Under the server's own root, whose key lies in the test's folder. */
function forgedUnderOurs(spiffeId = idOf(uuidOf('web-1')), more: Parameters<typeof forged>[2] = {}) {
  return forged(rootIn(join(on.place, 'ca')), spiffeId, more);
}

function rootIn(place: string): Root {
  const pem = readFileSync(join(place, 'root.pem'), 'utf8');
  const key = createPrivateKey(readFileSync(join(place, 'root-key.pem')));
  const name = new X509Certificate(pem).subject.slice('CN='.length);
  return { pem, issuer: { name: commonName(name), keyId: keyIdOf(spkiOf(pem)), key } };
}

describe('the TLS port', () => {
  test('[C9, C10] an agent with a certificate of its instance is welcomed, and is who the certificate says', async () => {
    const tls = await enrolled();
    const caller = await linked(tls);
    expect(on.house.all('connected').map(({ link }) => [link.agent, link.instanceId])).toEqual([
      ['web-1', uuidOf('web-1')],
    ]);
    caller.output('s-1', 'hello', 0);
    await until('output', () => on.house.all('output').length > 0);
  });

  test("[C9] nobody comes in without a certificate, or with one of another authority, one that has expired, or a server's", async () => {
    const id = idOf(uuidOf('web-1'));
    const tls = (made: { cert?: string; key?: string }): TlsShown => ({
      ca: on.ca,
      serverName: SERVER_NAME,
      ...made,
    });
    const another = root();
    const cases: [TlsShown, string][] = [
      [tls({}), 'no certificate'],
      [tls(forged(another, id)), 'another authority'],
      [
        tls(
          forged(
            { ...another, issuer: { ...another.issuer, name: rootIn(join(on.place, 'ca')).issuer.name } },
            id,
          ),
        ),
        'authority',
      ],
      [tls(forgedUnderOurs(id, { ageMs: 7_200_000, leftMs: -3_600_000 })), 'expired'],
      [tls(forgedUnderOurs(id, { ageMs: -3_600_000 })), 'not good yet'],
      [tls(forgedUnderOurs(`spiffe://${DOMAIN}/server`, { purpose: 'server' })), 'not for clients'],
    ];
    for (const [shown, why] of cases) {
      const before = on.events.length;
      expect((await comeIn(shown)).code, why).toBe(status.UNAVAILABLE);
      const told = await until(`"${why}" in the audit`, () => on.events.slice(before)[0]);
      expect(told).toMatchObject({ what: 'connection.refused', outcome: 'denied' });
      expect(String(told.details['reason'])).toContain(why);
    }
    expect(on.house.told).toEqual([]);
  });

  test('[C10] another name, another instance, another trust domain and an instance that is gone are refused', async () => {
    const tls = await enrolled();
    const refused = async (made: Promise<StatusObject>) => {
      const { code, details } = await made;
      return [code, details];
    };
    const forbidden = status.PERMISSION_DENIED;
    expect(await refused(comeIn(tls, { agent: 'web-2' }))).toEqual([
      forbidden,
      expect.stringContaining('web-2'),
    ]);
    const mixed = comeIn(tls, { agent: 'web-1', instanceId: uuidOf('web-2') });
    expect(await refused(mixed)).toEqual([forbidden, expect.stringContaining('belongs to instance')]);
    expect((await comeIn(tls, { agent: 'nobody', instanceId: uuidOf('web-1') })).code).toBe(forbidden);
    const elsewhere = forgedUnderOurs(idOf(uuidOf('web-1'), 'elsewhere.local'));
    expect(await refused(comeIn({ ca: on.ca, serverName: SERVER_NAME, ...elsewhere }))).toEqual([
      status.UNAUTHENTICATED,
      expect.stringContaining('trust domain elsewhere.local'),
    ]);
    const server = forgedUnderOurs(`spiffe://${DOMAIN}/server`);
    expect((await comeIn({ ca: on.ca, serverName: SERVER_NAME, ...server })).code).toBe(
      status.UNAUTHENTICATED,
    );
    const gone = await enrolled('web-2');
    const id = uuidOf('web-2');
    instances.delete('web-2');
    expect((await comeIn(gone, { agent: 'web-2', instanceId: id })).code).toBe(forbidden);
    expect(on.house.told).toEqual([]);
  });

  test('[C10] a secret beside a certificate changes nothing, and a certificate runs no command', async () => {
    const tls = await enrolled();
    const caller = new Caller(on.at, { ...asAgent(tls, { agent: 'web-2' }), secret: 'for-operators' });
    add(() => caller.close());
    caller.register({ instanceId: uuidOf('web-2') });
    expect((await caller.ended).code).toBe(status.PERMISSION_DENIED);
    const { path, requestSerialize, responseDeserialize } = agentService.exec;
    const asked = create(ExecRequestSchema, { agentId: 'web-1', command: 'id' });
    for (const token of [null, 'for-operators']) {
      const client = clientOf(on.at, tls);
      add(() => client.close());
      const metadata = new Metadata();
      if (token) metadata.set('authorization', `Bearer ${token}`);
      const call = client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        asked,
        metadata,
      );
      call.on('error', () => {});
      call.resume();
      const ended = await new Promise<StatusObject>((resolve) => call.on('status', resolve));
      expect([ended.code, ended.details]).toEqual([
        status.PERMISSION_DENIED,
        expect.stringContaining('only operators'),
      ]);
    }
    expect(on.rig.desk.wanted).toEqual([]);
  });

  test('[C15] a connection ends when its certificate expires', async () => {
    const caller = await linked({
      ca: on.ca,
      serverName: SERVER_NAME,
      ...forgedUnderOurs(undefined, { leftMs: 3_000 }),
    });
    const { code } = await caller.ended;
    expect([status.UNAVAILABLE, status.CANCELLED, status.INTERNAL]).toContain(code);
    await until('the house to hear of it', () => on.house.all('lost').length > 0);
    expect(on.events.at(-1)).toMatchObject({
      what: 'connection.refused',
      details: { reason: 'the certificate has expired' },
    });
  });

  test('a port that is taken is named, with what to do, and nothing stays open', async () => {
    const { port } = { port: on.rig.server.tlsPort as number };
    const audited = () => {};
    const taken = rig({ tls: { host: '127.0.0.1', port, ...on.identity.server, audited } });
    const { code, message } = await refusal(taken);
    expect([code, message]).toEqual(['already-exists', expect.stringContaining('AGENTIC_GRPC_TLS_LISTEN')]);
  });
});

describe('RenewCertificate', () => {
  test('[C11] gives the connection that proved an id the same id again, under another key', async () => {
    const tls = await enrolled();
    const caller = await linked(tls);
    const next = request(tls.spiffeId);
    const given = await renewed(tls, next.csr);
    expect(shown(given.certificatePem).spiffeId).toBe(tls.spiffeId);
    expect(Number(given.notAfterUnix)).toBe(shown(given.certificatePem).until / 1_000);
    expect(given.caPem).toBe(on.ca);
    // The old link goes on; the new certificate opens another, which supersedes it.
    caller.output('s-1', 'still here', 0);
    await until('output', () => on.house.all('output').length > 0);
    await linked({ ...tls, cert: given.certificatePem, key: next.key });
    expect((await caller.ended).code).toBe(status.ABORTED);
  });

  test('[C11, G23] refuses another id, a copied request, and whoever shows no certificate', async () => {
    const [tls, other] = [await enrolled(), await enrolled('web-2')];
    expect(await statusOf(renewed(tls, request(other.spiffeId).csr))).toEqual([
      status.PERMISSION_DENIED,
      expect.stringContaining('may not ask for'),
    ]);
    // The request of another connection, played again.
    const next = request(tls.spiffeId);
    await renewed(tls, next.csr);
    expect((await statusOf(renewed(other, next.csr)))[0]).toBe(status.PERMISSION_DENIED);
    const relabelled = request(other.spiffeId, next);
    expect((await statusOf(renewed(other, relabelled.csr)))[0]).toBe(status.INVALID_ARGUMENT);
    expect((await statusOf(renewed(tls, 'nonsense')))[0]).toBe(status.INVALID_ARGUMENT);
    const plain = await statusOf(renewed(null, next.csr, on.rig.tcp));
    expect(plain).toEqual([status.UNAUTHENTICATED, expect.stringContaining('by a certificate')]);
    expect((await statusOf(renewed(null, next.csr, on.rig.unix)))[0]).toBe(status.UNAUTHENTICATED);
  });
});

describe('revocation', () => {
  test('[C14] ends what is open at once with the reason, and refuses reconnects and renewals; others go on', async () => {
    const [tls, other] = [await enrolled(), await enrolled('web-2')];
    const [caller, bystander] = [await linked(tls), await linked(other, 'web-2')];
    const idle = renewed(tls, request(tls.spiffeId).csr);
    await idle;
    const instanceId = uuidOf('web-1');
    on.identity.register.revoke(instanceId, { by: 'olga', reason: 'stolen' });
    const reason = new Failure('unauthenticated', 'the identity of web-1 was revoked: stolen');
    expect(on.rig.server.cut({ agent: 'web-1', instanceId }, reason)).toBeGreaterThan(0);
    const { code, details } = await caller.ended;
    expect([code, details]).toEqual([status.UNAUTHENTICATED, expect.stringContaining('revoked: stolen')]);
    await until('the house to hear of it', () => on.house.all('lost').length > 0);
    expect(on.house.all('lost').map(({ link }) => `${link.agent}`)).toEqual(['web-1']);
    const again = await comeIn(tls);
    expect([again.code, again.details]).toEqual([
      status.UNAUTHENTICATED,
      expect.stringContaining('was revoked'),
    ]);
    expect((await statusOf(renewed(tls, request(tls.spiffeId).csr)))[0]).toBe(status.UNAUTHENTICATED);
    bystander.output('s-2', 'still here', 0);
    await until('output of the other', () => on.house.all('output').length > 0);
  });
});

describe('the certificate of the server', () => {
  const files = () => ({
    cert: join(on.place, 'tls', 'server-cert.pem'),
    key: join(on.place, 'tls', 'server-key.pem'),
  });
  const replace = (made: { cert: string; key: string }) => {
    for (const name of ['key', 'cert'] as const) {
      writeFileSync(`${files()[name]}.mine`, made[name], { mode: 0o600 });
      renameSync(`${files()[name]}.mine`, files()[name]);
    }
  };

  test('[C13] is changed when its files are replaced; what is open goes on, and what comes next sees the new', async () => {
    const caller = await linked(await enrolled());
    const { tlsPort } = on.rig.server;
    const before = await seen(tlsPort, on.ca);
    expect(await seen(on.enrol.port, on.ca)).toBe(before);
    const made = forgedUnderOurs(`spiffe://${DOMAIN}/server`, { purpose: 'server' });
    replace(made);
    await on.identity.server.look();
    const now = shown(made.cert).serial;
    expect(await seen(tlsPort, on.ca)).toBe(now);
    expect(await seen(on.enrol.port, on.ca)).toBe(now);
    expect(now).not.toBe(before);
    caller.output('s-1', 'still here', 0);
    await until('output over the old connection', () => on.house.all('output').length > 0);
    await linked(await enrolled('web-2'), 'web-2');
    expect(on.events.filter(({ what }) => what === 'server-certificate.changed').length).toBe(1);
  });

  test('[C13] files that agents would not trust, or that do not belong together, are passed over', async () => {
    const before = await seen(on.rig.server.tlsPort, on.ca);
    const bad = [
      forged(root(), `spiffe://${DOMAIN}/server`, { purpose: 'server' }),
      { ...forgedUnderOurs(`spiffe://${DOMAIN}/server`, { purpose: 'server' }), key: pair().key },
      { cert: 'nonsense', key: 'nonsense' },
    ];
    for (const made of bad) {
      replace(made);
      await on.identity.server.look();
      expect(await seen(on.rig.server.tlsPort, on.ca)).toBe(before);
    }
  });

  test('[C13] is made anew before it expires, by itself, and a stream that is open then goes on', async () => {
    on = await open({ serverTtlMs: 4_000 });
    const caller = await linked(await enrolled());
    const before = await seen(on.rig.server.tlsPort, on.ca);
    await until('a change', () => on.events.some(({ what }) => what === 'server-certificate.changed'));
    expect(await seen(on.rig.server.tlsPort, on.ca)).not.toBe(before);
    caller.output('s-1', 'still here', 0);
    await until('output', () => on.house.all('output').length > 0);
  });
});

describe('the door for one-time tokens', () => {
  const ask = (body: unknown, { path = '/api/v1/enrol', method = 'POST' } = {}) =>
    fetch(`https://localhost:${on.enrol.port}${path}`, {
      method,
      ...(method === 'GET' ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      tls: { ca: on.ca },
    } as RequestInit);
  const problem = async (response: Response) => {
    expect(response.headers.get('content-type')).toContain('application/problem+json');
    const { code } = (await response.json()) as { code: string };
    return [response.status, code];
  };
  const wanted = (name = 'web-1') => {
    const { token, spiffeId } = on.identity.register.grant(uuidOf(name), 'olga');
    const { csr, key } = request(spiffeId);
    return { key, body: { token, spiffe_id: spiffeId, csr_pem: csr } };
  };

  test('[C7] answers with a certificate that opens the TLS port', async () => {
    const { key, body } = wanted();
    const response = await ask(body);
    expect(response.status).toBe(201);
    const given = (await response.json()) as Record<
      'spiffe_id' | 'certificate_pem' | 'ca_pem' | 'not_after',
      string
    >;
    expect(given.spiffe_id).toBe(body.spiffe_id);
    expect(Date.parse(given.not_after)).toBe(shown(given.certificate_pem).until);
    await linked({ ca: given.ca_pem, cert: given.certificate_pem, key, serverName: SERVER_NAME });
  });

  test('[C7] says by a stable code why not', async () => {
    const { body } = wanted();
    const other = wanted('web-2').body;
    expect(await problem(await ask({ ...body, token: 'asbt_guess' }))).toEqual([401, 'unauthenticated']);
    expect(await problem(await ask({ ...body, spiffe_id: other.spiffe_id }))).toEqual([403, 'forbidden']);
    expect(await problem(await ask({ ...body, csr_pem: other.csr_pem }))).toEqual([422, 'unprocessable']);
    expect(await problem(await ask({ ...body, csr_pem: 'nonsense' }))).toEqual([422, 'unprocessable']);
    expect(await problem(await ask({ ...body, extra: 1 }))).toEqual([400, 'bad-input']);
    expect(await problem(await ask({ token: body.token }))).toEqual([400, 'bad-input']);
    expect(await problem(await ask('{'))).toEqual([400, 'bad-input']);
    expect(await problem(await ask({ ...body, csr_pem: 'x'.repeat(20_000) }))).toEqual([413, 'too-large']);
    expect(await problem(await ask(body, { path: '/api/v1/instances' }))).toEqual([404, 'not-found']);
    expect(await problem(await ask(body, { method: 'GET' }))).toEqual([405, 'method-not-allowed']);
    expect((await ask(body)).status).toBe(201);
    expect(await problem(await ask(body))).toEqual([409, 'token-consumed']);
  });

  test('[C7] of two that come with one token at once exactly one gets a certificate', async () => {
    const { body } = wanted();
    const asks = Array.from({ length: 6 }, () => ask({ ...body, csr_pem: request(body.spiffe_id).csr }));
    const codes = (await Promise.all(asks)).map(({ status: code }) => code).sort();
    expect(codes).toEqual([201, 409, 409, 409, 409, 409]);
  });

  test('[C7] slows down whoever guesses', async () => {
    on = await open({ rate: { perSecond: 0.01, burst: 3 } });
    const { body } = wanted();
    for (let i = 0; i < 3; i++) expect((await ask({ ...body, token: 'asbt_guess' })).status).toBe(401);
    const slowed = await ask(body);
    expect(slowed.headers.get('retry-after')).not.toBeNull();
    expect(await problem(slowed)).toEqual([429, 'over-quota']);
  });

  test('[C7] a client that does not trust our root, and one that speaks no TLS, get nothing', async () => {
    const { body } = wanted();
    const url = `localhost:${on.enrol.port}/api/v1/enrol`;
    const send = { method: 'POST', body: JSON.stringify(body) };
    await expect(
      fetch(`https://${url}`, { ...send, tls: { ca: root().pem } } as RequestInit),
    ).rejects.toThrow();
    await expect(fetch(`http://${url}`, send)).rejects.toThrow();
    expect((await ask(body)).status).toBe(201);
  });
});
