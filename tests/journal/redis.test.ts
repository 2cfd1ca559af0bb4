/** The journal in a real Redis, which is really killed. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import { systemClock } from '../../src/clock.ts';
import { Failure } from '../../src/failure.ts';
import { type RedisJournalOptions, redisJournal } from '../../src/journal/redis.ts';
import type { Batch, Journal } from '../../src/journal.ts';
import { jsonLog, silentLog } from '../../src/log.ts';
import { entry, journalContract, record } from '../contracts/journal.ts';
import { type RedisServer, redisServer } from './redis-server.ts';
import { relay } from './relay.ts';
import { seqs, until, writer } from './writing.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await redisServer();
}, 60_000);
afterAll(() => server.close());

let prefixes = 0;
const lost: Failure[] = [];
const opened: Journal[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((journal) => journal.close()));
  lost.length = 0;
});

async function open(prefix: string, more: Partial<RedisJournalOptions> = {}): Promise<Journal> {
  const journal = await redisJournal({
    url: server.url,
    prefix,
    clock: systemClock,
    log: silentLog,
    onLost: (why) => void lost.push(why),
    ...more,
  });
  opened.push(journal);
  return journal;
}

const fresh = () => `test${++prefixes}`;

journalContract('redis', async () => {
  const prefix = fresh();
  const journal = await open(prefix);
  return {
    journal,
    reopen: async () => {
      await journal.close();
      return open(prefix);
    },
  };
});

const one = (actor: string, seq: number) => ({ entries: [entry(actor, seq)], records: [record(actor, seq)] });

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no failure',
    (thrown) => (thrown instanceof Failure ? thrown.code : `not a Failure: ${thrown}`),
  );

/** As the fleet does it: the same batch until it is taken. */
async function appendUntilTaken(journal: Journal, batch: Batch): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    try {
      return await journal.append(batch);
    } catch (thrown) {
      if (!(thrown instanceof Failure && thrown.code === 'journal-away')) throw thrown;
      await Bun.sleep(25);
    }
  }
  throw new Error('it was not taken');
}

describe('one server writes', () => {
  test('[J15] a second server is refused and told who has it and what to do', async () => {
    const prefix = fresh();
    const journal = await open(prefix);
    const said = await open(prefix).catch(String);
    expect(said).toContain(`process ${process.pid} on `);
    expect(said).toContain('AGENTIC_REDIS_PREFIX');
    await journal.append(one('a', 1));
    await journal.close();
    const next = await open(prefix);
    expect(await next.append(one('a', 2))).toBe(2);
  });

  test('[J15] once a server of this host was killed, the next one starts at once', async () => {
    const first = writer(server.path, 'hold');
    await until(() => first.lines.includes('open'), 'the first server to open');
    const second = writer(server.path, 'hold');
    expect(await second.child.exited).toBe(3);
    await second.reading;
    expect(second.lines[0]).toStartWith('refused wrong-state');
    expect(second.lines[0]).toContain(`process ${first.child.pid} on `);
    first.child.kill('SIGKILL');
    await first.child.exited;
    await (await open('agentic')).close();
  });

  test('[J16] a holder that slept while another took over writes nothing any more', async () => {
    const prefix = fresh();
    const sleeper = await open(prefix);
    await sleeper.append(one('a', 1));
    server.cli('del', `${prefix}:lease:beat`); // As when it expires.
    const next = await open(prefix);
    expect(await codeOf(sleeper.append(one('a', 2)))).toBe('wrong-state');
    expect(lost.map(({ message }) => message)).toEqual([
      expect.stringContaining(`taken over by process ${process.pid}`),
    ]);
    expect(await codeOf(sleeper.append(one('b', 1)))).toBe('wrong-state');
    expect((await next.history('a', 1, 10)).map(({ seq }) => seq)).toEqual([1]);
    expect(await next.append(one('a', 2))).toBe(2);
    expect(await next.record('b')).toBeNull();
  });

  test('[J16] what was emptied under a server is not written to', async () => {
    const prefix = fresh();
    const journal = await open(prefix);
    await journal.append(one('a', 1));
    for (const key of server.cli('keys', `${prefix}:*`).split('\n')) server.cli('del', key);
    expect(await codeOf(journal.append(one('a', 2)))).toBe('wrong-state');
    expect(lost[0]?.message).toContain('emptied');
    expect(server.cli('keys', `${prefix}:*`)).toBe('');
  });
});

test('[J22] of a journal from before the archive it is known who ended when', async () => {
  const prefix = fresh();
  const journal = await open(prefix);
  for (const [actor, seqs] of [
    ['late', 3],
    ['early', 1],
  ] as const) {
    const entries = Array.from({ length: seqs }, (_, i) => entry(actor, i + 1));
    await journal.append({ entries, records: [record(actor, seqs, { live: false })] });
  }
  await journal.append(one('alive', 1));
  await journal.close();
  server.cli('del', `${prefix}:ended-since`);
  const again = await open(prefix);
  expect(await again.expired(1_002, 10)).toEqual(['early']);
  expect(await again.expired(2_000, 10)).toEqual(['early', 'late']);
});

