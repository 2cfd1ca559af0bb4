/** Sockets that one instance alone sees: TLS from end to end, and nobody but that instance's certificate. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { EnrolFailed, enrol } from '../../agent/enrol.ts';
import { held } from '../../agent/keys.ts';
import { ExecRequestSchema } from '../../proto/gen/agent_pb.ts';
import { agentService } from '../../proto/service.ts';
import { systemClock } from '../../src/clock.ts';
import { Failure } from '../../src/failure.ts';
import { ENROL_PATH } from '../../src/http/enrol.ts';
import { silentLog } from '../../src/log.ts';
import { guests as makeGuests } from '../../src/main/guests.ts';
import { Caller } from '../transport/caller.ts';
import {
  asAgent,
  closeDoors,
  closing,
  enrolled,
  forgedUnderOurs,
  on,
  openDoors,
  renewed,
  SERVER_NAME,
  uuidOf,
} from './doors.ts';
import { idOf, request, shown, until } from './ground.ts';

setDefaultTimeout(30_000);

interface Door {
  readonly path: string;
  readonly enrolPath: string;
  readonly at: string;
  /** How often a token was used. */
  readonly used: () => number;
}

let guests: ReturnType<typeof makeGuests>;
beforeEach(async () => {
  await openDoors();
  guests = makeGuests({
    grpc: on.rig.server,
    identity: on.identity,
    clock: systemClock,
    log: silentLog,
  });
  closing(() => guests.close());
});
afterEach(closeDoors);

async function door(agent = 'web-1'): Promise<Door> {
  const dir = join(on.place, agent);
  mkdirSync(dir, { recursive: true });
  const [path, enrolPath] = [join(dir, 's'), join(dir, 'n')];
  let used = 0;
  const took = async () => {
    used += 1;
  };
  await guests.open(agent, path, { instanceId: uuidOf(agent), enrolPath, enrolled: took });
  return { path, enrolPath, at: `unix:${path}`, used: () => used };
}

async function refused(at: string, ...given: Parameters<typeof asAgent>): Promise<StatusObject> {
  const options = asAgent(...given);
  const caller = new Caller(at, options);
  closing(() => caller.close());
  caller.register({ instanceId: options.metadata['x-agent-instance-id'] });
  return await caller.ended;
}

async function joined(at: string, ...given: Parameters<typeof asAgent>): Promise<Caller> {
  const options = asAgent(...given);
  const caller = new Caller(at, options);
  closing(() => caller.close());
  caller.register({ instanceId: options.metadata['x-agent-instance-id'] });
  await caller.hears('registrationAck');
  return caller;
}

/** What the agent client does with a token in a mount. */
function bootstrap(enrolPath: string, agent = 'web-1') {
  const { token, spiffeId } = on.identity.register.grant(uuidOf(agent), 'olga');
  const [tokenFile, caFile] = [join(on.place, 'token'), join(on.place, 'ca.pem')];
  writeFileSync(tokenFile, token, { mode: 0o444 });
  writeFileSync(caFile, on.ca);
  const url = `https://${SERVER_NAME}${ENROL_PATH}`;
  return { token, given: { url, socket: enrolPath, tokenFile, caFile, spiffeId, isMounted: true } };
}

