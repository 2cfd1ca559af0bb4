/** The link as the house calls it, with an agent of ours and with one that has only the original protocol. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import {
  SessionReconcileAckSchema,
  SessionStartedSchema,
  StdinAckSchema,
  TerminalStateSchema,
} from '../../proto/gen/agent_pb.ts';
import type { AgentLink, Launch } from '../../src/agent-link.ts';
import { Failure } from '../../src/failure.ts';
import type { SessionId } from '../../src/ids.ts';
import { type Caller, greeted } from './caller.ts';
import { type Rig, rig, until } from './house.ts';

let on: Rig;
let caller: Caller;
let link: AgentLink;
const enter = async (kind: 'ours' | 'foreign', world = on) => {
  caller = await greeted(world.tcp, kind);
  const [connected] = world.house.all('connected');
  if (!connected) throw new Error('nobody has connected');
  link = connected.link;
};
beforeEach(async () => {
  on = await rig();
});
afterEach(async () => {
  caller.close();
  await on.close();
});

const S1 = 's-1' as SessionId;
const never = () => new AbortController().signal;
const launch: Launch = {
  session: S1,
  name: 'main',
  type: 'interactive',
  command: 'bash',
  args: ['-c', 'echo "a b"'],
  workingDir: '/srv',
  env: { TASK: 't-1' },
  timeoutSeconds: 9,
  pty: { cols: 120, rows: 40, term: 'xterm-256color' },
  runAs: '',
};

/** What has become of a promise, without waiting for it. */
function watched(promise: Promise<unknown>) {
  const fate = { is: 'open' };
  promise.then(
    () => (fate.is = 'done'),
    (thrown: unknown) => (fate.is = thrown instanceof Failure ? thrown.code : String(thrown)),
  );
  return fate;
}
const settled = (fate: { is: string }) => until('an answer', () => fate.is !== 'open' && fate.is);
/** What was sent before this has arrived once this has. */
const roundTrip = async (world = on) => {
  const before = world.house.all('terminalState').length;
  caller.say({ case: 'terminalState', value: create(TerminalStateSchema, { commandId: 's-0' }) });
  await until('a round trip', () => world.house.all('terminalState').length > before);
};

describe('launch', () => {
  test('[G11] it sends all that is to be run, and resolves when the process runs', async () => {
    await enter('ours');
    const fate = watched(link.launch(launch, never()));
    const { commandId, sessionId, args, env, ptyCols, allocatePty, timeoutSeconds } =
      await caller.hears('command');
    expect([commandId, sessionId, args, env]).toEqual(['s-1', 's-1', ['-c', 'echo "a b"'], { TASK: 't-1' }]);
    expect([ptyCols, allocatePty, timeoutSeconds]).toEqual([120, true, 9]);
    await roundTrip();
    expect(fate.is).toBe('open');
    caller.say({ case: 'sessionStarted', value: create(SessionStartedSchema, { commandId: 's-1', pid: 7 }) });
    expect(await settled(fate)).toBe('done');
  });

  test('[G11] a process that could not be started is a failure with the reason', async () => {
    await enter('ours');
    const started = link.launch(launch, never());
    const error = 'no such file';
    caller.say({ case: 'sessionStarted', value: create(SessionStartedSchema, { commandId: 's-1', error }) });
    const thrown = (await started.catch((why: unknown) => why)) as Failure;
    expect([thrown.code, thrown.message]).toEqual(['runtime-failed', expect.stringContaining(error)]);
  });

  test('[G11] for an agent that does not say when, it is done when it is sent', async () => {
    await enter('foreign');
    await link.launch(launch, never());
    expect((await caller.hears('command')).command).toBe('bash');
  });

  test('[G11] one that is not waited for any more is given up', async () => {
    await enter('ours');
    const stop = new AbortController();
    const fate = watched(link.launch(launch, stop.signal));
    await caller.hears('command');
    stop.abort(new Failure('cancelled', 'enough'));
    expect(await settled(fate)).toBe('cancelled');
    caller.say({ case: 'sessionStarted', value: create(SessionStartedSchema, { commandId: 's-1' }) });
    await roundTrip();
  });
});

describe('typing', () => {
  const yes = Buffer.from('yes\n');

  test('[G12] under a key it resolves when the agent says that it is written', async () => {
    await enter('ours');
    const first = watched(link.type(S1, yes, { key: 'q-1' }));
    const second = watched(link.type(S1, yes, { key: 'q-2' }));
    expect(Buffer.from((await caller.hears('stdin')).data).toString()).toBe('yes\n');
    const ack = { commandId: 's-1', key: 'q-2', written: true };
    caller.say({ case: 'stdinAck', value: create(StdinAckSchema, ack) });
    expect(await settled(second)).toBe('done');
    expect(first.is).toBe('open');
    const refusal = { commandId: 's-1', key: 'q-1', written: false, error: 'its input is closed' };
    caller.say({ case: 'stdinAck', value: create(StdinAckSchema, refusal) });
    expect(await settled(first)).toBe('undeliverable');
  });

  test('[G12] without a key, or for an agent that does not say when, it is done when it is sent', async () => {
    await enter('ours');
    await link.type(S1, yes, { key: null });
    expect((await caller.hears('stdin')).key).toBeUndefined();
    caller.close();
    await until('the loss', () => on.house.all('lost').length === 1);
    on.house.told.length = 0;
    await enter('foreign');
    await link.type(S1, yes, { key: 'q-1' });
    expect((await caller.hears('stdin')).commandId).toBe('s-1');
  });

  test('[G12] one that is given up is not waited for', async () => {
    await enter('ours');
    const stop = new AbortController();
    const fate = watched(link.type(S1, yes, { key: 'q-1', signal: stop.signal }));
    stop.abort(new Failure('cancelled', 'the question was withdrawn'));
    expect(await settled(fate)).toBe('cancelled');
  });
});

