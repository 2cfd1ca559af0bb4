/** The real agent client as a process, against the server's side played by hand. */
import { afterEach, expect, setDefaultTimeout, test } from 'bun:test';
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import {
  AgentStatus,
  PtyControlSchema,
  SessionQuerySchema,
  SessionReconcileSchema,
  ShutdownSignalSchema,
  StdinChunkSchema,
} from '../../proto/gen/agent_pb.ts';
import { Peer, type PeerOptions, until } from './peer.ts';

setDefaultTimeout(30_000);

let peer: Peer;

async function joined(options: PeerOptions & { env?: Record<string, string> } = {}): Promise<Peer> {
  peer = await Peer.start(options);
  peer.agent(options.env);
  await peer.connected();
  return peer;
}

afterEach(async () => {
  await peer.stop();
});

const type = (commandId: string, text: string, more: { key?: string; eof?: boolean } = {}) =>
  peer.say({
    case: 'stdin',
    value: create(StdinChunkSchema, { commandId, data: Buffer.from(text), ...more }),
  });

const isAlive = (pid: number) => existsSync(`/proc/${pid}/stat`);
const startedPid = (id: string) =>
  until(
    `the start of ${id}`,
    () => peer.all('sessionStarted').find(({ value }) => value.commandId === id)?.value.pid,
  );

test('[A1] it proves who it is by metadata and registers what it is', async () => {
  await joined();
  expect(peer.connects[0]).toMatchObject({
    'x-agent-id': 'tester',
    'x-agent-instance-id': 'i-1',
    authorization: 'Bearer sesame',
  });
  const [registration] = peer.all('registration');
  expect(registration?.value).toMatchObject({ agentId: 'tester', instanceId: 'i-1' });
  expect(registration?.value.system?.cpuCores).toBeGreaterThan(0);
  expect(registration?.value.labels['agentic.features']).toContain('offsets');
});

test('[A2] it beats at the interval the server says, with metrics', async () => {
  await joined();
  await until('three heartbeats', () => peer.all('heartbeat').length >= 3 && peer.all('metrics').length >= 3);
  expect(peer.all('heartbeat')[0]?.value.status).toBe(AgentStatus.READY);
  expect(peer.all('metrics')[0]?.value.memoryTotalBytes).toBeGreaterThan(0n);
});

test('[A3] a piped command gets argv, directory and environment as they are, and its bytes come back raw', async () => {
  await joined();
  const script = 'printf "%s|%s|%s|" "$1" "$WORD" "$PWD"; printf "\\377\\000no newline" >&2; exit 7';
  peer.run({
    commandId: 'c1',
    command: 'bash',
    args: ['-c', script, 'x', `a 'b' "c" $HOME`],
    workingDir: '/tmp',
    env: { WORD: 'ü' },
  });
  const result = await peer.result('c1');
  expect(peer.output('c1')).toBe(`a 'b' "c" $HOME|ü|/tmp|`);
  expect(Buffer.concat(peer.pieces('c1', 'stderr').map(({ data }) => data))).toEqual(
    Buffer.concat([Buffer.from([255, 0]), Buffer.from('no newline')]),
  );
  expect(result).toMatchObject({ exitCode: 7, success: false });
  expect(Number(result.outputBytes)).toBe(peer.output('c1').length + 1 + 12);
});

test('a command that names no directory runs where the agent was told to work, and ~ is its home', async () => {
  await joined({ env: { AGENT_WORKING_DIR: '/usr' } });
  peer.run({ commandId: 'c1', command: 'pwd' });
  peer.run({ commandId: 'c2', command: 'pwd', workingDir: '~' });
  await Promise.all([peer.result('c1'), peer.result('c2')]);
  expect(peer.output('c1')).toBe('/usr\n');
  expect(peer.output('c2')).toBe(`${peer.dir}\n`);
});

test('what cannot be started says why', async () => {
  await joined();
  peer.run({ commandId: 'c1', command: 'no-such-program' });
  expect(await peer.result('c1')).toMatchObject({ exitCode: -1 });
  expect((await peer.result('c1')).error).not.toBe('');
  peer.run({ commandId: 'c2', command: 'true', workingDir: '/no/such/place' });
  expect((await peer.result('c2')).error).toContain('/no/such/place');
});

