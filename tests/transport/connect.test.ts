/** Connect, over real sockets: who gets in, in which order things are told, and how a stream ends. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { SessionReportSchema } from '../../proto/gen/agent_pb.ts';
import { Failure } from '../../src/failure.ts';
import type { SessionId } from '../../src/ids.ts';
import type { Link } from '../../src/transport/link.ts';
import { Caller, FEATURES, greeted } from './caller.ts';
import { type Rig, rig, until } from './house.ts';

let on: Rig;
const callers: Caller[] = [];
const call = (options?: ConstructorParameters<typeof Caller>[1], at = on.tcp): Caller => {
  const caller = new Caller(at, options);
  callers.push(caller);
  return caller;
};
const enter = async (kind: 'ours' | 'foreign' = 'ours', at = on.tcp) => {
  const caller = await greeted(at, kind);
  callers.push(caller);
  return caller;
};
beforeEach(async () => {
  on = await rig();
});
afterEach(async () => {
  for (const caller of callers.splice(0)) caller.close();
  await on.close();
});

describe('registration', () => {
  test('[G1] an agent is welcomed with its interval and our additions, and asked what it runs', async () => {
    const caller = call();
    caller.register({ hostname: 'den', loadout: 'small', labels: { 'agentic.features': FEATURES } });
    const ack = await caller.hears('registrationAck');
    expect(ack).toMatchObject({ accepted: true, heartbeatIntervalSeconds: 7 });
    expect(ack.config).toEqual({ 'agentic.acks': '1' });
    expect((await caller.hears('sessionQuery')).reportAll).toBe(true);
    const [connected] = on.house.all('connected');
    expect(connected?.value).toMatchObject({ agent: 'web-1', instanceId: 'i-1', hostname: 'den' });
    expect([...(connected?.link.features ?? [])]).toEqual(FEATURES.split(','));
  });

  test('[G1] it is not welcomed before the house holds it for connected', async () => {
    const held = Promise.withResolvers<void>();
    on.house.hold = { what: 'connected', until: held.promise };
    const caller = call();
    caller.register();
    await until('the house to be told', () => on.house.all('connected').length === 1);
    expect(caller.heard).toEqual([]);
    held.resolve();
    await caller.hears('registrationAck');
    expect(on.house.all('connected, durable')).toHaveLength(1);
  });

  test('[G1] what the house says to it meanwhile follows its welcome, when it can answer', async () => {
    const held = Promise.withResolvers<void>();
    on.house.hold = { what: 'connected', until: held.promise };
    const caller = call();
    caller.register();
    await until('the house to be told', () => on.house.all('connected').length === 1);
    on.house.all('connected')[0]?.link.closeStdin('s-1' as SessionId);
    held.resolve();
    await until('all three', () => caller.heard.length === 3);
    expect(caller.heard.map((said) => said.case)).toEqual(['registrationAck', 'sessionQuery', 'stdin']);
  });

  const refused = async (caller: Caller, code: status, words: string) => {
    const ack = await caller.hears('registrationAck');
    expect(ack.accepted).toBe(false);
    expect(ack.message).toContain(words);
    expect(await caller.ended).toMatchObject({ code });
    expect(on.house.told).toEqual([]);
  };

  test('[G2] an id in the metadata that is not the id in the registration is refused', async () => {
    const agent = call({ metadata: { 'x-agent-id': 'web-2' } });
    agent.register();
    await refused(agent, status.PERMISSION_DENIED, 'web-2');
    const instance = call({ metadata: { 'x-agent-instance-id': 'i-2' } });
    instance.register();
    await refused(instance, status.PERMISSION_DENIED, 'i-2');
    expect(on.house.proofs).toEqual([]);
  });

  test('[G2] a wrong secret, none at all, and another instance are refused in words and by status', async () => {
    for (const secret of ['guessed', null]) {
      const caller = call({ secret });
      caller.register();
      await refused(caller, status.UNAUTHENTICATED, secret === null ? 'proven nothing' : 'not the secret');
    }
    const another = call({ metadata: { 'x-agent-instance-id': 'another' } });
    another.register({ instanceId: 'another' });
    await refused(another, status.PERMISSION_DENIED, 'not instance');
  });

  test('[G3] whoever says something else first, or registers twice, is told so', async () => {
    const early = call();
    early.output('s-1', 'hello', 0);
    expect(await early.ended).toMatchObject({ code: status.INVALID_ARGUMENT });
    const twice = await enter();
    twice.register();
    expect(await twice.ended).toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(on.house.all('connected')).toHaveLength(1);
  });

  test('[G3] whoever does not register in time is told so', async () => {
    const quick = await rig({ limits: { registerMs: 30 } });
    const { code } = await call({}, quick.tcp).ended;
    expect(code).toBe(status.DEADLINE_EXCEEDED);
    await quick.close();
  });
});

describe('what an agent says', () => {
  test('[G4] it reaches the house in its order, and nothing before the agent is connected', async () => {
    const held = Promise.withResolvers<void>();
    on.house.hold = { what: 'connected', until: held.promise };
    const caller = call();
    caller.register({ labels: { 'agentic.features': FEATURES } });
    for (let n = 0; n < 300; n += 1) caller.output('s-1', `${n},`, n);
    await until('the house to be told', () => on.house.all('connected').length === 1);
    await Bun.sleep(20); // Time in which output would overtake.
    expect(on.house.all('output')).toEqual([]);
    held.resolve();
    await until('all of the output', () => on.house.all('output').length === 300);
    expect(on.house.told.slice(0, 2).map(({ what }) => what)).toEqual(['connected', 'connected, durable']);
    const text = on.house.all('output').map(({ value }) => (value as { text: string }).text);
    expect(text.join('')).toBe(Array.from({ length: 300 }, (_, n) => `${n},`).join(''));
  });

  test('[G4] what follows a report waits until the report is taken', async () => {
    const held = Promise.withResolvers<void>();
    const caller = await enter();
    on.house.hold = { what: 'reported', until: held.promise };
    const spool = { firstOffset: 5n, nextOffset: 9n };
    const session = { commandId: 's-1', sessionName: 'main', command: 'bash', isPty: true, ...spool };
    caller.say({ case: 'sessionReport', value: create(SessionReportSchema, { sessions: [session] }) });
    caller.output('s-1', 'after', 5);
    await until('the report', () => on.house.all('reported').length === 1);
    await Bun.sleep(20); // Time in which output would overtake.
    expect(on.house.all('output')).toEqual([]);
    held.resolve();
    await until('the output', () => on.house.all('output').length === 1);
    expect(on.house.all('reported')[0]?.value).toMatchObject([
      { session: 's-1', name: 'main', type: 'interactive', spool: { first: 5, next: 9 } },
    ]);
  });

  test('[G4] what was said last before the stream ended is told too, and then that it is over', async () => {
    const held = Promise.withResolvers<void>();
    on.house.hold = { what: 'connected', until: held.promise };
    const caller = call();
    caller.register();
    caller.output('s-1', 'last words');
    caller.result('s-1', 3);
    caller.stream.end();
    await until('the house to be told', () => on.house.all('connected').length === 1);
    held.resolve();
    await until('the end', () => on.house.all('lost').length === 1);
    expect(on.house.told.map(({ what }) => what)).toEqual([
      'connected',
      'connected, durable',
      'output',
      'result',
      'lost',
    ]);
    expect(on.house.all('output')[0]?.value).toMatchObject({ text: 'last words', offset: null });
    expect(on.house.all('result')[0]?.value).toMatchObject({
      session: 's-1',
      exitCode: 3,
      outputBytes: null,
    });
  });

  test('[G5] an unknown message is passed over, and a malformed one ends the stream', async () => {
    const caller = await enter();
    caller.sayRaw([0xba, 0x3e, 0x02, 0x08, 0x01]); // Field 999 holding a message.
    caller.output('s-1', 'still here', 0);
    await until('the output', () => on.house.all('output').length === 1);
    caller.sayRaw([0x1a, 0x7f, 0x01]); // A length that runs over the end.
    const { code, details } = await caller.ended;
    expect([code, details]).toEqual([status.INTERNAL, 'Error deserializing request']);
    await until('the loss', () => on.house.all('lost').length === 1);
  });

  test('[G5] a message beyond the limit ends the stream by name', async () => {
    const small = await rig({ limits: { messageBytesMax: 10_000 } });
    const caller = await enter('ours', small.tcp);
    caller.output('s-1', 'x'.repeat(20_000), 0);
    expect(await caller.ended).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    await small.close();
  });
});

describe('the end of a stream', () => {
  test('[G6] the house is told once that it is over, and not before it knew of the beginning', async () => {
    const held = Promise.withResolvers<void>();
    on.house.hold = { what: 'connected', until: held.promise };
    const caller = call();
    caller.register();
    await until('the house to be told', () => on.house.all('connected').length === 1);
    caller.close();
    const link = on.house.all('connected')[0]?.link as Link;
    await until('the cut to be seen', () => link.isGone);
    expect(on.house.all('lost')).toEqual([]);
    held.resolve();
    await until('the loss', () => on.house.all('lost').length === 1);
    expect(on.house.told.map(({ what }) => what)).toEqual(['connected', 'connected, durable', 'lost']);
  });

  test('[G7] a newer stream of the same agent supersedes the older one', async () => {
    const older = await enter();
    const newer = await enter();
    expect(await older.ended).toMatchObject({
      code: status.ABORTED,
      details: expect.stringContaining('superseded'),
    });
    const [first, second] = on.house.all('connected').map(({ link }) => link);
    await until('the loss of the older', () => on.house.all('lost').length === 1);
    expect(on.house.all('lost')[0]?.link).toBe(first as never);
    second?.resize('s-1' as never, 100, 30);
    expect((await newer.hears('ptyControl')).commandId).toBe('s-1');
    expect(() => first?.resize('s-1' as never, 1, 1)).not.toThrow();
  });

  test('[G8] too many agents, and too many that have not registered, are turned away by name', async () => {
    const tight = await rig({ limits: { agentsMax: 1, unregisteredMax: 1 } });
    const idle = call({}, tight.tcp);
    await until('the first to be there', () => idle.client.getChannel().getConnectivityState(false) === 2);
    const second = call({}, tight.tcp);
    expect(await second.ended).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    idle.register();
    await idle.hears('registrationAck');
    expect(await call({ agent: 'web-2' }, tight.tcp).ended).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringContaining('1 agents'),
    });
    await tight.close();
  });

  test('[G9] a closing server refuses the new, ends the old kindly, and tells the house nothing more', async () => {
    const caller = await enter();
    on.server.stopAccepting();
    expect(await call({ agent: 'web-2' }).ended).toMatchObject({ code: status.UNAVAILABLE });
    await on.server.close(2_000);
    expect(await caller.ended).toMatchObject({ code: status.OK });
    expect(on.house.all('lost')).toEqual([]);
  });

  test('[G10] a port that is taken is named, with what to do', async () => {
    const again = rig({ port: on.server.port });
    const thrown = await again.then(
      () => null,
      (why: unknown) => why,
    );
    expect(thrown).toBeInstanceOf(Failure);
    const { code, message } = thrown as Failure;
    expect(code).toBe('already-exists');
    expect(message).toContain(`port ${on.server.port} on 127.0.0.1`);
    expect(message).toContain('LISTEN_ADDR');
  });
});
