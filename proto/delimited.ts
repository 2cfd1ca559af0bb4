/**
 * Messages on a plain stream of bytes, each preceded by its length as a varint: protobuf's delimited form
 * (parseDelimitedFrom and its like in the official libraries).
 */
import { putVarint, varintLength } from './varint.ts';

/** A length of this size is more than anybody may send. */
const LENGTH_BYTES_MAX = 5;
/** Messages up to it are put together in the same memory, one after the other. */
const KEPT_BYTES = 64 << 10;

export function delimited(message: Uint8Array): Uint8Array {
  const prefix = varintLength(message.length);
  const bytes = Buffer.allocUnsafe(prefix + message.length);
  bytes.set(message, putVarint(bytes, message.length, 0));
  return bytes;
}

/** Takes a stream in whatever pieces it comes, and gives its messages one by one. */
export class DelimitedReader {
  readonly #bytesMax: number;
  readonly #onMessage: (message: Uint8Array) => void;
  #kept: Buffer | null = null;
  /** A message that has begun: its bytes, and how many of them are there. */
  #begun: Buffer | null = null;
  #held = 0;
  /** A length that has begun. */
  #length = 0;
  #lengthBytes = 0;

  /** `onMessage` gets bytes that are good until it returns. */
  constructor(bytesMax: number, onMessage: (message: Uint8Array) => void) {
    this.#bytesMax = bytesMax;
    this.#onMessage = onMessage;
  }

  /** Throws a RangeError at a message of more than `bytesMax`. */
  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#begun) at = this.#goOn(this.#begun, chunk, at);
      else at = this.#begin(chunk, at);
    }
  }

  #begin(chunk: Uint8Array, from: number): number {
    let at = from;
    for (let isWhole = false; !isWhole; ) {
      const byte = chunk[at];
      if (byte === undefined) return at;
      at += 1;
      this.#length += (byte & 127) * 128 ** this.#lengthBytes;
      this.#lengthBytes += 1;
      isWhole = byte < 128;
      if (this.#lengthBytes > LENGTH_BYTES_MAX || this.#length > this.#bytesMax)
        throw new RangeError(`a message of more than ${this.#bytesMax} bytes`);
    }
    const length = this.#length;
    this.#length = 0;
    this.#lengthBytes = 0;
    const end = at + length;
    if (end <= chunk.length) {
      this.#onMessage(chunk.subarray(at, end));
      return end;
    }
    if (length <= KEPT_BYTES) this.#kept ??= Buffer.allocUnsafeSlow(KEPT_BYTES);
    this.#begun =
      length <= KEPT_BYTES && this.#kept ? this.#kept.subarray(0, length) : Buffer.allocUnsafe(length);
    this.#held = 0;
    return at;
  }

  #goOn(begun: Buffer, chunk: Uint8Array, from: number): number {
    const end = Math.min(chunk.length, from + begun.length - this.#held);
    begun.set(chunk.subarray(from, end), this.#held);
    this.#held += end - from;
    if (this.#held < begun.length) return end;
    this.#begun = null;
    this.#onMessage(begun);
    return end;
  }
}
