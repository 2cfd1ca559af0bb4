/**
 * The rules of the house, run as tests. When one fails, its message says what to do instead; when a rule is
 * wrong, change it here and not around it.
 */
import { describe, expect, test } from 'bun:test';
import { committed, type Node, nameOf, type Source, sources } from './tidy/source.ts';

const FILE_LINES = 400;
const FUNCTION_LINES = 70;
const LINE_CHARS = 110;
/** A literal longer than this may run over the edge. */
const LONG_LITERAL = 40;
const PARAMETERS = 3;

/** Who may import whom. A layer may always import itself and, inside src/, the vocabulary. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  vocabulary: [],
  actors: [],
  journal: [],
  terminal: [],
  runtime: [],
  transport: ['proto'],
  identity: ['proto'],
  share: [],
  tasks: ['agent/tools', 'share'],
  audit: [],
  http: [],
  wiring: ['actors', 'tasks', 'share', 'agent/tools'],
  gateway: [],
  main: [
    'actors',
    'journal',
    'terminal',
    'runtime',
    'transport',
    'identity',
    'tasks',
    'audit',
    'share',
    'http',
    'gateway',
    'wiring',
    'agent/tools',
    'ui/build',
  ],
  agent: ['agent/tools', 'proto'],
  'agent/tools': [],
  proto: [],
  ui: ['vocabulary'],
  'ui/build': [],
};

/** Which packages a layer may use. The core decides; it could not reach the world even if it wanted to. */
const mayUse: Readonly<Record<string, readonly (string | RegExp)[]>> = {
  vocabulary: ['node:path', 'node:net'],
  actors: ['xstate'],
  journal: [/^node:/, 'bun:sqlite', 'ioredis'],
  terminal: [/^node:/, '@xterm/headless', '@xterm/addon-serialize'],
  runtime: [/^node:/, 'dockerode'],
  transport: [/^node:/, 'bun:ffi', '@grpc/grpc-js', /^@bufbuild\/protobuf/],
  identity: [/^node:/, 'bun:sqlite'],
  share: [/^node:/, 'bun:ffi'],
  tasks: [/^node:/, 'yaml'],
  audit: [/^node:/],
  http: [/^node:/, 'bun', 'elysia', '@elysiajs/openapi', 'prom-client'],
  gateway: [/^node:/, 'bun'],
  wiring: [/^node:/],
  main: [/^node:/],
  agent: [/^node:/, 'bun:ffi', '@grpc/grpc-js', /^@bufbuild\/protobuf/],
  'agent/tools': [/^node:/],
  proto: [/^@bufbuild\/protobuf/],
  ui: ['preact', 'preact/hooks', /^@xterm\//],
  'ui/build': [/^node:/],
};

/** Null for what is free: tests, scripts and benches. */
function layerOf(file: string): string | null {
  const [top = '', next = '', ...deeper] = file.split('/');
  if (/^src\/main(-\w+)?\.ts$/.test(file)) return 'main';
  if (file === 'ui/build.ts') return 'ui/build';
  if (file.startsWith('agent/tools/')) return 'agent/tools';
  if (top === 'src') return deeper.length === 0 ? 'vocabulary' : next;
  return top === 'agent' || top === 'ui' || top === 'proto' ? top : null;
}

const byFile = new Map(sources.map((source) => [source.file, source]));
const isOurs = (name: string): boolean => /^(src|agent|ui|proto|tests|scripts|bench)\//.test(name);
const inSrc = ({ file }: Source): boolean => file.startsWith('src/');

describe('imports', () => {
  test('point inward', () => {
    const wrong = sources.flatMap(({ file, imports }) => {
      const from = layerOf(file);
      if (from === null) return [];
      return imports.filter(isOurs).flatMap((to) => {
        const layer = layerOf(to) ?? 'the tests and scripts';
        const vocabulary = layer === 'vocabulary' && file.startsWith('src/');
        if (layer === from || vocabulary || mayImport[from]?.includes(layer)) return [];
        return [`${file} (${from}) may not import ${to} (${layer}): take it as a port declared in src/*.ts`];
      });
    });
    expect(wrong).toEqual([]);
  });

  test('every folder has its line in the table', () => {
    const layers = new Set(sources.flatMap(({ file }) => layerOf(file) ?? []));
    const unknown = [...layers].filter((layer) => !(layer in mayImport) || !(layer in mayUse));
    expect(unknown.map((layer) => `${layer}: say in mayImport and mayUse what it may`)).toEqual([]);
  });

  test('name only the packages of their layer', () => {
    const wrong = sources.flatMap(({ file, imports }) => {
      const allowed = mayUse[layerOf(file) ?? ''];
      if (allowed === undefined) return [];
      const packages = imports.filter((name) => !isOurs(name) && name !== 'package.json');
      return packages
        .filter((name) => !allowed.some((one) => (typeof one === 'string' ? one === name : one.test(name))))
        .map((name) => `${file} may not use ${name}: move it to the layer that may, or argue for it here`);
    });
    expect(wrong).toEqual([]);
  });

  test('make no circle', () => {
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) {
        circles.push(
          `${[...path.slice(path.indexOf(file)), file].join(' → ')}: move what both need to a third`,
        );
        return;
      }
      if (done.has(file)) return;
      for (const next of byFile.get(file)?.imports ?? []) if (byFile.has(next)) visit(next, [...path, file]);
      done.add(file);
    };
    for (const { file } of sources) visit(file, []);
    expect(circles).toEqual([]);
  });
});

