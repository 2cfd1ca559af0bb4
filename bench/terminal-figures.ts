/** Figures: what a process has cost so far, and what is typical of many measurements. Linux only. */
import { readFileSync } from 'node:fs';

const TICKS_A_SECOND = 100;
const PAGE_BYTES = 4_096;
export const MIB = 1 << 20;

/** Wall-clock milliseconds with a fraction; the same in every process of this machine. */
export const nowMs = (): number => performance.timeOrigin + performance.now();

/** CPU seconds of one process, its threads included. */
export function cpuSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
}

export function rssBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE_BYTES;
}

/** The value below which `share` of all values lie. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

export const rounded = (value: number, digits = 1): number => Number(value.toFixed(digits));

/** How long keystrokes took to come back, in milliseconds. */
export interface Echo {
  readonly p50: number;
  readonly p99: number;
  readonly keys: number;
}

export const echoOf = (ms: readonly number[]): Echo => ({
  p50: rounded(median(ms), 2),
  p99: rounded(quantile(ms, 0.99), 2),
  keys: ms.length,
});

export interface Cost {
  readonly cpuSeconds: number;
  /** Before, and the most that was seen. */
  readonly rssBefore: number;
  readonly rssPeak: number;
}

const SAMPLE_MS = 50;

const sumOf = (pids: readonly number[], figure: (pid: number) => number): number =>
  pids.reduce((sum, pid) => sum + figure(pid), 0);

/** Watches processes until it is asked what they have cost together. */
export function meter(...pids: readonly number[]): () => Cost {
  const cpuBefore = sumOf(pids, cpuSeconds);
  const rssBefore = sumOf(pids, rssBytes);
  let rssPeak = rssBefore;
  const sample = () => {
    rssPeak = Math.max(rssPeak, sumOf(pids, rssBytes));
  };
  const timer = setInterval(sample, SAMPLE_MS);
  return () => {
    clearInterval(timer);
    sample();
    return { cpuSeconds: sumOf(pids, cpuSeconds) - cpuBefore, rssBefore, rssPeak };
  };
}
