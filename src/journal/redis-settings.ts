/**
 * What a Redis is told to keep, which decides what an acknowledged write is worth: looked at when the journal
 * is opened, and with every beat of the lease, because anybody may change it meanwhile.
 */
import type { Redis } from 'ioredis';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import { FORMAT, type Layout } from './redis-layout.ts';

/** Refuses a journal of a format that this server does not know. Throws Failure('wrong-state'). */
export async function checkFormat(redis: Redis, name: string, layout: Layout): Promise<void> {
  const format = await redis.hget(layout.meta, 'format');
  if (format === null || Number(format) === FORMAT) return;
  const cure = 'start a server that knows it, or name another AGENTIC_REDIS_PREFIX';
  const what = `its format is ${format}, this server knows ${FORMAT}`;
  throw new Failure('wrong-state', `open the journal in Redis at ${name}: ${what}; ${cure}`);
}

/**
 * Says each change for the worse once. `look` gives why nothing may be written there now, null when it may.
 */
export function settingsWatch(redis: Redis, log: Log): { look(): Promise<string | null> } {
  let warned = '';
  return {
    async look() {
      const { policy, appendOnly, fsync } = await settingsOf(redis);
      const [warning, fields] = weakness(appendOnly, fsync);
      if (warning !== '' && warning !== warned) log.warn(warning, fields);
      warned = warning;
      if (!policy?.startsWith('allkeys')) return null;
      return `it may drop any key when memory is short (maxmemory-policy ${policy}); set noeviction`;
    },
  };
}

function weakness(appendOnly: string | null, fsync: string | null): [string, Record<string, string>] {
  if (appendOnly === 'no') {
    const cure = 'appendonly yes, appendfsync always; see docs/redis.md';
    return ['Redis keeps no append-only file: what it acknowledged may be gone when it dies', { cure }];
  }
  if (fsync === null || fsync === 'always') return ['', {}];
  const cure = 'appendfsync always; see docs/redis.md';
  return ['Redis writes to disk later than it acknowledges', { appendfsync: fsync, cure }];
}

interface Settings {
  readonly policy: string | null;
  readonly appendOnly: string | null;
  readonly fsync: string | null;
}

/** Null where this Redis does not tell. */
async function settingsOf(redis: Redis): Promise<Settings> {
  const one = async (name: string): Promise<string | null> => {
    try {
      const [, value] = (await redis.config('GET', name)) as string[];
      return value ?? null;
    } catch {
      return null; // Managed ones forbid CONFIG.
    }
  };
  const [policy = null, appendOnly = null, fsync = null] = await Promise.all(
    ['maxmemory-policy', 'appendonly', 'appendfsync'].map(one),
  );
  return { policy, appendOnly, fsync };
}