test('[A4] a timeout and a kill end everything that the command started', async () => {
  await joined();
  const script = 'trap "" TERM; sleep 1000 & echo $!; wait';
  peer.run({ commandId: 'slow', command: 'bash', args: ['-c', script], timeoutSeconds: 1 });
  const child = Number(await until('its pid', () => peer.output('slow').trim()));
  const result = await peer.result('slow');
  expect(result).toMatchObject({ timedOut: true, success: false });
  expect(result.error).toContain('timed out after 1 s');
  await until('its child to be gone', () => !isAlive(child));
  peer.run({ commandId: 'kill', command: 'bash', args: ['-c', script] });
  const other = Number(await until('its pid', () => peer.output('kill').trim()));
  const value = create(SessionReconcileSchema, {
    killSessionIds: ['kill', 'unknown'],
    gracePeriodSeconds: 0,
  });
  peer.say({ case: 'sessionReconcile', value });
  await peer.result('kill');
  const [ack] = await until(
    'the outcome',
    () => peer.all('sessionReconcileAck').length > 0 && peer.all('sessionReconcileAck'),
  );
  expect(ack?.value.killedSessionIds.toSorted()).toEqual(['kill', 'unknown']);
  await until('its child to be gone', () => !isAlive(other));
});

test('[A5] input with a key is written once, however often it comes', async () => {
  await joined();
  peer.run({ commandId: 'c1', command: 'cat' });
  for (let i = 0; i < 3; i++) type('c1', 'once\n', { key: 'k' });
  type('c1', 'two\n');
  type('c1', '', { eof: true });
  await peer.result('c1');
  expect(peer.output('c1')).toBe('once\ntwo\n');
  expect(peer.all('stdinAck').map(({ value }) => [value.key, value.written])).toEqual([
    ['k', true],
    ['k', true],
    ['k', true],
  ]);
});

test('[A6] a terminal has its size, follows a resize, and passes signals to its foreground', async () => {
  await joined();
  peer.run({
    commandId: 't',
    command: 'bash',
    args: ['--norc'],
    allocatePty: true,
    ptyCols: 101,
    ptyRows: 33,
  });
  type('t', 'stty size; echo $TERM\n');
  await until(
    'its size',
    () => peer.output('t').includes('33 101') && peer.output('t').includes('xterm-256color'),
  );
  const resize = {
    case: 'resize',
    value: { $typeName: 'agentic.sandbox.v1.PtyResize', cols: 70, rows: 20 },
  } as const;
  peer.say({ case: 'ptyControl', value: create(PtyControlSchema, { commandId: 't', action: resize }) });
  type('t', 'stty size\n');
  await until('its new size', () => peer.output('t').includes('20 70'));
  type('t', 'sleep 1000; echo rc=$?\n');
  await until('sleep in front', () =>
    peer.all('terminalState').some(({ value }) => value.foreground === 'sleep'),
  );
  const signal = {
    case: 'signal',
    value: { $typeName: 'agentic.sandbox.v1.PtySignal', signalNumber: 2 },
  } as const;
  peer.say({ case: 'ptyControl', value: create(PtyControlSchema, { commandId: 't', action: signal }) });
  await until('the signal', () => peer.output('t').includes('rc=130') || peer.output('t').includes('\n\x1b'));
  type('t', 'exit 3\n');
  expect((await peer.result('t')).exitCode).toBe(3);
});

test('[A7] what a screen cannot show is told: echo off, and who reads', async () => {
  await joined();
  peer.run({ commandId: 't', command: 'bash', args: ['-c', 'read -sp "Password: " x'], allocatePty: true });
  const state = await until(
    'a hidden prompt',
    () => peer.all('terminalState').find(({ value }) => !value.echo)?.value,
  );
  expect(state).toMatchObject({ commandId: 't', foreground: 'bash', reading: true });
});

test('[A7] it is told again to a server that comes back, however long the terminal has been quiet', async () => {
  await joined();
  peer.run({ commandId: 't', command: 'bash', args: ['-c', 'read -sp "Password: " x'], allocatePty: true });
  const hidden = () => peer.all('terminalState').filter(({ value }) => !value.echo && value.reading);
  await until('a hidden prompt', () => hidden().length > 0);
  await Bun.sleep(3_700); // It is looked at for 3.5 s after it has stirred.
  const before = hidden().length;
  peer.cut();
  await until('it to be told again', () => hidden().length > before);
}, 30_000);

test('[A8] after a lost link output goes on from the byte the server names, and nothing before it says so', async () => {
  await joined();
  peer.answers = false;
  const script = 'i=0; while [ $i -lt 3000 ]; do echo "line $i"; i=$((i+1)); done; sleep 1; echo last';
  peer.run({ commandId: 'c1', command: 'bash', args: ['-c', script] });
  await until('its first lines', () => peer.output('c1').includes('line 2999'));
  const whole = peer.output('c1');
  peer.cut();
  await peer.connected(2);
  const before = peer.pieces('c1').length;
  await Bun.sleep(200); // Nothing may come: there is no fact to wait for.
  expect(peer.pieces('c1')).toHaveLength(before);
  peer.acknowledge('c1', 1_000, true);
  await peer.result('c1');
  const again = peer.pieces('c1').slice(before);
  expect(Number(again[0]?.offset)).toBe(1_000);
  expect(Buffer.concat(again.map(({ data }) => data)).toString()).toBe(`${whole.slice(1_000)}last\n`);
});

