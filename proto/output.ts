/**
 * Output chunks, which are nearly all of what an agent says, written in one piece: the generated writer
 * copies the data once for every level it is nested in. What is read from it is the same
 * (tests/transport/output.test.ts).
 */
import type { OutputChunk } from './gen/agent_pb.ts';

/** Tags of AgentMessage: field number and wire type 2. */
const outer = { stdout: 3, stderr: 4, log: 5 } as const;
const TYPE_BYTES = 2;
const tag = (field: number, type: number) => (field << 3) | type;

const varintLength = (value: bigint | number): number => {
  let length = 1;
  for (let rest = BigInt(value) >> 7n; rest > 0n; rest >>= 7n) length += 1;
  return length;
};

function putVarint(into: Buffer, value: bigint | number, at: number): number {
  let rest = BigInt(value);
  let next = at;
  for (; rest > 127n; rest >>= 7n) into[next++] = Number(rest & 127n) | 128;
  into[next++] = Number(rest);
  return next;
}

/** Null for what only the generated writer knows: fields that are not ours, and times before 1970. */
export function outputBytes(stream: keyof typeof outer, chunk: OutputChunk): Buffer | null {
  const { streamId, data, timestampMs, eof, offset, $unknown } = chunk;
  if (eof || timestampMs < 0n || ($unknown?.length ?? 0) > 0) return null;
  const id = Buffer.from(streamId, 'utf8');
  const numbers = [
    { field: 3, value: timestampMs, isThere: timestampMs > 0n },
    { field: 100, value: offset ?? 0n, isThere: offset !== undefined },
  ].filter(({ isThere }) => isThere);
  const ofBytes = (bytes: Uint8Array) =>
    bytes.length === 0 ? 0 : 1 + varintLength(bytes.length) + bytes.length;
  const ofNumbers = numbers.reduce(
    (sum, { field, value }) => sum + varintLength(tag(field, 0)) + varintLength(value),
    0,
  );
  const inner = ofBytes(id) + ofBytes(data) + ofNumbers;
  const message = Buffer.allocUnsafe(1 + varintLength(inner) + inner);
  let at = putVarint(message, inner, putVarint(message, tag(outer[stream], TYPE_BYTES), 0));
  for (const [field, bytes] of [
    [1, id],
    [2, data],
  ] as const) {
    if (bytes.length === 0) continue;
    at = putVarint(message, bytes.length, putVarint(message, tag(field, TYPE_BYTES), at));
    message.set(bytes, at);
    at += bytes.length;
  }
  for (const { field, value } of numbers)
    at = putVarint(message, value, putVarint(message, tag(field, 0), at));
  return message;
}
