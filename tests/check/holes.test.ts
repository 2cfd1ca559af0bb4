/**
 * docs/security.md lists the holes of the earlier system: each is there once, and either open, with what must
 * close it, or closed by tests that are really there.
 */
import { expect, test } from 'bun:test';
import { sources } from '../tidy/source.ts';

const page = await Bun.file(`${import.meta.dir}/../../docs/security.md`).text();
const rows = page.split('\n').flatMap((line) => {
  const [, id, , here] = line.split('|').map((cell) => cell.trim());
  return id && here && /^[SB]\d+$/.test(id) ? [{ id, here }] : [];
});

const numbered = (letter: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${letter}${i + 1}`);

/** Titles of tests, by file. */
const titles = new Map(
  sources
    .filter(({ file }) => file.endsWith('.test.ts'))
    .map(({ file, text }) => [
      file,
      [...text.matchAll(/\btest\(\s*(['"`])(.*?)\1/g)].map(([, , title = '']) => title),
    ]),
);

/** What a cell names that is no test of that file. */
function lacking(text: string): string[] {
  const named = [...text.matchAll(/(?:`\[([A-Z]+\d+)\]`|"([^"]+)") in (tests\/[\w/-]+)/g)];
  return named.flatMap(([reference, rule, words, file]) => {
    const there = titles.get(`${file}.test.ts`) ?? [];
    const shows = (title: string) =>
      rule ? new RegExp(`\\[[^\\]]*\\b${rule}\\b[^\\]]*\\]`).test(title) : title.includes(words ?? '');
    return there.some(shows) ? [] : [reference];
  });
}

test('every hole has its line', () => {
  expect(rows.map(({ id }) => id)).toEqual([...numbered('S', 15), ...numbered('B', 20)]);
});

test('a line names tests, or what must close it', () => {
  const bare = rows.filter(({ here }) => !/ in tests\/|open: \w/.test(here));
  expect(bare.map(({ id }) => `${id}: name the test that shows it closed, or say "open: …"`)).toEqual([]);
});

test('every test that is named is there', () => {
  expect(lacking(page)).toEqual([]);
  // And this would notice.
  expect(lacking('`[W6]` in tests/http/nowhere, "hole S99" in tests/http/holes')).toHaveLength(2);
});
