/**
 * The records of a recording, as bytes.
 *
 *   u32 length of the payload | u8 kind | u64 milliseconds | u64 offset | u32 CRC-32 | payload
 *
 * All big-endian. The checksum covers everything else, so that a record torn by a crash is known for one. An
 * offset is that of the next byte of output; only output moves it.
 */
import { crc32 } from 'node:zlib';

export const HEADER_BYTES = 25;
/**
 * Larger output is cut into several records, so that reading from an offset never reads much more than it
 * wants.
 */
export const PAYLOAD_BYTES_MAX = 256 << 10;

export type Stream = 'stdout' | 'stderr' | 'log';
export type Kind = Stream | 'resize' | 'gap' | 'end';

const kinds: readonly Kind[] = ['stdout', 'stderr', 'log', 'resize', 'gap', 'end'];

export interface RecordHead {
  readonly kind: Kind;
  readonly bytes: number;
  readonly at: number;
  readonly offset: number;
}

export const isOutput = (kind: Kind): kind is Stream =>
  kind === 'stdout' || kind === 'stderr' || kind === 'log';

export function headOf({ kind, bytes, at, offset }: RecordHead, payload: Uint8Array): Buffer {
  const head = Buffer.allocUnsafe(HEADER_BYTES);
  head.writeUInt32BE(bytes, 0);
  head.writeUInt8(kinds.indexOf(kind), 4);
  head.writeBigUInt64BE(BigInt(at), 5);
  head.writeBigUInt64BE(BigInt(offset), 13);
  head.writeUInt32BE(crc32(payload, crc32(head.subarray(0, 21))), 21);
  return head;
}

/** Null where no whole head is, or what is there is none. */
export function readHead(bytes: Buffer, at: number): RecordHead | null {
  if (bytes.length - at < HEADER_BYTES) return null;
  const kind = kinds[bytes.readUInt8(at + 4)];
  const length = bytes.readUInt32BE(at);
  if (kind === undefined || length > PAYLOAD_BYTES_MAX) return null;
  return {
    kind,
    bytes: length,
    at: Number(bytes.readBigUInt64BE(at + 5)),
    offset: Number(bytes.readBigUInt64BE(at + 13)),
  };
}

/** The record's checksum holds; `bytes` has all of it from `at` on. */
export function isSound(bytes: Buffer, at: number, head: RecordHead): boolean {
  const payload = bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + head.bytes);
  return bytes.readUInt32BE(at + 21) === crc32(payload, crc32(bytes.subarray(at, at + 21)));
}

/** A resize: u16 columns, u16 rows. A gap: u64 bytes that are missing. The end: JSON. */
export const sizeBytes = (cols: number, rows: number): Buffer => {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt16BE(cols, 0);
  bytes.writeUInt16BE(rows, 2);
  return bytes;
};

export const gapBytes = (missing: number): Buffer => {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64BE(BigInt(missing));
  return bytes;
};

export const missingOf = (payload: Uint8Array): number =>
  Number(Buffer.from(payload.buffer, payload.byteOffset, payload.length).readBigUInt64BE());
