/** Output chunks are written by hand; whoever reads them must not be able to tell. */
import { expect, test } from 'bun:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { AgentMessageSchema, OutputChunkSchema } from '../../proto/gen/agent_pb.ts';
import { outputBytes } from '../../proto/output.ts';

const offsets = [undefined, 0n, 1n, 127n, 128n, 300n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 63n];
const sizes = [0, 1, 127, 128, 16_383, 16_384, 65_536];

test('a chunk written by hand is, byte for byte, what the generated writer writes', () => {
  for (const stream of ['stdout', 'stderr', 'log'] as const) {
    for (const offset of offsets) {
      for (const size of sizes) {
        const data = Uint8Array.from({ length: size }, (_, i) => (i * 7) % 256);
        const value = create(OutputChunkSchema, {
          streamId: size % 2 === 0 ? 'säß-1' : '',
          data,
          timestampMs: BigInt(size) * 1_000_000_007n,
          ...(offset === undefined ? {} : { offset }),
        });
        const message = create(AgentMessageSchema, { payload: { case: stream, value } });
        const written = outputBytes(stream, value);
        expect(Buffer.compare(written ?? Buffer.alloc(0), toBinary(AgentMessageSchema, message))).toBe(0);
        expect(fromBinary(AgentMessageSchema, written ?? new Uint8Array()).payload.case).toBe(stream);
      }
    }
  }
});

test('what is out of the ordinary is left to the generated writer', () => {
  expect(outputBytes('stdout', create(OutputChunkSchema, { eof: true }))).toBeNull();
  expect(outputBytes('stdout', create(OutputChunkSchema, { timestampMs: -1n }))).toBeNull();
});
