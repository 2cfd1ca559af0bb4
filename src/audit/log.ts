/**
 * The audit log on disk. Records that come together are written together; one is done when `fdatasync` says
 * so.
 *
 * While it cannot be written, nothing that would have to be noted is let through. What was done and could not
 * be noted is owed, and written first once that is possible again.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Audit, type AuditNote, type AuditRecord, keptParams } from '../audit.ts';
import { type Clock, rfc3339 } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import { withoutTokens } from '../redact.ts';
import { sealed } from './chain.ts';
import { findEnd, hashAt, lastRecord } from './end.ts';
import { type Day, daysOf, type Head, makeDir, openDay, readHead, writeHead } from './files.ts';
import { readAudit } from './reading.ts';
import { type Rate, refusalLimit } from './refusals.ts';

export interface AuditOptions {
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Whole days that are kept before today; what is older is removed, and the removal noted. */
  readonly keepDays: number;
  /** Refusals beyond them, of all and of one source, are counted and not listed. */
  readonly refusals?: Rate;
  readonly refusalsOfOne?: Rate;
}

/** Records in one write. */
const BATCH_MAX = 512;
/** Records that wait, be it for the disk to come back. */
const WAITING_MAX = 10_000;
const DAY_MS = 86_400_000;
const refusalsDefault = { perSecond: 50, burst: 1_000 };
const refusalsOfOneDefault = { perSecond: 1, burst: 200 };

interface Waiting {
  readonly at: number;
  readonly note: AuditNote;
  readonly done: (why: Failure | null) => void;
}

const dayOf = (ms: number): string => `${rfc3339(ms).slice(0, 10)}.jsonl`;

/** What the log notes of itself. */
const ownNote = (method: string, params: Readonly<Record<string, string>>): AuditNote => ({
  door: 'audit',
  caller: null,
  from: null,
  proxied: false,
  method,
  route: null,
  params,
  outcome: 'done',
  status: 0,
  code: null,
  ms: 0,
});

/** Throws Failure('wrong-state') when the log is damaged at its end, 'bad-input' when it cannot be there. */
export async function auditLog(options: AuditOptions): Promise<Audit> {
  const { dir, clock } = options;
  await makeDir(dir);
  const end = await findEnd(dir);
  const known = await readHead(dir);
  const writer = new Writer(options, end);
  if (end.cutBytes > 0) writer.own('mended', { cut_bytes: String(end.cutBytes) });
  if (known && known.seq > end.seq) {
    writer.own('tail missing', { known_seq: String(known.seq), known_hash: known.hash });
    options.log.error('the end of the audit log is missing', { known: known.seq, found: end.seq });
  }
  const was = known && known.seq <= end.seq ? await hashAt(dir, known.seq) : null;
  if (known && was !== null && was !== known.hash) {
    writer.own('past changed', { known_seq: String(known.seq), known_hash: known.hash });
    options.log.error('the audit log was changed while no server ran', { record: known.seq });
  }
  await writer.retire().catch(() => {}); // It is owed, and tried again tomorrow.
  await writer.flushed();
  const { refusals: ofAll = refusalsDefault, refusalsOfOne: each = refusalsOfOneDefault } = options;
  const list = refusalLimit({ all: ofAll, each }, () => clock.now());
  return {
    async ready() {
      if (writer.trouble) await writer.flushed();
      if (writer.trouble) throw writer.trouble;
    },
    note: (note) => writer.add(note),
    refused(note) {
      if (list(note))
        void writer.add(note).catch(() => {}); // It is owed now; the caller was refused anyway.
      else writer.omit();
    },
    read: (query) => readAudit(dir, query, writer.head),
    async close() {
      await writer.flushed();
      await writer.close();
    },
  };
}

class Writer {
  readonly #options: AuditOptions;
  #head: Head;
  #waiting: Waiting[] = [];
  #omitted = 0;
  #day: Day | null = null;
  /** The newest file there is: a clock that goes back does not go back to an older one. */
  #newest: string;
  #retiredOn = '';
  #running: Promise<void> | null = null;
  #telling: Promise<void> | null = null;
  #trouble: Failure | null = null;

  constructor(options: AuditOptions, { seq, hash, day }: Head & { readonly day: string | null }) {
    this.#options = options;
    this.#head = { seq, hash };
    this.#newest = day ?? '';
  }

  get head(): Head {
    return this.#head;
  }

  get trouble(): Failure | null {
    return this.#trouble;
  }

