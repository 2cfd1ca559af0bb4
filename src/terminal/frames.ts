/**
 * Binary frames to viewers, and who gets them first: the format is in docs/terminal.md.
 *
 *   1 OUTPUT  u8 1, u64 offset of the first byte, bytes
 *   2 SCREEN  u8 2, u64 offset, u16 columns, u16 rows, UTF-8 that draws it on an empty terminal
 */
import type { Checkpoint } from './screen.ts';

export const OUTPUT_HEAD_BYTES = 9;
const SCREEN_HEAD_BYTES = 13;

/** One frame of several pieces that follow each other. */
export function outputFrame(offset: number, pieces: readonly Uint8Array[]): Uint8Array {
  const frame = Buffer.allocUnsafe(pieces.reduce((sum, { length }) => sum + length, OUTPUT_HEAD_BYTES));
  frame.writeUInt8(1, 0);
  frame.writeBigUInt64BE(BigInt(offset), 1);
  let at = OUTPUT_HEAD_BYTES;
  for (const piece of pieces) {
    frame.set(piece, at);
    at += piece.length;
  }
  return frame;
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
