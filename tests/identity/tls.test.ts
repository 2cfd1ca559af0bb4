/** gRPC with client certificates over real sockets: who comes in, who does not, and who is thrown out. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { X509Certificate } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { ExecRequestSchema } from '../../proto/gen/agent_pb.ts';
import { agentService } from '../../proto/service.ts';
import { Failure } from '../../src/failure.ts';
import { Caller, clientOf, type TlsShown } from '../transport/caller.ts';
import { rig } from '../transport/house.ts';
import {
  asAgent,
  closeDoors,
  closing,
  comeIn,
  enrolled,
  forgedUnderOurs,
  instances,
  linked,
  on,
  openDoors,
  renewed,
  rootIn,
  SERVER_NAME,
  seen,
  statusOf,
  uuidOf,
} from './doors.ts';
import { audit, DOMAIN, forged, idOf, pair, refusal, request, root, shown, until } from './ground.ts';

setDefaultTimeout(30_000);
beforeEach(() => openDoors());
afterEach(closeDoors);

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

  test('[G35] its link says which certificate it showed, and until when that is good', async () => {
    const tls = await enrolled();
    await linked(tls);
    const { serialNumber, validTo } = new X509Certificate(tls.cert);
    expect(on.house.all('connected').map(({ link }) => link.proven)).toEqual([
      { kind: 'certificate', serial: serialNumber, until: Date.parse(validTo) },
    ]);
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
    closing(() => caller.close());
    caller.register({ instanceId: uuidOf('web-2') });
    expect((await caller.ended).code).toBe(status.PERMISSION_DENIED);
    const { path, requestSerialize, responseDeserialize } = agentService.exec;
    const asked = create(ExecRequestSchema, { agentId: 'web-1', command: 'id' });
    for (const token of [null, 'for-operators']) {
      const client = clientOf(on.at, tls);
      closing(() => client.close());
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
    await openDoors({ agentTtlMs: 3_000 });
    const caller = await linked(await enrolled());
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
    const { audited } = audit();
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
    await openDoors({ serverTtlMs: 4_000 });
    const caller = await linked(await enrolled());
    const before = await seen(on.rig.server.tlsPort, on.ca);
    await until('a change', () => on.events.some(({ what }) => what === 'server-certificate.changed'));
    expect(await seen(on.rig.server.tlsPort, on.ca)).not.toBe(before);
    caller.output('s-1', 'still here', 0);
    await until('output', () => on.house.all('output').length > 0);
  });
});