interface Ban {
  readonly cure: string;
  readonly where: (source: Source) => boolean;
  readonly found: (node: Node, around: readonly Node[]) => boolean;
}

const everywhere = (): boolean => true;
const calls = (names: RegExp) => (node: Node) =>
  node.type === 'CallExpression' && names.test(nameOf(node['callee']));
const reads = (name: RegExp) => (node: Node) => node.type === 'MemberExpression' && name.test(nameOf(node));
const newDate = (node: Node): boolean =>
  node.type === 'NewExpression' &&
  nameOf(node['callee']) === 'Date' &&
  (node['arguments'] as unknown[]).length === 0;
const timers = /^((globalThis|window)\.)?(setTimeout|setInterval)$/;
const clocks = /^(Date\.now|performance\.now|Bun\.sleep|Bun\.nanoseconds|process\.hrtime(\.bigint)?)$/;
const dice =
  /^(Math\.random|(globalThis\.)?crypto\.(randomUUID|getRandomValues)|Bun\.randomUUIDv7|random(Bytes|Int|UUID))$/;
const keyIs = (node: Node, key: string): boolean => node.type === 'Property' && nameOf(node['key']) === key;

const bans: readonly Ban[] = [
  { cure: 'name the type', where: everywhere, found: (node) => node.type === 'TSAnyKeyword' },
  {
    cure: 'export it by its name',
    where: everywhere,
    found: (node) => node.type === 'ExportDefaultDeclaration',
  },
  {
    cure: 'export names, one by one',
    where: everywhere,
    found: (node) => node.type === 'ExportAllDeclaration',
  },
  {
    cure: 'take a Clock (src/clock.ts)',
    where: (source) => inSrc(source) && source.file !== 'src/clock.ts',
    found: (node) => newDate(node) || calls(timers)(node) || calls(clocks)(node),
  },
  {
    cure: 'take an id or a Random (src/ids.ts)',
    where: (source) => inSrc(source) && source.file !== 'src/ids.ts',
    found: calls(dice),
  },
  {
    cure: 'read it in src/config.ts and hand it on',
    where: (source) => inSrc(source) && source.file !== 'src/config.ts',
    // main.ts gives the whole of it to config.ts.
    found: (node, around) =>
      reads(/^(process|Bun)\.env$/)(node) && !around.some((one) => calls(/^readConfig$/)(one)),
  },
  {
    cure: 'read it in agent/options.ts and hand it on',
    where: ({ file }) => file.startsWith('agent/') && file !== 'agent/options.ts',
    found: (node, around) =>
      reads(/^(process|Bun)\.env$/)(node) && !around.some((one) => calls(/[oO]ptions/)(one)),
  },
  {
    cure: 'invoke the alarm; `after` is lost when an actor is restored',
    where: ({ file }) => file.startsWith('src/actors/'),
    found: (node) => keyIs(node, 'after'),
  },
  {
    cure: 'decide here and act behind a port',
    where: ({ file }) => file !== 'src/ids.ts' && ['actors', 'vocabulary'].includes(layerOf(file) ?? ''),
    found: (node) => node.type === 'MemberExpression' && nameOf(node['object']) === 'Bun',
  },
];

