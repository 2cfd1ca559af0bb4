/** Both doors for agents with certificates, on free ports, over an authority in a folder of its own. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { create } from '@bufbuild/protobuf';
import { Metadata, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import { RenewCertificateRequestSchema, type RenewCertificateResponse } from '../../proto/gen/agent_pb.ts';
import { agentService } from '../../proto/service.ts';
import type { Access } from '../../src/access.ts';
import type { Fleet } from '../../src/actors/fleet.ts';
import { systemClock } from '../../src/clock.ts';
import { type EnrolDoor, enrolDoor } from '../../src/http/enrol.ts';
import type { RateLimits } from '../../src/http/gate.ts';
import { commonName, keyIdOf } from '../../src/identity/certificate.ts';
import { type OpenIdentity, openIdentity } from '../../src/identity/open.ts';
import { newId } from '../../src/ids.ts';
import { silentLog } from '../../src/log.ts';
import { admission } from '../../src/wiring/identity.ts';
import { Caller, clientOf, type TlsShown } from '../transport/caller.ts';
import { House, type Rig, rig } from '../transport/house.ts';
import { audit, cleaning, DOMAIN, forged, idOf, type Root, request, spkiOf } from './ground.ts';

const { dir, add, clean } = cleaning();

export const SERVER_NAME = `server.${DOMAIN}`;
/** Ids of instances that live, by name. */
export const instances = new Map<string, string>();

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

/** What is open now. */
export let on: On;

export interface Wanted {
  readonly agentTtlMs?: number;
  readonly serverTtlMs?: number;
  readonly rate?: RateLimits;
  /** Operators; absent: those of the rig. */
  readonly access?: Access;
  /** Of every instance on the plain port; absent: none is good. */
  readonly secret?: string;
}

async function open({
  agentTtlMs = 3_600_000,
  serverTtlMs = 86_400_000,
  rate = { perSecond: 1_000, burst: 1_000 },
  access,
  secret,
}: Wanted) {
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
    matches: async (_: string, token: string) => token === secret,
    isRevoked: async () => false,
  };
  const certificates = identity.register;
  const house = new House();
  house.admit = admission({ secrets, fleet: () => fleet, kinOf: () => null, uid: 1_000, certificates });
  const tls = { host: '127.0.0.1', port: 0, ...identity.server, audited };
  const guests = { ...identity.server, audited };
  const made = await rig({ listener: house, tls, guests, certificates, ...(access && { access }) });
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

/** For each test; `closeDoors` afterwards. */
export async function openDoors(options: Wanted = {}): Promise<void> {
  instances.clear();
  instances.set('web-1', newId());
  instances.set('web-2', newId());
  on = await open(options);
}

export const closeDoors = clean;
/** Closed with the doors. */
export const closing = add;

export const uuidOf = (name: string) => instances.get(name) as string;

export interface Held extends TlsShown {
  readonly cert: string;
  readonly key: string;
  readonly spiffeId: string;
}

export async function enrolled(name = 'web-1'): Promise<Held> {
  const { token, spiffeId } = on.identity.register.grant(uuidOf(name), 'olga');
  const { key, csr } = request(spiffeId);
  const { certificatePem: cert } = await on.identity.register.enrol({ token, spiffeId, csr }, 'x');
  return { ca: on.ca, cert, key, spiffeId, serverName: SERVER_NAME };
}

export const asAgent = (tls: TlsShown, { agent = 'web-1', instanceId = uuidOf(agent) } = {}) => ({
  agent,
  secret: null,
  tls,
  metadata: { 'x-agent-instance-id': instanceId },
});

export async function comeIn(
  tls: TlsShown,
  who: { agent?: string; instanceId?: string } = {},
): Promise<StatusObject> {
  const options = asAgent(tls, who);
  const caller = new Caller(on.at, options);
  add(() => caller.close());
  caller.register({ instanceId: options.metadata['x-agent-instance-id'] });
  return await caller.ended;
}

export async function linked(tls: TlsShown, agent = 'web-1') {
  const options = asAgent(tls, { agent });
  const caller = new Caller(on.at, options);
  add(() => caller.close());
  caller.register({ instanceId: uuidOf(agent) });
  await caller.hears('registrationAck');
  return caller;
}

export function renewed(tls: TlsShown | null, csr: string, at = on.at): Promise<RenewCertificateResponse> {
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

export const statusOf = async (promise: Promise<unknown>): Promise<[number, string]> => {
  try {
    await promise;
  } catch (thrown) {
    return [(thrown as ServiceError).code, (thrown as ServiceError).details];
  }
  throw new Error('it was not refused');
};

/** The serial of the certificate that the port shows now. */
export function seen(port: number | null, ca: string): Promise<string> {
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
export function forgedUnderOurs(spiffeId = idOf(uuidOf('web-1')), more: Parameters<typeof forged>[2] = {}) {
  return forged(rootIn(join(on.place, 'ca')), spiffeId, more);
}

export function rootIn(place: string): Root {
  const pem = readFileSync(join(place, 'root.pem'), 'utf8');
  const key = createPrivateKey(readFileSync(join(place, 'root-key.pem')));
  const name = new X509Certificate(pem).subject.slice('CN='.length);
  return { pem, issuer: { name: commonName(name), keyId: keyIdOf(spkiOf(pem)), key } };
}
