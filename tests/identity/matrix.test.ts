/**
 * The doors of agents against every kind of caller, over real sockets: what an operator shows is worth
 * nothing there, and what an agent shows nothing elsewhere. What is right stands in
 * `tests/http/access-matrix.ts`.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { ExecRequestSchema, RenewCertificateRequestSchema } from '../../proto/gen/agent_pb.ts';
import { agentService } from '../../proto/service.ts';
import type { Access } from '../../src/access.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { enrolRoutes } from '../../src/http/enrol.ts';
import { operators } from '../../src/http/operators.ts';
import { enrolMatrix, type Least, rpcMatrix } from '../http/access-matrix.ts';
import { tokens } from '../http/world.ts';
import { Caller, clientOf, type TlsShown } from '../transport/caller.ts';
import { until } from '../transport/house.ts';
import {
  closeDoors,
  closing,
  enrolled,
  forgedUnderOurs,
  on,
  openDoors,
  SERVER_NAME,
  uuidOf,
} from './doors.ts';
import { cleaning, idOf, request } from './ground.ts';

const { dir, clean } = cleaning();

setDefaultTimeout(60_000);

interface Who {
  readonly who: string;
  readonly token?: string;
  readonly tls?: TlsShown;
  /** The RPCs that let it in. */
  readonly may: readonly string[];
}

const SECRET = 'S'.repeat(43);
let callers: readonly Who[];

/** The RPCs that a caller who is nothing but that may use. */
const rpcsOf = (least: Least) => Object.keys(rpcMatrix).filter((rpc) => rpcMatrix[rpc] === least);

beforeAll(async () => {
  let skippedMs = 0;
  const clock: Clock = { ...systemClock, now: () => Date.now() + skippedMs };
  const known = await operators({ path: join(dir('operators'), 'tokens.json'), clock, uid: 4_711 });
  const access: Access = { caller: (shown) => known.caller(shown) };
  const made = await tokens(known);
  const late = await known.create({ name: 'late', role: 'admin', expiresInMs: 1_000 });
  const gone = await known.create({ name: 'gone', role: 'admin', expiresInMs: null });
  await known.revoke(gone.view.id);
  skippedMs = 2_000;
  await openDoors({ access, secret: SECRET });
  const certified = await enrolled();
  const strangers: TlsShown = {
    ca: on.ca,
    serverName: SERVER_NAME,
    ...forgedUnderOurs(idOf(uuidOf('web-2'))),
  };
  callers = [
    { who: 'nobody', may: [] },
    { who: 'forged', token: `asb_${'A'.repeat(43)}`, may: [] },
    { who: 'expired', token: late.token, may: [] },
    { who: 'revoked', token: gone.token, may: [] },
    { who: 'viewer', token: made.viewer, may: rpcsOf('viewer') },
    { who: 'operator', token: made.operator, may: rpcsOf('operator') },
    { who: 'admin', token: made.admin, may: rpcsOf('operator') },
    { who: 'one-time token', token: on.identity.register.grant(uuidOf('web-1'), 'olga').token, may: [] },
    // An agent without a certificate has none to renew.
    { who: 'agent, by its secret', token: SECRET, may: ['connect'] },
    { who: 'agent, by its certificate', tls: certified, may: rpcsOf('agent') },
    { who: 'agent, and an admin besides', tls: certified, token: made.admin, may: rpcsOf('agent') },
    { who: 'certificate of another agent', tls: strangers, may: [] },
  ];
});
afterAll(async () => {
  await closeDoors();
  await clean();
});

function asked(rpc: 'exec' | 'renewCertificate', { token, tls }: Who): Promise<StatusObject> {
  const client = clientOf(tls ? on.at : on.rig.tcp, tls ?? null);
  closing(() => client.close());
  const metadata = new Metadata();
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
  const ended = Promise.withResolvers<StatusObject>();
  if (rpc === 'exec') {
    const { path, requestSerialize, responseDeserialize } = agentService.exec;
    const wanted = create(ExecRequestSchema, { agentId: 'web-1', command: 'true' });
    const call = client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      wanted,
      metadata,
    );
    call.on('data', () => {});
    call.on('error', () => {}); // It comes as a status too.
    call.on('status', ended.resolve);
  } else {
    const { path, requestSerialize, responseDeserialize } = agentService.renewCertificate;
    const csrPem = request(idOf(uuidOf('web-1'))).csr;
    const wanted = create(RenewCertificateRequestSchema, { csrPem });
    client
      .makeUnaryRequest(path, requestSerialize, responseDeserialize, wanted, metadata, {}, () => {})
      .on('status', ended.resolve);
  }
  return ended.promise;
}

/** OK: it was welcomed. */
async function connected({ token, tls }: Who): Promise<Pick<StatusObject, 'code'>> {
  const metadata = { 'x-agent-instance-id': uuidOf('web-1') };
  const caller = new Caller(tls ? on.at : on.rig.tcp, {
    secret: token ?? null,
    metadata,
    ...(tls && { tls }),
  });
  closing(() => caller.close());
  caller.register({ instanceId: uuidOf('web-1') });
  let refusal: StatusObject | null = null;
  void caller.ended.then((ended) => {
    refusal = ended;
  });
  const isWelcome = () => caller.heard.some((one) => one.case === 'registrationAck' && one.value.accepted);
  await until('an answer', () => refusal !== null || isWelcome());
  return refusal ?? { code: status.OK };
}

describe('the matrix', () => {
  test('[W6, C10, C11, G2] is what every RPC does, for operators and for agents', async () => {
    const wrong: string[] = [];
    for (const caller of callers) {
      for (const rpc of Object.keys(agentService) as (keyof typeof agentService)[]) {
        const { code } = await (rpc === 'connect' ? connected(caller) : asked(rpc, caller));
        const isIn = code === status.OK;
        const isRefused = code === status.UNAUTHENTICATED || code === status.PERMISSION_DENIED;
        if (isIn !== caller.may.includes(rpc) || isIn === isRefused)
          wrong.push(`${caller.who} at ${rpc}: ${status[code]}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(on.rig.desk.wanted.map(({ by }) => by)).toEqual(['operator', 'admin']);
  });

  test('[W6, C7] lets nobody enrol by anything but a one-time token', async () => {
    const [place = ''] = enrolRoutes;
    expect(enrolRoutes).toEqual(Object.keys(enrolMatrix));
    const [method = '', path = ''] = place.split(' ');
    const spiffe_id = idOf(uuidOf('web-2'));
    const enrol = async (shown: string | undefined, token: string) => {
      const response = await fetch(`https://localhost:${on.enrol.port}${path}`, {
        method,
        headers: shown === undefined ? {} : { authorization: `Bearer ${shown}` },
        body: JSON.stringify({ token, spiffe_id, csr_pem: request(spiffe_id).csr }),
        tls: { ca: on.ca },
      } as RequestInit);
      await response.body?.cancel();
      return response.status;
    };
    for (const { who, token } of callers.filter((one) => one.who !== 'one-time token')) {
      expect([who, await enrol(token, token ?? 'none')]).toEqual([who, 401]);
    }
    const { token } = on.identity.register.grant(uuidOf('web-2'), 'olga');
    expect(await enrol(undefined, token)).toBe(201);
  });
});
