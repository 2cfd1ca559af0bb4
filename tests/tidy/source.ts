/** Our sources as syntax trees: what the rules of tests/tidy.test.ts are asked of. Knows no rule. */
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { Glob } from 'bun';
import { parseSync } from 'oxc-parser';

export interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

export interface Source {
  /** From the root of the repository. */
  readonly file: string;
  readonly text: string;
  readonly lines: readonly string[];
  /** Where each import or re-export leads: a file of ours, or the name of a package. */
  readonly imports: readonly string[];
  readonly comments: readonly string[];
  /** Every node with the nodes around it, the nearest last. */
  readonly nodes: readonly { readonly node: Node; readonly around: readonly Node[] }[];
  readonly lineAt: (offset: number) => number;
}

const root = join(import.meta.dir, '..', '..');
const generated = /^proto\/gen\/|node_modules\/|^tests\/transcripts\//;

export const sources: readonly Source[] = [
  ...new Glob('{src,agent,ui,proto,scripts,bench,tests}/**/*.ts').scanSync(root),
]
  .filter((file) => !generated.test(file))
  .sort()
  .map((file) => readSource(file));

/** The text of every file that is kept in git and is text, by name. */
export const committed: ReadonlyMap<string, string> = new Map(
  committedFiles()
    .filter((file) => !/\.(png|ico|woff2?|bin|cast)$/.test(file))
    .map((file) => [file, readText(file)]),
);

function committedFiles(): string[] {
  const listed = Bun.spawnSync(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
  });
  if (listed.exitCode !== 0) throw new Error(`git ls-files: ${listed.stderr.toString()}`);
  return listed.stdout.toString().split('\0').filter(Boolean);
}

/** '' when it is gone: deleted and not yet committed. */
function readText(file: string): string {
  try {
    return readFileSync(join(root, file), 'utf8');
  } catch {
    return '';
  }
}

function readSource(file: string): Source {
  const text = readText(file);
  const parsed = parseSync(file, text, { range: false });
  const [error] = parsed.errors;
  if (error) throw new Error(`${file}: ${error.message}`);
  const lines = text.split('\n');
  let offset = 0;
  const starts = lines.map((line) => {
    const start = offset;
    offset += line.length + 1;
    return start;
  });
  const nodes: { node: Node; around: Node[] }[] = [];
  walk(parsed.program, [], nodes);
  return {
    file,
    text,
    lines,
    nodes,
    imports: importsOf(file, parsed.module),
    comments: parsed.comments.map((comment) => comment.value),
    lineAt: (at) => starts.findLastIndex((start) => start <= at) + 1,
  };
}

type Modules = ReturnType<typeof parseSync>['module'];

function importsOf(file: string, module: Modules): string[] {
  const named = [
    ...module.staticImports.map((one) => one.moduleRequest.value),
    ...module.staticExports.flatMap((one) =>
      one.entries.flatMap((entry) => entry.moduleRequest?.value ?? []),
    ),
  ];
  return [...new Set(named)].map((name) =>
    name.startsWith('.') ? normalize(join(dirname(file), name)) : name,
  );
}

function isNode(value: unknown): value is Node {
  return (
    typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string'
  );
}

function walk(
  value: unknown,
  around: readonly Node[],
  found: { node: Node; around: readonly Node[] }[],
): void {
  if (Array.isArray(value)) {
    for (const one of value) walk(one, around, found);
    return;
  }
  if (!isNode(value)) return;
  found.push({ node: value, around });
  const inside = [...around, value];
  for (const [field, child] of Object.entries(value)) {
    if (field !== 'type' && typeof child === 'object') walk(child, inside, found);
  }
}

/** `a.b.c` of a chain of names; '' for anything else. */
export function nameOf(value: unknown): string {
  if (!isNode(value)) return '';
  if (value.type === 'Identifier' || value.type === 'PrivateIdentifier') return String(value['name']);
  if (value.type !== 'MemberExpression' || value['computed'] === true) return '';
  const object = nameOf(value['object']);
  return object === '' ? '' : `${object}.${nameOf(value['property'])}`;
}
