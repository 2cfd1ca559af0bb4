/** Which refusals are listed. */
import { expect, test } from 'bun:test';
import { refusalLimit } from '../../src/audit/refusals.ts';
import type { AuditNote } from '../../src/audit.ts';

const from = (who: string | null, door = 'identity') => ({ door, from: who, caller: null }) as AuditNote;

test('[O4] one source that is refused again and again hides no refusal of another', () => {
  let now = 0;
  const rates = { all: { perSecond: 50, burst: 1_000 }, each: { perSecond: 1, burst: 3 } };
  const isListed = refusalLimit(rates, () => now);
  const listed = Array.from({ length: 5_000 }, () => isListed(from('the socket of noisy')));
  expect(listed.filter(Boolean)).toHaveLength(3);
  expect(isListed(from('192.0.2.7'))).toBe(true);
  expect(isListed(from('the socket of noisy', 'grpc'))).toBe(true);
  now += 1_000;
  expect([isListed(from('the socket of noisy')), isListed(from('the socket of noisy'))]).toEqual([
    true,
    false,
  ]);
});

test('[O4] however many sources there are, all together have their rate', () => {
  const rates = { all: { perSecond: 1, burst: 20 }, each: { perSecond: 1, burst: 3 } };
  const isListed = refusalLimit(rates, () => 0);
  const listed = Array.from({ length: 5_000 }, (_, i) => isListed(from(`10.0.${i >> 8}.${i & 255}`)));
  expect(listed.filter(Boolean)).toHaveLength(20);
});
