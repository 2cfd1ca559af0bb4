/**
 * Output chunks, which are nearly all of what an agent says, written by hand: the generated writer copies the
 * data once for every level it is nested in. What is read from them is the same
 * (tests/transport/output.test.ts).
 */
import type { OutputChunk } from './gen/agent_pb.ts';
import { putVarint, varintLength } from './varint.ts';

export type OutputStream = keyof typeof outer;

/** Tags of AgentMessage: field number and wire type 2. */
const outer = { stdout: 3, stderr: 4, log: 5 } as const;
const TYPE_BYTES = 2;
const tag = (field: number, type: number) => (field << 3) | type;

export const isOutputStream = (what: string | undefined): what is OutputStream =>
  what === 'stdout' || what === 'stderr' || what === 'log';

/** An AgentMessage in three parts, of which the middle one is the data as it is. */
export interface OutputParts {
  readonly before: Uint8Array;
  readonly data: Uint8Array;
  readonly after: Uint8Array;
  readonly bytes: number;
}

/** Null for what only the generated writer knows: fields that are not ours, and times before 1970. */
export function outputParts(stream: OutputStream, chunk: OutputChunk): OutputParts | null {
  const { streamId, data, timestampMs, eof, offset, $unknown } = chunk;
  if (eof || timestampMs < 0n || ($unknown?.length ?? 0) > 0) return null;
  const id = Buffer.from(streamId, 'utf8');
  const numbers = [
    { field: 3, value: timestampMs, isThere: timestampMs > 0n },
    { field: 100, value: offset ?? 0n, isThere: offset !== undefined },
  ].filter(({ isThere }) => isThere);
  const headOf = ({ length }: Uint8Array) => (length === 0 ? 0 : 1 + varintLength(length));
  const after = Buffer.allocUnsafe(
    numbers.reduce((sum, { field, value }) => sum + varintLength(tag(field, 0)) + varintLength(value), 0),
  );
  let end = 0;
  for (const { field, value } of numbers) end = putVarint(after, value, putVarint(after, tag(field, 0), end));
  const inner = headOf(id) + id.length + headOf(data) + data.length + after.length;
  const before = Buffer.allocUnsafe(1 + varintLength(inner) + headOf(id) + id.length + headOf(data));
  let at = putVarint(before, inner, putVarint(before, tag(outer[stream], TYPE_BYTES), 0));
  if (id.length > 0) {
    at = putVarint(before, id.length, putVarint(before, tag(1, TYPE_BYTES), at));
    before.set(id, at);
    at += id.length;
  }
  if (data.length > 0) putVarint(before, data.length, putVarint(before, tag(2, TYPE_BYTES), at));
  return { before, data, after, bytes: before.length + data.length + after.length };
}

/** Puts the parts together at a place with room for them; returns where they end. */
export function putOutput(into: Uint8Array, { before, data, after, bytes }: OutputParts, at: number): number {
  into.set(before, at);
  into.set(data, at + before.length);
  into.set(after, at + before.length + data.length);
  return at + bytes;
}

/** Null as `outputParts`. */
export function outputBytes(stream: OutputStream, chunk: OutputChunk): Buffer | null {
  const parts = outputParts(stream, chunk);
  if (!parts) return null;
  const message = Buffer.allocUnsafe(parts.bytes);
  putOutput(message, parts, 0);
  return message;
}
