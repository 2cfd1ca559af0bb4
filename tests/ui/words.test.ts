/** Quantities and instants, as they are said. */
import { expect, test } from 'bun:test';
import {
  ago,
  bytes,
  commandLine,
  count,
  countdown,
  dollars,
  duration,
  percent,
  plural,
  shortId,
  shownName,
} from '../../ui/words.ts';

const hour = 3_600_000;

test('a size has at most three digits and the unit that fits', () => {
  const said = [0, 1023, 1024, 5002, 102_400, 1_048_524, 1_048_525, 5 * 2 ** 40].map(bytes);
  expect(said).toEqual(['0 B', '1023 B', '1.0 KiB', '4.9 KiB', '100 KiB', '1024 KiB', '1.0 MiB', '5.0 TiB']);
});

test('a duration has two parts, the larger first', () => {
  const said = [-5, 0, 42_999, 200_000, 2 * hour + 5 * 60_000, 99 * hour].map(duration);
  expect(said).toEqual(['0s', '0s', '42s', '3m 20s', '2h 05m', '4d 3h']);
});

test('what was is so long ago, and what is to come is now', () => {
  const said = [-5, 0, 2, 42, 60, 3600, 86_400].map((seconds) => ago(0, seconds * 1000));
  expect(said).toEqual(['now', 'now', 'now', '42s ago', '1m ago', '1h ago', '1d ago']);
});

test('a countdown ends at nothing', () => {
  const said = [-hour, 0, 1, 65_000, 600_000, 2 * hour].map((ms) => countdown(ms, 0));
  expect(said).toEqual(['0:00', '0:00', '0:01', '1:05', '10:00', '2:00:00']);
});

test('amounts are short', () => {
  expect([0, 9999, 10_000, 999_999, 1_000_000].map(count)).toEqual([
    '0',
    '9,999',
    '10.0k',
    '1000.0k',
    '1.00M',
  ]);
  expect([0, 0.01234, 1, 12.5].map(dollars)).toEqual(['$0.0000', '$0.0123', '$1.00', '$12.50']);
  expect([0, 1, 2].map((amount) => plural(amount, 'query', 'queries'))).toEqual([
    '0 queries',
    '1 query',
    '2 queries',
  ]);
  expect([percent(1, 0), percent(-1, 4), percent(1, 4), percent(9, 4)]).toEqual([0, 0, 25, 100]);
});

test('an id is told by its end, a command by its name', () => {
  expect(shortId('01a208e6-1882-75b5-ba96-e32f970f9093')).toBe('970f9093');
  expect(shortId('release-1')).toBe('release-1');
  expect(commandLine('/usr/bin/bash', ['-c', 'ls'])).toBe('bash -c ls');
});

test('[U23] marks in a name that would show it as another are spelt out', () => {
  expect(shownName('a\u202egpj.exe')).toBe('a\\u{202e}gpj.exe');
  expect(shownName('new\nline\u200b')).toBe('new\\u{a}line\\u{200b}');
  expect(shownName('<b>Grüße 文件.txt')).toBe('<b>Grüße 文件.txt');
});
