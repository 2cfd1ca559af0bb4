/**
 * The journal in one SQLite file: the default, for a machine that has nothing else.
 *
 *   append ──▶ text ──▶ thread: one row in one transaction, fsync ──▶ resolve
 *                               └── later, with many others, into the tables (sqlite-tail.ts)
 *
 * Guarantees what src/journal.ts says. One process at a time (sqlite-lock.ts); others may read the file.
 * It runs in a thread of its own because an fsync waits for everybody's writes to that disk. Measured here,
 * 16 entries a batch while 200 MB/s went to the same disk: on the main thread, terminals waited 37 ms (p99)
 * and 74 ms at most for it, in a thread 3 and 7, and an append cost 0.65 ms either way.
 *
 * An append that failed is not in, with one exception that no database can avoid: if the server is killed
 * after a failed fsync, the batch may be found after all. Nothing was promised then either way.
 * Does not group commits: one `append` is one transaction. Knows nothing of machines.
 */
import { resolve } from 'node:path';
import { type Clock, rfc3339 } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { ActorRecord, Journal } from '../journal.ts';
import { Numbers } from './numbers.ts';
import type { CallName, Calls, Reply, Request } from './sqlite-calls.ts';
import { bounded, entryOf, recordOf, recordsOf, textOf } from './sqlite-rows.ts';

/** Live actors are handed over in parts of this many, so that no message is huge. */
const LIVE_PART = 2_000;
/** Calls that may wait for the disk before further ones are refused. */
const WAITING_MAX = 1_024;

export interface SqliteOptions {
  readonly path: string;
  readonly clock: Clock;
}

/** Throws Failure('wrong-state') when another server has it, or the file is not ours or too new. */
export async function sqliteJournal(options: SqliteOptions): Promise<Journal> {
  const path = resolve(options.path);
  const thread = journalThread(path, options.clock);
  await thread.open();
  const ask = thread.ask;
  return {
    append: async (batch) => {
      const { number } = batch;
      const cursor = await ask('append', { text: textOf(batch), number });
      thread.written.wrote(batch);
      return cursor;
    },
    live: () => allLive(ask),
    record: async (actor) => {
      const row = await ask('record', { actor });
      return row && recordOf(row);
    },
    records: async (query) => (await ask('records', { ...query, limit: bounded(query.limit) })).map(recordOf),
    history: async (actor, from, limit) =>
      (await ask('history', { actor, from, limit: bounded(limit) })).map(entryOf),
    feed: async (after, limit) => (await ask('feed', { after, limit: bounded(limit) })).map(entryOf),
    cursor: () => ask('cursor', null),
    expired: (before, limit) => ask('expired', { before, limit: bounded(limit) }),
    archive: (actors) => ask('archive', { actors }),
    trouble: () => null,
    close: thread.close,
  };
}

type Ask = <Name extends CallName>(call: Name, args: Calls[Name]['args']) => Promise<Calls[Name]['reply']>;

interface Thread {
  /** Which batches are in, for a thread that takes the place of one that died. */
  readonly written: Numbers;
  open(): Promise<void>;
  ask: Ask;
  close(): Promise<void>;
}

function journalThread(path: string, clock: Clock): Thread {
  const calls = openCalls();
  const written = new Numbers();
  let worker: Worker | null = null;
  let closed = false;
  /** What opening said when it said no. */
  let refusal: unknown = null;

  /** Everything that waits on this thread is told, and the next call starts another. */
  const drop = (dead: Worker, why: string): void => {
    if (worker !== dead) return;
    worker = null;
    calls.failAll(new Failure('journal-away', why));
    dead.terminate();
  };

  const start = (): Worker => {
    const born = new Worker(new URL('./sqlite-thread.ts', import.meta.url).href);
    // Only a mistake of ours or a lack of memory ends it so.
    const died = (why: string) =>
      drop(born, `the journal ${path}: its thread ended (${why}); it is started again`);
    born.onmessage = ({ data }: MessageEvent<Reply>) => calls.settle(data);
    born.onerror = (event) => died(event.message);
    born.addEventListener('close', () => died('it exited'));
    worker = born;
    calls
      .post(born, 'open', { path, now: clock.now(), since: rfc3339(clock.now()), written: written.last })
      .catch((thrown: unknown) => {
        refusal = thrown;
        drop(born, thrown instanceof Error ? thrown.message : String(thrown));
      });
    return born;
  };

  const ask: Ask = (call, args) => {
    const away = (why: string) => Promise.reject(new Failure('journal-away', `${call}: ${why}`));
    if (closed) return away(`the journal ${path} is closed`);
    if (calls.size() >= WAITING_MAX)
      return away(`${calls.size()} calls already wait for the disk of ${path}`);
    return calls.post(worker ?? start(), call, args);
  };

  const open = async (): Promise<void> => {
    try {
      await ask('cursor', null);
    } catch (thrown) {
      throw refusal ?? thrown;
    }
  };

  const close = async (): Promise<void> => {
    if (closed) return;
    closed = true;
    const ending = worker;
    if (!ending) return;
    await calls.post(ending, 'close', null).finally(() => drop(ending, `the journal ${path} is closed`));
  };

  return { written, open, ask, close };
}

interface Waiting {
  readonly resolve: (value: never) => void;
  readonly reject: (reason: unknown) => void;
}

/** The calls that the thread has not answered yet. */
function openCalls() {
  const waiting = new Map<number, Waiting>();
  let last = 0;
  return {
    size: () => waiting.size,
    post<Name extends CallName>(to: Worker, call: Name, args: Calls[Name]['args']) {
      const id = ++last;
      return new Promise<Calls[Name]['reply']>((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        to.postMessage({ id, call, args } as Request);
      });
    },
    settle(reply: Reply): void {
      const call = waiting.get(reply.id);
      if (!call) return;
      waiting.delete(reply.id);
      if ('value' in reply) call.resolve(reply.value as never);
      else if ('failure' in reply) call.reject(new Failure(reply.failure.code, reply.failure.message));
      else call.reject(new Error(`in the journal's thread: ${reply.bug}`));
    },
    failAll(why: Failure): void {
      for (const { reject } of waiting.values()) reject(why);
      waiting.clear();
    },
  };
}

async function allLive(ask: Ask): Promise<readonly ActorRecord[]> {
  const found: ActorRecord[] = [];
  for (let asked = ask('live', { after: 0, limit: LIVE_PART }); ; ) {
    const part = await asked;
    const isLast = part.rows < LIVE_PART;
    if (!isLast) {
      // The thread reads the next part while this one is parsed.
      asked = ask('live', { after: part.last, limit: LIVE_PART });
      asked.catch(() => {}); // Should this part be no JSON, nobody waits for it.
    }
    for (const record of recordsOf(part)) found.push(record);
    if (isLast) return found;
  }
}
