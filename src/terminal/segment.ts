/**
 * One file of a recording: records one after the other, and where they are.
 *
 * Only the newest segment is written. A segment is indexed when it is first read, in one pass. Its file is
 * closed when too many are open (open-files.ts) and opened again when it is needed.
 */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, writevSync } from 'node:fs';
import { closed, used } from './open-files.ts';
import { HEADER_BYTES, headOf, isOutput, isSound, missingOf, type RecordHead, readHead } from './records.ts';

/** Records of output are indexed at least so far apart. */
const INDEX_EVERY_BYTES = 64 << 10;

/**
 * Indexes of files that were read, so that whoever opens a recording again need not read it whole: 10 KB
 * each. One that is written has an index of its own.
 */
const INDEXES_MAX = 512;
const INDEX_NOTES_MAX = 4_096;

interface Mark {
  readonly offset: number;
  readonly at: number;
  /** When that record was written. */
  readonly ms: number;
}

export interface Found {
  readonly head: RecordHead;
  /** Where the payload begins in the file. */
  readonly at: number;
}

/** What a segment holds, in numbers. */
export interface Tally {
  readonly gaps: number;
  /** Bytes that are missing. */
  readonly gapBytes: number;
  /** When its first and its last record were written; null while it has none. */
  readonly firstAt: number | null;
  readonly lastAt: number | null;
}

type Counting = { -readonly [name in keyof Tally]: Tally[name] };

const noTally = (): Counting => ({ gaps: 0, gapBytes: 0, firstAt: null, lastAt: null });

interface Index {
  readonly marks: Mark[];
  readonly notes: Found[];
  readonly tally: Counting;
  readonly end: number;
  readonly next: number;
}

const indexes = new Map<string, Index>();

export class Segment {
  readonly first: number;
  readonly path: string;
  #fd: number | null = null;
  /** What the open file may be used for, besides reading. */
  #isForWriting = false;
  #marks: Mark[] | null = null;
  #end = 0;
  /** Records that are no output, in order: changes of size, gaps, the end. */
  #notes: Found[] = [];
  #tally = noTally();
  /** What was found last: whoever reads on begins there. */
  #seen: Mark | null = null;
  /** The offset after its last record. */
  #next: number;

  /** `first`: the offset at which it begins. */
  constructor(path: string, first: number) {
    this.path = path;
    this.first = first;
    this.#next = first;
  }

  get bytes(): number {
    return this.#end;
  }

  get next(): number {
    return this.#next;
  }