test('[J16] whoever was overtaken archives nothing', async () => {
  const prefix = fresh();
  const sleeper = await open(prefix);
  await sleeper.append({ entries: [entry('a', 1)], records: [record('a', 1, { live: false })] });
  server.cli('del', `${prefix}:lease:beat`);
  const next = await open(prefix);
  expect(await codeOf(sleeper.archive(['a']))).toBe('wrong-state');
  expect(await next.record('a')).toEqual(record('a', 1, { live: false }));
  expect(await next.archive(['a'])).toBe(1);
});

describe('connections that break', () => {
  test('[J17] a batch whose answer was lost is acknowledged when it is appended again, and is in once', async () => {
    const between = await relay(server.path);
    const journal = await open(fresh(), { url: between.path });
    await journal.append(one('a', 1));
    between.holdReplies();
    const pending = codeOf(journal.append(one('a', 2)));
    await Bun.sleep(100);
    between.cut();
    expect(await pending).toBe('journal-away');
    expect(await appendUntilTaken(journal, one('a', 2))).toBe(2);
    expect((await journal.history('a', 1, 10)).map(({ seq }) => seq)).toEqual([1, 2]);
    expect(await journal.append(one('a', 3))).toBe(3);
    expect((await journal.feed(0, 10)).map(({ cursor, seq }) => [cursor, seq])).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    await journal.close();
    between.close();
  });

  test('[J17] a batch that never arrived is written when it is appended again', async () => {
    const between = await relay(server.path);
    const journal = await open(fresh(), { url: between.path });
    await journal.append(one('a', 1));
    between.holdRequests();
    const pending = codeOf(journal.append(one('a', 2)));
    await until(() => between.held() > 0, 'the batch to be on its way');
    between.cut();
    expect(await pending).toBe('journal-away');
    expect(await appendUntilTaken(journal, one('a', 2))).toBe(2);
    await journal.close();
    between.close();
  });

  test('[J17] a batch that arrives late, after the server is connected anew, is not taken twice', async () => {
    const prefix = fresh();
    const between = await relay(server.path);
    const journal = await open(prefix, { url: between.path });
    await journal.append(one('a', 1));
    between.holdRequests();
    const pending = codeOf(journal.append(one('a', 2)));
    await until(() => between.held() > 0, 'the batch to be on its way');
    between.cut();
    expect(await pending).toBe('journal-away');
    expect(await appendUntilTaken(journal, one('b', 1))).toBe(2);
    await between.release();
    expect((await journal.history('a', 1, 10)).map(({ seq }) => seq)).toEqual([1]);
    expect(await journal.append(one('a', 2))).toBe(3);
    expect((await journal.feed(0, 10)).map(({ actor, seq }) => `${actor}${seq}`)).toEqual(['a1', 'b1', 'a2']);
    await journal.close();
    between.close();
  });

  test('[J17] a Redis that does not answer is away, and goes on when it does', async () => {
    const journal = await open(fresh(), { silentMs: 300 });
    await journal.append(one('a', 1));
    process.kill(server.pid, 'SIGSTOP');
    try {
      expect(await codeOf(journal.append(one('a', 2)))).toBe('journal-away');
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    expect(await appendUntilTaken(journal, one('a', 2))).toBe(2);
    expect((await journal.history('a', 1, 10)).map(({ seq }) => seq)).toEqual([1, 2]);
  });
});

describe('a Redis that dies', () => {
  let own: RedisServer;
  afterEach(() => own.close());

  test('[J18] everything acknowledged before its kill -9 is there afterwards, and writing goes on', async () => {
    own = await redisServer();
    const { child, lines, reading } = writer(own.path, 'write');
    let acknowledged = 0;
    for (let round = 0; round < 3; round++) {
      await until(() => (seqs(lines).at(-1) ?? 0) > acknowledged + 40, 'forty more acknowledged entries');
      await own.kill();
      acknowledged = seqs(lines).at(-1) ?? 0;
      await until(() => lines.at(-1)?.startsWith('journal-away') ?? false, 'it to be away');
      await own.start();
    }
    await until(() => (seqs(lines).at(-1) ?? 0) > acknowledged + 5, 'writing to go on');
    child.kill('SIGKILL');
    await child.exited;
    await reading;
    expect(lines.filter((line) => !/^(open|\d+|journal-away: .*)$/.test(line))).toEqual([]);
    const last = seqs(lines).at(-1) ?? 0;
    expect(seqs(lines)).toEqual(Array.from({ length: last }, (_, i) => i + 1));
    const journal = await open('agentic', { url: own.path });
    const there = (await journal.record('a'))?.seq ?? 0;
    expect(there).toBeGreaterThanOrEqual(last);
    const tail = await journal.history('a', Math.max(1, there - 900), 1_000);
    expect(tail.at(-1)?.seq).toBe(there);
    await journal.close();
  }, 30_000);

  test('[J18] one that comes back with less than it had acknowledged is not written to, and that is said', async () => {
    own = await redisServer('--appendonly', 'no');
    const journal = await open(fresh(), { url: own.path });
    await journal.append(one('a', 1));
    await own.kill();
    await own.start();
    const refused = await appendUntilTaken(journal, one('a', 2)).catch((thrown: Failure) => thrown.code);
    expect(refused).toBe('wrong-state');
    expect(lost).toHaveLength(1);
  });

  test('[J18] one that would drop keys is refused', async () => {
    own = await redisServer('--maxmemory-policy', 'allkeys-lru');
    await expect(open(fresh(), { url: own.path })).rejects.toThrow('noeviction');
  });

  test('[J18] one that is told to drop keys, or to keep less, while in use: seen with the next beat', async () => {
    own = await redisServer();
    let ring = () => {};
    const clock = {
      ...systemClock,
      setTimeout(fn: () => void) {
        ring = fn;
      },
    };
    const said: string[] = [];
    const log = jsonLog({ clock, level: 'debug', write: (line) => void said.push(JSON.parse(line).message) });
    const journal = await open(fresh(), { url: own.path, clock, log });
    /** One beat, to its end. */
    const beat = async () => {
      const before = ring;
      ring();
      await until(() => ring !== before, 'the beat to end');
    };
    await journal.append(one('a', 1));
    own.cli('config', 'set', 'maxmemory-policy', 'allkeys-lru');
    await beat();
    const refused = await journal.append(one('a', 2)).catch((thrown: Failure) => thrown);
    expect(refused).toMatchObject({ code: 'journal-away', message: expect.stringContaining('noeviction') });
    expect(journal.trouble()?.message).toContain('allkeys-lru');
    expect(await codeOf(journal.archive(['a']))).toBe('journal-away');
    await beat();
    expect(said.filter((message) => message === 'journal is away')).toHaveLength(1);
    own.cli('config', 'set', 'maxmemory-policy', 'noeviction');
    own.cli('config', 'set', 'appendonly', 'no');
    await beat();
    expect(journal.trouble()).toBeNull();
    expect(await journal.append(one('a', 2))).toBe(2);
    await beat();
    expect(said.filter((message) => message.includes('no append-only file'))).toHaveLength(1);
    own.cli('config', 'set', 'appendonly', 'yes');
    own.cli('config', 'set', 'appendfsync', 'everysec');
    await beat();
    await beat();
    expect(said.filter((message) => message.includes('later than it acknowledges'))).toHaveLength(1);
    expect(lost).toEqual([]);
    await journal.close();
  });

  test('[J18] that it is lost is said at once, once, and that it is back', async () => {
    own = await redisServer();
    const said: string[] = [];
    const log = jsonLog({ clock: systemClock, level: 'info', write: (line) => void said.push(line) });
    const journal = await open(fresh(), { url: own.path, log });
    await own.kill();
    await until(() => said.length > 0, 'it to be said');
    expect(JSON.parse(said[0] ?? '')).toMatchObject({
      message: 'journal is away',
      failure: { code: 'journal-away' },
    });
    expect(await codeOf(journal.append(one('a', 1)))).toBe('journal-away');
    await own.start();
    await until(() => said.some((line) => line.includes('Redis is back')), 'it to be back');
    expect(said.filter((line) => line.includes('journal is away'))).toHaveLength(1);
    expect(await appendUntilTaken(journal, one('a', 1))).toBe(1);
    await journal.close();
    expect(said.filter((line) => line.includes('journal is away'))).toHaveLength(1);
  });

  test('[J18] without memory it is away, and with memory it goes on', async () => {
    own = await redisServer();
    const journal = await open(fresh(), { url: own.path });
    await journal.append(one('a', 1));
    own.cli('config', 'set', 'maxmemory', '1');
    const said = await journal.append(one('a', 2)).catch(String);
    expect(said).toContain('maxmemory');
    own.cli('config', 'set', 'maxmemory', '0');
    expect(await journal.append(one('a', 2))).toBe(2);
  });
});

describe('addresses', () => {
  test('[J19] one that is none, and a Redis that is not there, are told by name and without the password', async () => {
    expect(await codeOf(open(fresh(), { url: 'http://localhost' }))).toBe('bad-input');
    const said = await open(fresh(), { url: 'redis://me:geheim@127.0.0.1:1/2' }).catch(String);
    expect(said).toContain('127.0.0.1:1/2');
    expect(said).not.toContain('geheim');
    expect(said).toContain('start Redis');
    expect(said).toContain('start again');
    expect(said).not.toContain('by itself');
  });
});
