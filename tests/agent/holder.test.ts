/**
 * The agent client as two real processes, of which one dies: the server's side is played by hand, and names
 * after every reconnect the byte to go on from, as the server does.
 */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { buildAgent } from '../../agent/build.ts';
import { AgentStatus, ShutdownSignalSchema, StdinChunkSchema } from '../../proto/gen/agent_pb.ts';
import { descriptorsOf, isAlive, networkSidesOf } from './family.ts';
import { Peer, type PeerOptions, until } from './peer.ts';

setDefaultTimeout(60_000);

let peer: Peer;
let holder: Bun.Subprocess;

async function joined(options: PeerOptions & { program?: readonly string[] } = {}): Promise<void> {
  peer = await Peer.start(options);
  holder = peer.agent(options.env, options.program);
  await peer.connected();
}

afterEach(async () => {
  await peer.stop();
});

const side = (): number => {
  const [pid, ...more] = networkSidesOf(holder.pid);
  if (pid === undefined || more.length > 0) throw new Error(`network sides: ${[pid, ...more].join(', ')}`);
  return pid;
};

/** Another link than before, on which the session `id` is to go on from what came. */
async function again(connection: number, id: string): Promise<void> {
  await peer.connected(connection);
  peer.acknowledge(
    id,
    peer.pieces(id).reduce((sum, { data }) => sum + data.length, 0),
    true,
  );
}

async function killSide(id: string): Promise<void> {
  const before = peer.connects.length;
  peer.stream = null;
  process.kill(side(), 'SIGKILL');
  await again(before + 1, id);
}

const type = (commandId: string, text: string, key?: string) =>
  peer.say({
    case: 'stdin',
    value: create(StdinChunkSchema, { commandId, data: Buffer.from(text), ...(key ? { key } : {}) }),
  });

const lines = (count: number) => Array.from({ length: count }, (_, i) => `${i + 1}\n`).join('');
/** Prints numbered lines, slowly enough that deaths fall between them. */
const numbers = (count: number) =>
  `i=0; while [ $i -lt ${count} ]; do i=$((i+1)); echo $i; sleep 0.005; done`;

describe('the network side is killed', () => {
  for (const pty of [false, true]) {
    test(`[A15] again and again: every line of ${pty ? 'a terminal' : 'a command'} comes once and in order`, async () => {
      await joined();
      peer.run({ commandId: 'c1', command: 'bash', args: ['-c', numbers(200)], allocatePty: pty });
      for (let death = 1; death <= 4; death++) {
        await until('more lines', () => peer.output('c1').includes(`\n${death * 15}`));
        await killSide('c1');
      }
      expect((await peer.result('c1')).exitCode).toBe(0);
      expect(peer.output('c1').replaceAll('\r', '')).toBe(lines(200));
    });
  }

  test('[A15] in a flood that goes by the stream: nothing is missing and nothing comes twice', async () => {
    await joined();
    peer.run({ commandId: 'c1', command: 'seq', args: ['1', '400000'] });
    for (const bytes of [200_000, 1_000_000]) {
      await until('a part of it', () => peer.output('c1').length > bytes);
      await killSide('c1');
    }
    await peer.result('c1');
    expect(peer.output('c1')).toBe(lines(400_000));
  });

  test('[A15] what was typed under a key before is not typed again, and its word is given', async () => {
    await joined();
    peer.run({ commandId: 'c1', command: 'cat' });
    type('c1', 'once\n', 'k');
    await until('its echo', () => peer.output('c1') === 'once\n');
    await killSide('c1');
    const before = peer.all('stdinAck').length;
    type('c1', 'once\n', 'k');
    type('c1', 'two\n', 'l');
    await until('both words', () => peer.all('stdinAck').length === before + 2);
    await until('the second', () => peer.output('c1').includes('two'));
    expect(peer.output('c1')).toBe('once\ntwo\n');
  });

  test('[A15] a result that nobody has acknowledged is told again', async () => {
    await joined();
    peer.answers = false;
    peer.run({ commandId: 'c1', command: 'true' });
    await peer.result('c1');
    await killSide('c1');
    await until('the result again', () => peer.all('commandResult').length >= 2);
  });

  test('[A15] one that hangs is replaced as well', async () => {
    await joined();
    peer.run({ commandId: 'c1', command: 'bash', args: ['-c', 'read x; echo "$x"'] });
    await until('its start', () => peer.all('sessionStarted').length === 1);
    const before = side();
    process.kill(before, 'SIGSTOP');
    await until('it to be gone', () => !isAlive(before));
    await again(2, 'c1');
    type('c1', 'still here\n');
    await peer.result('c1');
    expect(peer.output('c1')).toBe('still here\n');
  });

  test('[A15] while it is away a session goes on, and so after its directory has gone', async () => {
    await joined();
    const gone = mkdtempSync(join(tmpdir(), 'gone-'));
    const script = `rmdir ${gone}; read x; echo "$x"`;
    peer.run({ commandId: 'c1', command: 'bash', args: ['-c', script], workingDir: gone });
    await until('the directory to be gone', () => networkSidesOf(holder.pid).length === 1 && !isThere(gone));
    await killSide('c1');
    type('c1', 'still here\n');
    await peer.result('c1');
    expect(peer.output('c1')).toBe('still here\n');
  });

  test('[A15] a server of the original protocol is told on at once', async () => {
    await joined({ acks: false });
    peer.run({ commandId: 'c1', command: 'bash', args: ['-c', 'echo one; read x; echo two'] });
    await until('its output', () => peer.output('c1') === 'one\n');
    const before = peer.connects.length;
    process.kill(side(), 'SIGKILL');
    await until('another link', () => peer.connects.length > before);
    await peer.connected(before + 1);
    type('c1', 'go\n');
    await peer.result('c1');
    expect(peer.output('c1')).toBe('one\ntwo\n');
  });
});

