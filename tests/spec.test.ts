/** Every rule of SPEC.md is shown by a test whose title carries its id, and every id in a title is a rule. */
import { expect, test } from 'bun:test';
import { sources } from './tidy/source.ts';

const spec = await Bun.file(`${import.meta.dir}/../SPEC.md`).text();
const rules = [...spec.matchAll(/^- \*\*([A-Z]+\d+)\*\*/gm)].flatMap((match) => match[1] ?? []);

/** A title may show several rules: each in brackets of its own, or all in one with commas between. */
const shown = new Map<string, string>();
for (const { file, text } of sources.filter((source) => source.file.startsWith('tests/'))) {
  for (const [title] of text.matchAll(/['"`]\[[A-Z]+\d+[^'"`\n]*/g)) {
    for (const [, ids = ''] of title.matchAll(/\[([A-Z]+\d+(?:,? ?[A-Z]+\d+)*)\]/g)) {
      for (const id of ids.split(/,? /)) shown.set(id, file);
    }
  }
}

test('every rule of SPEC.md is in the title of a test', () => {
  const bare = rules.filter((rule) => !shown.has(rule));
  expect(bare.map((rule) => `${rule}: write a test titled "[${rule}] …", or take the rule back`)).toEqual([]);
});

test('every id in the title of a test is a rule of SPEC.md', () => {
  const strange = [...shown].filter(([id]) => !rules.includes(id));
  expect(strange.map(([id, file]) => `${id} in ${file}: add it to SPEC.md, or correct the title`)).toEqual(
    [],
  );
});

test('no rule has two meanings', () => {
  const twice = rules.filter((rule, i) => rules.indexOf(rule) !== i);
  expect(twice.map((rule) => `${rule}: give one of the two another number`)).toEqual([]);
});
