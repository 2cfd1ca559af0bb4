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
let different = buf.exitCode !== 0;
if (check) {
  const names = new Set([...readdirSync(join(out, 'gen')), ...readdirSync(join(proto, 'gen'))]);
  for (const name of names) {
    if (text(join(out, 'gen', name)) === text(join(proto, 'gen', name))) continue;
    different = true;
    process.stderr.write(`proto/gen/${name} is not what proto/agent.proto makes: run \`bun run gen\`\n`);
  }
  rmSync(out, { recursive: true });
}
process.exit(different ? 1 : 0);

function text(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
