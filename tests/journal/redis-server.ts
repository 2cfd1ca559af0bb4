/**
 * A real redis-server of a test's own, on a Unix socket, that keeps everything at once unless told otherwise.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface RedisServer {
  readonly url: string;
  readonly path: string;
  readonly pid: number;
  /** What `redis-cli` says to it, without the newline at the end. */
  cli(...words: readonly string[]): string;
  kill(): Promise<void>;
  /** On the same directory, after a kill. */
  start(): Promise<void>;
  /** Kills it and removes what it kept. */
  close(): Promise<void>;
}

const READY_MS = 10_000;

export async function redisServer(...settings: readonly string[]): Promise<RedisServer> {
  const dir = mkdtempSync(join(tmpdir(), 'redis-'));
  const path = join(dir, 'redis.sock');
  const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', ''];
  const words = ['--port', '0', '--unixsocket', path, '--dir', dir, ...durable, ...settings];
  let child: Bun.Subprocess | null = null;
  const cli = (...said: readonly string[]) =>
    Bun.spawnSync(['redis-cli', '-s', path, ...said], { stderr: 'pipe' })
      .stdout.toString()
      .trimEnd();
  const start = async () => {
    child = Bun.spawn(['redis-server', ...words], { stdout: 'ignore', stderr: 'ignore' });
    for (const end = Date.now() + READY_MS; cli('ping') !== 'PONG'; await Bun.sleep(20))
      if (Date.now() > end) throw new Error('redis-server did not start');
  };
  const kill = async () => {
    child?.kill('SIGKILL');
    await child?.exited;
  };
  await start();
  return {
    url: path,
    path,
    get pid() {
      return child?.pid ?? 0;
    },
    cli,
    kill,
    start,
    async close() {
      await kill();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
