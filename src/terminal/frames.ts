/**
 * Binary frames to viewers, and who gets them first: the format is in docs/terminal.md.
 *
 *   1 OUTPUT  u8 1, u64 offset of the first byte, bytes
 *   2 SCREEN  u8 2, u64 offset, u16 columns, u16 rows, UTF-8 that draws it on an empty terminal
 */
import type { Checkpoint } from './screen.ts';

const OUTPUT_HEAD_BYTES = 9;
const SCREEN_HEAD_BYTES = 13;
const FRAME_BYTES_MAX = 256 << 10;
/** Under a flood every frame anew would be garbage as fast as the flood. */
const SPARE_MAX = 4;
const spare: Buffer[] = [];

/** An OUTPUT frame in the making, in a buffer that is used again once the frame is done with. */
export class OutputFrame {
  readonly #buffer = spare.pop() ?? Buffer.allocUnsafeSlow(FRAME_BYTES_MAX);
  #length = 0;

  /** What there is still room for. */
  get room(): Buffer {
    return this.#buffer.subarray(OUTPUT_HEAD_BYTES + this.#length);
  }

  /** How many bytes of output are in it. */
  get length(): number {
    return this.#length;
  }

  /** Takes as much as there is room for, and returns how much that is. */
  add(bytes: Uint8Array): number {
    const part = bytes.subarray(0, this.room.length);
    this.room.set(part);
    this.#length += part.length;
    return part.length;
  }

  /** With so many bytes that were put into its room; until `done`. */
  filled(offset: number, bytes: number): Uint8Array {
    this.#length += bytes;
    this.#buffer.writeUInt8(1, 0);
    this.#buffer.writeBigUInt64BE(BigInt(offset), 1);
    return this.#buffer.subarray(0, OUTPUT_HEAD_BYTES + this.#length);
  }

  done(): void {
    if (spare.length < SPARE_MAX) spare.push(this.#buffer);
  }
}

export function screenFrame({ offset, cols, rows, serialized }: Checkpoint): Uint8Array {
  const text = Buffer.from(serialized, 'utf8');
  const frame = Buffer.allocUnsafe(SCREEN_HEAD_BYTES + text.length);
  frame.writeUInt8(2, 0);
  frame.writeBigUInt64BE(BigInt(offset), 1);
  frame.writeUInt16BE(cols, 9);
  frame.writeUInt16BE(rows, 11);
  frame.set(text, SCREEN_HEAD_BYTES);
  return frame;
}