test('[A9] a result is sent again after every reconnect until it is acknowledged', async () => {
  await joined();
  peer.answers = false;
  peer.run({ commandId: 'c1', command: 'true' });
  await peer.result('c1');
  peer.cut();
  await peer.connected(2);
  peer.acknowledge('c1', 0, true);
  await until('the result again', () => peer.all('commandResult').length >= 2);
  peer.answers = true;
  peer.cut();
  await peer.connected(3);
  peer.acknowledge('c1', 0, true);
  await until('the result once more', () => peer.all('commandResult').length >= 3);
  peer.say({ case: 'sessionQuery', value: create(SessionQuerySchema, { reportAll: true }) });
  const report = await until('an empty report', () => peer.all('sessionReport').at(-1)?.value);
  expect(report.sessions).toEqual([]);
});

test('[A10] a process whose output nobody takes waits, and nothing is dropped', async () => {
  await joined({ env: { AGENT_SPOOL_MEMORY_BYTES: '65536', AGENT_SPOOL_DISK_BYTES: '262144' } });
  peer.answers = false;
  peer.run({ commandId: 'c1', command: 'seq', args: ['1', '200000'] });
  await until('its first bytes', () => peer.output('c1').length > 0);
  peer.cut();
  await peer.connected(2);
  await until('the spool on disk', () => readdirSync(join(peer.dir, 'spool')).length === 1);
  expect(peer.all('commandResult')).toEqual([]);
  const before = peer.pieces('c1').length;
  const had = peer.output('c1').length;
  peer.answers = true;
  peer.acknowledge('c1', had, true);
  await peer.result('c1');
  const numbers = Array.from({ length: 200_000 }, (_, i) => `${i + 1}\n`).join('');
  const rest = Buffer.concat(
    peer
      .pieces('c1')
      .slice(before)
      .map(({ data }) => data),
  ).toString();
  expect(numbers.slice(had)).toBe(rest);
});

test('[A11] a command that is known is not started again, and sessions are reported as they are', async () => {
  await joined();
  const run = {
    commandId: 't',
    command: 'sleep',
    args: ['1000'],
    allocatePty: true,
    ptyCols: 90,
    ptyRows: 30,
    sessionName: 'nap',
  };
  peer.run(run);
  const pid = await startedPid('t');
  peer.run(run);
  await until('both answers', () => peer.all('sessionStarted').length === 2);
  expect(peer.all('sessionStarted').map(({ value }) => value.pid)).toEqual([pid, pid]);
  peer.say({ case: 'sessionQuery', value: create(SessionQuerySchema, { reportAll: true }) });
  const report = await until('the report', () => peer.all('sessionReport')[0]?.value);
  expect(report.sessions).toHaveLength(1);
  expect(report.sessions[0]).toMatchObject({
    commandId: 't',
    sessionName: 'nap',
    pid,
    isPty: true,
    cols: 90,
    rows: 30,
  });
  expect(Math.abs(Number(report.sessions[0]?.startedAtMs) - Date.now())).toBeLessThan(60_000);
});

test('[A12] a server of the original protocol gets output at once after a reconnect, and no message it cannot know', async () => {
  await joined({ acks: false });
  peer.run({ commandId: 'c1', command: 'bash', args: ['-c', 'echo one; read x; echo two'] });
  await until('its output', () => peer.output('c1') === 'one\n');
  peer.cut();
  await peer.connected(2);
  type('c1', 'go\n');
  await peer.result('c1');
  expect(peer.output('c1')).toBe('one\ntwo\n');
  const cases = new Set(peer.said.map((payload) => payload.case));
  expect(
    [...cases].filter((name) => ['sessionStarted', 'stdinAck', 'terminalState'].includes(name ?? '')),
  ).toEqual([]);
  expect(peer.pieces('c1')[0]?.offset).toBeUndefined();
});

test('[A13] told to shut down it ends its sessions first, tells their ends, and leaves', async () => {
  await joined();
  peer.run({ commandId: 't', command: 'bash', args: ['--norc'], allocatePty: true });
  const pid = await startedPid('t');
  peer.say({
    case: 'shutdown',
    value: create(ShutdownSignalSchema, { reason: 'test', gracePeriodSeconds: 2 }),
  });
  await peer.result('t');
  await until('its process to be gone', () => !isAlive(pid));
  await until('its goodbye', () =>
    peer.all('heartbeat').some(({ value }) => value.status === AgentStatus.SHUTTING_DOWN),
  );
});

test('it finds its server on a Unix socket', async () => {
  const path = join(tmpdir(), `agent-uds-${process.pid}.sock`);
  await joined({ address: `unix:${path}` });
  peer.run({ commandId: 'c1', command: 'echo', args: ['hello'] });
  await peer.result('c1');
  expect(peer.output('c1')).toBe('hello\n');
});
