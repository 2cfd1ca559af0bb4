/**
 * What a user would pick instead: tmux over ssh, and ssh alone. A private sshd on a loopback port of its own,
 * with a host key and an authorized key made for this run.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Running, run } from '../agent/process.ts';
import { echoScript, type Keyboard, keyboard } from './terminal-echo.ts';
import { nowMs } from './terminal-figures.ts';
import { script } from './terminal-flood.ts';
import { until } from './terminal-server.ts';

export interface Rival {
  readonly name: string;
  flood(path: string): Promise<{ readonly ms: number; readonly arrived: number }>;
  keyboard(): Promise<Keyboard>;
}

export interface Rivals {
  readonly all: readonly Rival[];
  readonly skipped: readonly string[];
  close(): Promise<void>;
}

const SSHD = '/usr/sbin/sshd';
/** Where sshd of Debian separates privileges; it refuses to start as root without it. */
const PRIVSEP = '/run/sshd';

function freePort(): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const server = createServer().listen(0, '127.0.0.1', () => {
    const address = server.address();
    server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
  });
  return promise;
}

function keygen(path: string): void {
  const made = Bun.spawnSync(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', path]);
  if (!made.success) throw new Error(`ssh-keygen: ${made.stderr}`);
}

export async function rivals(): Promise<Rivals> {
  const skipped = Bun.which('ttyd')
    ? ['ttyd: not measured, it has no client without a browser']
    : ['ttyd: not installed'];
  const missing = [
    ...(existsSync(SSHD) ? [] : ['sshd']),
    ...['ssh', 'ssh-keygen', 'tmux'].filter((name) => !Bun.which(name)),
  ];
  if (missing.length > 0) {
    skipped.push(`ssh + tmux: ${missing.join(', ')} not installed`);
    return { all: [], skipped, close: async () => {} };
  }
  const dir = mkdtempSync(join(tmpdir(), 'terminal-bench-ssh-'));
  const madePrivsep = process.getuid?.() === 0 && !existsSync(PRIVSEP);
  if (madePrivsep) mkdirSync(PRIVSEP, { mode: 0o755 });
  const daemon = await sshd(dir);
  const ssh = sshArguments(dir, daemon.port);
  const tmux = `tmux -S '${join(dir, 'tmux')}' -f /dev/null`;
  const close = async () => {
    Bun.spawnSync(['tmux', '-S', join(dir, 'tmux'), 'kill-server']);
    daemon.child.kill();
    await daemon.child.exited;
    rmSync(dir, { recursive: true, force: true });
    if (madePrivsep) rmdirSync(PRIVSEP);
  };
  let sessions = 0;
  const inTmux = (line: string) => {
    const file = join(dir, `line-${++sessions}.sh`);
    writeFileSync(file, line);
    return `exec ${tmux} new-session -s s${sessions} "exec sh '${file}'"`;
  };
  const all = [
    rival('ssh + tmux', ssh, inTmux),
    rival('ssh', ssh, (line) => `exec sh -c ${JSON.stringify(line)}`),
  ];
  return { all, skipped, close };
}

async function sshd(dir: string) {
  const port = await freePort();
  keygen(join(dir, 'host'));
  keygen(join(dir, 'user'));
  writeFileSync(join(dir, 'authorized'), readFileSync(join(dir, 'user.pub')), { mode: 0o600 });
  writeFileSync(
    join(dir, 'sshd_config'),
    [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${join(dir, 'host')}`,
      `AuthorizedKeysFile ${join(dir, 'authorized')}`,
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'UsePAM no',
      'StrictModes no',
      'PidFile none',
      'PermitRootLogin prohibit-password',
      'PrintMotd no',
      'PrintLastLog no',
      '',
    ].join('\n'),
  );
  const log = join(dir, 'sshd.log');
  const child = Bun.spawn([SSHD, '-D', '-f', join(dir, 'sshd_config'), '-E', log], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await until(
    'sshd listens',
    () => (existsSync(log) && readFileSync(log, 'utf8').includes('listening') ? true : null),
    10_000,
  );
  return { child, port };
}

/** Bun takes it from the environment, which need not have it. */
const userName = (): string => Bun.spawnSync(['id', '-un']).stdout.toString().trim();

const sshArguments = (dir: string, port: number): string[] => [
  'ssh',
  '-tt',
  '-F',
  '/dev/null',
  '-i',
  join(dir, 'user'),
  '-p',
  String(port),
  '-o',
  'StrictHostKeyChecking=no',
  '-o',
  `UserKnownHostsFile=${join(dir, 'known')}`,
  '-o',
  'LogLevel=ERROR',
  '-o',
  'IdentitiesOnly=yes',
  '-o',
  'Compression=no',
  '-o',
  'EscapeChar=none',
  `${userName()}@127.0.0.1`,
];

function rival(name: string, ssh: readonly string[], commandOf: (line: string) => string): Rival {
  const start = (line: string, onBytes: (bytes: Uint8Array) => void): Running => {
    const env = { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/', LANG: 'C.UTF-8' };
    const pty = { cols: 220, rows: 50, term: 'xterm-256color' };
    return run({ argv: [...ssh, commandOf(line)], cwd: '/', env, pty }, (_, bytes) => onBytes(bytes));
  };
  return {
    name,
    async flood(path) {
      const ready = Promise.withResolvers<void>();
      let seen = '';
      let arrived = 0;
      let lastAt = 0;
      const running = start(script(path), (bytes) => {
        lastAt = nowMs();
        arrived += bytes.length;
        if (seen.length > 1 << 16) return;
        seen += Buffer.from(bytes).toString('latin1');
        if (seen.includes('ready')) ready.resolve();
      });
      await ready.promise;
      const startedAt = nowMs();
      await running.write(new TextEncoder().encode('\r'));
      await running.ended;
      return { ms: lastAt - startedAt, arrived };
    },
    keyboard: () =>
      keyboard(async (onBytes) => {
        const running = start(echoScript, onBytes);
        return { send: (bytes) => void running.write(bytes), close: () => void running.end(500) };
      }),
  };
}
