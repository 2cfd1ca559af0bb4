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

interface Mark {
  readonly offset: number;
  readonly at: number;
}

export interface Found {
  readonly head: RecordHead;
  /** Where the payload begins in the file. */
  readonly at: number;
}

export class Segment {
  readonly first: number;
  readonly path: string;
  #fd: number | null = null;
  /** What the open file may be used for, besides reading. */
  #isForWriting = false;
  #marks: Mark[] | null = null;
  #end = 0;
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
        this.#seen = { offset: head.offset, at };
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
    if (found) this.#seen = { offset: found.offset, at: next };
    return found && { head: found, at: next + HEADER_BYTES };
  }

  /** Reads a part of the payload into `into`; returns how much there was. */
  read(at: number, into: Uint8Array): number {
    const fd = this.#reading();
    return fd === null ? 0 : readSync(fd, into, 0, into.length, at);
  }

  /** Every record, oldest first. */
  *records(): Generator<Found> {
    if (this.#reading() === null) return;
    for (let at = 0; at < this.#end; ) {
      // Whoever takes a record may have had other files opened meanwhile.
      const fd = this.#reading();
      const head = fd === null ? null : this.#headAt(fd, at);
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
    if (this.#marks === null) this.#scan(fd);
    return fd;
  }

  #headAt(fd: number, at: number): RecordHead | null {
    const bytes = Buffer.allocUnsafe(HEADER_BYTES);
    return readSync(fd, bytes, 0, HEADER_BYTES, at) < HEADER_BYTES ? null : readHead(bytes, 0);
  }

  /** Indexes what is whole and sound; returns where that ends. */
  #scan(fd: number): number {
    const { size } = fstatSync(fd);
    const bytes = Buffer.allocUnsafe(size);
    const held = readSync(fd, bytes, 0, size, 0);
    this.#marks = [];
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
    if (!last || at - last.at >= INDEX_EVERY_BYTES) marks.push({ offset: head.offset, at });
    this.#next =
      head.offset + (isOutput(head.kind) ? head.bytes : head.kind === 'gap' ? missingOf(payload) : 0);
  }
}