const isThere = (path: string): boolean => Bun.spawnSync(['test', '-e', path]).exitCode === 0;

describe('an upgrade', () => {
  let dir: string;
  let built: string;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'upgrade-'));
    built = join(dir, 'built');
    await buildAgent(built);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  /** Puts a file in the program's place, as an installation does. */
  const install = (program: string, make: (path: string) => void) => {
    make(`${program}.new`);
    renameSync(`${program}.new`, program);
  };
  const script = (text: string) => (path: string) =>
    writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });

  test('[A16] by SIGUSR2: what is on disk takes over, and sessions go on', async () => {
    const program = join(dir, 'agent-one');
    copyFileSync(built, program);
    await joined({ program: [program] });
    peer.run({ commandId: 'c1', command: 'bash', args: ['-c', numbers(100)], allocatePty: true });
    await until('some lines', () => peer.output('c1').includes('\n20\r'));
    const before = side();
    install(program, (path) => copyFileSync(built, path));
    process.kill(holder.pid, 'SIGUSR2');
    await again(2, 'c1');
    await until('the first to be gone', () => !isAlive(before));
    expect(readFileSync(`/proc/${side()}/cmdline`, 'latin1')).toStartWith(program);
    expect(Bun.spawnSync(['stat', '-Lc', '%i', `/proc/${side()}/exe`, program]).stdout.toString()).toMatch(
      /^(\d+)\n\1\n$/,
    );
    expect((await peer.result('c1')).exitCode).toBe(0);
    expect(peer.output('c1').replaceAll('\r', '')).toBe(lines(100));
    expect(peer.all('heartbeat').some(({ value }) => value.status === AgentStatus.SHUTTING_DOWN)).toBe(false);
  });

  test.each([
    ['does not start', 'exit 3', 'it ended with code 3'],
    // Its hello: it speaks the versions 9 to 10.
    [
      'speaks no version of ours',
      `printf '\\005\\000\\011\\012v9' >&3; exec sleep 60`,
      'it is v9 and speaks no version',
    ],
  ])('[A16] to what %s changes nothing, and says so', async (name, text, why) => {
    const program = join(dir, `agent-${name.replaceAll(' ', '-')}`);
    copyFileSync(built, program);
    await joined({ program: [program] });
    const before = side();
    install(program, script(text));
    process.kill(holder.pid, 'SIGUSR2');
    await until('the refusal', () => peer.log().includes('no upgrade'));
    expect(peer.log()).toContain(why);
    await until('the other to be gone', () => networkSidesOf(holder.pid).length === 1);
    expect(side()).toBe(before);
    expect(peer.connects).toHaveLength(1);
    peer.run({ commandId: 'c1', command: 'echo', args: ['hello'] });
    await peer.result('c1');
    expect(peer.output('c1')).toBe('hello\n');
  });
});