  add(note: AuditNote): Promise<void> {
    if (this.#waiting.length >= WAITING_MAX) {
      this.omit();
      return Promise.reject(this.#trouble ?? new Failure('audit-away', 'the audit log is not fast enough'));
    }
    return new Promise((resolve, reject) => {
      const done = (why: Failure | null) => (why ? reject(why) : resolve());
      this.#waiting.push({ at: this.#options.clock.now(), note, done });
      void this.flushed();
    });
  }

  own(method: string, params: Readonly<Record<string, string>>): void {
    this.#waiting.push({ at: this.#options.clock.now(), note: ownNote(method, params), done: () => {} });
  }

  omit(): void {
    this.#omitted += 1;
    if (this.#omitted === 1) void this.flushed();
  }

  /** Resolves when nothing waits, or when what waits cannot be written. */
  flushed(): Promise<void> {
    this.#running ??= this.#flush();
    return this.#running;
  }

  async #flush(): Promise<void> {
    // What is asked for in the same turn is written together.
    await Promise.resolve();
    for (;;) {
      if (this.#waiting.length === 0 && this.#omitted === 0) break;
      const omitted = this.#omitted;
      if (omitted > 0) {
        this.#omitted = 0;
        this.own('omitted', { records: String(omitted) });
      }
      const batch = this.#waiting.slice(0, BATCH_MAX);
      try {
        await this.#put(batch);
      } catch (thrown) {
        this.#failed(thrown);
        break;
      }
      this.#waiting.splice(0, batch.length);
      if (this.#trouble) this.#options.log.info('the audit log can be written again');
      this.#trouble = null;
      for (const { done } of batch) done(null);
      this.#tell();
    }
    // In the same turn as the last look: what comes from now on begins anew.
    this.#running = null;
  }

  async #put(batch: readonly Waiting[]): Promise<void> {
    const { dir, clock, log } = this.#options;
    const today = dayOf(clock.now());
    const name = [today, this.#newest].sort().at(-1) ?? today;
    if (this.#day?.name !== name) {
      await this.#day?.close().catch(() => {});
      this.#day = null;
      this.#day = await openDay(dir, name);
      this.#newest = name;
    }
    let { seq, hash } = this.#head;
    let lines = '';
    for (const { at, note } of batch) {
      seq += 1;
      const record = { seq, at: rfc3339(at), prev: hash, ...safe(note) };
      const { line, hash: next } = sealed(record satisfies Omit<AuditRecord, 'hash'>);
      lines += line;
      hash = next;
    }
    await this.#day.append(lines);
    this.#head = { seq, hash };
    if (this.#retiredOn !== '' && this.#retiredOn !== today)
      void this.retire().catch((thrown: unknown) =>
        log.warn('old audit files could not be removed', { why: String(thrown) }),
      );
  }

  /** Whoever waits is told; what was to be noted is owed. */
  #failed(thrown: unknown): void {
    const { dir, log } = this.#options;
    void this.#day?.close().catch(() => {});
    this.#day = null;
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    if (!this.#trouble) log.error('the audit log cannot be written; what it must note is refused', { why });
    const cure = 'make room there, or mend it; what changes nothing goes on';
    this.#trouble = new Failure('audit-away', `the audit log in ${dir} cannot be written: ${why}; ${cure}`);
    this.#waiting = this.#waiting.map(({ at, note, done }) => {
      done(this.#trouble);
      return { at, note, done: () => {} };
    });
  }

  /** After the records, never before: a head that is ahead of them says that some are missing. */
  #tell(): void {
    this.#telling ??= this.#toldAll().finally(() => {
      this.#telling = null;
    });
  }

  async #toldAll(): Promise<void> {
    for (let told = 0; told !== this.#head.seq; ) {
      told = this.#head.seq;
      await writeHead(this.#options.dir, this.#head).catch((thrown: unknown) =>
        this.#options.log.warn('head.json of the audit log was not written', { why: String(thrown) }),
      );
    }
  }

  /** Removes what is too old. The removal is in the chain first, so that it stays whole without it. */
  async retire(): Promise<void> {
    const { dir, clock, keepDays, log } = this.#options;
    const now = clock.now();
    this.#retiredOn = dayOf(now);
    const oldest = dayOf(now - keepDays * DAY_MS);
    const old = (await daysOf(dir)).filter((name) => name < oldest && name !== this.#newest);
    const newest = old.at(-1);
    if (newest === undefined) return;
    const last = await lastRecord(join(dir, newest));
    if (last) {
      const { seq, hash } = last;
      await this.add(ownNote('retired', { through_seq: String(seq), through_hash: hash }));
    }
    for (const name of old) await rm(join(dir, name), { force: true });
    log.info('old audit files were removed', { files: old.length, kept_days: keepDays });
  }

  async close(): Promise<void> {
    await this.#telling;
    await this.#day?.close();
    this.#day = null;
  }
}

/** Names come from outside, and somebody may have typed a token where a name belongs. */
function safe(note: AuditNote): AuditNote {
  const params = Object.fromEntries(
    Object.entries(keptParams(note.params)).map(([name, value]) => [name, withoutTokens(value)]),
  );
  return { ...note, params };
}
