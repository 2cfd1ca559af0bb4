/**
 * Output of one session that is not acknowledged yet.
 *
 * Holds everything from the first unacknowledged byte on: in memory first, then in a file. It never drops a
 * byte: when it is full it says so, and the reader of the process waits until there is room again.
 * Offsets are absolute over all streams of the session.
 */
import { closeSync, ftruncateSync, openSync, readSync, rmSync, writeSync } from 'node:fs';

export type Stream = 'stdout' | 'stderr';

export interface Piece {
  readonly stream: Stream;
  readonly offset: number;
  /** Good until they are acknowledged. */
  readonly bytes: Uint8Array;
}

export interface SpoolLimits {
  readonly memoryBytes: number;
  /** Used only while nobody takes anything. */
  readonly diskBytes: number;
  /** Null: memory only. */
  readonly file: string | null;
}

const HEADER_BYTES = 5;
/** Pieces are put together up to so much, so that a flood is read as it is and not copied again. */
const ROOM_BYTES = 64 << 10;
const ROOM_FIRST_BYTES = 4 << 10;
/** Rooms whose bytes were acknowledged, of all spools; a flood of fresh memory would cost page faults. */
const SPARE_MAX = 8;
const spare: Buffer[] = [];
const streams: readonly Stream[] = ['stdout', 'stderr'];

export class Spool {
  readonly #limits: SpoolLimits;
  /** Oldest first; all of it before what is in the file. */
  #pieces: Piece[] = [];
  #memoryBytes = 0;
  /** Where the newest piece lies, when there may be room behind it. */
  #room: Buffer | null = null;
  #roomUsed = 0;
  #first = 0;
  #next = 0;
  /** What came after the file when that could take no more. */
  #tail: Piece[] = [];
  #tailBytes = 0;
  #fd: number | null = null;
  #fileAt = 0;
  #fileEnd = 0;
  /** Offset of the first byte that is in the file. */
  #fileFirst = 0;
  #bytesInFile = 0;

  constructor(limits: SpoolLimits) {
    this.#limits = limits;
  }

  /** The oldest byte that is kept. */
  get first(): number {
    return this.#first;
  }

  /** The next byte to come. */
  get next(): number {
    return this.#next;
  }

