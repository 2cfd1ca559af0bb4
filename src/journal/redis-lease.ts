/**
 * Which server may write a journal in Redis: one, and it is named.
 *
 * The lease is a hash with a number that grows with every holder. Each batch is a transaction that watches
 * it, so a holder that was asleep while another took over writes nothing any more. Beside it a key that
 * expires, the beat, says that the holder lives; when it is gone, or its holder is provably dead (a process
 * of this very host that has ended), anybody may take over.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Redis } from 'ioredis';
import { Failure } from '../failure.ts';
import type { Layout } from './redis-layout.ts';

/** Without a beat for so long, a holder counts as gone; it beats three times as often. */
export const LEASE_MS = 15_000;
export const BEAT_MS = LEASE_MS / 3;
const ATTEMPTS_MAX = 3;

/** Who holds it, for whoever is refused. */
interface Holder {
  readonly pid: number;
  readonly host: string;
  readonly since: string;
  /** The kernel and the process namespace that `pid` is of; empty when that cannot be told. */
  readonly place: string;
  /** When that process began, in the kernel's ticks; a pid is used again. */
  readonly began: string;
}

const takeScript = `
if (redis.call('HGET', KEYS[1], 'token') or '0') ~= ARGV[1] then return 0 end
local token = ARGV[1] + 1
redis.call('HSET', KEYS[1], 'token', token, 'pid', ARGV[2], 'host', ARGV[3], 'since', ARGV[4], 'place', ARGV[5],
  'began', ARGV[6])
redis.call('SET', KEYS[2], token, 'PX', ARGV[7])
return token`;

const beatScript = `
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1`;

/** Touches the lease, so that what an earlier connection of ours still has on its way is not taken. */
const renewScript = `
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HINCRBY', KEYS[1], 'connections', 1)
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1`;

const leaveScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`;

/** Takes the lease and returns its number. Throws Failure('wrong-state') that says who has it. */
export async function takeLease(redis: Redis, layout: Layout, since: string): Promise<string> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const [fields, leftMs] = await Promise.all([redis.hgetall(layout.lease), redis.pttl(layout.beat)]);
    const holder = holderOf(fields);
    if (leftMs > 0 && !isDead(holder)) throw refusal(holder, leftMs);
    const own = [`${process.pid}`, hostname(), since, placeOfProcesses(), beganOf(process.pid) ?? ''];
    const expected = fields['token'] ?? '0';
    const token = await redis.eval(takeScript, 2, layout.lease, layout.beat, expected, ...own, `${LEASE_MS}`);
    if (token !== 0) return `${token}`;
  }
  throw new Failure('wrong-state', 'open the journal in Redis: other servers are taking it; try again');
}

/** False: somebody else has it. */
export const beat = async (redis: Redis, layout: Layout, token: string): Promise<boolean> =>
  (await redis.eval(beatScript, 2, layout.lease, layout.beat, token, `${LEASE_MS}`)) === 1;

/** For a new connection of the same holder. False: somebody else has it. */
export const renew = async (redis: Redis, layout: Layout, token: string): Promise<boolean> =>
  (await redis.eval(renewScript, 2, layout.lease, layout.beat, token, `${LEASE_MS}`)) === 1;

export async function leave(redis: Redis, layout: Layout, token: string): Promise<void> {
  await redis.eval(leaveScript, 1, layout.beat, token);
}

export async function lostTo(redis: Redis, layout: Layout): Promise<Failure> {
  const fields = await redis.hgetall(layout.lease);
  if (fields['token'] === undefined) {
    const why = 'somebody has emptied it; end this server, and start it once you know what became of it';
    return new Failure('wrong-state', `the journal in Redis is gone: ${why}`);
  }
  return new Failure('wrong-state', `the journal in Redis was taken over by ${named(holderOf(fields))}`);
}

function holderOf(fields: Readonly<Record<string, string>>): Holder {
  const { pid = '0', host = '', since = '', place = '', began = '' } = fields;
  return { pid: Number(pid), host, since, place, began };
}

const named = ({ pid, host, since }: Holder): string => `process ${pid} on ${host} since ${since}`;

function refusal(holder: Holder, leftMs: number): Failure {
  const seconds = Math.ceil(leftMs / 1_000);
  return new Failure(
    'wrong-state',
    `open the journal in Redis: ${named(holder)} has it; stop that server, or give this one another ` +
      `AGENTIC_REDIS_PREFIX. If that server is dead its lease ends within ${seconds} s; then start this one again`,
  );
}

/** True only when it was a process of ours to see, and is no more. */
function isDead({ place, pid, began }: Holder): boolean {
  if (place === '' || place !== placeOfProcesses()) return false;
  return beganOf(pid) !== began;
}

function placeOfProcesses(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return ''; // Not Linux.
  }
}

/** Null when there is no such process, or nothing of it but its exit code. */
function beganOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' || state === 'X' ? null : (rest[18] ?? null);
  } catch {
    return null;
  }
}