describe('the end', () => {
  test('[A17] the network side never outlives its holder, even when it is stopped', async () => {
    await joined();
    const pid = side();
    process.kill(pid, 'SIGSTOP');
    process.kill(holder.pid, 'SIGKILL');
    await until('the network side to be gone', () => !isAlive(pid));
  });

  test('[A17] nor when the kernel does not tell it, for only the holder has the other end of its pipe', async () => {
    await joined();
    const script = 'ls -l /proc/$$/fd; exec sleep 1000';
    peer.run({ commandId: 't', command: 'bash', args: ['-c', script], allocatePty: true });
    peer.run({ commandId: 'c', command: 'bash', args: ['-c', script] });
    const pids = await until('both', () => {
      const started = peer.all('sessionStarted').map(({ value }) => value.pid);
      return started.length === 2 && peer.output('c').includes('total') && started;
    });
    const mine = new Set(descriptorsOf(side()).filter((name) => name.startsWith('socket:')));
    const theirs = pids.map((pid) => descriptorsOf(pid));
    // Its standard streams are sockets too, of its own.
    expect(theirs.map((names) => names.filter((name) => name.startsWith('socket:')).length)).toEqual([0, 3]);
    expect(theirs.flat().filter((name) => mine.has(name))).toEqual([]);
    const pid = side();
    holder.kill('SIGKILL');
    await until('the network side to be gone', () => !isAlive(pid));
    // One on a terminal may have been hung up with it by now.
    for (const one of pids) if (isAlive(one)) Bun.spawnSync(['kill', '-KILL', `${one}`]);
  });

  test('[A17] told to end it sees the last results off, also when the signal goes to both', async () => {
    await joined();
    peer.run({ commandId: 't', command: 'bash', args: ['--norc'], allocatePty: true });
    await until('its prompt', () => peer.output('t').includes('$ ') || peer.output('t').includes('# '));
    const pid = side();
    process.kill(pid, 'SIGTERM');
    process.kill(holder.pid, 'SIGTERM');
    await peer.result('t');
    expect(await holder.exited).toBe(0);
    expect(isAlive(pid)).toBe(false);
    await until('its goodbye', () =>
      peer.all('heartbeat').some(({ value }) => value.status === AgentStatus.SHUTTING_DOWN),
    );
  });

  test('[A17] told to end while the network side is away, both end', async () => {
    await joined();
    process.kill(side(), 'SIGKILL');
    holder.kill('SIGTERM');
    expect(await holder.exited).toBe(0);
    expect(networkSidesOf(holder.pid)).toEqual([]);
  });

  test('[A17] told to end by its server, both end', async () => {
    await joined();
    const pid = side();
    peer.say({ case: 'shutdown', value: create(ShutdownSignalSchema, { reason: 'test' }) });
    expect(await holder.exited).toBe(0);
    expect(isAlive(pid)).toBe(false);
  });
});

test('[A18] what the holder is made of has no gRPC in it', () => {
  const scanner = new Bun.Transpiler({ loader: 'ts' });
  const found = new Set<string>();
  const visit = (file: string): void => {
    if (found.has(file)) return;
    found.add(file);
    for (const { path, kind } of scanner.scanImports(readFileSync(file, 'utf8'))) {
      if (kind !== 'import-statement') continue;
      if (path.startsWith('.')) visit(resolve(dirname(file), path));
      else found.add(path);
    }
  };
  // What main.ts loads once its network side has been started, and no other process does.
  for (const name of ['main.ts', 'holder.ts', 'sessions.ts'])
    visit(resolve(import.meta.dir, '../../agent', name));
  const names = [...found];
  expect(names.filter((name) => name.endsWith('/agent/sessions.ts'))).toHaveLength(1);
  expect(names.filter((name) => /grpc/.test(name) || name.endsWith('/agent/link.ts'))).toEqual([]);
});
