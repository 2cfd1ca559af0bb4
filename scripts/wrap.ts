/**
 * Breaks comments that are wider than a line may be; the formatter leaves them alone. `bun scripts/wrap.ts
 * [FILE…]`, all files in git without arguments. Knows prose only: drawings and tables (runs of spaces) stay
 * as they are.
 */
const WIDTH = 110;

const comment = /^(\s*)(\/\/|\*)( +)(?=\S)(.*)$/;
const oneLine = /^(\s*)\/\*\* (.*) \*\/$/;
/** Code, then a comment behind it. The quote check keeps URLs in strings out of it. */
const trailing = /^(\s*)([^'"`/]*\S)\s+\/\/ (.*)$/;

/** A line that goes on with the paragraph above it. */
function continues(line: string | undefined, prefix: string): boolean {
  if (line === undefined || !line.startsWith(prefix)) return false;
  return /^[^\s\-*|@`/]/.test(line.slice(prefix.length));
}

export function wrapped(text: string): string {
  const lines = text.split('\n');
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    if (line.length <= WIDTH) continue;
    const whole = oneLine.exec(line);
    if (whole) {
      const [, indent = '', words = ''] = whole;
      lines.splice(at--, 1, `${indent}/**`, `${indent} * ${words}`, `${indent} */`);
      continue;
    }
    const behind = comment.test(line) ? null : trailing.exec(line);
    if (behind) {
      const [, indent = '', code = '', words = ''] = behind;
      lines.splice(at--, 1, `${indent}// ${words}`, `${indent}${code}`);
      continue;
    }
    const prose = comment.exec(line);
    const cut = prose ? line.lastIndexOf(' ', WIDTH) : -1;
    if (!prose || /\S {3,}\S/.test(prose[4] ?? '')) continue;
    const prefix = `${prose[1]}${prose[2]}${prose[3]}`;
    if (cut <= prefix.length) continue;
    const rest = line.slice(cut + 1);
    lines[at] = line.slice(0, cut);
    const next = lines[at + 1];
    if (continues(next, prefix)) lines[at + 1] = `${prefix}${rest} ${next?.slice(prefix.length)}`;
    else lines.splice(at + 1, 0, prefix + rest);
  }
  return lines.join('\n');
}

if (import.meta.main) {
  const listed = Bun.spawnSync([
    'git',
    'ls-files',
    '-z',
    '--cached',
    '--others',
    '--exclude-standard',
    '*.ts',
  ]);
  const given = process.argv.slice(2);
  const files = given.length > 0 ? given : listed.stdout.toString().split('\0').filter(Boolean);
  for (const file of files.filter((name) => !name.startsWith('proto/gen/'))) {
    const source = Bun.file(file);
    if (!(await source.exists())) continue;
    const before = await source.text();
    const after = wrapped(before);
    if (after !== before) await Bun.write(file, after);
  }
}
