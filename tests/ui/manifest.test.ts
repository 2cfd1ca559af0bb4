/** From the form to YAML, and from faults back to fields. */
import { describe, expect, test } from 'bun:test';
import { parse } from 'yaml';
import { emptyForm, items, manifestOf, placeFaults } from '../../ui/tasks/manifest.ts';
import { toYaml } from '../../ui/tasks/yaml.ts';

describe('the manifest of a form', () => {
  test('leaves out what was left empty', () => {
    expect(manifestOf({ ...emptyForm, prompt: 'Tidy up.\nAll of it.', timeout: '' })).toEqual({
      version: '1',
      kind: 'Task',
      metadata: { name: 'Tidy up.' },
      agent: { tool: 'claude', mode: 'interactive', prompt: 'Tidy up.\nAll of it.' },
    });
  });

  test('has every field where the server reads it', () => {
    const form = {
      ...emptyForm,
      name: ' Build ',
      tool: 'command',
      mode: 'headless',
      script: 'make\n',
      prompt: 'forgotten',
      instance: 'local',
      repositoryUrl: ' https://example.org/a.git ',
      branch: 'main',
      patterns: 'dist/**\n*.log, , x',
      labels: 'team=core, urgent',
    } as const;
    expect(manifestOf(form)).toEqual({
      version: '1',
      kind: 'Task',
      metadata: { name: 'Build', labels: { team: 'core', urgent: '' } },
      repository: { url: 'https://example.org/a.git', branch: 'main' },
      agent: {
        tool: 'command',
        mode: 'headless',
        instance: 'local',
        command: 'bash',
        args: ['-lc', 'make\n'],
      },
      lifecycle: { timeout: '2h', artifact_patterns: ['dist/**', '*.log', 'x'] },
    });
  });

  test('has a name of at most sixty characters when it was given none', () => {
    const { metadata } = manifestOf({ ...emptyForm, prompt: 'a '.repeat(100) }) as {
      metadata: { name: string };
    };
    expect(metadata.name.length).toBeLessThanOrEqual(60);
    expect(metadata.name).toEndWith('…');
  });

  test('takes lists by line and by comma', () => {
    expect(items(' a,b\n\n c ,')).toEqual(['a', 'b', 'c']);
  });
});

describe('faults', () => {
  test('stand at the fields they name, several at one field together', () => {
    const placed = placeFaults([
      { path: 'lifecycle.timeout', message: 'like 30m' },
      { path: 'manifest.metadata.name', message: 'too long' },
      { path: 'metadata.name', message: 'and odd' },
      { path: 'lifecycle.artifact_patterns[1]', message: 'leaves the outbox' },
      { path: 'secrets[0].source', message: 'unknown' },
    ]);
    expect(placed).toEqual({
      at: { timeout: 'like 30m', name: 'too long; and odd', patterns: 'leaves the outbox' },
      elsewhere: [{ path: 'secrets[0].source', message: 'unknown' }],
    });
  });
});

describe('YAML', () => {
  const texts = [
    'plain',
    'two words',
    '',
    ' ',
    'yes',
    'No',
    'null',
    '~',
    '1',
    '1e3',
    '0x1f',
    '.5',
    '.inf',
    '2026-01-01',
    '12:30',
    '- a',
    '? a',
    'a: b',
    'a:',
    'a #b',
    '#a',
    '*a',
    '&a',
    '!a',
    '%a',
    '@a',
    '`a',
    '{a}',
    '[a]',
    '"a"',
    "it's",
    'a\tb',
    'a\\b',
    'ü €',
    '\u0000',
    '\u2028',
    'a\nb',
    'a\nb\n',
    'a\nb\n\n',
    '\na',
    ' a\nb',
    'a \nb',
    'a\n\n  b\n',
    'a\r\nb',
    '---',
    '...',
    '=',
    '<<',
    '/a/b.c',
    'https://a.example/b?c=d#e',
  ];

  test('is read as what was written, whatever the text', () => {
    for (const text of texts) {
      const value = { top: text, [text || 'empty']: { deep: [text, { in: text, list: [text, [text]] }] } };
      expect({ text, read: parse(toYaml(value)) }).toEqual({ text, read: value });
    }
  });

  test('is read as what was written, whatever the value', () => {
    const value = {
      a: [],
      b: {},
      c: [[], {}, [1]],
      d: null,
      e: true,
      f: -1.5,
      g: [{ h: {}, i: [] }, { j: 1 }],
    };
    expect(parse(toYaml(value))).toEqual(value);
  });

  test('is what a person would write', () => {
    const value = { metadata: { name: 'Say hello' }, agent: { args: ['-lc', 'echo a\necho b\n'] } };
    expect(toYaml(value)).toBe(
      'metadata:\n  name: Say hello\nagent:\n  args:\n    - "-lc"\n    - |\n      echo a\n      echo b\n',
    );
  });
});