  /** Makes the file, or opens what a crash left and cuts off what is torn. */
  openForWriting(): void {
    this.#fd = openSync(this.path, 'a+', 0o600);
    this.#isForWriting = true;
    used(this);
    const whole = this.#scan(this.#fd);
    if (fstatSync(this.#fd).size > whole) ftruncateSync(this.#fd, whole);
  }

  /** Throws what the system throws; then nothing of the record is in. */
  append(head: RecordHead, payload: Uint8Array): void {
    const fd = this.#open('writing');
    const wanted = HEADER_BYTES + payload.length;
    try {
      const written = writevSync(fd, [headOf(head, payload), payload]);
      if (written < wanted) throw new Error('the disk took only a part of it');
    } catch (thrown) {
      ftruncateSync(fd, this.#end);
      throw thrown;
    }
    this.#index(head, this.#end, payload);
    this.#end += wanted;
  }

  /** The output or gap record that holds `offset`, or the first one after it; null when there is none. */
  find(offset: number): Found | null {
    const fd = this.#reading();
    if (fd === null) return null;
    const marks = this.#marks as Mark[];
    let low = 0;
    for (let high = marks.length - 1; low < high; ) {
      const middle = (low + high + 1) >> 1;
      if ((marks[middle] as Mark).offset <= offset) low = middle;
      else high = middle - 1;
    }
    const seen = this.#seen && this.#seen.offset <= offset ? this.#seen.at : 0;
    for (let at = Math.max(marks[low]?.at ?? 0, seen); at < this.#end; ) {
      const head = this.#headAt(fd, at);
      if (!head) return null;
      const isAt = isOutput(head.kind) && head.offset + head.bytes > offset;
      if (isAt || (head.kind === 'gap' && head.offset >= offset)) {
        this.#seen = { offset: head.offset, at, ms: head.at };
        return { head, at: at + HEADER_BYTES };
      }
      at += HEADER_BYTES + head.bytes;
    }
    return null;
  }

  /** The record after a found one. */
  after({ head, at }: Found): Found | null {
    const fd = this.#reading();
    const next = at + head.bytes;
    const found = fd === null || next >= this.#end ? null : this.#headAt(fd, next);
    if (found) this.#seen = { offset: found.offset, at: next, ms: found.at };
    return found && { head: found, at: next + HEADER_BYTES };
  }

  /** Reads a part of the payload into `into`; returns how much there was. */
  read(at: number, into: Uint8Array): number {
    const fd = this.#reading();
    return fd === null ? 0 : readSync(fd, into, 0, into.length, at);
  }

  /** Its file can be read; a removed one looks empty. */
  get isThere(): boolean {
    return this.#reading() !== null;
  }

  /** It is indexed, so that asking for its numbers and notes costs nothing. */
  get isKnown(): boolean {
    return this.#marks !== null;
  }

  /** When its first record was written, without indexing it; null when it has none. */
  beganAt(): number | null {
    if (this.#tally.firstAt !== null) return this.#tally.firstAt;
    try {
      const fd = openSync(this.path, 'r');
      const head = this.#headAt(fd, 0);
      closeSync(fd);
      return head?.at ?? null;
    } catch {
      return null; // Erased meanwhile.
    }
  }

  tally(): Tally {
    this.#reading();
    return this.#tally;
  }

  /** Changes of size, gaps and the end, oldest first. */
  notes(): readonly Found[] {
    this.#reading();
    return this.#notes;
  }

  /** Where the first record begins that was written after `ms`: its place in the file, for `records`. */
  placeAfter(ms: number): number {
    this.#reading();
    const marks = this.#marks ?? [];
    let low = 0;
    for (let high = marks.length - 1; low < high; ) {
      const middle = (low + high + 1) >> 1;
      if ((marks[middle] as Mark).ms <= ms) low = middle;
      else high = middle - 1;
    }
    const from = marks[low]?.at ?? 0;
    for (const { head, at } of this.records(from)) if (head.at > ms) return at - HEADER_BYTES;
    return this.#end;
  }

  /** Every record from a place on, oldest first. */
  *records(from = 0): Generator<Found> {
    for (let at = from; ; ) {
      // It may have been closed, or indexed, since the last one.
      const fd = this.#reading();
      if (fd === null || at >= this.#end) return;
      const head = this.#headAt(fd, at);
      if (!head) return;
      yield { head, at: at + HEADER_BYTES };
      at += HEADER_BYTES + head.bytes;
    }
  }

  close(): void {
    if (this.#fd === null) return;
    closeSync(this.#fd);
    this.#fd = null;
    closed(this);
  }

  /** Throws what the system throws. Never makes a file anew: what it held would be missing. */
  #open(why: 'reading' | 'writing'): number {
    if (why === 'writing' && !this.#isForWriting) this.close();
    if (this.#fd === null) {
      this.#isForWriting = why === 'writing';
      this.#fd = openSync(this.path, this.#isForWriting ? constants.O_RDWR | constants.O_APPEND : 'r');
    }
    used(this);
    return this.#fd;
  }

  #reading(): number | null {
    let fd: number;
    try {
      fd = this.#open('reading');
    } catch {
      return null; // Erased meanwhile.
    }
    if (this.#marks === null) this.#know(fd);
    return fd;
  }

  #headAt(fd: number, at: number): RecordHead | null {
    const bytes = Buffer.allocUnsafe(HEADER_BYTES);
    return readSync(fd, bytes, 0, HEADER_BYTES, at) < HEADER_BYTES ? null : readHead(bytes, 0);
  }

  /** Indexes it, or takes the index that was made of the same file before. */
  #know(fd: number): void {
    const { dev, ino, size, mtimeMs } = fstatSync(fd);
    const id = `${dev} ${ino} ${size} ${mtimeMs}`;
    const known = indexes.get(id);
    if (known) {
      this.#marks = known.marks;
      this.#notes = known.notes;
      this.#tally = known.tally;
      this.#end = known.end;
      this.#next = known.next;
      return;
    }
    this.#scan(fd);
    if (this.#notes.length > INDEX_NOTES_MAX) return;
    const [oldest] = indexes.keys();
    if (indexes.size >= INDEXES_MAX && oldest !== undefined) indexes.delete(oldest);
    const [marks, notes, tally] = [this.#marks as Mark[], this.#notes, this.#tally];
    indexes.set(id, { marks, notes, tally, end: this.#end, next: this.#next });
  }

  /** Indexes what is whole and sound; returns where that ends. */
  #scan(fd: number): number {
    const { size } = fstatSync(fd);
    const bytes = Buffer.allocUnsafe(size);
    const held = readSync(fd, bytes, 0, size, 0);
    this.#marks = [];
    this.#notes = [];
    this.#tally = noTally();
    this.#end = 0;
    for (;;) {
      const head = readHead(bytes, this.#end);
      if (!head || this.#end + HEADER_BYTES + head.bytes > held || !isSound(bytes, this.#end, head)) break;
      const from = this.#end + HEADER_BYTES;
      this.#index(head, this.#end, bytes.subarray(from, from + head.bytes));
      this.#end = from + head.bytes;
    }
    return this.#end;
  }

  #index(head: RecordHead, at: number, payload: Uint8Array): void {
    this.#marks ??= [];
    const marks = this.#marks;
    const last = marks.at(-1);
    if (!last || at - last.at >= INDEX_EVERY_BYTES) marks.push({ offset: head.offset, at, ms: head.at });
    const isOut = isOutput(head.kind);
    const missing = head.kind === 'gap' ? missingOf(payload) : 0;
    if (!isOut) this.#notes.push({ head, at: at + HEADER_BYTES });
    const tally = this.#tally;
    if (missing > 0) tally.gaps += 1;
    tally.gapBytes += missing;
    tally.firstAt ??= head.at;
    tally.lastAt = head.at;
    this.#next = head.offset + (isOut ? head.bytes : missing);
  }
}