describe('the socket of one instance, with certificates', () => {
  test('[C18] the agent client takes its certificate by one socket and comes in with it by the other', async () => {
    const { at, path, enrolPath, used } = await door();
    for (const one of [path, enrolPath]) expect(statSync(one).mode & 0o777).toBe(0o666);
    const { token, given } = bootstrap(enrolPath);
    const dir = join(on.place, 'tls');
    await enrol(given, token, dir);
    expect([used(), existsSync(given.tokenFile)]).toEqual([1, true]);
    const own = held(dir);
    const tls = { ca: on.ca, cert: own?.cert ?? '', key: own?.key ?? '', serverName: SERVER_NAME };
    const caller = await joined(at, tls);
    caller.output('s-1', 'from inside', 0);
    await until('its output', () => on.house.all('output').length > 0);
    const again = await renewed(tls, request(given.spiffeId).csr, at);
    expect(shown(again.certificatePem).spiffeId).toBe(given.spiffeId);
    expect(on.events.map(({ what, actor }) => [what, actor])).toContainEqual([
      'certificate.issued',
      'the socket of web-1',
    ]);
  });

  test("[C19] another instance's certificate does not come in by it, and another's token is not taken", async () => {
    const [one, two] = [await door('web-1'), await door('web-2')];
    const tls = await enrolled('web-2');
    const caller = await joined(two.at, tls, { agent: 'web-2' });
    for (const agent of ['web-1', 'web-2']) {
      const before = on.events.length;
      const { code } = await refused(one.at, tls, { agent });
      expect(code).toBe(status.UNAVAILABLE);
      const told = await until('the refusal', () => on.events.slice(before)[0]);
      expect(told).toMatchObject({ what: 'connection.refused', actor: 'the socket of web-1' });
      expect(String(told.details['reason'])).toContain(`not of ${idOf(uuidOf('web-1'))}`);
    }
    const { token, given } = bootstrap(one.enrolPath, 'web-2');
    const dir = join(on.place, 'stolen');
    const thrown = await enrol(given, token, dir).catch((why: unknown) => why);
    expect(thrown).toBeInstanceOf(EnrolFailed);
    expect([String(thrown), held(dir), one.used()]).toEqual([
      expect.stringContaining('this socket is for'),
      null,
      0,
    ]);
    // The token is good where it belongs.
    await enrol({ ...given, socket: two.enrolPath }, token, dir);
    expect(two.used()).toBe(1);
    caller.output('s-1', 'still here', 0);
    await until('output', () => on.house.all('output').length > 0);
  });

  test('[C19] a secret, no certificate and no TLS at all open nothing there, and its own runs no command', async () => {
    const { at } = await door();
    await closeDoors();
    await openDoors({ secret: 'for-web-1' });
    guests = makeGuests({
      grpc: on.rig.server,
      identity: on.identity,
      clock: systemClock,
      log: silentLog,
    });
    closing(() => guests.close());
    const { at: now } = await door();
    expect(existsSync(at.slice('unix:'.length))).toBe(false);
    const plain = new Caller(now, {
      secret: 'for-web-1',
      metadata: { 'x-agent-instance-id': uuidOf('web-1') },
    });
    closing(() => plain.close());
    plain.register({ instanceId: uuidOf('web-1') });
    expect((await plain.ended).code).toBe(status.UNAVAILABLE);
    expect((await refused(now, { ca: on.ca, serverName: SERVER_NAME })).code).toBe(status.UNAVAILABLE);
    const caller = await joined(now, await enrolled());
    const { path, requestSerialize, responseDeserialize } = agentService.exec;
    const asked = create(ExecRequestSchema, { agentId: 'web-1', command: 'id' });
    const call = caller.client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      asked,
      new Metadata(),
    );
    call.on('error', () => {});
    call.resume();
    const ended = await new Promise<StatusObject>((resolve) => call.on('status', resolve));
    expect(ended.code).toBe(status.PERMISSION_DENIED);
    expect(on.rig.desk.wanted).toEqual([]);
  });

  test('[C20] a revocation ends what came by it at once, and a new token begins anew', async () => {
    const { at, enrolPath } = await door();
    const tls = await enrolled();
    const caller = await joined(at, tls);
    const instanceId = uuidOf('web-1');
    on.identity.register.revoke(instanceId, { by: 'olga', reason: 'lost' });
    expect(on.identity.register.held(instanceId)).toEqual({ certificate: false, token: false });
    expect(on.rig.server.cut({ agent: 'web-1', instanceId }, new Failure('unauthenticated', 'revoked'))).toBe(
      1,
    );
    expect((await caller.ended).details).toContain('revoked');
    expect((await refused(at, tls)).code).toBe(status.UNAUTHENTICATED);
    const { token, given } = bootstrap(enrolPath);
    expect(on.identity.register.held(instanceId)).toEqual({ certificate: false, token: true });
    const dir = join(on.place, 'tls');
    await enrol(given, token, dir);
    expect(on.identity.register.held(instanceId)).toEqual({ certificate: true, token: false });
    const own = held(dir);
    await joined(at, { ca: on.ca, cert: own?.cert ?? '', key: own?.key ?? '', serverName: SERVER_NAME });
  });

  test('[C19] whoever was turned away and leaves keeps no place, however often', async () => {
    const { at } = await door();
    const tls = await enrolled();
    for (let i = 0; i < 12; i++) {
      const caller = new Caller(at, asAgent(tls, { agent: 'web-2' }));
      caller.register({ instanceId: uuidOf('web-2') });
      expect((await caller.ended).code).toBe(status.PERMISSION_DENIED);
      caller.close();
    }
    await joined(at, tls);
    const gone = new Failure('unauthenticated', 'revoked');
    const open = on.rig.server.cut({ agent: 'web-1', instanceId: uuidOf('web-1') }, gone);
    expect(open).toBe(1);
  });

  test('[C19] one that has expired does not come in by it, and what is closed is gone', async () => {
    const { at, path, enrolPath } = await door();
    const old = forgedUnderOurs(undefined, { ageMs: 7_200_000, leftMs: -3_600_000 });
    expect((await refused(at, { ca: on.ca, serverName: SERVER_NAME, ...old })).code).toBe(status.UNAVAILABLE);
    const caller = await joined(at, await enrolled());
    await guests.close('web-1');
    await until('the loss', () => on.house.all('lost').length === 1);
    await caller.ended;
    expect([existsSync(path), existsSync(enrolPath)]).toEqual([false, false]);
  });
});
