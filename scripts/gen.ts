/**
 * Generates proto/gen from proto/agent.proto; with `--check` only says whether what is committed is what it
 * would make.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';

const root = join(import.meta.dir, '..');
const proto = join(root, 'proto');
const check = process.argv.includes('--check');
const out = check ? mkdtempSync(join(tmpdir(), 'gen-')) : proto;

const buf = Bun.spawnSync([join(root, 'node_modules', '.bin', 'buf'), 'generate', '-o', out], {
  cwd: proto,
  // The plugin is started as `bun`.
  env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}` },
  stderr: 'inherit',
});
const different = buf.exitCode === 0 && check ? differences() : [];
for (const name of different) {
  process.stderr.write(`proto/gen/${name} is not what proto/agent.proto makes: run \`bun run gen\`\n`);
}
if (check) rmSync(out, { recursive: true });
process.exit(buf.exitCode === 0 && different.length === 0 ? 0 : 1);

function differences(): string[] {
  const names = new Set([...readdirSync(join(out, 'gen')), ...readdirSync(join(proto, 'gen'))]);
  return [...names].filter((name) => text(join(out, 'gen', name)) !== text(join(proto, 'gen', name)));
}

function text(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
