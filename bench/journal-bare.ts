/** The bare limits of a machine: a file that is appended to and synced, and redis-benchmark. */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import type { Written } from './journal-load.ts';

/** Transitions a second when the same bytes are appended in the same batches, each followed by fdatasync. */
export function bareFile(path: string, { batches }: Written): number {
  const largest = Math.max(...batches.map(({ bytes }) => bytes));
  const buffer = Buffer.alloc(largest, 'x');
  const fd = openSync(path, 'w');
  const startedAt = performance.now();
  for (const { bytes } of batches) {
    writeSync(fd, buffer, 0, bytes);
    fdatasyncSync(fd);
  }
  const ms = performance.now() - startedAt;
  closeSync(fd);
  rmSync(path);
  return (batches.reduce((sum, { entries }) => sum + entries, 0) / ms) * 1e3;
}

/** What one transition is in Redis: two entries of streams, a message, a hash. */
const COMMANDS = 4;
const COMMANDS_MAX = 400_000;

/**
 * Transitions a second when redis-benchmark sends as many commands at once as one of our batches has, with as
 * many bytes, over one connection.
 */
export function bareRedis(socket: string, { batches }: Written): number {
  const entries = batches.reduce((sum, one) => sum + one.entries, 0);
  const bytes = batches.reduce((sum, one) => sum + one.bytes, 0);
  const depth = Math.max(1, Math.round((entries / batches.length) * COMMANDS));
  const payload = 'x'.repeat(Math.max(1, Math.round(bytes / entries / COMMANDS)));
  const total = Math.min(COMMANDS_MAX, entries * COMMANDS);
  const words = ['-s', socket, '-c', '1', '-P', `${depth}`, '-n', `${total}`, '--csv'];
  const command = ['XADD', 'bare', 'MAXLEN', '~', '100000', '*', 'event', payload];
  const { stdout } = Bun.spawnSync(['redis-benchmark', ...words, ...command]);
  const last = stdout.toString().trim().split('\n').at(-1) ?? '';
  // "XADD bare …","12345.67",…
  const rate = Number(/","([\d.]+)"/.exec(last)?.[1]);
  if (!Number.isFinite(rate)) throw new Error(`redis-benchmark said: ${last}`);
  return rate / COMMANDS;
}
