/** Exec, and the Unix socket whose callers the kernel names. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type ClientReadableStream, Metadata, type StatusObject, status } from '@grpc/grpc-js';
import {
  type ExecOutput,
  ExecOutput_Stream,
  ExecRequestSchema,
  RenewCertificateRequestSchema,
} from '../../proto/gen/agent_pb.ts';
import { agentService } from '../../proto/service.ts';
import type { Access, Role } from '../../src/access.ts';
import { type Audit, type AuditNote, noAudit } from '../../src/audit.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { Failure } from '../../src/failure.ts';
import { socketPathOf } from '../../src/transport/socket-path.ts';
import type { SessionView } from '../../src/views.ts';
import { Caller, clientOf, greeted } from './caller.ts';
import { type Rig, rig, until } from './house.ts';

let on: Rig;
const closings: (() => void)[] = [];
beforeEach(async () => {
  on = await rig();
});
afterEach(async () => {
  for (const close of closings.splice(0)) close();
  await on.close();
});

interface Ran {
  readonly call: ClientReadableStream<ExecOutput>;
  readonly said: ExecOutput[];
  readonly ended: Promise<StatusObject>;
}

function exec(
  request: MessageInitShape<typeof ExecRequestSchema>,
  { token, at = on.tcp }: { token?: string; at?: string } = {},
): Ran {
  const client = clientOf(at);
  closings.push(() => client.close());
  const metadata = new Metadata();
  if (token) metadata.set('authorization', `Bearer ${token}`);
  const { path, requestSerialize, responseDeserialize } = agentService.exec;
  const asked = create(ExecRequestSchema, request);
  const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, asked, metadata);
  const said: ExecOutput[] = [];
  call.on('data', (output: ExecOutput) => said.push(output));
  call.on('error', () => {}); // It comes as a status too.
  return { call, said, ended: new Promise((resolve) => call.on('status', resolve)) };
}

const make = { agentId: 'web-1', command: 'make', args: ['all'], env: { CI: '1' } };
const ended = (exitCode: number | null, reason: string | null) => ({
  ended: { exit_code: exitCode, reason } as SessionView,
});

describe('Exec', () => {
  test('[G18] an operator gets both streams in their order, and then how it ended', async () => {
    on.desk.parts = async function* () {
      yield { stream: 'stdout', bytes: Buffer.from([0, 255, 10]) };
      yield { stream: 'stderr', bytes: Buffer.from('warning\n') };
      yield ended(2, 'it failed');
    };
    const { said, ended: over } = exec(make, { token: 'for-operators' });
    expect((await over).code).toBe(status.OK);
    expect(said.map(({ stream, data }) => [stream, [...data]]).slice(0, 2)).toEqual([
      [ExecOutput_Stream.STDOUT, [0, 255, 10]],
      [ExecOutput_Stream.STDERR, [...Buffer.from('warning\n')]],
    ]);
    expect(said[2]).toMatchObject({ complete: true, exitCode: 2, error: 'it failed' });
    const [{ wanted, by } = { wanted: null, by: '' }] = on.desk.wanted;
    expect(by).toBe('olga');
    expect(wanted).toMatchObject({ agent: 'web-1', args: ['all'], env: { CI: '1' }, timeoutSeconds: 300 });
  });

  test('[G19] viewers, strangers and incomplete wishes are refused before anything runs', async () => {
    const viewer = await exec(make, { token: 'for-viewers' }).ended;
    expect(viewer.code).toBe(status.PERMISSION_DENIED);
    expect(viewer.details).toContain('operator');
    expect((await exec(make, { token: 'guessed' }).ended).code).toBe(status.UNAUTHENTICATED);
    expect((await exec(make).ended).code).toBe(status.UNAUTHENTICATED);
    const empty = await exec({ command: 'make' }, { token: 'for-operators' }).ended;
    expect([empty.code, empty.details]).toEqual([
      status.INVALID_ARGUMENT,
      'agent_id and command must be given',
    ]);
    expect(on.desk.wanted).toEqual([]);
  });

  test('[G19] on the Unix socket the server’s own user needs no token', async () => {
    on.desk.parts = async function* () {
      yield ended(0, null);
    };
    expect((await exec(make, { at: on.unix }).ended).code).toBe(status.OK);
    expect(on.desk.wanted[0]?.by).toBe('local');
    expect((await exec(make, { at: on.unix, token: 'guessed' }).ended).code).toBe(status.UNAUTHENTICATED);
  });

  test('[O7] is noted before it runs and when it has ended, and refusals too, without the command', async () => {
    await on.close();
    const notes: AuditNote[] = [];
    let isAway = false;
    const audit: Audit = {
      ...noAudit,
      ready: async () => {
        if (isAway) throw new Failure('audit-away', 'the disk is full');
      },
      note: async (one) => void notes.push(one),
      refused: (one) => void notes.push(one),
    };
    on = await rig({ audit });
    let seen = -1;
    on.desk.parts = async function* () {
      seen = notes.length;
      yield ended(0, null);
    };
    await exec(make, { token: 'for-operators' }).ended;
    expect(seen).toBe(1);
    await exec(make, { token: 'for-viewers' }).ended;
    await exec(make, { token: 'guessed', at: on.unix }).ended;
    const route = '/agentic.sandbox.v1.AgentService/Exec';
    expect(notes.map((one) => [one.method, one.caller?.name, one.outcome, one.code, one.from])).toEqual([
      ['Exec', 'olga', 'done', null, '127.0.0.1'],
      ['Exec ended', 'olga', 'done', null, '127.0.0.1'],
      ['Exec', 'vera', 'refused', 'forbidden', '127.0.0.1'],
      ['Exec', undefined, 'refused', 'unauthenticated', null],
    ]);
    expect(notes[0]).toMatchObject({ door: 'grpc', route, params: { agent: 'web-1' }, status: 0 });
    expect(JSON.stringify(notes)).not.toContain('make');
    isAway = true;
    on.desk.wanted.splice(0);
    const away = await exec(make, { token: 'for-operators' }).ended;
    expect([away.code, away.details]).toEqual([status.UNAVAILABLE, 'the disk is full']);
    expect(on.desk.wanted).toEqual([]);
  });

  test('[G20] a failure is the call’s status, and a bug says nothing of itself', async () => {
    on.desk.parts = async function* () {
      yield { stream: 'stdout', bytes: Buffer.from('x') };
      throw new Failure('agent-gone', 'agent web-1 is not connected');
    };
    const failed = await exec(make, { token: 'for-operators' }).ended;
    expect([failed.code, failed.details]).toEqual([status.UNAVAILABLE, 'agent web-1 is not connected']);
    on.desk.parts = async function* () {
      yield* [];
      throw new TypeError('undefined is not a secret');
    };
    const broken = await exec(make, { token: 'for-operators' }).ended;
    expect(broken.code).toBe(status.INTERNAL);
    expect(broken.details).not.toContain('secret');
    expect(on.warnings.map(({ message }) => message)).toContain('exec ended by a bug');
  });

  test('[G21] leaving early ends it, also while the caller does not read', async () => {
    let isOver = 0;
    on.desk.parts = async function* (signal) {
      try {
        for (let sent = 0; sent < 4_096; sent += 1) {
          if (signal.aborted) return;
          yield { stream: 'stdout', bytes: new Uint8Array(64 << 10) };
        }
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      } finally {
        isOver += 1;
      }
    };
    for (const reads of [true, false]) {
      const { call, said } = exec(make, { token: 'for-operators' });
      await until('the first of it', () => said.length > 0);
      if (!reads) call.pause();
      call.cancel();
      await until('its end', () => isOver === (reads ? 1 : 2));
      expect(on.desk.wanted.at(-1)?.signal.aborted).toBe(true);
    }
  });

  test('[G32] what runs ends once its caller would not be let in any more', async () => {
    await on.close();
    let role: Role | null = 'operator';
    const access: Access = {
      caller() {
        if (role !== null) return { name: 'olga', role, via: 'token', id: 'o' };
        throw new Failure('unauthenticated', 'the token was revoked');
      },
    };
    const rings = new Set<() => void>();
    const clock: Clock = {
      ...systemClock,
      setTimeout(ring, ms) {
        if (ms !== 1_000) return systemClock.setTimeout(ring, ms);
        rings.add(ring);
        return ring;
      },
      clearTimeout(timer) {
        if (!rings.delete(timer as () => void)) systemClock.clearTimeout(timer);
      },
    };
    const ring = () => {
      const due = [...rings];
      rings.clear();
      for (const one of due) one();
    };
    on = await rig({ access, clock });
    on.desk.parts = async function* (signal) {
      yield { stream: 'stdout', bytes: Buffer.from('x') };
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    };
    for (const [next, code] of [
      [null, status.UNAUTHENTICATED],
      ['viewer', status.PERMISSION_DENIED],
    ] as const) {
      role = 'operator';
      const { said, ended: over } = exec(make, { token: 'mine' });
      await until('the first of it', () => said.length > 0);
      ring();
      expect(on.desk.wanted.at(-1)?.signal.aborted).toBe(false);
      role = next;
      ring();
      expect((await over).code).toBe(code);
      expect(on.desk.wanted.at(-1)?.signal.aborted).toBe(true);
      await until('nobody to look any more', () => rings.size === 0);
    }
  });

  test('[G22] a closing server runs nothing new', async () => {
    on.server.stopAccepting();
    expect((await exec(make, { token: 'for-operators' }).ended).code).toBe(status.UNAVAILABLE);
    expect(on.desk.wanted).toEqual([]);
  });

  test('[G23] renewing a certificate is not implemented without an authority, and says so', async () => {
    const client = clientOf(on.tcp);
    closings.push(() => client.close());
    const { path, requestSerialize, responseDeserialize } = agentService.renewCertificate;
    const request = create(RenewCertificateRequestSchema, {});
    const thrown = await new Promise<StatusObject>((resolve, reject) =>
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error) =>
        error ? resolve(error) : reject(new Error('it was renewed')),
      ),
    );
    expect([thrown.code, thrown.details]).toEqual([
      status.UNIMPLEMENTED,
      expect.stringContaining('issues no certificates'),
    ]);
  });
});

describe('the Unix socket', () => {
  const path = () => on.unix.slice('unix:'.length);

  test('[G24] only its owner may open it', () => {
    expect(statSync(path()).mode & 0o777).toBe(0o600);
  });

  test('[G24] it is in the data directory, or in a private place that stays the same', async () => {
    expect(await socketPathOf('/srv/data')).toBe('/srv/data/agent.sock');
    const long = `/srv/${process.pid}/${'deep/'.repeat(30)}`;
    const found = await socketPathOf(long);
    closings.push(() => rmSync(dirname(found), { recursive: true }));
    expect(Buffer.byteLength(found)).toBeLessThanOrEqual(100);
    expect(statSync(dirname(found)).mode & 0o777).toBe(0o700);
    expect(await socketPathOf(long)).toBe(found);
    const other = await socketPathOf(`${long}/other`);
    closings.push(() => rmSync(dirname(other), { recursive: true }));
    expect(other).not.toBe(found);
  });

  test('[G25, G35] an agent there is who the kernel says, unless it shows a secret, and its link says which', async () => {
    const secretless = await greeted(on.unix, 'ours', { secret: null });
    closings.push(() => secretless.close());
    expect(on.house.proofs).toEqual([
      { kind: 'peer', pid: process.pid, uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 },
    ]);
    const secret = await greeted(on.unix, 'ours', { agent: 'web-2' });
    closings.push(() => secret.close());
    expect(on.house.proofs.at(-1)?.kind).toBe('secret');
    expect(on.house.all('connected').map(({ link }) => link.proven)).toEqual([
      { kind: 'peer-credentials' },
      { kind: 'secret' },
    ]);
    secretless.output('s-1', 'over the socket', 0);
    await until('its output', () => on.house.all('output').length === 1);
  });

  test('[G25] another process is told from this one', async () => {
    const script = `
      const { greeted } = await import('${import.meta.dir}/caller.ts');
      await greeted('${on.unix}', 'ours', { secret: null });
      console.log('greeted');
      await new Promise((resolve) => setTimeout(resolve, 30_000));`;
    const other = Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe', stderr: 'inherit' });
    await other.stdout.getReader().read();
    expect(on.house.proofs[0]).toMatchObject({ kind: 'peer', pid: other.pid });
    other.kill('SIGKILL');
    await other.exited;
    await until('the loss', () => on.house.all('lost').length === 1);
  });

  test('[G26] one connection that talks nonsense or breaks off harms no other', async () => {
    const agent = await greeted(on.unix, 'ours', { secret: null });
    closings.push(() => agent.close());
    const rude: Socket[] = [];
    for (let n = 0; n < 20; n += 1) {
      const socket = connect(path());
      socket.on('error', () => {});
      socket.write(n % 2 === 0 ? 'GET / HTTP/1.1\r\n\r\n' : Buffer.alloc(4_096, n));
      rude.push(socket);
    }
    for (const socket of rude) socket.destroy();
    agent.output('s-1', 'unharmed', 0);
    await until('its output', () => on.house.all('output').length === 1);
    expect(on.house.all('lost')).toEqual([]);
  });

  test('[G27] what a killed server left in its place is replaced, and gone after a close', async () => {
    await on.server.close(0);
    writeFileSync(path(), '');
    const again = await rig({ socketPath: path() });
    const agent = await greeted(`unix:${path()}`, 'ours', { secret: null });
    agent.close();
    await again.close();
    expect(() => statSync(path())).toThrow();
  });

  test('[G27] a place where no socket can be is named, and leaves no port open', async () => {
    const socketPath = '/proc/nowhere/agent.sock';
    const thrown = await rig({ socketPath }).then(
      () => null,
      (why: unknown) => why,
    );
    expect(thrown).toBeInstanceOf(Failure);
    expect((thrown as Failure).message).toContain(socketPath);
  });
});

describe('the socket of one instance', () => {
  const door = async () => {
    const path = join(dirname(on.unix.slice('unix:'.length)), 'guest.sock');
    await on.server.openGuest('web-1', path);
    return { path, address: `unix:${path}` };
  };

  test('[G33] its agent comes by it with its secret, whoever the kernel says it is', async () => {
    const { path, address } = await door();
    expect(statSync(path).mode & 0o777).toBe(0o666);
    await on.server.openGuest('web-1', path);
    const agent = await greeted(address);
    closings.push(() => agent.close());
    expect(on.house.proofs.map(({ kind }) => kind)).toEqual(['secret']);
    agent.output('s-1', 'from inside', 0);
    await until('its output', () => on.house.all('output').length === 1);
    await on.server.closeGuest('web-1');
    await until('the loss', () => on.house.all('lost').length === 1);
    expect(() => statSync(path)).toThrow();
  });

  test('[G33] nobody comes by it without a secret, or as another agent, or to run a command', async () => {
    const { address } = await door();
    for (const options of [{ secret: null }, { agent: 'web-2' }]) {
      const caller = new Caller(address, options);
      closings.push(() => caller.close());
      caller.register();
      const { code } = await caller.ended;
      expect([status.UNAUTHENTICATED, status.PERMISSION_DENIED]).toContain(code);
    }
    expect((await exec(make, { at: address }).ended).code).toBe(status.PERMISSION_DENIED);
    expect((await exec(make, { at: address, token: 'for-operators' }).ended).code).toBe(
      status.PERMISSION_DENIED,
    );
    expect(on.desk.wanted).toEqual([]);
  });
});
