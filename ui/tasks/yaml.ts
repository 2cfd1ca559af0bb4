/**
 * Writes a plain value as YAML a person would write: block maps, literal blocks for text of several lines,
 * quotes only where a plain word would be read as something else. Writes only; the server reads.
 */
export function toYaml(value: unknown): string {
  return `${block(value, '').trimStart()}\n`;
}

function block(value: unknown, indent: string): string {
  if (Array.isArray(value)) {
    if (value.length === 0) return ' []';
    return value.map((item) => `\n${indent}-${nested(item, `${indent}  `)}`).join('');
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value);
    if (entries.length === 0) return ' {}';
    return entries.map(([key, one]) => `\n${indent}${word(key)}:${block(one, `${indent}  `)}`).join('');
  }
  return ` ${scalar(value, indent)}`;
}

/** A map in a list starts on the dash's own line. */
function nested(item: unknown, indent: string): string {
  const text = block(item, indent);
  return text.startsWith(`\n${indent}`) ? ` ${text.slice(indent.length + 1)}` : text;
}

function scalar(value: unknown, indent: string): string {
  if (typeof value !== 'string') return JSON.stringify(value ?? null);
  return value.includes('\n') && isLiteral(value) ? literal(value, indent) : word(value);
}

function isLiteral(text: string): boolean {
  return !/[\r\t\x00-\x08\x0b-\x1f\x7f]/.test(text) && !/^[ \n]/.test(text) && !/ \n| $/.test(text);
}

function literal(text: string, indent: string): string {
  const body = text.replace(/\n+$/, '');
  const tail = text.length - body.length;
  const chomp = tail === 0 ? '-' : tail === 1 ? '' : '+';
  const pad = indent === '' ? '  ' : indent;
  const lines = body.split('\n').map((line) => (line === '' ? '' : pad + line));
  return `|${chomp}\n${lines.join('\n')}${'\n'.repeat(Math.max(0, tail - 1))}`;
}

const plainWord = /^[A-Za-z_/.][A-Za-z0-9_./@:-]*( [A-Za-z0-9_./@-]+)*$/;
const otherTypes = /^(true|false|yes|no|on|off|y|n|null|~|\.(inf|nan)|\.\d.*)$/i;

/** JSON's string is YAML's double-quoted string. */
function word(text: string): string {
  return plainWord.test(text) && !otherTypes.test(text) && !/:( |$)/.test(text) ? text : JSON.stringify(text);
}