  /** Whether the process must wait. `taken`: somebody takes output, so the disk is not needed. */
  isFull(taken: boolean): boolean {
    // A disk that refuses is full, whatever it may hold.
    if (this.#tail.length > 0) return true;
    const disk = taken || this.#limits.file === null ? 0 : this.#limits.diskBytes;
    return this.#memoryBytes + this.#bytesInFile >= this.#limits.memoryBytes + disk;
  }

  /** Keeps bytes; always takes them, also when full: whoever reads looks at `isFull` before reading on. */
  append(stream: Stream, bytes: Uint8Array, taken: boolean): void {
    const piece = { stream, offset: this.#next, bytes };
    this.#next += bytes.length;
    const isBehind = this.#bytesInFile + this.#tailBytes > 0;
    const toDisk = isBehind || (!taken && this.#memoryBytes >= this.#limits.memoryBytes);
    if (toDisk && this.#limits.file !== null) {
      if (this.#tail.length > 0 || !this.#toFile(piece)) this.#toTail(piece);
      return;
    }
    this.#memoryBytes += bytes.length;
    this.#put(piece);
  }

  /** The bytes are copied: a small slice of a large pool would keep all of the pool. */
  #put({ stream, offset, bytes }: Piece): void {
    const last = this.#pieces.at(-1);
    const room = this.#room;
    const isNext = last?.stream === stream && last.offset + last.bytes.length === offset;
    if (room && last && isNext && this.#roomUsed + bytes.length <= room.length) {
      room.set(bytes, this.#roomUsed);
      this.#roomUsed += bytes.length;
      const whole = room.subarray(this.#roomUsed - last.bytes.length - bytes.length, this.#roomUsed);
      this.#pieces[this.#pieces.length - 1] = { stream, offset: last.offset, bytes: whole };
      return;
    }
    const wanted = room && isNext ? ROOM_BYTES : ROOM_FIRST_BYTES;
    const length = Math.max(wanted, bytes.length);
    const fresh = (length === ROOM_BYTES ? spare.pop() : null) ?? Buffer.allocUnsafeSlow(length);
    fresh.set(bytes);
    this.#room = fresh;
    this.#roomUsed = bytes.length;
    this.#pieces.push({ stream, offset, bytes: fresh.subarray(0, bytes.length) });
  }

  /**
   * The piece that holds `offset`, from there on, and what follows it in the same stream, up to `maxBytes`.
   */
  read(offset: number, maxBytes: number): Piece | null {
    this.#refill(offset);
    let index = this.#indexOf(offset);
    const found = this.#pieces[index];
    if (!found) return null;
    const head = found.bytes.subarray(offset - found.offset);
    if (head.length >= maxBytes) return { stream: found.stream, offset, bytes: head.subarray(0, maxBytes) };
    const parts = [head];
    let length = head.length;
    for (index += 1; index < this.#pieces.length; index++) {
      const piece = this.#pieces[index] as Piece;
      if (piece.stream !== found.stream || length + piece.bytes.length > maxBytes) break;
      parts.push(piece.bytes);
      length += piece.bytes.length;
    }
    return { stream: found.stream, offset, bytes: parts.length === 1 ? head : Buffer.concat(parts, length) };
  }

  /**
   * Everything below `offset` is kept elsewhere now, or, while `isOnItsWay`, has been handed to somebody who
   * may still read it here.
   */
  acknowledge(offset: number, isOnItsWay = false): void {
    const upTo = Math.min(offset, this.#next);
    if (upTo <= this.#first) return;
    let drop = 0;
    for (const piece of this.#pieces) {
      if (piece.offset + piece.bytes.length > upTo) break;
      this.#memoryBytes -= piece.bytes.length;
      drop += 1;
      if (!isOnItsWay) this.#spare(piece);
    }
    if (drop > 0) this.#pieces = this.#pieces.slice(drop);
    this.#first = upTo;
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
    if (this.#limits.file !== null) rmSync(this.#limits.file, { force: true });
    this.#pieces = [];
  }

  /** The room of a piece may be used again once nothing else lies in it. */
  #spare({ bytes }: Piece): void {
    const { buffer } = bytes;
    if (buffer === this.#room?.buffer || buffer.byteLength !== ROOM_BYTES || spare.length >= SPARE_MAX)
      return;
    spare.push(Buffer.from(buffer));
  }

  #indexOf(offset: number): number {
    let low = 0;
    let high = this.#pieces.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const piece = this.#pieces[middle] as Piece;
      if (offset < piece.offset) high = middle - 1;
      else if (offset >= piece.offset + piece.bytes.length) low = middle + 1;
      else return middle;
    }
    return -1;
  }

  #toTail({ stream, offset, bytes }: Piece): void {
    this.#tail.push({ stream, offset, bytes: Buffer.from(bytes) });
    this.#tailBytes += bytes.length;
  }

  /** False: the disk does not take it, and nothing of it counts. */
  #toFile({ stream, offset, bytes }: Piece): boolean {
    const framed = Buffer.allocUnsafe(HEADER_BYTES + bytes.length);
    framed.writeUInt32BE(bytes.length, 0);
    framed.writeUInt8(streams.indexOf(stream), 4);
    framed.set(bytes, HEADER_BYTES);
    try {
      this.#fd ??= openSync(this.#limits.file as string, 'w+', 0o600);
      if (writeSync(this.#fd, framed, 0, framed.length, this.#fileEnd) < framed.length) return false;
    } catch {
      return false; // No room, or no such place any more: its process waits instead.
    }
    if (this.#bytesInFile === 0) this.#fileFirst = offset;
    this.#fileEnd += framed.length;
    this.#bytesInFile += bytes.length;
    return true;
  }

  /** Brings pieces back from the file until `offset` is in memory. */
  #refill(offset: number): void {
    while (this.#fd !== null && this.#bytesInFile > 0 && this.#fileFirst <= offset) {
      const header = Buffer.allocUnsafe(HEADER_BYTES);
      readSync(this.#fd, header, 0, HEADER_BYTES, this.#fileAt);
      const bytes = Buffer.allocUnsafeSlow(header.readUInt32BE(0));
      readSync(this.#fd, bytes, 0, bytes.length, this.#fileAt + HEADER_BYTES);
      this.#room = null;
      this.#pieces.push({ stream: streams[header.readUInt8(4)] ?? 'stdout', offset: this.#fileFirst, bytes });
      this.#memoryBytes += bytes.length;
      this.#fileAt += HEADER_BYTES + bytes.length;
      this.#fileFirst += bytes.length;
      this.#bytesInFile -= bytes.length;
    }
    if (this.#bytesInFile > 0) return;
    for (const piece of this.#tail) {
      this.#room = null;
      this.#pieces.push(piece);
      this.#memoryBytes += piece.bytes.length;
    }
    this.#tail = [];
    this.#tailBytes = 0;
    if (this.#fd === null || this.#fileEnd === 0) return;
    ftruncateSync(this.#fd, 0);
    this.#fileAt = 0;
    this.#fileEnd = 0;
  }
}
