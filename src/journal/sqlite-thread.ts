/**
 * The journal's thread: one open file, one request at a time, in the order they came.
 *
 * Trouble with the disk ends a request as `journal-away`, never the thread. After trouble that may have left
 * the connection in an unknown state the file is opened afresh before the next request; the lock
 * is kept meanwhile, so nobody else can come between.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { systemClock } from '../clock.ts';
import { Failure } from '../failure.ts';
import { Numbers } from './numbers.ts';
import type { Calls, Reply, Request } from './sqlite-calls.ts';
import { type Lock, takeLock } from './sqlite-lock.ts';
import { livePart } from './sqlite-rows.ts';
import { openStore, type Store } from './sqlite-store.ts';

declare const self: { onmessage: ((message: { data: Request }) => void) | null };
declare function postMessage(reply: Reply): void;

/** Nothing was written for so long: the write-ahead log is brought into the file. */
const REST_MS = 1_000;
/** How long the tables, as other programs read them, may lag behind what is durable. */
const LAG_MS = 1_000;

let opened: Calls['open']['args'] | null = null;
let isRefused = false;
let lock: Lock | null = null;
let store: Store | null = null;
let numbers = new Numbers();
let resting: unknown = null;
let settling: unknown = null;

/** The connection is as good as before after these. */
const harmless = /^SQLITE_(FULL|BUSY|LOCKED|CONSTRAINT|TOOBIG)/;

self.onmessage = ({ data }) => {
  // The rest after the answer: whoever waits does not wait for that.
  postMessage(answer(data));
  if (data.call === 'append') quietly((open) => open.settleSome());
};

function answer(request: Request): Reply {
  try {
    return { id: request.id, value: perform(request) };
  } catch (thrown) {
    if (store?.isSpent()) letGo();
    if (thrown instanceof Failure)
      return { id: request.id, failure: { code: thrown.code, message: thrown.message } };
    const code = codeOf(thrown);
    // Both SQLite's and the operating system's errors carry a code; our own mistakes do not.
    if (code === '')
      return { id: request.id, bug: thrown instanceof Error ? String(thrown.stack) : String(thrown) };
    if (!harmless.test(code)) letGo();
    const what = `${request.call} on the journal ${opened?.path}: ${(thrown as Error).message} (${code})`;
    return {
      id: request.id,
      failure: { code: 'journal-away', message: `${what}; ${cureOf(code, request.call)}` },
    };
  }
}

/** What nobody waits for. Whatever is wrong, the next request finds it again and says so. */
function quietly(work: (open: Store) => void): void {
  try {
    if (store) work(store);
  } catch (thrown) {
    if (!harmless.test(codeOf(thrown))) letGo();
  }
}

const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';

function cureOf(code: string, call: Request['call']): string {
  // Nothing goes on by itself yet: a server whose journal cannot be opened ends.
  const then = call === 'open' ? 'then start again' : 'and it goes on by itself';
  if (/FULL|ENOSPC/.test(code)) return `make room on that disk, ${then}`;
  if (/BUSY|LOCKED/.test(code)) return `another program is writing to the file; end it, ${then}`;
  return `look at the disk and its permissions and mend them, ${then}`;
}

function perform(request: Request): Calls[Request['call']]['reply'] {
  switch (request.call) {
    case 'open':
      return open(request.args);
    case 'close':
      return close();
    case 'append':
      return append(request.args);
    case 'live':
      return livePart(theStore().live(request.args.after, request.args.limit));
    case 'record':
      return theStore().record(request.args.actor);
    case 'records':
      return theStore().records(request.args);
    case 'history':
      return theStore().history(request.args.actor, request.args.from, request.args.limit);
    case 'feed':
      return theStore().feed(request.args.after, request.args.limit);
    case 'cursor':
      return theStore().cursor();
    case 'expired':
      return theStore().expired(request.args.before, request.args.limit);
    case 'archive':
      restLater();
      return theStore().archive(request.args.actors);
  }
}

function append({ text, number }: Calls['append']['args']): number {
  restLater();
  numbers.check({ number });
  const cursor = theStore().append(text);
  numbers.wrote({ number });
  return cursor;
}

function open(args: Calls['open']['args']): null {
  opened = args;
  numbers = new Numbers(args.written);
  try {
    theStore();
  } catch (thrown) {
    // What else was asked already must not try again: this thread is about to be ended.
    isRefused = true;
    lock?.release();
    lock = null;
    throw thrown;
  }
  return null;
}

function theStore(): Store {
  if (!opened || isRefused) throw new Error('the journal thread was asked before it was opened');
  if (!lock) {
    mkdirSync(dirname(opened.path), { recursive: true, mode: 0o700 });
    lock = takeLock(opened.path, { what: `open the journal ${opened.path}`, since: opened.since });
  }
  store ??= openStore(opened.path, opened.now);
  return store;
}

function restLater(): void {
  systemClock.clearTimeout(resting);
  resting = systemClock.setTimeout(() => quietly((open) => open.rest()), REST_MS);
  settling ??= systemClock.setTimeout(() => {
    settling = null;
    quietly((open) => open.settle());
  }, LAG_MS);
}

function letGo(): void {
  try {
    store?.close();
  } catch {
    // It is thrown away because it is broken; that it also closes badly changes nothing.
  }
  store = null;
}

function close(): null {
  systemClock.clearTimeout(resting);
  systemClock.clearTimeout(settling);
  store?.end();
  store = null;
  lock?.release();
  lock = null;
  return null;
}
