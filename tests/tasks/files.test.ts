/** What a tool needs, written where a hostile instance may have laid down what it likes. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeToolFiles } from '../../src/tasks/files.ts';

let dir: string;
let home: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tool-files-'));
  home = join(dir, 'home');
  mkdirSync(home);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const merge = { path: '', mode: 0o600, merge: { theme: 'dark', tools: ['b'] } };

describe('[K65] a file for a tool', () => {
  test('is made whole with its mode, below directories that are made, and nothing else is left', async () => {
    const path = join(home, '.tool', 'deep', 'config.toml');
    await writeToolFiles([{ path, mode: 0o640, text: 'a = 1\n' }], [home]);
    expect(readFileSync(path, 'utf8')).toBe('a = 1\n');
    expect(statSync(path).mode & 0o777).toBe(0o640);
    expect(readdirSync(join(home, '.tool', 'deep'))).toEqual(['config.toml']);
  });

  test('is merged into what is there', async () => {
    const path = join(home, 'state.json');
    writeFileSync(path, '{"theme": "light", "tools": ["a", "b"], "kept": 1}');
    await writeToolFiles([{ ...merge, path }], [home]);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ theme: 'dark', tools: ['a', 'b'], kept: 1 });
  });

  test('follows no link that leads elsewhere, at no step', async () => {
    const outside = join(dir, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'state.json'), '{"secret": 1}');
    symlinkSync(outside, join(home, '.tool'));
    symlinkSync(join(outside, 'state.json'), join(home, 'state.json'));
    const text = { path: join(home, '.tool', 'state.json'), mode: 0o600, text: 'x' };
    await expect(writeToolFiles([text], [home])).rejects.toThrow('is a link or no directory');
    await expect(writeToolFiles([{ ...merge, path: join(home, 'state.json') }], [home])).rejects.toThrow(
      'is a link; put a file there',
    );
    expect(readdirSync(outside)).toEqual(['state.json']);
    expect(readFileSync(join(outside, 'state.json'), 'utf8')).toBe('{"secret": 1}');
    // One that is replaced whole takes the place of the link itself.
    await writeToolFiles([{ path: join(home, 'state.json'), mode: 0o600, text: '{}' }], [home]);
    expect(readFileSync(join(outside, 'state.json'), 'utf8')).toBe('{"secret": 1}');
  });

  test('waits for no pipe, and reads nothing that is too long', async () => {
    Bun.spawnSync(['mkfifo', join(home, 'pipe.json')]);
    await expect(writeToolFiles([{ ...merge, path: join(home, 'pipe.json') }], [home])).rejects.toThrow(
      'is no file; remove it',
    );
    writeFileSync(join(home, 'long.json'), Buffer.alloc((8 << 20) + 1, ' '));
    await expect(writeToolFiles([{ ...merge, path: join(home, 'long.json') }], [home])).rejects.toThrow(
      'more than',
    );
  });

  test('belongs into a directory that was named', async () => {
    const path = join(dir, 'elsewhere.json');
    await expect(writeToolFiles([{ ...merge, path }], [home])).rejects.toThrow('is in none of');
  });
});