describe('what else is said to an agent', () => {
  test('[G13] the end of input, sizes, signals and the wish that it ends', async () => {
    await enter('foreign');
    link.closeStdin(S1);
    link.resize(S1, 100, 30);
    link.signal(S1, 2);
    link.shutdown('the house moves', 3);
    expect((await caller.hears('stdin')).eof).toBe(true);
    const size = (await caller.hears('ptyControl')).action;
    expect(size).toMatchObject({ case: 'resize', value: { cols: 100, rows: 30 } });
    const signal = (await caller.hears('ptyControl')).action;
    expect(signal).toMatchObject({ case: 'signal', value: { signalNumber: 2 } });
    const shutdown = await caller.hears('shutdown');
    expect([shutdown.reason, shutdown.gracePeriodSeconds]).toEqual(['the house moves', 3]);
  });

  test('[G14] what is recorded here is acknowledged, to agents that know what that means', async () => {
    await enter('ours');
    link.ackOutput(S1, 5_000_000_000, true);
    link.ackResult(S1);
    const ack = await caller.hears('outputAck');
    expect([ack.commandId, ack.offset, ack.resume]).toEqual(['s-1', 5_000_000_000n, true]);
    expect((await caller.hears('resultAck')).commandId).toBe('s-1');
    caller.close();
    await until('the loss', () => on.house.all('lost').length === 1);
    on.house.told.length = 0;
    await enter('foreign');
    link.ackOutput(S1, 1, true);
    link.ackResult(S1);
    link.resize(S1, 1, 1);
    await caller.hears('ptyControl');
    expect(caller.heard).toEqual([]);
  });

  test('[G15] ending sessions resolves with what became of them, each plan with its own outcome', async () => {
    await enter('foreign');
    const plan = { keep: [], killUnrecognized: false, graceSeconds: 1 };
    const first = link.reconcile({ ...plan, kill: ['s-1' as SessionId] });
    const second = link.reconcile({ ...plan, kill: ['s-2' as SessionId] });
    expect((await caller.hears('sessionReconcile')).killSessionIds).toEqual(['s-1']);
    const say = (what: { killedSessionIds?: string[]; failedToKill?: string[] }) =>
      caller.say({ case: 'sessionReconcileAck', value: create(SessionReconcileAckSchema, what) });
    say({ failedToKill: ['s-2'] });
    expect(await second).toEqual({ killed: [], kept: [], failed: ['s-2'] });
    say({ killedSessionIds: ['s-1'] });
    expect(await first).toEqual({ killed: ['s-1'], kept: [], failed: [] });
  });
});

describe('a link that is gone', () => {
  test('[G16] rejects all that waits and all that comes later, and is silent where nobody waits', async () => {
    await enter('ours');
    const plan = { keep: [], kill: [S1], killUnrecognized: false, graceSeconds: 1 };
    const waiting = [
      watched(link.launch(launch, never())),
      watched(link.type(S1, Buffer.from('x'), { key: 'q-1' })),
      watched(link.reconcile(plan)),
    ];
    caller.close();
    for (const fate of waiting) expect(await settled(fate)).toBe('agent-gone');
    const later = [
      watched(link.launch(launch, never())),
      watched(link.type(S1, Buffer.from('x'), { key: null })),
      watched(link.reconcile(plan)),
    ];
    for (const fate of later) expect(await settled(fate)).toBe('agent-gone');
    link.closeStdin(S1);
    link.resize(S1, 1, 1);
    link.signal(S1, 2);
    link.ackOutput(S1, 1, false);
    link.ackResult(S1);
    link.shutdown('late', 0);
  });

  test('[G17] an agent that does not read is cut off before it fills the memory, and that is logged', async () => {
    const tight = await rig({ limits: { unsentBytesMax: 1 << 20 } });
    await enter('ours', tight);
    caller.stream.pause();
    const piece = Buffer.alloc(64 << 10);
    const typed: Promise<void>[] = [];
    await until('it to be cut off', () => {
      const one = link.type(S1, piece, { key: null });
      one.catch(() => {});
      typed.push(one);
      return tight.house.all('lost').length === 1;
    });
    const cut = await Promise.allSettled(typed);
    expect(cut.at(-1)?.status).toBe('rejected');
    expect(tight.house.all('lost')[0]?.value).toContain('does not read');
    expect(tight.warnings.map(({ message }) => message)).toContain('agent cut off');
    caller.stream.resume();
    expect(await caller.ended).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    await tight.close();
  });
});
