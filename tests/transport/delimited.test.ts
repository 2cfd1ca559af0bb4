/** Messages on a plain stream come out as they went in, however the stream is cut. */
import { expect, test } from 'bun:test';
import { DelimitedReader, delimited } from '../../proto/delimited.ts';

const MAX = 100_000;
const messages = [0, 1, 127, 128, 300, 16_383, 16_384, 70_000, 0, 5].map((length, i) =>
  Uint8Array.from({ length }, (_, at) => (at * 31 + i) % 256),
);
const stream = Buffer.concat(messages.map(delimited));

function read(cuts: (rest: number) => number): Buffer[] {
  const got: Buffer[] = [];
  const reader = new DelimitedReader(MAX, (message) => got.push(Buffer.from(message)));
  for (let at = 0; at < stream.length; ) {
    const length = Math.max(1, Math.min(stream.length - at, cuts(stream.length - at)));
    reader.push(stream.subarray(at, at + length));
    at += length;
  }
  return got;
}

const same = (got: readonly Uint8Array[]) =>
  got.length === messages.length &&
  got.every((one, i) => Buffer.compare(one, messages[i] as Uint8Array) === 0);

test('every message comes out once and whole, at once or a byte at a time', () => {
  expect(same(read((rest) => rest))).toBe(true);
  expect(same(read(() => 1))).toBe(true);
});

test('and so it does cut at random', () => {
  let seed = 7;
  for (let round = 0; round < 200; round++) {
    const cuts = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed % (round % 2 === 0 ? 90_000 : 400);
    };
    expect(same(read(cuts))).toBe(true);
  }
});

test('a message of more than is allowed is refused before it is waited for', () => {
  const reader = new DelimitedReader(1_000, () => {});
  expect(() => reader.push(Uint8Array.of(0xe9, 0x07))).toThrow(RangeError); // 1,001
  const endless = new DelimitedReader(1_000, () => {});
  expect(() => endless.push(Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x80, 0x80))).toThrow(RangeError);
});