describe('the code', () => {
  test('does nothing banned', () => {
    const found = sources.flatMap((source) =>
      bans
        .filter((ban) => ban.where(source))
        .flatMap((ban) =>
          source.nodes
            .filter(({ node, around }) => ban.found(node, around))
            .map(({ node }) => `${source.file}:${source.lineAt(node.start)}: ${ban.cure}`),
        ),
    );
    expect(found).toEqual([]);
  });

  test('silences neither the compiler nor the linter, and leaves nothing to fix', () => {
    const silence = /@ts-(ignore|nocheck|expect-error)|biome-ignore-all|\bFIXME\b/;
    const found = sources.flatMap(({ file, comments }) =>
      comments
        .filter((comment) => silence.test(comment))
        .map(
          (comment) => `${file}: "${comment.trim().slice(0, 60)}": name the type, or fix it before merging`,
        ),
    );
    expect(found).toEqual([]);
  });
});

const functionTypes = /^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/;
const testWords = /^(describe|test|it|beforeEach|afterEach)(\.\w+)*$/;

/** Functions, without those that only hold tests together. */
const functionsOf = ({ nodes }: Source) => {
  const frames = new Set(nodes.flatMap(({ node, around }) => (calls(testWords)(node) ? around : [])));
  return nodes.filter(({ node }) => functionTypes.test(node.type) && !frames.has(node));
};

/** Without the bodies of the functions inside it, which are measured by themselves. */
function ownLines(source: Source, node: Node): number {
  const span = (one: Node) => source.lineAt(one.end) - source.lineAt(one.start);
  const inner = source.nodes.filter(
    (one) =>
      functionTypes.test(one.node.type) &&
      one.around.findLast((around) => functionTypes.test(around.type)) === node,
  );
  return inner.reduce((sum, one) => sum - span(one.node), span(node) + 1);
}

/** Nothing to break: a text or a pattern that is whole where it stands. */
function isLiteral(source: Source, line: number): boolean {
  return source.nodes.some(
    ({ node }) =>
      /^(Literal|TemplateElement|TemplateLiteral)$/.test(node.type) &&
      node.end - node.start > LONG_LITERAL &&
      source.lineAt(node.start) <= line &&
      line <= source.lineAt(node.end),
  );
}

describe('sizes', () => {
  test(`a file has at most ${FILE_LINES} lines`, () => {
    const long = sources.filter(({ lines }) => lines.length - 1 > FILE_LINES);
    expect(
      long.map(({ file, lines }) => `${file} has ${lines.length - 1}: split it by what it is about`),
    ).toEqual([]);
  });

  test(`a function has at most ${FUNCTION_LINES} lines of its own`, () => {
    const long = sources.flatMap((source) =>
      functionsOf(source).flatMap(({ node }) => {
        const count = ownLines(source, node);
        const at = `${source.file}:${source.lineAt(node.start)}`;
        return count > FUNCTION_LINES ? [`${at} has ${count}: name its parts`] : [];
      }),
    );
    expect(long).toEqual([]);
  });

  test(`a function has at most ${PARAMETERS} parameters`, () => {
    // Rows of a table of cases are as wide as the table.
    const wide = sources
      .filter(({ file }) => !file.startsWith('tests/'))
      .flatMap((source) =>
        source.nodes
          .filter(
            ({ node }) => functionTypes.test(node.type) && (node['params'] as unknown[]).length > PARAMETERS,
          )
          .map(
            ({ node }) => `${source.file}:${source.lineAt(node.start)}: take one object with named fields`,
          ),
      );
    expect(wide).toEqual([]);
  });

  test(`a line has at most ${LINE_CHARS} characters`, () => {
    const wide = sources.flatMap((source) =>
      source.lines.flatMap((line, i) =>
        line.length > LINE_CHARS && !isLiteral(source, i + 1)
          ? [`${source.file}:${i + 1}: run \`bun run fix\`, or break it`]
          : [],
      ),
    );
    expect(wide).toEqual([]);
  });
});

describe('what is committed', () => {
  test('names no registry and no directory of one machine', () => {
    const local =
      /\bregistry\.[\w-]+\.(org|com|io|net|dev)\b|\bnpmjs\.(com|org)\b|(?<![\w.~}/-])\/(work|root|Users|workspace)\/\w/;
    const found = [...committed].flatMap(([file, text]) =>
      text.split('\n').flatMap((line, i) => {
        const match = local.exec(line);
        return match
          ? [`${file}:${i + 1}: "${match[0]}": say it without a place, or take it as configuration`]
          : [];
      }),
    );
    expect(found).toEqual([]);
  });

  test('says what it is for at its top', () => {
    const bare = sources.filter(
      ({ file, text }) => file.startsWith('src/') && !/^(#!.*\n)?\/\*\*/.test(text),
    );
    expect(bare.map(({ file }) => `${file}: open it with what it is, guarantees and does not know`)).toEqual(
      [],
    );
  });
});
